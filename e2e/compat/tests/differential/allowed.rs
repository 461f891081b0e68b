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

/// MIGRATE waits for another node, and a transaction must not.
const NOT_IN_MULTI: &[u8] = b"-ERR Command not allowed inside a transaction\r\n";
/// The cluster core and the slots are of different threads: one EXEC cannot have both at one moment.
const MIXED: &[u8] = b"-ERR a transaction has CLUSTER commands only, or none\r\n";
/// What the cluster core answers does not include these: they are of the slots.
const CLUSTER_OF_SLOTS: [&[u8]; 3] = [b"keyslot", b"countkeysinslot", b"getkeysinslot"];

/// Whether our node refuses, for a reason that is known, what redis-server queues behind `queued`. The transaction
/// has failed on our side then.
pub(crate) fn refused_in_multi(
    args: &[Vec<u8>],
    queued: &[Vec<Vec<u8>>],
    ours: &[u8],
    theirs: &[u8],
) -> bool {
    let queues = theirs == b"+QUEUED\r\n";
    let mixes = queued.first().is_some_and(|first| is_by_core(first) != is_by_core(args));
    (ours == NOT_IN_MULTI && queues && args[0].eq_ignore_ascii_case(b"migrate"))
        // Both refuse keys of several slots; ours has seen the mixture first.
        || (ours == MIXED && mixes && (queues || theirs.starts_with(b"-CROSSSLOT ")))
}

/// Whether the cluster core answers a command.
fn is_by_core(args: &[Vec<u8>]) -> bool {
    let of_slots = |word: &Vec<u8>| CLUSTER_OF_SLOTS.iter().any(|name| word.eq_ignore_ascii_case(name));
    args[0].eq_ignore_ascii_case(b"cluster") && !args.get(1).is_some_and(of_slots)
}

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

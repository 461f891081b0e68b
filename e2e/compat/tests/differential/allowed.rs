//! Where replies may differ from those of redis-server 7.0.15, and why. This is the whole list.

use node_server_protocol::resp::{Reply, parse_reply};
use node_server_rdb::decode_dump;

/// How a command's replies are compared. Errors have to be equal in any case, but for [`Allowed::Newer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// Byte for byte.
    Nothing,
    /// Integers that are clocks: so far apart at most.
    Clock(i64),
    /// TIME: two texts, the seconds of which are close.
    Time,
    /// Arrays whose order is that of a hash table with a random seed.
    Order,
    /// The same for what is in them: the subcommands of COMMAND INFO.
    Deep,
    /// SCAN from the beginning. How much a small COUNT returns depends on the hash table; if both are through after one
    /// round they have to have the same keys.
    ScanStart,
    /// SCAN from a cursor that neither server has given out: where that is in a hash table is its own affair. The
    /// reply has to look like one of SCAN.
    ScanForeign,
    /// DUMP: other compression, the same value.
    Payload,
    /// DBSIZE counts keys whose time has passed until a cycle of the server's finds them: both have to come to the same
    /// number, see [`waits_to_settle`].
    Settles,
    /// Compared by type only: the reason is given.
    Kind(&'static str),
    /// redis-server 7.0 refuses what 7.2 and we answer, or says it in another way: the reason is given.
    Newer(&'static str),
    /// CLUSTER, but for what is about keys: error texts of the cluster core are UTF-8, so that of an argument that is
    /// none is what reading it as UTF-8 makes of it.
    Text,
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
        (b"time", _) => Allowed::Time,
        (b"keys", _) => Allowed::Order,
        (b"scan", cursor) if is_zero(cursor) => Allowed::ScanStart,
        (b"scan", _) => Allowed::ScanForeign,
        (b"dump", _) => Allowed::Payload,
        (b"config", b"get") => Allowed::Order,
        (b"object", b"refcount") => Allowed::Kind("Redis shares small integers and tells a number for that"),
        (b"object", b"idletime") => {
            Allowed::Kind("Redis shares small integers, with when they were last used")
        }
        (b"dbsize", _) => Allowed::Settles,
        (b"command", b"") => Allowed::Newer("which commands there are"),
        (b"command", b"info") if args.len() == 2 => Allowed::Newer("which commands there are"),
        (b"lastsave", _) => Allowed::Kind("when the server was started"),
        (b"command", b"info") if args[2..].iter().any(|name| name.eq_ignore_ascii_case(b"command")) => {
            Allowed::Newer("7.2's COMMAND GETKEYS needs one argument less")
        }
        (b"command", b"info") => Allowed::Deep,
        (b"randomkey", _) => Allowed::Kind("which key is random"),
        (b"cluster", b"getkeysinslot") => Allowed::Order,
        (b"slowlog", b"len") => Allowed::Kind("what is slow depends on the machine"),
        (b"role", _) => Allowed::Kind("without replicas redis-server counts no offset"),
        (b"hello", _) => Allowed::Kind("version and connection number"),
        (b"client", b"id") => Allowed::Kind("connection number"),
        (b"client", b"reply" | b"no-evict") => Allowed::Newer("a later issue has it"),
        (b"command", b"getkeys" | b"getkeysandflags") if args.len() == 3 => {
            Allowed::Newer("7.2 takes commands without arguments")
        }
        (b"info", _) => Allowed::Newer("what a server tells about itself is its own"),
        (b"object" | b"client" | b"command" | b"config" | b"cluster" | b"latency" | b"slowlog", b"help") => {
            Allowed::Newer("the texts of HELP are our own")
        }
        (b"cluster", _) if is_by_core(args) => Allowed::Text,
        _ => Allowed::Nothing,
    }
}

/// A cursor that means the beginning.
fn is_zero(cursor: &[u8]) -> bool {
    let digits = cursor.strip_prefix(b"-").or(cursor.strip_prefix(b"+")).unwrap_or(cursor);
    digits.iter().all(|b| *b == b'0')
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

/// Whether a reply that differs has numbers of keys in it that have to become the same soon.
pub(crate) fn waits_to_settle(args: &[Vec<u8>], queued: &[Vec<Vec<u8>>]) -> bool {
    let settles = |args: &[Vec<u8>]| allowed(args) == Allowed::Settles;
    settles(args) || (args[0].eq_ignore_ascii_case(b"exec") && queued.iter().any(|args| settles(args)))
}

fn equal(exception: Allowed, ours: &Reply, theirs: &Reply) -> bool {
    match exception {
        Allowed::Nothing => false,
        Allowed::Text => {
            ours == theirs && matches!(ours, Reply::Error(text) if text.contains(char::REPLACEMENT_CHARACTER))
        }
        Allowed::Clock(apart) => close(ours, theirs, apart),
        Allowed::Time => {
            matches!((pair(ours), pair(theirs)), (Some(a), Some(b)) if (a - b).abs() <= LATE_MS / 1000)
        }
        Allowed::Order => is_array(ours) && is_array(theirs) && sorted(ours) == sorted(theirs),
        Allowed::Deep => deeply_sorted(ours) == deeply_sorted(theirs),
        Allowed::ScanStart => match (scanned(ours), scanned(theirs)) {
            (Some((0, a)), Some((0, b))) => sorted(a) == sorted(b),
            (a, b) => a.is_some() && b.is_some(),
        },
        Allowed::ScanForeign => scanned(ours).is_some() && scanned(theirs).is_some(),
        Allowed::Payload => match (ours, theirs) {
            (Reply::Bulk(a), Reply::Bulk(b)) => decode_dump(a).is_ok_and(|a| decode_dump(b) == Ok(a)),
            _ => false,
        },
        Allowed::Kind(_) | Allowed::Settles => alike(ours, theirs),
        Allowed::Newer(_) => true,
    }
}

fn close(ours: &Reply, theirs: &Reply, apart: i64) -> bool {
    matches!((ours, theirs), (Reply::Integer(a), Reply::Integer(b)) if *a >= 0 && *b >= 0 && (a - b).abs() <= apart)
}

fn decimal(reply: &Reply) -> Option<u64> {
    let Reply::Bulk(text) = reply else { return None };
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The seconds of TIME.
fn pair(reply: &Reply) -> Option<i64> {
    let Reply::Array(items) = reply else { return None };
    let [seconds, micros] = items.as_slice() else { return None };
    decimal(micros).filter(|micros| *micros < 1_000_000)?;
    i64::try_from(decimal(seconds)?).ok()
}

/// Cursor and keys of a reply to SCAN.
fn scanned(reply: &Reply) -> Option<(u64, &Reply)> {
    let Reply::Array(items) = reply else { return None };
    let [cursor, keys @ Reply::Array(names)] = items.as_slice() else { return None };
    let all_names = names.iter().all(|name| matches!(name, Reply::Bulk(_)));
    Some((decimal(cursor)?, keys)).filter(|_| all_names)
}

fn is_array(reply: &Reply) -> bool {
    matches!(reply, Reply::Array(_) | Reply::Map(_))
}

/// The items without their order; those of a map are its pairs.
fn sorted(reply: &Reply) -> Vec<String> {
    let mut texts: Vec<String> = match reply {
        Reply::Array(items) => items.iter().map(|item| format!("{item:?}")).collect(),
        Reply::Map(pairs) => pairs.iter().map(|pair| format!("{pair:?}")).collect(),
        _ => Vec::new(),
    };
    texts.sort();
    texts
}

fn deeply_sorted(reply: &Reply) -> String {
    let Reply::Array(items) = reply else { return format!("{reply:?}") };
    let mut texts: Vec<String> = items.iter().map(deeply_sorted).collect();
    texts.sort();
    format!("{texts:?}")
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

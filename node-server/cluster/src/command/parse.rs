//! Arguments to [`Command`]. The error texts are Redis 7.0's, word for word: tools match them.

use super::{Command, CommandError, FailoverKind, KeysQuery, NodeName, Parsed, SetSlot, SetSlotAction};
use node_server_protocol::resp::request::parse_number;
use node_server_protocol::resp::until_nul;
use node_server_protocol::{Epoch, Slot, SlotRange, address::BUS_PORT_OFFSET};
use std::net::IpAddr;

/// Longest part of an unknown subcommand that the error repeats.
const ECHO_MAX: usize = 128;

/// Subcommand, least and most arguments after it; `None`: any number.
const ARITY: &[(&str, usize, Option<usize>)] = &[
    ("addslots", 1, None),
    ("addslotsrange", 2, None),
    ("bumpepoch", 0, Some(0)),
    ("count-failure-reports", 1, Some(1)),
    ("countkeysinslot", 1, Some(1)),
    ("delslots", 1, None),
    ("delslotsrange", 2, None),
    ("failover", 0, None),
    ("flushslots", 0, Some(0)),
    ("forget", 1, Some(1)),
    ("getkeysinslot", 2, Some(2)),
    ("help", 0, Some(0)),
    ("info", 0, Some(0)),
    ("keyslot", 1, Some(1)),
    ("links", 0, Some(0)),
    ("meet", 2, None),
    ("myid", 0, Some(0)),
    ("myshardid", 0, Some(0)),
    ("nodes", 0, Some(0)),
    ("reopen", 0, Some(0)),
    ("replicas", 1, Some(1)),
    ("replicate", 1, Some(1)),
    ("reset", 0, None),
    ("saveconfig", 0, Some(0)),
    ("set-config-epoch", 1, Some(1)),
    ("setslot", 2, None),
    ("shards", 0, Some(0)),
    ("slaves", 1, Some(1)),
    ("slots", 0, Some(0)),
];

/// Names of the subcommands, for COMMAND.
pub fn subcommands() -> impl Iterator<Item = &'static str> {
    ARITY.iter().map(|(name, _, _)| *name)
}

type Result<T> = std::result::Result<T, CommandError>;

/// Reads a CLUSTER command; `args[0]` is `CLUSTER` itself.
///
/// # Errors
/// Anything that is none, with the reply's text.
pub fn parse<A: AsRef<[u8]>>(args: &[A]) -> Result<Parsed> {
    let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
    let [_, subcommand, rest @ ..] = args.as_slice() else {
        return fail("ERR wrong number of arguments for 'cluster' command");
    };
    let typed = text(&subcommand[..subcommand.len().min(ECHO_MAX)]);
    let name = typed.to_ascii_lowercase();
    let Some((name, least, most)) = ARITY.iter().find(|(n, _, _)| *n == name) else {
        return fail(format!("ERR unknown subcommand '{typed}'. Try CLUSTER HELP."));
    };
    if rest.len() < *least || most.is_some_and(|most| rest.len() > most) {
        return wrong_arity(name);
    }
    match *name {
        "keyslot" => Ok(Parsed::Keys(KeysQuery::KeySlot(rest[0].to_vec()))),
        "countkeysinslot" => count_keys(rest).map(Parsed::Keys),
        "getkeysinslot" => get_keys(rest).map(Parsed::Keys),
        name => command(name, &typed, rest).map(Parsed::Core),
    }
}

fn command(name: &str, typed: &str, rest: &[&[u8]]) -> Result<Command> {
    Ok(match name {
        "addslots" => Command::AddSlots(slots(rest)?),
        "delslots" => Command::DelSlots(slots(rest)?),
        "addslotsrange" => Command::AddSlots(ranges(name, rest)?),
        "delslotsrange" => Command::DelSlots(ranges(name, rest)?),
        "bumpepoch" => Command::BumpEpoch,
        "count-failure-reports" => Command::CountFailureReports(node(rest[0])),
        "failover" => failover(typed, rest)?,
        "flushslots" => Command::FlushSlots,
        "forget" => Command::Forget(node(rest[0])),
        "help" => Command::Help,
        "info" => Command::Info,
        "links" => Command::Links,
        "meet" => meet(typed, rest)?,
        "myid" => Command::MyId,
        "myshardid" => Command::MyShardId,
        "nodes" => Command::Nodes,
        "reopen" => Command::Reopen,
        "replicas" | "slaves" => Command::Replicas(node(rest[0])),
        "replicate" => Command::Replicate(node(rest[0])),
        "reset" => reset(typed, rest)?,
        "saveconfig" => Command::SaveConfig,
        "set-config-epoch" => Command::SetConfigEpoch(epoch(rest[0])?),
        "setslot" => Command::SetSlot(set_slot(rest)?),
        "shards" => Command::Shards,
        "slots" => Command::Slots,
        _ => return fail(format!("ERR unknown subcommand '{typed}'. Try CLUSTER HELP.")),
    })
}

fn fail<T>(text: impl Into<String>) -> Result<T> {
    Err(CommandError(text.into()))
}

fn wrong_arity<T>(name: &str) -> Result<T> {
    fail(format!("ERR wrong number of arguments for 'cluster|{name}' command"))
}

fn bad_syntax<T>(typed: &str) -> Result<T> {
    fail(format!("ERR unknown subcommand or wrong number of arguments for '{typed}'. Try CLUSTER HELP."))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn node(bytes: &[u8]) -> NodeName {
    NodeName(text(bytes))
}

fn integer(bytes: &[u8]) -> Result<i64> {
    parse_number(bytes).ok_or_else(|| CommandError("ERR value is not an integer or out of range".into()))
}

fn slot(bytes: &[u8]) -> Result<Slot> {
    let number = parse_number(bytes).and_then(|n| u16::try_from(n).ok()).and_then(Slot::new);
    number.ok_or_else(|| CommandError("ERR Invalid or out of range slot".into()))
}

fn slots(args: &[&[u8]]) -> Result<Vec<SlotRange>> {
    args.iter().map(|arg| slot(arg).map(single)).collect()
}

fn single(slot: Slot) -> SlotRange {
    SlotRange::new(slot, slot).expect("a slot is not above itself")
}

fn ranges(name: &str, args: &[&[u8]]) -> Result<Vec<SlotRange>> {
    if !args.len().is_multiple_of(2) {
        return wrong_arity(name);
    }
    let pair = |pair: &[&[u8]]| {
        let (start, end) = (slot(pair[0])?, slot(pair[1])?);
        SlotRange::new(start, end).ok_or_else(|| {
            CommandError(format!("ERR start slot number {start} is greater than end slot number {end}"))
        })
    };
    args.chunks_exact(2).map(pair).collect()
}

fn count_keys(rest: &[&[u8]]) -> Result<KeysQuery> {
    let number = u16::try_from(integer(rest[0])?).ok().and_then(Slot::new);
    number.map_or_else(|| fail("ERR Invalid slot"), |slot| Ok(KeysQuery::CountKeysInSlot(slot)))
}

fn get_keys(rest: &[&[u8]]) -> Result<KeysQuery> {
    let (slot, max) = (integer(rest[0])?, integer(rest[1])?);
    let slot = u16::try_from(slot).ok().and_then(Slot::new);
    match (slot, u64::try_from(max)) {
        (Some(slot), Ok(max)) => Ok(KeysQuery::GetKeysInSlot(slot, max)),
        _ => fail("ERR Invalid slot or number of keys"),
    }
}

fn epoch(arg: &[u8]) -> Result<Epoch> {
    let number = integer(arg)?;
    match u64::try_from(number) {
        Ok(number) => Ok(Epoch(number)),
        Err(_) => fail(format!("ERR Invalid config epoch specified: {number}")),
    }
}

fn meet(typed: &str, rest: &[&[u8]]) -> Result<Command> {
    if rest.len() > 3 {
        return bad_syntax(typed);
    }
    let number = |bytes: &[u8], what: &str| {
        parse_number(bytes).ok_or_else(|| {
            CommandError(format!("ERR Invalid TCP {what} port specified: {}", text(until_nul(bytes))))
        })
    };
    let port = number(rest[1], "base")?;
    let bus_port = match rest.get(2) {
        Some(arg) => number(arg, "bus")?,
        None => port.saturating_add(i64::from(BUS_PORT_OFFSET)),
    };
    let ip: Option<IpAddr> = text(rest[0]).parse().ok();
    let valid = |port: i64| u16::try_from(port).ok().filter(|p| *p > 0);
    match (ip, valid(port), valid(bus_port)) {
        (Some(ip), Some(port), Some(bus_port)) => Ok(Command::Meet { ip, port, bus_port }),
        _ => fail(format!(
            "ERR Invalid node address specified: {}:{}",
            text(until_nul(rest[0])),
            text(until_nul(rest[1]))
        )),
    }
}

fn failover(typed: &str, rest: &[&[u8]]) -> Result<Command> {
    let kind = match rest {
        [] => FailoverKind::Graceful,
        [arg] if arg.eq_ignore_ascii_case(b"force") => FailoverKind::Forced,
        [arg] if arg.eq_ignore_ascii_case(b"takeover") => FailoverKind::Takeover,
        [_] => return fail("ERR syntax error"),
        _ => return bad_syntax(typed),
    };
    Ok(Command::Failover(kind))
}

fn reset(typed: &str, rest: &[&[u8]]) -> Result<Command> {
    match rest {
        [] => Ok(Command::Reset { hard: false }),
        [arg] if arg.eq_ignore_ascii_case(b"soft") => Ok(Command::Reset { hard: false }),
        [arg] if arg.eq_ignore_ascii_case(b"hard") => Ok(Command::Reset { hard: true }),
        [_] => fail("ERR syntax error"),
        _ => bad_syntax(typed),
    }
}

fn set_slot(rest: &[&[u8]]) -> Result<SetSlot> {
    if rest.len() < 2 {
        return wrong_arity("setslot");
    }
    let slot = slot(rest[0])?;
    let action = match &rest[1..] {
        [arg] if arg.eq_ignore_ascii_case(b"stable") => SetSlotAction::Stable,
        [arg, id] if arg.eq_ignore_ascii_case(b"migrating") => SetSlotAction::Migrating(node(id)),
        [arg, id] if arg.eq_ignore_ascii_case(b"importing") => SetSlotAction::Importing(node(id)),
        [arg, id] if arg.eq_ignore_ascii_case(b"node") => SetSlotAction::Node(node(id)),
        _ => return fail("ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP"),
    };
    Ok(SetSlot { slot, action })
}

/// CLUSTER SETSLOT as it stands in the replication stream: a finished import has `EPOCH n` at its end.
pub(super) fn parse_replicated_set_slot(args: &[Vec<u8>]) -> Result<(SetSlot, Option<Epoch>)> {
    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    let [cluster, name, rest @ ..] = args.as_slice() else { return wrong_arity("setslot") };
    if !cluster.eq_ignore_ascii_case(b"cluster") || !name.eq_ignore_ascii_case(b"setslot") || rest.len() < 2 {
        return wrong_arity("setslot");
    }
    match rest {
        [plain @ .., word, number] if word.eq_ignore_ascii_case(b"epoch") => {
            Ok((set_slot(plain)?, Some(epoch(number)?)))
        }
        plain => Ok((set_slot(plain)?, None)),
    }
}

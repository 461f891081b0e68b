//! Lines of CLUSTER NODES, and of nodes.conf, which adds auxiliary fields (reference/cluster-bus §1.14).

use crate::address::BUS_PORT_OFFSET;
use crate::bus::NodeFlags;
use crate::{Address, Epoch, Millis, NodeId, Slot, SlotRange, SlotSet};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// Longest name of a node or zone that is announced or believed, in bytes; as for host names in Redis.
pub const NAME_MAX: usize = 255;

/// Whether a name can stand in nodes.conf, ours, Redis's and Valkey's. They refuse the same signs in
/// `cluster-announce-human-nodename` (Valkey not in `availability-zone`, and then does not read its own file any more).
#[must_use]
pub fn is_storable_name(text: &str) -> bool {
    let plain = |c: char| {
        if c.is_ascii() {
            c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/')
        } else {
            !c.is_whitespace()
        }
    };
    text.len() <= NAME_MAX && text.chars().all(|c| plain(c) && !c.is_control())
}

/// One node as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLine {
    /// Its name.
    pub id: NodeId,
    /// Where it listens; an unspecified IP where that is not known.
    pub address: Address,
    /// Its announced host name; empty for none.
    pub hostname: String,
    /// Auxiliary fields such as `shard-id`; only nodes.conf has them. Keys and values hold no comma, blank or line end.
    pub aux: BTreeMap<String, String>,
    /// Its flags. Only those that the text has a word for are written: myself, master, slave, fail?, fail, handshake,
    /// noaddr and nofailover.
    pub flags: NodeFlags,
    /// Its master, if it is a replica.
    pub master: Option<NodeId>,
    /// When the unanswered PING went out; zero for none.
    pub ping_sent: Millis,
    /// When the last PONG came; zero for never.
    pub pong_received: Millis,
    /// The version of its claim.
    pub config_epoch: Epoch,
    /// Whether the link to it is up.
    pub connected: bool,
    /// Its slots.
    pub slots: SlotSet,
    /// Its slots that are moving, with where to. Only on the line of the node that speaks.
    pub migrating: Vec<(Slot, NodeId)>,
    /// Slots that are coming to it, with where from. Only on the line of the node that speaks.
    pub importing: Vec<(Slot, NodeId)>,
}

/// A line that is not a node's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad CLUSTER NODES line: {reason}: {line:?}")]
pub struct BadNodeLine {
    /// The line.
    pub line: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Text of which one line is not a node's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {number}: {source}")]
pub struct BadNodes {
    /// The line's number, from 1.
    pub number: usize,
    /// What is wrong with it.
    pub source: BadNodeLine,
}

/// The words for flags, in the order in which servers write them.
const FLAG_WORDS: [(NodeFlags, &str); 8] = [
    (NodeFlags::MYSELF, "myself"),
    (NodeFlags::MASTER, "master"),
    (NodeFlags::REPLICA, "slave"),
    (NodeFlags::PFAIL, "fail?"),
    (NodeFlags::FAIL, "fail"),
    (NodeFlags::HANDSHAKE, "handshake"),
    (NodeFlags::NOADDR, "noaddr"),
    (NodeFlags::NO_FAILOVER, "nofailover"),
];
/// Written where no flag is set.
const NO_FLAGS: &str = "noflags";

/// Parses the reply of CLUSTER NODES. Empty lines are skipped.
///
/// # Errors
/// The first line that is not a node's, with its number and the reason.
pub fn parse_nodes(text: &str) -> Result<Vec<NodeLine>, BadNodes> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(i, line)| line.parse().map_err(|source| BadNodes { number: i + 1, source })).collect()
}

impl NodeLine {
    /// Whether the line is about the node that speaks.
    #[must_use]
    pub const fn is_myself(&self) -> bool {
        self.flags.contains(NodeFlags::MYSELF)
    }

    /// The shard's name, where nodes.conf gives it.
    #[must_use]
    pub fn shard_id(&self) -> Option<&str> {
        self.aux.get("shard-id").map(String::as_str)
    }
}

impl FromStr for NodeLine {
    type Err = BadNodeLine;
    fn from_str(line: &str) -> Result<Self, Self::Err> {
        parse(line).map_err(|reason| BadNodeLine { line: line.into(), reason })
    }
}

fn parse(line: &str) -> Result<NodeLine, String> {
    let mut fields = line.split_ascii_whitespace();
    let mut field = |name: &str| fields.next().ok_or_else(|| format!("no {name}"));
    let id = field("node id")?.parse().map_err(|e| format!("{e}"))?;
    let (address, hostname, aux) = parse_endpoint(field("address")?)?;
    let flags = parse_flags(field("flags")?)?;
    let master = match field("master")? {
        "-" => None,
        hex => Some(hex.parse().map_err(|e| format!("master: {e}"))?),
    };
    let ping_sent = Millis(parse_number(field("ping-sent")?, "ping-sent")?);
    let pong_received = Millis(parse_number(field("pong-recv")?, "pong-recv")?);
    let config_epoch = Epoch(parse_number(field("config epoch")?, "config epoch")?);
    let connected = match field("link state")? {
        "connected" => true,
        "disconnected" => false,
        other => return Err(format!("link state is neither connected nor disconnected: {other:?}")),
    };
    let mut node = NodeLine {
        id,
        address,
        hostname,
        aux,
        flags,
        master,
        ping_sent,
        pong_received,
        config_epoch,
        connected,
        slots: SlotSet::new(),
        migrating: Vec::new(),
        importing: Vec::new(),
    };
    fields.try_for_each(|slots| parse_slots(slots, &mut node))?;
    Ok(node)
}

/// `[ip]:port[@bus_port][,hostname[,key=value]…]`
fn parse_endpoint(text: &str) -> Result<(Address, String, BTreeMap<String, String>), String> {
    let mut parts = text.split(',');
    let address = parse_address(parts.next().unwrap_or_default())?;
    let mut hostname = String::new();
    let mut aux = BTreeMap::new();
    for (i, part) in parts.enumerate() {
        match part.split_once('=') {
            Some(("", _)) => {
                return Err(format!("auxiliary field without a name: {part:?}"));
            }
            Some((key, value)) => {
                if aux.insert(key.to_owned(), value.to_owned()).is_some() {
                    return Err(format!("auxiliary field {key} given twice"));
                }
            }
            None if i == 0 => part.clone_into(&mut hostname),
            None => return Err(format!("auxiliary field without \"=\": {part:?}")),
        }
    }
    Ok((address, hostname, aux))
}

/// The last colon ends the IP, so that IPv6 needs no brackets.
fn parse_address(text: &str) -> Result<Address, String> {
    let (ip, ports) = text.rsplit_once(':').ok_or_else(|| format!("address without a port: {text:?}"))?;
    let ip = match ip {
        "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        ip => ip.parse().map_err(|_| format!("not an IP address: {ip:?}"))?,
    };
    let port_of = |t: &str| t.parse::<u16>().map_err(|_| format!("not a port: {t:?}"));
    match ports.split_once('@') {
        Some((port, bus_port)) => Ok(Address { ip, port: port_of(port)?, bus_port: port_of(bus_port)? }),
        None => {
            let port = port_of(ports)?;
            let bus_port =
                port.checked_add(BUS_PORT_OFFSET).ok_or_else(|| format!("no bus port fits port {port}"))?;
            Ok(Address { ip, port, bus_port })
        }
    }
}

fn parse_flags(text: &str) -> Result<NodeFlags, String> {
    let mut flags = NodeFlags::empty();
    for word in text.split(',').filter(|w| *w != NO_FLAGS) {
        match FLAG_WORDS.iter().find(|(_, known)| *known == word) {
            Some((flag, _)) => flags |= *flag,
            None => return Err(format!("unknown flag {word:?}")),
        }
    }
    Ok(flags)
}

fn parse_number(text: &str, name: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{name} is not a number: {text:?}"))
}

/// `5461`, `0-5460`, `[93->-id]` or `[93-<-id]`.
fn parse_slots(text: &str, node: &mut NodeLine) -> Result<(), String> {
    let Some(open) = text.strip_prefix('[') else {
        let range: SlotRange = text.parse().map_err(|e| format!("{e}"))?;
        node.slots.insert_range(range);
        return Ok(());
    };
    let bad = || format!("not an open slot such as [93->-<id>] or [93-<-<id>]: {text:?}");
    let open = open.strip_suffix(']').ok_or_else(bad)?;
    let (slot, id, marks) = match (open.split_once("->-"), open.split_once("-<-")) {
        (Some((slot, id)), _) => (slot, id, &mut node.migrating),
        (None, Some((slot, id))) => (slot, id, &mut node.importing),
        (None, None) => return Err(bad()),
    };
    let slot = slot.parse().ok().and_then(Slot::new).ok_or_else(bad)?;
    marks.push((slot, id.parse().map_err(|_| bad())?));
    Ok(())
}

/// The line, without a line end. Auxiliary fields are written where there are any, after the host name's comma.
impl fmt::Display for NodeLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.address)?;
        if !self.hostname.is_empty() || !self.aux.is_empty() {
            write!(f, ",{}", self.hostname)?;
        }
        for (key, value) in &self.aux {
            write!(f, ",{key}={value}")?;
        }
        f.write_str(" ")?;
        write_flags(self.flags, f)?;
        match self.master {
            Some(master) => write!(f, " {master}")?,
            None => f.write_str(" -")?,
        }
        let link = if self.connected { "connected" } else { "disconnected" };
        write!(f, " {} {} {} {link}", self.ping_sent, self.pong_received, self.config_epoch)?;
        for range in self.slots.ranges() {
            write!(f, " {range}")?;
        }
        for (slot, target) in &self.migrating {
            write!(f, " [{slot}->-{target}]")?;
        }
        for (slot, source) in &self.importing {
            write!(f, " [{slot}-<-{source}]")?;
        }
        Ok(())
    }
}

fn write_flags(flags: NodeFlags, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut separator = "";
    for (_, word) in FLAG_WORDS.iter().filter(|(flag, _)| flags.contains(*flag)) {
        write!(f, "{separator}{word}")?;
        separator = ",";
    }
    if separator.is_empty() { f.write_str(NO_FLAGS) } else { Ok(()) }
}

#[cfg(test)]
mod tests;

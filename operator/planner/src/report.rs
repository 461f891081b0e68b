//! Reads what a node replies into a [`NodeReport`]. The same for pods, processes and the simulation.

use crate::observed::{
    Capabilities, Fact, NodeReport, OpenSlot, OpenState, ReplicaLink, Replication, SlotKeys, Unreachable,
    ViewFlags, ViewLine, Why,
};
use node_server_protocol::bus::NodeFlags;
use node_server_protocol::topology::{self, BadNodes, NodeLine};
use node_server_protocol::{Epoch, Role, Slot, SlotRange, SlotSet};
use std::collections::BTreeMap;

/// What to ask a node in one pipeline; the replies in this order make [`Replies`].
pub const QUERIES: [&[&str]; 5] = [
    &["CLUSTER", "NODES"],
    &["CLUSTER", "INFO"],
    &["INFO", "replication"],
    &["DBSIZE"],
    &["COMMAND", "INFO", "cluster|reopen"],
];

/// A node's replies to [`QUERIES`] and to [`Replies::slots_to_count`].
#[derive(Clone, Debug)]
pub struct Replies<'a> {
    /// CLUSTER NODES.
    pub nodes: &'a str,
    /// CLUSTER INFO.
    pub cluster_info: &'a str,
    /// INFO replication.
    pub replication: &'a str,
    /// DBSIZE; `None` when it was refused.
    pub keys: Option<u64>,
    /// COMMAND INFO cluster|reopen gave an entry that is not nil.
    pub reopen: bool,
    /// CLUSTER COUNTKEYSINSLOT of the slots that were counted.
    pub counts: &'a BTreeMap<Slot, u64>,
}

/// Why replies make no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReplies {
    /// CLUSTER NODES does not parse.
    #[error("could not read CLUSTER NODES: {0}")]
    Nodes(#[from] BadNodes),
    /// No line is the node's own.
    #[error("CLUSTER NODES has no line with the flag myself")]
    NoMyself,
    /// CLUSTER INFO names lost slots in another form.
    #[error("could not read cluster_lost_slots of CLUSTER INFO: {0:?}")]
    LostSlots(String),
    /// CLUSTER INFO names masters out of reach in another form.
    #[error("could not read cluster_unreachable_masters of CLUSTER INFO: {0:?}")]
    Unreachable(String),
    /// A field is missing or no number.
    #[error("{reply} has no number in {field}")]
    Field {
        /// Of which command.
        reply: &'static str,
        /// Which field.
        field: &'static str,
    },
}

impl Replies<'_> {
    /// The slots whose keys are to be counted before the report is made: open ones, those that the node says it has lost,
    /// and all where a node that owns no slot has keys. Counting is a second pipeline of CLUSTER COUNTKEYSINSLOT.
    ///
    /// # Errors
    /// CLUSTER NODES does not parse.
    pub fn slots_to_count(&self) -> Result<SlotSet, BadReplies> {
        let lines = topology::parse_nodes(self.nodes)?;
        let myself = lines.iter().find(|l| l.is_myself()).ok_or(BadReplies::NoMyself)?;
        if myself.master.is_none() && myself.slots.is_empty() && self.keys.is_some_and(|n| n > 0) {
            return Ok(SlotSet::full());
        }
        let open: SlotSet = open_states(myself).map(|(slot, _)| slot).collect();
        Ok(open.union(&lost_slots(self.cluster_info)?))
    }
}

/// Slots that a master of ours has lost and keeps the keys of, until their owner says that it serves.
fn lost_slots(cluster_info: &str) -> Result<SlotSet, BadReplies> {
    let Some(ranges) = field(cluster_info, "cluster_lost_slots") else {
        return Ok(SlotSet::new());
    };
    let bad = |_| BadReplies::LostSlots(ranges.to_owned());
    ranges.split(',').map(|range| range.parse::<SlotRange>().map_err(bad)).collect()
}

/// `id=seconds` for each master out of reach, -1 for never; `None` where the node does not say it.
fn unreachable(cluster_info: &str) -> Result<Option<Vec<Unreachable>>, BadReplies> {
    let Some(text) = field(cluster_info, "cluster_unreachable_masters") else {
        return Ok(None);
    };
    let entry = |entry: &str| {
        let (id, ago) = entry.split_once('=')?;
        let served_s = if ago == "-1" { None } else { Some(ago.parse().ok()?) };
        Some(Unreachable { id: id.parse().ok()?, served_s })
    };
    let entries: Option<Vec<_>> = text.split(',').filter(|e| !e.is_empty()).map(entry).collect();
    entries.map(Some).ok_or_else(|| BadReplies::Unreachable(text.to_owned()))
}

impl NodeReport {
    /// Makes the report.
    ///
    /// # Errors
    /// A reply that is not what a cluster node says. It is then unknown, never empty.
    pub fn parse(replies: &Replies<'_>) -> Result<Self, BadReplies> {
        let lines = topology::parse_nodes(replies.nodes)?;
        let myself = lines.iter().find(|l| l.is_myself()).ok_or(BadReplies::NoMyself)?;
        let info = |field| {
            number(replies.cluster_info, field).ok_or(BadReplies::Field { reply: "CLUSTER INFO", field })
        };
        let role = myself.master.map_or(Role::Master, |of| Role::Replica { of });
        Ok(Self {
            id: myself.id,
            role,
            current_epoch: Epoch(info("cluster_current_epoch")?),
            config_epoch: Epoch(info("cluster_my_epoch")?),
            cluster_ok: field(replies.cluster_info, "cluster_state") == Some("ok"),
            closed_empty: field(replies.cluster_info, "cluster_closed_empty") == Some("1"),
            no_copy: field(replies.cluster_info, "cluster_no_copy") == Some("1"),
            unreachable: unreachable(replies.cluster_info)?,
            keys: replies.keys.map_or(Fact::Unknown(Why::Failed("DBSIZE was refused".into())), Fact::Known),
            replication: replication(replies.replication, role)?,
            view: lines.iter().map(view_line).collect(),
            open_slots: open_states(myself)
                .map(|(slot, state)| open_slot(slot, state, replies.counts))
                .collect(),
            stray_keys: stray_keys(myself, replies)?,
            capabilities: Capabilities { reopen: replies.reopen },
        })
    }
}

/// `name:value` in an INFO text.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn number(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.parse().ok()
}

fn replication(text: &str, role: Role) -> Result<Replication, BadReplies> {
    let missing = |field| BadReplies::Field { reply: "INFO replication", field };
    if role.is_master() {
        let offset = number(text, "master_repl_offset").ok_or_else(|| missing("master_repl_offset"))?;
        return Ok(Replication { offset, link: ReplicaLink::NotReplica, down_s: None });
    }
    // A replica that has never synced says -1 or nothing: it has no offset worth anything.
    let offset = number(text, "slave_repl_offset").unwrap_or(0);
    let link = match (field(text, "master_link_status"), field(text, "master_sync_in_progress")) {
        (_, Some("1")) => ReplicaLink::Syncing,
        (Some("up"), _) => ReplicaLink::Up,
        _ if field(text, "master_link_down_since_seconds") == Some("-1") => ReplicaLink::NeverUp,
        _ if field(text, "master_sync_unfinished") == Some("1") => ReplicaLink::NeverUp,
        _ => ReplicaLink::Down,
    };
    Ok(Replication { offset, link, down_s: number(text, "master_link_down_since_seconds") })
}

fn view_line(line: &NodeLine) -> ViewLine {
    let has = |flag| line.flags.contains(flag);
    ViewLine {
        id: line.id,
        address: line.address,
        flags: ViewFlags {
            myself: line.is_myself(),
            pfail: has(NodeFlags::PFAIL),
            fail: has(NodeFlags::FAIL),
            handshake: has(NodeFlags::HANDSHAKE),
            noaddr: has(NodeFlags::NOADDR),
        },
        master: line.master,
        config_epoch: line.config_epoch,
        connected: line.connected,
        slots: line.slots.ranges(),
    }
}

fn open_states(line: &NodeLine) -> impl Iterator<Item = (Slot, OpenState)> + '_ {
    let going = line.migrating.iter().map(|(slot, id)| (*slot, OpenState::MigratingTo(*id)));
    going.chain(line.importing.iter().map(|(slot, id)| (*slot, OpenState::ImportingFrom(*id))))
}

fn open_slot(slot: Slot, state: OpenState, counts: &BTreeMap<Slot, u64>) -> OpenSlot {
    let keys = counts.get(&slot).map_or(Fact::Unknown(Why::NotAsked), |n| Fact::Known(*n));
    OpenSlot { slot, state, keys }
}

/// Known only where every slot that may have such keys was counted, or the node itself says which they are.
fn stray_keys(myself: &NodeLine, replies: &Replies<'_>) -> Result<Fact<Vec<SlotKeys>>, BadReplies> {
    if replies.keys == Some(0) {
        return Ok(Fact::Known(Vec::new()));
    }
    let open: SlotSet = open_states(myself).map(|(slot, _)| slot).collect();
    let foreign = SlotSet::full().difference(&myself.slots).difference(&open);
    let lost = lost_slots(replies.cluster_info)?;
    let foreign = if lost.is_empty() { foreign } else { foreign.intersection(&lost) };
    if myself.master.is_some() || foreign.iter().any(|slot| !replies.counts.contains_key(&slot)) {
        return Ok(Fact::Unknown(Why::NotAsked));
    }
    let strays = replies.counts.iter().filter(|(slot, keys)| foreign.contains(**slot) && **keys > 0);
    Ok(Fact::Known(strays.map(|(slot, keys)| SlotKeys { slot: *slot, keys: *keys }).collect()))
}

#[cfg(test)]
mod tests;

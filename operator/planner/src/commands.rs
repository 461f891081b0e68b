//! What a step means on the wire: the commands of each node, in phases. The operator and the simulation send the same.
//!
//! Phases run in order; the commands of one phase are independent and may be pipelined. An error in a phase ends the
//! step, unless the phase is [`Errors::Ignore`]; the next look decides how to go on.

use crate::step::{FailoverMode, MoveKind, NodeRef, Step};
use node_server_protocol::{Address, NodeId, Slot, SlotSet};

/// Keys asked for with one CLUSTER GETKEYSINSLOT and moved with one MIGRATE.
pub const KEYS_PER_MIGRATE: usize = 100;
/// MIGRATE's timeout in milliseconds.
pub const MIGRATE_TIMEOUT_MS: u64 = 5_000;

/// A command for one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeCommand {
    /// Whom.
    pub to: NodeRef,
    /// The words.
    pub args: Vec<String>,
}

/// What an error reply in a phase means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errors {
    /// The step ends here.
    Stop,
    /// The phase only hastens what gossip would bring.
    Ignore,
}

/// A part of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Commands, independent of each other.
    Send {
        /// Which.
        commands: Vec<NodeCommand>,
        /// What an error means.
        errors: Errors,
    },
    /// Every key of the slots goes from source to target: per slot [`get_keys`] on the source and [`migrate`] with what
    /// it gave, until it gives none. `NOKEY` is fine; `BUSYKEY` too unless `replace` (the target's copy is the newer),
    /// the key is then left behind, and a slot counts as done when all that is left has been refused so.
    MoveKeys {
        /// Who has them.
        source: NodeRef,
        /// Who gets them.
        target: NodeRef,
        /// Which slots.
        slots: SlotSet,
        /// MIGRATE … REPLACE.
        replace: bool,
    },
    /// For the platform, not for a node: [`Step::EnsureMember`] and [`Step::RemoveMember`].
    Platform,
    /// For status and events alone: [`Step::ReportLoss`].
    Report,
}

/// `CLUSTER GETKEYSINSLOT slot n`.
#[must_use]
pub fn get_keys(slot: Slot) -> Vec<Vec<u8>> {
    words(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), &KEYS_PER_MIGRATE.to_string()])
}

/// `CLUSTER COUNTKEYSINSLOT slot`.
#[must_use]
pub fn count_keys(slot: Slot) -> Vec<Vec<u8>> {
    words(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()])
}

/// `MIGRATE host port "" 0 timeout [REPLACE] KEYS key…`.
#[must_use]
pub fn migrate(target: Address, keys: &[Vec<u8>], replace: bool) -> Vec<Vec<u8>> {
    let (ip, port) = (target.ip.to_string(), target.port.to_string());
    let mut args = words(&["MIGRATE", &ip, &port, "", "0", &MIGRATE_TIMEOUT_MS.to_string()]);
    if replace {
        args.push(b"REPLACE".to_vec());
    }
    args.push(b"KEYS".to_vec());
    args.extend(keys.iter().cloned());
    args
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|w| w.as_bytes().to_vec()).collect()
}

impl Step {
    /// The step as commands.
    #[must_use]
    pub fn commands(&self) -> Vec<Phase> {
        match self {
            Self::EnsureMember { .. } | Self::RemoveMember { .. } => vec![Phase::Platform],
            Self::ReportLoss { .. } => vec![Phase::Report],
            Self::SetConfigEpoch { node, epoch } => {
                one(*node, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch.to_string()])
            }
            Self::Meet { at, peer } => {
                one(*at, &meet(peer.address).iter().map(String::as_str).collect::<Vec<_>>())
            }
            Self::AssignSlots { owner, slots, mistaken: true } => replace_owner(*owner, slots, &[]),
            Self::AssignSlots { owner, slots, mistaken: false } => vec![must(vec![add_slots(*owner, slots)])],
            Self::ReplaceOwner { owner, slots, others, .. } => replace_owner(*owner, slots, others),
            Self::Replicate { replica, master } => {
                one(*replica, &["CLUSTER", "REPLICATE", &master.id.to_string()])
            }
            Self::MigrateSlots { slots, source, target, kind, others } => match kind {
                MoveKind::Handover => hand_over(slots, *source, *target, others),
                MoveKind::Merge { claimed } => merge(slots, *source, *target, others, *claimed),
            },
            Self::CloseSlots { node, slots } => vec![must(set_slots(*node, slots, &["STABLE"]))],
            Self::Failover { replica, mode, .. } => one(*replica, failover(*mode)),
            Self::Forget { id, at, .. } => {
                vec![Phase::Send { commands: forget(*id, at), errors: Errors::Ignore }]
            }
            Self::Reset { node } => one(*node, &["CLUSTER", "RESET", "SOFT"]),
            Self::Reopen { node } => one(*node, &["CLUSTER", "REOPEN"]),
        }
    }
}

fn command(to: NodeRef, args: &[&str]) -> NodeCommand {
    NodeCommand { to, args: args.iter().map(ToString::to_string).collect() }
}

fn must(commands: Vec<NodeCommand>) -> Phase {
    Phase::Send { commands, errors: Errors::Stop }
}

fn one(to: NodeRef, args: &[&str]) -> Vec<Phase> {
    vec![must(vec![command(to, args)])]
}

/// The bus port is named only where it is not the usual one: Redis before 7 takes two arguments.
fn meet(peer: Address) -> Vec<String> {
    let mut args = vec!["CLUSTER".into(), "MEET".into(), peer.ip.to_string(), peer.port.to_string()];
    if peer.port.checked_add(node_server_protocol::address::BUS_PORT_OFFSET) != Some(peer.bus_port) {
        args.push(peer.bus_port.to_string());
    }
    args
}

const fn failover(mode: FailoverMode) -> &'static [&'static str] {
    match mode {
        FailoverMode::Graceful => &["CLUSTER", "FAILOVER"],
        FailoverMode::Forced(_) => &["CLUSTER", "FAILOVER", "FORCE"],
        FailoverMode::Takeover(_) => &["CLUSTER", "FAILOVER", "TAKEOVER"],
    }
}

fn forget(id: NodeId, at: &[NodeRef]) -> Vec<NodeCommand> {
    at.iter().map(|node| command(*node, &["CLUSTER", "FORGET", &id.to_string()])).collect()
}

fn add_slots(owner: NodeRef, slots: &SlotSet) -> NodeCommand {
    let mut add = command(owner, &["CLUSTER", "ADDSLOTSRANGE"]);
    add.args.extend(slots.ranges().iter().flat_map(|r| [r.start().to_string(), r.end().to_string()]));
    add
}

fn set_slots(to: NodeRef, slots: &SlotSet, state: &[&str]) -> Vec<NodeCommand> {
    let set = |slot: Slot| {
        let mut set = command(to, &["CLUSTER", "SETSLOT", &slot.to_string()]);
        set.args.extend(state.iter().map(ToString::to_string));
        set
    };
    slots.iter().map(set).collect()
}

fn tell_others(slots: &SlotSet, owner: NodeId, others: &[NodeRef]) -> Phase {
    let owner = owner.to_string();
    let commands = others.iter().flat_map(|node| set_slots(*node, slots, &["NODE", &owner])).collect();
    Phase::Send { commands, errors: Errors::Ignore }
}

/// The source may have heard the target's claim already; with its last slot gone it is then a replica, which refuses
/// SETSLOT.
fn hand_over(slots: &SlotSet, source: NodeRef, target: NodeRef, others: &[NodeRef]) -> Vec<Phase> {
    let (from, to) = (source.id.to_string(), target.id.to_string());
    vec![
        must(set_slots(target, slots, &["IMPORTING", &from])),
        must(set_slots(source, slots, &["MIGRATING", &to])),
        Phase::MoveKeys { source, target, slots: slots.clone(), replace: true },
        must(set_slots(target, slots, &["NODE", &to])),
        Phase::Send { commands: set_slots(source, slots, &["NODE", &to]), errors: Errors::Ignore },
        tell_others(slots, target.id, others),
    ]
}

/// SETSLOT NODE ends a migration by itself, and a source without any slot left takes no SETSLOT after it.
fn merge(slots: &SlotSet, source: NodeRef, target: NodeRef, others: &[NodeRef], claimed: bool) -> Vec<Phase> {
    let to = target.id.to_string();
    let open = if claimed { "MIGRATING" } else { "IMPORTING" };
    let mut phases = vec![
        must(set_slots(source, slots, &[open, &to])),
        Phase::MoveKeys { source, target, slots: slots.clone(), replace: false },
        must(set_slots(source, slots, &["NODE", &to])),
    ];
    if !claimed {
        phases.push(must(set_slots(source, slots, &["STABLE"])));
    }
    phases.push(tell_others(slots, target.id, others));
    phases
}

/// The new owner's claim gets a new epoch first, so that the old owner's cannot outlive it in anybody's view.
fn replace_owner(owner: NodeRef, slots: &SlotSet, others: &[NodeRef]) -> Vec<Phase> {
    vec![
        must(set_slots(owner, slots, &["NODE", &owner.id.to_string()])),
        must(vec![command(owner, &["CLUSTER", "BUMPEPOCH"])]),
        tell_others(slots, owner.id, others),
    ]
}

#[cfg(test)]
mod tests;

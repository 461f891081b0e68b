//! The model as the operator sees it.

use super::node::Node;
use super::{Line, Model};
use node_server_protocol::{Epoch, NodeId, Role, SlotSet};
use operator_planner::observed::{
    Capabilities, OpenSlot, ReplicaLink, Replication, SlotKeys, ViewFlags, ViewLine,
};
use operator_planner::{Fact, Life, Member, MemberId, NodeReport, Observed, Why};
use std::collections::BTreeMap;

impl Model {
    pub(crate) fn observe(&self) -> Observed {
        let members = self.members.iter().map(|(m, i)| (*m, self.member(&self.nodes[*i]))).collect();
        Observed { members: Fact::Known(members), gone: self.gone.clone() }
    }

    fn member(&self, node: &Node) -> Member {
        let answer = match (&node.life, &node.silent) {
            (Life::Running, None) => Fact::Known(self.report(node)),
            (_, Some(why)) => Fact::Unknown(why.clone()),
            _ => Fact::Unknown(Why::Refused),
        };
        Member {
            uid: format!("uid-{}", node.id),
            address: node.address,
            life: node.life.clone(),
            leaving: false,
            on_volume: false,
            last_id: (!matches!(node.life, Life::Starting(_) | Life::Pending(_))).then_some(node.id),
            node: answer,
        }
    }

    /// Of those that answer.
    pub(crate) fn reports(&self) -> BTreeMap<MemberId, NodeReport> {
        let running = self.members.iter().filter(|(_, i)| self.nodes[**i].running());
        running.map(|(m, i)| (*m, self.report(&self.nodes[*i]))).collect()
    }

    fn report(&self, node: &Node) -> NodeReport {
        let own = match node.role {
            Role::Master => node.slots(),
            Role::Replica { of } => node.view.get(&of).map(|l| l.slots.clone()).unwrap_or_default(),
        };
        let strays = node
            .keys
            .iter()
            .filter(|(s, k)| !k.is_empty() && !own.contains(**s) && !node.open.contains_key(s));
        NodeReport {
            id: node.id,
            role: node.role,
            current_epoch: Epoch(node.current_epoch),
            config_epoch: Epoch(node.epoch()),
            cluster_ok: !node.closed_empty,
            closed_empty: node.closed_empty,
            no_copy: false,
            unreachable: None,
            keys: Fact::Known(node.key_count()),
            replication: Replication { offset: node.offset, link: self.link(node), down_s: None },
            view: node.view.iter().map(|(id, line)| self.line(node, *id, line)).collect(),
            open_slots: node
                .open
                .iter()
                .map(|(slot, state)| OpenSlot {
                    slot: *slot,
                    state: *state,
                    keys: Fact::Known(node.key_count_in(*slot)),
                })
                .collect(),
            stray_keys: Fact::Known(
                strays.map(|(s, k)| SlotKeys { slot: *s, keys: k.len() as u64 }).collect(),
            ),
            capabilities: Capabilities { reopen: true },
        }
    }

    fn link(&self, node: &Node) -> ReplicaLink {
        let up = |of| self.by_id(of).is_some_and(|m| self.nodes[m].running() && !self.nodes[m].closed_empty);
        match node.role {
            Role::Master => ReplicaLink::NotReplica,
            Role::Replica { of } if up(of) => ReplicaLink::Up,
            Role::Replica { .. } => ReplicaLink::Down,
        }
    }

    fn line(&self, viewer: &Node, id: NodeId, line: &Line) -> ViewLine {
        let alive = self.by_id(id).is_some_and(|i| self.nodes[i].running());
        let slots: SlotSet = line.slots.clone();
        ViewLine {
            id,
            address: line.address,
            flags: ViewFlags { myself: id == viewer.id, fail: !alive, ..ViewFlags::default() },
            master: line.master,
            config_epoch: Epoch(line.epoch),
            connected: alive,
            slots: slots.ranges(),
        }
    }
}

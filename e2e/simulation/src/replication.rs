//! Replication in the simulation: a replica asks, its master answers, offsets say who has what.

use crate::dataset::{History, Sync};
use crate::network::Party;
use crate::node::ReplicaSeen;
use crate::world::{Event, World};
use node_server_cluster::Input;
use node_server_protocol::routing::Serving;
use node_server_protocol::{NodeId, Role};

/// How often a replica asks its master.
const TICK_MS: u64 = 25;
/// A replica that has asked within this time is in sync; one that has not been answered for so long has lost the link.
pub const LINK_LOST_MS: u64 = 1_000;

/// A replica's PSYNC, or its acknowledgement.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Who asks, in which life.
    pub replica: usize,
    /// Its life.
    pub incarnation: u32,
    /// Grows with every question and with every answer.
    pub number: u64,
    /// What it has.
    pub history: History,
    /// How much of it.
    pub offset: u64,
}

impl World {
    pub(crate) fn replication_tick(&mut self, node: usize, incarnation: u32) {
        if self.nodes[node].incarnation != incarnation || self.nodes[node].cluster.is_none() {
            return;
        }
        self.at(self.now + TICK_MS, Event::ReplicationTick { node, incarnation });
        let silent = self.now.saturating_sub(self.nodes[node].master_answered) > LINK_LOST_MS;
        if silent && std::mem::take(&mut self.nodes[node].link_up) {
            self.nodes[node].link_lost = self.now;
        }
        let synced = &mut self.nodes[node];
        synced.volume.sync(&synced.data, self.now);
        self.log_kept(node);
        self.ask_master(node, incarnation);
        let status = self.nodes[node].replication_status();
        self.input(node, Input::Replication(status));
    }

    fn ask_master(&mut self, replica: usize, incarnation: u32) {
        let Some(following) = self.nodes[replica].following else { return };
        let Some(master) = self.listening_at(following.address.bus()) else { return };
        let asked = Party::Node(master);
        if let Some(arrival) = self.network.datagram(self.now, Party::Node(replica), asked) {
            let (history, offset) = (self.nodes[replica].data.history(), self.nodes[replica].data.offset());
            self.next_question += 1;
            let asked = Question { replica, incarnation, number: self.next_question, history, offset };
            self.at(arrival, Event::SyncAsked { master, asked });
        }
    }

    pub(crate) fn sync_asked(&mut self, master: usize, asked: Question) {
        let Question { replica, history, offset, .. } = asked;
        let Some(routing) = self.nodes[master].routing.clone() else { return };
        // A replica does not feed others here, and an empty closed master does not answer.
        let answers = routing.role == Role::Master && routing.serving != Serving::ClosedEmpty;
        if !answers || self.nodes[master].cluster.is_none() {
            return;
        }
        if history == self.nodes[master].data.history() {
            let seen = ReplicaSeen { offset, at: self.now };
            self.nodes[master].replicas.insert(replica, seen);
            self.watch_acknowledged(master);
        }
        let sync = self.nodes[master].data.sync(history, offset);
        if let Some(arrival) = self.network.datagram(self.now, Party::Node(master), Party::Node(replica)) {
            let full = matches!(sync, Sync::Full(_));
            // Questions may overtake each other on their way: the stream's order is that of the answers.
            self.next_question += 1;
            let asked = Question { number: self.next_question, ..asked };
            self.at(arrival, Event::SyncAnswered { asked, master: routing.myself, sync });
            if full {
                // A snapshot has no open slots in it: they follow it in the log.
                self.input(master, Input::ReplicaSynced);
            }
        }
    }

    pub(crate) fn sync_answered(&mut self, asked: Question, master: NodeId, sync: Sync) {
        let Question { replica, incarnation, number, .. } = asked;
        let (member, full) = (self.nodes[replica].member, matches!(sync, Sync::Full(_)));
        let node = &mut self.nodes[replica];
        if node.incarnation != incarnation || node.following.is_none_or(|f| f.master != master) {
            return;
        }
        // Earlier in the stream than what has been taken.
        if number < node.answered {
            return;
        }
        node.answered = number;
        let before = node.data.offset();
        let Some(commands) = node.data.follow(sync) else { return };
        if full {
            let now = node.data.offset();
            self.stats.full_syncs += 1;
            self.log(|| format!("{member} at {before} took a full sync of {master} at {now}"));
        }
        let node = &mut self.nodes[replica];
        node.link_up = true;
        node.link_was_up = true;
        node.master_answered = self.now;
        node.last_master_io = Some(node.clock.read(self.now));
        for args in commands {
            self.watch_command(replica, &args);
            self.input(replica, Input::ReplicatedSetSlot { args });
        }
        self.watch_keys_dropped(replica);
    }

    /// Offsets of the replicas that are in sync with this master.
    pub fn replicas_in_sync(&self, master: usize) -> impl Iterator<Item = u64> + '_ {
        let fresh = |seen: &&ReplicaSeen| self.now - seen.at <= LINK_LOST_MS;
        self.nodes[master].replicas.values().filter(fresh).map(|seen| seen.offset)
    }
}

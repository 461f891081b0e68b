//! Doing what a node's state machine wants done, as the node's shell would.

use crate::dataset::{Effect, Key};
use crate::node::Following;
use crate::world::{Event, World};
use node_server_cluster::{Input, Output, Token};
use node_server_protocol::{Millis, Role, Slot, SlotSet};

/// How long a disk takes to make nodes.conf durable.
const PERSIST_MS: (u64, u64) = (1, 12);
/// Longest that the OK of a SETSLOT waits for a replica in sync (as in the node).
const SETSLOT_ACK_MS: u64 = 1_000;
/// The reply to a command that was to be replicated by a node that has been demoted meanwhile.
const OVERTAKEN: &[u8] = b"-ERR Please use SETSLOT only with masters.\r\n";
/// Least time between two looks at replies that wait.
pub const GATE_TICK_MS: u64 = 5;

/// A reply that waits until a replica in sync has a log offset.
#[derive(Clone, Debug)]
pub struct Held {
    /// What the replica has to have.
    pub offset: u64,
    /// Then it leaves all the same.
    pub until: u64,
    /// What leaves.
    pub reply: HeldReply,
}

/// A record for the log, and the reply that depends on it.
#[derive(Clone, Debug)]
pub struct Record {
    command: Vec<Vec<u8>>,
    reply: Option<(Token, Vec<u8>)>,
}

/// What leaves when the gate opens.
#[derive(Clone, Debug)]
pub enum HeldReply {
    /// A command's reply, to the operator.
    Command(Token, Vec<u8>),
    /// The acknowledgement of a key that crossed.
    Crossed(crate::operator::Crossing),
}

impl World {
    /// Takes every output of a node and sees to its next deadline.
    pub fn drain(&mut self, node: usize) {
        loop {
            let Some(cluster) = &mut self.nodes[node].cluster else { return };
            let mut outputs: Vec<Output> = std::iter::from_fn(|| cluster.poll_output()).collect();
            if outputs.is_empty() {
                break;
            }
            outputs.sort_by_key(urgency);
            for output in outputs {
                self.output(node, output);
            }
        }
        self.schedule_deadline(node);
    }

    fn schedule_deadline(&mut self, node: usize) {
        let Some(local) = self.nodes[node].cluster.as_ref().and_then(|c| c.poll_deadline()) else { return };
        let when = self.nodes[node].clock.when(local, self.now).max(self.now + 1);
        if self.nodes[node].deadline.is_none_or(|d| when < d || d <= self.now) {
            self.nodes[node].deadline = Some(when);
            let incarnation = self.nodes[node].incarnation;
            self.at(when, Event::Deadline { node, incarnation });
        }
    }

    fn output(&mut self, node: usize, output: Output) {
        match output {
            Output::Connect { link, to } => self.connect(node, link, to),
            Output::Send { link, frame } => {
                let receiver = self.other_end(node, link);
                self.watch_send(node, receiver, &frame);
                self.send(node, link, frame);
            }
            Output::Close { link } => self.close(node, link),
            Output::Persist { seq, text } => {
                let when = self.now + self.rng.between(PERSIST_MS.0, PERSIST_MS.1);
                let incarnation = self.nodes[node].incarnation;
                self.nodes[node].write_made = self.now;
                self.at(when, Event::Persisted { node, incarnation, seq, text });
            }
            Output::Reply { token, bytes } => self.operator_reply(node, token, bytes),
            Output::ReplicateThenReply { token, command, bytes } => {
                self.replicate(node, Record { command, reply: Some((token, bytes)) });
            }
            Output::Replicate { command } => self.replicate(node, Record { command, reply: None }),
            Output::Publish(routing) => {
                self.nodes[node].routing = Some(routing);
            }
            Output::Follow { master, address, same_shard: _ } => {
                self.follow(node, Following { master, address });
            }
            Output::BecomeMaster => self.become_master(node),
            Output::DropKeys { slots } => self.drop_keys(node, &slots),
            Output::DropAllKeys => {
                self.nodes[node].data = crate::dataset::Dataset::new(self.new_history());
                self.watch_keys_dropped(node);
            }
            Output::PauseWrites { until } => self.pause_writes(node, until),
            Output::ResumeWrites => {
                self.nodes[node].writes_paused_until = None;
                self.log_kept(node);
            }
            Output::HandOver(_) => {}
            Output::Log { level, message } => {
                let member = self.nodes[node].member;
                self.log(|| format!("{member} {level:?}: {message}"));
            }
            Output::Fatal { message } => {
                let member = self.nodes[node].member;
                self.violation(format!("{member} cannot go on: {message}"));
            }
        }
    }

    /// The same master at the same place changes nothing. Of another one's link nothing is known yet; at another place it is
    /// the same master's data.
    fn follow(&mut self, node: usize, following: Following) {
        let member = self.nodes[node].member;
        let node = &mut self.nodes[node];
        if !following.address.has_ip() || node.following == Some(following) {
            return;
        }
        let moved = node.following.is_some_and(|before| before.master == following.master);
        node.following = Some(following);
        if std::mem::take(&mut node.link_up) {
            node.link_lost = self.now;
        }
        if !moved {
            node.link_was_up = false;
            node.last_master_io = None;
        }
        node.replicas.clear();
        self.log(|| format!("{member} follows {} at {}", following.master, following.address.client()));
    }

    /// A master's deletions are in its log; a replica leaves them to its master.
    fn drop_keys(&mut self, node: usize, slots: &SlotSet) {
        let Some(routing) = self.nodes[node].routing.clone().filter(|r| r.role == Role::Master) else {
            return;
        };
        if self.writes_paused(node) {
            // As in the engine: what cannot be logged is not deleted.
            return;
        }
        let data = &self.nodes[node].data;
        let lost: Vec<(Slot, Key)> = data
            .slots()
            .into_iter()
            .filter(|slot| slots.contains(*slot) && !routing.is_mine(*slot))
            .flat_map(|slot| data.keys_in(slot).map(move |(key, _)| (slot, key)))
            .collect();
        let member = self.nodes[node].member;
        self.log(|| format!("{member} drops {} keys of {slots}", lost.len()));
        for (slot, key) in lost {
            self.write(node, Effect::Gone(slot, key));
            self.nodes[node].leaving.remove(&key);
        }
        self.watch_keys_dropped(node);
    }

    /// Logs a record, or keeps it until writes go on. A replica's log is its master's alone.
    fn replicate(&mut self, node: usize, record: Record) {
        if self.nodes[node].following.is_some() {
            if let Some((token, _)) = record.reply {
                self.operator_reply(node, token, OVERTAKEN.to_vec());
            }
            return;
        }
        if self.writes_paused(node) {
            return self.nodes[node].unlogged.push(record);
        }
        let offset = self.write(node, Effect::SetSlot(record.command));
        if let Some((token, bytes)) = record.reply {
            self.hold(node, offset, SETSLOT_ACK_MS, HeldReply::Command(token, bytes));
        }
    }

    /// Logs what was kept while writes were held back.
    pub(crate) fn log_kept(&mut self, node: usize) {
        if self.nodes[node].unlogged.is_empty() || self.writes_paused(node) {
            return;
        }
        for record in std::mem::take(&mut self.nodes[node].unlogged) {
            self.replicate(node, record);
        }
    }

    fn become_master(&mut self, node: usize) {
        let was_replica = self.nodes[node].following.take();
        let history = self.new_history();
        let member = self.nodes[node].member;
        self.log(|| format!("{member} is a master now"));
        self.nodes[node].data.promote(history);
        self.nodes[node].link_up = false;
        self.nodes[node].replicas.clear();
        if let Some(following) = was_replica {
            self.stats.promotions += 1;
            self.watch_promotion(node, following.master);
        }
    }

    fn pause_writes(&mut self, node: usize, until: Millis) {
        self.nodes[node].writes_paused_until = Some(until);
        let offset = self.nodes[node].data.offset();
        // Writes are single steps here: none is under way.
        let now = self.local(node);
        if let Some(cluster) = &mut self.nodes[node].cluster {
            cluster.handle_input(now, Input::WritesPaused { offset });
        }
    }

    /// Whether writes are held back now.
    #[must_use]
    pub fn writes_paused(&self, node: usize) -> bool {
        self.nodes[node].writes_paused_until.is_some_and(|until| self.local(node) < until)
    }

    /// Lets a reply wait for a replica in sync; with none, it leaves at once.
    pub fn hold(&mut self, node: usize, offset: u64, bound_ms: u64, reply: HeldReply) {
        let held = Held { offset, until: self.now + bound_ms, reply };
        if self.gate_offset(node).is_none_or(|reached| held.is_free(reached, self.now)) {
            return self.let_go(node, held.reply);
        }
        self.nodes[node].held.push(held);
        if self.nodes[node].held.len() == 1 {
            self.schedule_gate(node);
        }
    }

    /// One look at a time for all that a node holds.
    fn schedule_gate(&mut self, node: usize) {
        let incarnation = self.nodes[node].incarnation;
        self.at(self.now + GATE_TICK_MS, Event::GateTick { node, incarnation });
    }

    /// How far the replica in sync is that has most; `None` when there is none to wait for.
    fn gate_offset(&self, node: usize) -> Option<u64> {
        let expected = self.nodes[node].routing.as_ref().is_some_and(|r| r.expects_replica);
        self.replicas_in_sync(node).max().or_else(|| expected.then_some(0))
    }

    pub(crate) fn gate_tick(&mut self, node: usize, incarnation: u32) {
        if self.nodes[node].incarnation != incarnation || self.nodes[node].cluster.is_none() {
            return;
        }
        let (reached, now) = (self.gate_offset(node), self.now);
        let is_free = |held: &Held| reached.is_none_or(|reached| held.is_free(reached, now));
        let waiting = std::mem::take(&mut self.nodes[node].held);
        let (free, kept): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_free);
        if !kept.is_empty() {
            self.nodes[node].held = kept;
            self.schedule_gate(node);
        }
        for held in free {
            self.let_go(node, held.reply);
        }
    }

    fn let_go(&mut self, node: usize, reply: HeldReply) {
        // One that was demoted meanwhile promises nothing.
        let overtaken = self.nodes[node].following.is_some();
        match reply {
            HeldReply::Command(token, _) if overtaken => self.operator_reply(node, token, OVERTAKEN.to_vec()),
            HeldReply::Command(token, bytes) => self.operator_reply(node, token, bytes),
            HeldReply::Crossed(crossing) => self.reply_crossing(crossing, !overtaken),
        }
    }
}

impl Held {
    fn is_free(&self, reached: u64, now: u64) -> bool {
        self.offset <= reached || now >= self.until
    }
}

/// The node's shell carries out what came in one turn in this order: the role before the table, both before replies.
fn urgency(output: &Output) -> u8 {
    match output {
        Output::Log { .. } => 0,
        Output::BecomeMaster => 1,
        Output::Publish(_) => 2,
        Output::Follow { .. } => 3,
        Output::DropAllKeys => 4,
        _ => 5,
    }
}

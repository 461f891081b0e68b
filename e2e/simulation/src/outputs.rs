//! Doing what a node's state machine wants done, as the node's shell would.

use crate::dataset::Effect;
use crate::node::Following;
use crate::world::{Event, World};
use node_server_cluster::{Input, Output, Token};
use node_server_protocol::Millis;

/// How long a disk takes to make nodes.conf durable.
const PERSIST_MS: (u64, u64) = (1, 12);
/// Longest that the OK of a SETSLOT waits for a replica in sync (as in the node).
const SETSLOT_ACK_MS: u64 = 1_000;
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
            let Some(output) = cluster.poll_output() else { break };
            self.output(node, output);
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
                self.at(when, Event::Persisted { node, incarnation, seq, text });
            }
            Output::Reply { token, bytes } => self.operator_reply(node, token, bytes),
            Output::ReplicateThenReply { token, command, bytes } => {
                let offset = self.write(node, Effect::SetSlot(command));
                self.hold(node, offset, SETSLOT_ACK_MS, HeldReply::Command(token, bytes));
            }
            Output::Replicate { command } => {
                self.write(node, Effect::SetSlot(command));
            }
            Output::Publish(routing) => {
                self.nodes[node].routing = Some(routing);
            }
            Output::Follow { master, address, same_shard: _ } => {
                let member = self.nodes[node].member;
                self.log(|| format!("{member} follows {master}"));
                self.nodes[node].following = Some(Following { master, address });
                self.nodes[node].link_up = false;
            }
            Output::BecomeMaster => self.become_master(node),
            Output::DropKeys { slots } => {
                let member = self.nodes[node].member;
                self.log(|| format!("{member} drops the keys of {slots}"));
                self.nodes[node].data.drop_slots(&slots);
                self.watch_keys_dropped(node);
            }
            Output::DropAllKeys => {
                self.nodes[node].data = crate::dataset::Dataset::new(self.new_history());
                self.watch_keys_dropped(node);
            }
            Output::PauseWrites { until } => self.pause_writes(node, until),
            Output::ResumeWrites => self.nodes[node].writes_paused_until = None,
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

    /// How far the replica in sync is that has most; `None` when there is none.
    fn gate_offset(&self, node: usize) -> Option<u64> {
        self.replicas_in_sync(node).max()
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
        match reply {
            HeldReply::Command(token, bytes) => self.operator_reply(node, token, bytes),
            HeldReply::Crossed(crossing) => self.crossed(crossing),
        }
    }
}

impl Held {
    fn is_free(&self, reached: u64, now: u64) -> bool {
        self.offset <= reached || now >= self.until
    }
}

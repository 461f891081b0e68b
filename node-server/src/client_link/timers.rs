//! Deadlines of connections, and what is looked at now and then.

use super::connection::State;
use super::output::Reached;
use super::{DataThread, Hub};
use node_server_engine::Engine;
use node_server_engine::command::replication::NO_FILE;
use node_server_protocol::Millis;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// How often idle clients and settings are looked at.
const SURVEY_MS: u64 = 1000;

/// Deadlines by time. An entry may be stale: its connection has gone or waits for something else by now.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Millis, u64)>>,
    surveyed: Millis,
}

impl Timers {
    /// Looks at connection `id` again at `at`.
    pub(super) fn add(&mut self, at: Millis, id: u64) {
        self.heap.push(Reverse((at, id)));
    }

    pub(super) fn until_next(&self, now: Millis) -> Option<Duration> {
        self.heap.peek().map(|Reverse((at, _))| Duration::from_millis(at.since(now)))
    }

    fn due(&mut self, now: Millis) -> Option<u64> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, id))| id)
    }
}

/// Said to whoever waits at a master that becomes a replica, before the connection is closed (Redis:
/// disconnectAllBlockedClients).
const UNBLOCKED: &str =
    "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n";

/// The reply to WAIT or WAITAOF, if it is time for it.
fn end_of_wait(engine: &Engine, waiting: &State, now: Millis) -> Option<String> {
    let State::Waiting { replicas, offset, deadline, local, .. } = *waiting else { return None };
    if engine.is_replica() {
        return Some(UNBLOCKED.into());
    }
    let is_over = deadline.is_some_and(|deadline| deadline <= now);
    let acks = engine.acks();
    let Some(local) = local else {
        let count = acks.count(offset);
        return (is_over || count >= replicas).then(|| format!(":{count}\r\n"));
    };
    if local > 0 && !engine.durability().is_on() {
        return Some(format!("-{NO_FILE}\r\n"));
    }
    let (here, there) = (engine.has_on_disk(offset), acks.count_on_disk(offset));
    (is_over || (here >= local && there >= replicas)).then(|| format!("*2\r\n:{here}\r\n:{there}\r\n"))
}

impl DataThread {
    pub(super) fn run_timers(&mut self) {
        while let Some(id) = self.hub.timers.due(self.hub.now) {
            if let Some(at) = self.hub.by_id.get(&id).copied() {
                if let Some(connection) = self.hub.connection(at) {
                    connection.timer = None;
                }
                self.hub.look_at_gate(at);
                self.hub.next.push(at);
            }
        }
        if self.hub.draining.is_some() {
            self.hub.part_from_silent();
        }
        if self.hub.now.since(self.hub.timers.surveyed) >= SURVEY_MS {
            self.hub.timers.surveyed = self.hub.now;
            self.hub.close_idle();
        }
    }
}

impl Hub {
    /// `timeout`: closes clients that sent nothing for so long and wait for nothing.
    fn close_idle(&mut self) {
        let timeout_ms = self.settings.timeout_s * 1000;
        if timeout_ms > 0 {
            self.close_silent(timeout_ms);
        }
    }

    /// Opens what acknowledgements or the clock open: gates, and WAITs.
    pub(super) fn look_at_gate(&mut self, at: usize) {
        let now = self.now;
        let acks = self.node.engine.acks();
        // Where there is no replica there is nothing to wait for.
        let acknowledged = if acks.holds() { acks.furthest() } else { u64::MAX };
        let Some(connection) = self.connections.get_mut(at).and_then(Option::as_deref_mut) else { return };
        let engine = &self.node.engine;
        if engine.is_replica() && connection.output.is_gated() {
            connection.output.open_asks(|slot, to| engine.is_owned_by(slot, to));
            // Another master has taken over, with or without what the rest depends on: nobody may build on that.
            connection.dead = connection.output.is_gated();
            if connection.dead {
                return;
            }
        }
        let synced = engine.durability().passed();
        connection.output.open_gates(Reached { acknowledged, synced, now });
        if let State::Waiting { seq, .. } = connection.state
            && let Some(reply) = end_of_wait(&self.node.engine, &connection.state, now)
        {
            connection.closing |= reply == UNBLOCKED;
            connection.state = State::Open;
            connection.output.fulfil(seq, reply.into_bytes());
        }
        self.book_gate(at);
    }

    /// Keeps the lists of those who wait for acknowledgements in step with the connection.
    pub(super) fn book_gate(&mut self, at: usize) {
        let Some(connection) = self.connections.get_mut(at).and_then(Option::as_deref_mut) else { return };
        let waits = connection.output.is_gated() || matches!(connection.state, State::Waiting { .. });
        if waits != connection.gated {
            connection.gated = waits;
            self.node.mailboxes.gated(waits);
            if waits {
                self.gated.insert(at);
            } else {
                self.gated.remove(&at);
            }
        }
        let deadline = match connection.state {
            State::Waiting { deadline, .. } => deadline,
            _ => connection.output.gate_deadline(),
        };
        let sooner = |at: &Millis| connection.timer.is_none_or(|set| *at < set);
        if let Some(deadline) = deadline.filter(|_| waits).filter(sooner) {
            connection.timer = Some(deadline);
            self.timers.add(deadline, connection.client.id);
        }
    }
}

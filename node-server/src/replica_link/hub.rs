//! What the links of the replication thread share: who follows us, whom we follow, and how far everybody is.

use super::failover::{self, Failover, Verdict};
use super::{BATCH_ACK, IN_SYNC_MS};
use crate::clients::Client;
use crate::links::Between;
use crate::node::{FailoverState, MasterLink, Node, ReplicaLink, ReplicationStatus, now};
use crate::start::random_id;
use node_server_engine::{MasterAddress, ReplicaAck};
use node_server_protocol::Millis;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{Notify, watch};

/// How a replica's sync stands; INFO's words are in [`ReplicaState::word`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplicaState {
    /// Its snapshot has not begun.
    Waiting,
    /// The snapshot is being sent, or loaded there.
    Sending,
    /// It gets the log.
    Online,
}

impl ReplicaState {
    fn word(self) -> &'static str {
        match self {
            Self::Waiting => "wait_bgsave",
            Self::Sending => "send_bulk",
            Self::Online => "online",
        }
    }
}

/// What a replica acknowledges: log offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ack {
    /// It has everything up to here.
    pub(super) received: u64,
    /// It has everything up to here on its disk, where it says so (FACK).
    pub(super) on_disk: Option<u64>,
}

/// One replica of this node.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) ip: String,
    pub(super) port: u16,
    pub(super) state: ReplicaState,
    /// Log offset up to which it was sent.
    pub(super) sent: u64,
    /// Log offset that it acknowledged; `None`: it has not said anything yet.
    pub(super) acknowledged: Option<u64>,
    /// Log offset up to which it has everything on its disk.
    pub(super) on_disk: u64,
    /// When it last said anything.
    pub(super) last_heard: Millis,
    /// When it last took anything.
    pub(super) last_taken: Millis,
    /// When it last acknowledged.
    pub(super) last_ack: Millis,
    /// It acknowledges by itself.
    pub(super) batch_ack: bool,
    /// Its acknowledgements, for the task that sends.
    pub(super) acked: Arc<Notify>,
    /// Its entry in CLIENT LIST.
    pub(super) client: Arc<Client>,
}

impl Replica {
    /// When there was last a sign of life. That the system takes bytes for it is one only before it has to acknowledge.
    pub(super) fn last_sign(&self) -> Millis {
        match self.state {
            ReplicaState::Online => self.last_heard,
            ReplicaState::Waiting | ReplicaState::Sending => self.last_heard.max(self.last_taken),
        }
    }

    fn is_at(&self, address: &MasterAddress) -> bool {
        self.ip == address.host && self.port == address.port
    }

    fn in_sync(&self, now: Millis) -> bool {
        self.state == ReplicaState::Online
            && self.acknowledged.is_some()
            && now.since(self.last_ack) <= IN_SYNC_MS
    }
}

/// What all tasks of the thread share.
pub(super) struct Hub {
    pub(super) node: Arc<Node>,
    pub(super) between: Arc<Between>,
    /// Told whenever the log has grown.
    pub(super) grown: watch::Sender<()>,
    /// Told when replicas have to begin anew: the log is another one, or has another name.
    pub(super) cut: watch::Sender<()>,
    answered: Notify,
    state: Mutex<State>,
}

struct State {
    replicas: BTreeMap<u64, Replica>,
    made: u64,
    master: Option<MasterLink>,
    failover: Option<Failover>,
    /// What the target of a failover said.
    verdict: Option<Verdict>,
    last_ping: Millis,
    /// Since when there is neither a replica nor a master.
    alone_since: Millis,
    asked_ack: u64,
}

impl State {
    fn new(now: Millis) -> Self {
        Self {
            replicas: BTreeMap::new(),
            made: 0,
            master: None,
            failover: None,
            verdict: None,
            // No PING right behind the first sync: who comes back after this node's restart finds the offset it left.
            last_ping: now,
            alone_since: now,
            asked_ack: 0,
        }
    }

    /// As in Redis, this clock runs whether there are replicas or not.
    fn ping_is_due(&mut self, now: Millis, period_ms: u64) -> bool {
        let due = now.since(self.last_ping) >= period_ms;
        if due {
            self.last_ping = now;
        }
        due
    }

    /// For how long there has been neither a replica nor a master. Asked every 100 ms.
    fn alone_ms(&mut self, now: Millis) -> u64 {
        if !self.replicas.is_empty() || self.master.is_some() {
            self.alone_since = now;
        }
        now.since(self.alone_since)
    }
}

/// What a PSYNC led to, for INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Granted {
    Partial,
    /// And whether a partial sync had been asked for.
    Full {
        refused: bool,
    },
}

impl Hub {
    pub(super) fn new(node: Arc<Node>, between: Arc<Between>) -> Self {
        Self {
            node,
            between,
            grown: watch::Sender::new(()),
            cut: watch::Sender::new(()),
            answered: Notify::new(),
            state: Mutex::new(State::new(now())),
        }
    }

    /// A replica has come; its number.
    pub(super) fn add(&self, replica: Replica) -> u64 {
        self.node.engine.log().wake();
        self.node.clients.add(Arc::clone(&replica.client));
        let mut state = self.state.lock();
        state.made += 1;
        let number = state.made;
        state.replicas.insert(number, replica);
        drop(state);
        self.publish();
        number
    }

    /// A replica has gone.
    pub(super) fn remove(&self, number: u64) {
        if let Some(replica) = self.state.lock().replicas.remove(&number) {
            self.node.clients.remove(replica.client.id);
        }
        self.acks_changed();
        self.publish();
    }

    /// Changes what is known of a replica. Nothing that others look at: see [`Hub::acked`] and [`Hub::set_state`].
    pub(super) fn update<R>(&self, number: u64, change: impl FnOnce(&mut Replica) -> R) -> Option<R> {
        self.state.lock().replicas.get_mut(&number).map(change)
    }

    pub(super) fn set_state(&self, number: u64, to: ReplicaState) {
        self.update(number, |replica| replica.state = to);
        self.acks_changed();
        self.publish();
    }

    pub(super) fn granted(&self, granted: Granted) {
        let stats = &self.node.stats;
        match granted {
            Granted::Partial => stats.partial_syncs.add(1),
            Granted::Full { refused } => {
                stats.full_syncs.add(1);
                stats.partial_syncs_refused.add(u64::from(refused));
            }
        }
    }

    /// REPLCONF ACK.
    pub(super) fn acked(&self, number: u64, ack: Ack) {
        let at = now();
        self.update(number, |replica| {
            replica.acknowledged = Some(ack.received);
            replica.on_disk = ack.on_disk.unwrap_or(replica.on_disk);
            (replica.last_heard, replica.last_ack) = (at, at);
            replica.client.last_active.store(at.0, Ordering::Relaxed);
            replica.acked.notify_one();
        });
        self.acks_changed();
    }

    /// Tells gates, WAITs and the bus thread how far replicas are.
    fn acks_changed(&self) {
        let now = now();
        let acks = self
            .state
            .lock()
            .replicas
            .values()
            // As in Redis, who is still being synced does not count, not even for a WAIT without a write.
            .filter(|r| r.state == ReplicaState::Online)
            .map(|r| ReplicaAck {
                offset: r.acknowledged.unwrap_or(0),
                on_disk: r.on_disk,
                in_sync: r.in_sync(now),
            })
            .collect();
        self.node.engine.acks().set(acks);
        self.node.mailboxes.acks_advanced();
        self.between.acks.notify_one();
    }

    /// Something was appended, or a reply waits for an acknowledgement.
    pub(super) fn log_grew(&self) {
        self.grown.send_replace(());
        let wanted = self.node.replication.wanted_ack();
        let state = self.state.lock();
        let silent = |r: &Replica| r.state == ReplicaState::Online && !r.batch_ack;
        if wanted > state.asked_ack && state.replicas.values().any(silent) {
            drop(state);
            // While writes are held back nothing is appended; the replica's next ACK is at most a second away.
            if self.node.engine.append_getack() {
                self.state.lock().asked_ack = wanted;
            }
        }
    }

    /// Every 100 ms.
    pub(super) fn tick(&self) {
        let now = now();
        let period_ms = self.node.config.settings().repl_ping_replica_period_s * 1000;
        let mut state = self.state.lock();
        let online = state.replicas.values().any(|r| r.state == ReplicaState::Online);
        let ping = state.ping_is_due(now, period_ms) && online;
        let alone_ms = state.alone_ms(now);
        drop(state);
        self.give_up_backlog(alone_ms);
        if ping {
            self.node.engine.append_ping();
        }
        self.acks_changed();
        self.publish();
    }

    /// `repl-backlog-ttl`.
    fn give_up_backlog(&self, alone_ms: u64) {
        let ttl_s = self.node.config.settings().repl_backlog_ttl_s;
        let log = self.node.engine.log();
        if ttl_s == 0 || alone_ms <= ttl_s.saturating_mul(1000) || log.is_asleep() {
            return;
        }
        match random_id() {
            Ok(id) if log.sleep(id.to_string()) => {
                tracing::info!("Replication backlog freed after {ttl_s} seconds without connected replicas.");
            }
            Ok(_) => {}
            Err(error) => tracing::error!("the backlog is kept: {error:#}"),
        }
    }

    pub(super) fn config_changed(&self) {
        // Settings are read where they act; only what waits for them has to wake up.
        self.grown.send_replace(());
    }

    /// All replicas have to begin anew.
    pub(super) fn cut_replicas(&self) {
        self.cut.send_replace(());
    }

    /// What is known of the link to the master; `None`: this node is a master.
    pub(super) fn set_master(&self, master: Option<MasterLink>) {
        if master.is_some() {
            self.node.engine.log().wake();
        }
        self.state.lock().master = master;
        self.publish();
    }

    /// The same master is to be found elsewhere: how old the copy is stays known, and with it whether it may take over.
    pub(super) fn move_master(&self, to: &MasterAddress) {
        let at = now();
        self.update_master(|master| master.move_to(to, at));
        self.publish();
    }

    /// Changes what is known of the link to the master.
    pub(super) fn update_master(&self, change: impl FnOnce(&mut MasterLink)) {
        if let Some(master) = self.state.lock().master.as_mut() {
            change(master);
        }
    }

    /// A step of the link to the master.
    pub(super) fn link_state(&self, word: &'static str) {
        let at = now();
        self.update_master(|master| master.enter(word, at));
        self.publish();
    }

    /// The failover under way.
    pub(super) fn failover(&self) -> Option<Failover> {
        self.state.lock().failover.clone()
    }

    pub(super) fn set_failover(&self, failover: Option<Failover>) {
        self.note_failover(failover);
        self.publish();
    }

    /// Others see it with the next [`Hub::publish`].
    pub(super) fn note_failover(&self, failover: Option<Failover>) {
        let mut state = self.state.lock();
        state.failover = failover;
        state.verdict = None;
    }

    /// What the target said to PSYNC … FAILOVER. Once it has taken over, writes are held back no longer: its stream
    /// could not be applied, and here they are refused.
    pub(super) fn failover_answered(&self, verdict: Verdict) {
        self.state.lock().verdict = Some(verdict);
        if verdict == Verdict::Accepted {
            failover::resume(self);
        }
        self.answered.notify_one();
    }

    /// Ends when a target has answered.
    pub(super) async fn answered(&self) {
        self.answered.notified().await;
    }

    pub(super) fn take_verdict(&self) -> Option<Verdict> {
        self.state.lock().verdict.take()
    }

    /// Whether a replica is online; `None`: it is none of ours.
    pub(super) fn is_online(&self, who: &MasterAddress) -> Option<bool> {
        let state = self.state.lock();
        let replica = state.replicas.values().find(|r| r.is_at(who))?;
        Some(replica.state == ReplicaState::Online)
    }

    /// A replica that has acknowledged everything up to `end`, `only` this one if one is named.
    pub(super) fn who_has(&self, end: u64, only: Option<&MasterAddress>) -> Option<MasterAddress> {
        let state = self.state.lock();
        let has = |r: &&Replica| {
            r.state == ReplicaState::Online
                && r.acknowledged.is_some_and(|at| at >= end)
                && only.is_none_or(|only| r.is_at(only))
        };
        state.replicas.values().find(has).map(|r| MasterAddress { host: r.ip.clone(), port: r.port })
    }

    /// Whether the link to the master is up; a master has none and needs none.
    pub(super) fn has_data(&self) -> bool {
        self.state.lock().master.as_ref().is_none_or(|m| m.state == "connected")
    }

    /// Lets others see all this.
    pub(super) fn publish(&self) {
        let state = self.state.lock();
        let up = state.master.as_ref().is_none_or(|m| m.state == "connected");
        let serve_stale = self.node.config.settings().replica_serve_stale_data;
        self.node.engine.set_refuse_stale(!up && !serve_stale);
        let end = self.node.engine.log().end();
        for replica in state.replicas.values().filter(|r| r.sent > 0) {
            replica.client.output_bytes.store(end.saturating_sub(replica.sent), Ordering::Relaxed);
        }
        let replicas = state.replicas.values().map(|r| ReplicaLink {
            ip: r.ip.clone(),
            port: r.port,
            state: r.state.word(),
            offset: r.acknowledged.unwrap_or(0),
            last_ack: r.last_ack,
        });
        let status = ReplicationStatus {
            master: state.master.clone(),
            replicas: replicas.collect(),
            loading: self.node.engine.is_loading(),
            failover: state.failover.as_ref().map_or(FailoverState::None, |failover| failover.state),
        };
        self.node.replication.status.store(Arc::new(status));
        drop(state);
        self.node.look_for_replicas(now());
        self.between.progress.notify_one();
    }
}

/// What a replica said about itself.
pub(super) fn acknowledges_batches(capabilities: &[String]) -> bool {
    capabilities.iter().any(|c| c == BATCH_ACK)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Valkey's psync2-master-restart: a PING right behind the first sync moved the offset.
    #[test]
    fn the_first_ping_comes_a_period_behind_the_start() {
        let mut state = State::new(Millis(1000));
        let pings: Vec<bool> =
            [1100, 10_999, 11_000, 20_999, 21_000].map(|at| state.ping_is_due(Millis(at), 10_000)).to_vec();
        assert_eq!(pings, [false, false, true, false, true]);
    }
}

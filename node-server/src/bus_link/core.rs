//! The loop: what happened goes in, in batches; then the outputs are drained.

use super::{BATCH_MAX, Bus, Event, Inboxes, TICK_MS};
use crate::node::{ToBus, now};
use crate::replica_link::candidates;
use node_server_cluster::command::Command;
use node_server_cluster::{DatasetInfo, Input, ReplicationStatus};
use node_server_protocol::{Millis, Slot};
use std::time::Duration;

/// How often a pause that has not taken effect is looked at again.
const PAUSE_LOOK_MS: u64 = 1;
/// At most this often replication's progress wakes the thread.
const PROGRESS_MS: u64 = 5;

/// What the core was last told of replication.
#[derive(Debug, Default)]
pub(super) struct ReplicationFeed {
    told: Option<ReplicationStatus>,
    at: Millis,
    syncs: u64,
}

impl Bus {
    /// Runs until it is told to stop.
    pub(super) async fn run(mut self, mut inboxes: Inboxes) {
        self.turn(&mut inboxes, None);
        while self.stopped.is_none() {
            let first = self.wait(&mut inboxes).await;
            self.turn(&mut inboxes, first);
        }
        // Waits until nodes.conf is written.
        self.writer = None;
        if let Some(done) = self.stopped.take() {
            // The shutdown thread may have given up waiting.
            let _ = done.try_send(());
        }
    }

    /// Waits for something to do.
    async fn wait(&mut self, inboxes: &mut Inboxes) -> Option<First> {
        let sleep = Duration::from_millis(self.next_look().since(now()));
        let quiet = Duration::from_millis(self.replication.at.after(PROGRESS_MS).since(now()));
        let (between, loading) = (&self.between, &self.node.loading);
        let progress = async {
            tokio::time::sleep(quiet).await;
            between.progress.notified().await;
        };
        tokio::select! {
            biased;
            Some(record) = inboxes.records.recv() => Some(First::Record(record)),
            Some(event) = inboxes.events.recv() => Some(First::Event(event)),
            Some(request) = inboxes.requests.recv() => Some(First::Request(request)),
            () = between.acks.notified(), if self.replies.wait_for_acks() => None,
            () = between.roles.notified() => None,
            () = loading.over(), if self.loading => None,
            () = progress => None,
            () = tokio::time::sleep(sleep) => {
                // After a stall the sockets are read first: what is decided at deadlines goes by all that has come.
                tokio::task::yield_now().await;
                None
            }
        }
    }

    /// When to look again even if nothing happens.
    fn next_look(&self) -> Millis {
        let mut at = self.clock.after(TICK_MS);
        if self.pausing.is_some() {
            at = at.min(self.clock.after(PAUSE_LOOK_MS));
        }
        let others = [self.cluster.poll_deadline(), self.replies.next_deadline(), self.frames_due()];
        for other in others.into_iter().flatten() {
            at = at.min(other);
        }
        at
    }

    /// Hands over what there is, up to a bound, and drains the outputs.
    fn turn(&mut self, inboxes: &mut Inboxes, first: Option<First>) {
        // A clock that was set back stands still for the core.
        self.clock = self.clock.max(now());
        self.look_at_load();
        self.feed_replication();
        if let Some(first) = first {
            self.take(first);
        }
        // Records before the requests: a command of a client may build on what the master said before.
        for _ in 0..BATCH_MAX {
            let next = inboxes
                .records
                .try_recv()
                .map(First::Record)
                .or_else(|_| inboxes.events.try_recv().map(First::Event))
                .or_else(|_| inboxes.requests.try_recv().map(First::Request));
            match next {
                Ok(next) => self.take(next),
                Err(_) => break,
            }
        }
        self.look_at_pause();
        self.log_kept();
        if self.cluster.poll_deadline().is_some_and(|at| at <= self.clock) {
            self.cluster.handle_deadline(self.clock);
        }
        self.drain();
    }

    fn take(&mut self, first: First) {
        // Commands are let through as soon as the load is over, and the core has to know it before.
        self.look_at_load();
        match first {
            First::Event(event) => self.take_event(event),
            First::Request(request) => self.take_request(request),
            First::Record(args) => self.input(Input::ReplicatedSetSlot { args }),
        }
    }

    pub(super) fn input(&mut self, input: Input) {
        self.cluster.handle_input(self.clock, input);
    }

    fn take_event(&mut self, event: Event) {
        match event {
            Event::Incoming { stream, peer } => self.admit(stream, peer),
            Event::Connected { link, local_ip } if self.sockets.has(link) => {
                self.input(Input::Connected { link, local_ip });
            }
            Event::Frame { link, bytes } if self.sockets.has(link) => {
                self.input(Input::Frame { link, bytes })
            }
            Event::ConnectFailed { link } if self.sockets.has(link) => {
                self.sockets.close(link);
                self.input(Input::ConnectFailed { link });
            }
            Event::Closed { link } if self.sockets.has(link) => {
                self.sockets.close(link);
                self.input(Input::Closed { link });
            }
            // Of a link that the core has closed meanwhile.
            Event::Connected { .. }
            | Event::Frame { .. }
            | Event::ConnectFailed { .. }
            | Event::Closed { .. } => {}
            Event::Persisted(seq, Ok(())) => self.input(Input::Persisted { seq }),
            Event::Persisted(_, Err(error)) => {
                self.fatal(format!(
                    "{error}. Nothing can be promised without it; free or repair the disk and start again"
                ));
            }
            Event::AllDropped => self.replies.release(&self.node.mailboxes),
        }
    }

    fn admit(&mut self, stream: tokio::net::TcpStream, peer: std::net::SocketAddr) {
        let Ok(local_ip) = super::sockets::local_ip(&stream) else { return };
        match self.sockets.admit(stream) {
            Some(link) => self.input(Input::Accepted { link, peer, local_ip }),
            None => tracing::warn!("refused a connection to the cluster bus from {peer}: there are too many"),
        }
    }

    fn take_request(&mut self, request: ToBus) {
        match request {
            ToBus::Command { reply_to, asker, command } => {
                let token = self.replies.expect(reply_to);
                let keys = self.keys_for(&command);
                self.input(Input::Command { token, command, asker, keys });
            }
            ToBus::Transaction { asker, commands } => {
                let mut all = Vec::with_capacity(commands.len());
                for (reply_to, command) in commands {
                    let keys = self.keys_for(&command);
                    all.push((self.replies.expect(reply_to), command, keys));
                }
                self.input(Input::Transaction { commands: all, asker });
            }
            ToBus::ConfigChanged => match super::core_config(&self.node.config.settings()) {
                Ok(config) => {
                    // A defect of the simulation's is no directive.
                    let mutant = self.cluster.config_mut().mutant;
                    *self.cluster.config_mut() = node_server_cluster::Config { mutant, ..config };
                }
                Err(error) => tracing::warn!("the cluster keeps its configuration: {error:#}"),
            },
            ToBus::HandOver { deadline, done } => {
                let replicas = candidates(&self.node.replication.status.load(), self.clock);
                self.handover = Some(done);
                self.input(Input::HandOver { deadline, replicas });
            }
            ToBus::Stay => {
                self.handover = None;
                self.input(Input::Stay);
            }
            ToBus::Stop { done } => self.stopped = Some(done),
        }
    }

    fn keys_for(&self, command: &Command) -> DatasetInfo {
        let engine = &self.node.engine;
        let in_slot = command.slot_to_count().map_or(0, |slot| engine.keyspace().slot_unmoved(slot));
        let quarantined = if *command == Command::Info { self.quarantined() } else { Vec::new() };
        DatasetInfo {
            total: engine.keyspace().len(),
            in_slot,
            quarantined_slots: quarantined.len() as u64,
            quarantined_keys: quarantined.iter().sum(),
        }
    }

    /// How many keys each slot has that this shard does not own, where it has any.
    fn quarantined(&self) -> Vec<u64> {
        let keyspace = self.node.engine.keyspace();
        let foreign = self.cluster.foreign_slots();
        foreign.iter().map(|slot| keyspace.slot_len(slot)).filter(|keys| *keys > 0).collect()
    }

    /// Tells the core that the data is there.
    fn look_at_load(&mut self) {
        if !self.loading || !self.node.loading.is_over() {
            return;
        }
        self.loading = false;
        let quarantined = self.quarantined();
        if !quarantined.is_empty() {
            let (slots, keys) = (quarantined.len(), quarantined.iter().sum::<u64>());
            tracing::warn!(
                "{keys} keys in {slots} slots that this node does not own were loaded: they are kept and served to \
                 nobody, see cluster_quarantined_keys of CLUSTER INFO"
            );
        }
        let keyspace = self.node.engine.keyspace();
        let occupied = Slot::all().filter(|slot| keyspace.slot_len(*slot) > 0).collect();
        self.input(Input::Loaded { occupied });
        self.give_data_or_not(self.node.engine.routing().serving);
    }

    /// Tells the core how replication stands, if that has changed or some time has passed.
    fn feed_replication(&mut self) {
        let status = self.node.replication.status.load();
        let master = status.master.as_ref();
        let news = ReplicationStatus {
            offset: self.node.engine.log().end(),
            master: master.and_then(|m| m.id),
            master_link_up: master.is_some_and(|m| m.state == "connected"),
            last_master_io: master.and_then(|m| m.last_io),
            loading: status.loading,
        };
        if self.replication.told != Some(news) || self.clock.since(self.replication.at) >= TICK_MS {
            self.replication.told = Some(news);
            self.replication.at = self.clock;
            self.input(Input::Replication(news));
        }
        let syncs = self.between.syncs();
        if self.replication.syncs != syncs {
            self.replication.syncs = syncs;
            self.input(Input::ReplicaSynced);
        }
        self.publish_when_ready();
    }

    /// The core waits for writes to stand still.
    pub(super) fn look_at_pause(&mut self) {
        let Some(until) = self.pausing else { return };
        if let Some(offset) = self.node.engine.writes_settled() {
            self.pausing = None;
            self.input(Input::WritesPaused { offset });
        } else if until <= self.clock {
            self.pausing = None;
        }
    }
}

/// One thing that arrived.
enum First {
    Event(Event),
    Request(ToBus),
    Record(Vec<Vec<u8>>),
}

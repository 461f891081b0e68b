//! The cluster state machine of one node, without I/O: handshake, gossip, failure detection, elections, epochs,
//! slot ownership, manual failover, the CLUSTER command (reference/cluster-bus §1).
//!
//! The caller feeds it with what happened and drains what is to be done:
//!
//! 1. [`Cluster::handle_input`] and [`Cluster::handle_deadline`] change the state;
//! 2. [`Cluster::poll_output`] is called until it gives `None`;
//! 3. [`Cluster::poll_deadline`] says when to call `handle_deadline` next.
//!
//! It persists before it promises: what promises something (votes, claims, OKs) comes out only after
//! [`Input::Persisted`] for the [`Output::Persist`] that contains it.

mod announced;
pub mod command;
pub mod config;
mod dialect;
mod election;
mod epoch;
mod failure;
mod forget;
mod gate;
mod gossip;
mod guard;
mod handover;
mod handshake;
mod heartbeat;
pub mod io;
mod link;
mod loading;
mod manual_failover;
mod migration;
mod node;
pub mod nodes_conf;
mod ownership;
mod receive;
mod rng;
mod routing;
mod state;
mod stats;
mod view;
mod vote;
mod wire;

pub use command::Command;
pub use config::{Config, EndpointType, Mutant};
pub use io::{Asker, DatasetInfo, HandOver, Input, Level, LinkId, Output, ReplicationStatus, Token};
pub use nodes_conf::NodesConf;

use announced::Announced;
use election::Election;
use forget::Forgotten;
use gate::{Claim, Gate};
use guard::Guard;
use handover::Handover;
use link::Links;
use manual_failover::ManualFailover;
use migration::Migration;
use node::Node;
use node_server_protocol::bus::NodeFlags;
use node_server_protocol::routing::{Routing, Serving};
use node_server_protocol::{Address, Epoch, Family, Millis, NodeId, Role, SlotSet};
use rng::Rng;
use routing::Urgency;
use state::State;
use stats::Stats;
use std::collections::VecDeque;
use std::sync::Arc;
use view::View;
use vote::Votes;

/// How a node begins.
#[derive(Clone, Debug)]
pub enum Start {
    /// Without nodes.conf.
    Fresh {
        /// Random.
        id: NodeId,
        /// Random.
        shard_id: NodeId,
    },
    /// From its nodes.conf.
    Loaded(NodesConf),
}

/// One node's part of the cluster.
#[derive(Debug)]
pub struct Cluster {
    config: Config,
    /// The moment of the input or deadline that is being handled.
    now: Millis,
    rng: Rng,
    view: View,
    links: Links,
    gate: Gate,
    /// What is to be done, in order. Drained by the caller after every input.
    outputs: VecDeque<Output>,
    /// What has to come after the slot map that goes with it.
    after_publish: Vec<Output>,
    /// Keys of lost slots, deleted after the slot map.
    drop_keys: SlotSet,
    /// Slots that this master has lost, whose keys go once the owner itself says that it serves.
    lost_slots: SlotSet,
    /// The next slot map makes this node a master.
    become_master: bool,
    urgency: Urgency,
    published: Arc<Routing>,
    state: State,
    /// The cluster was `ok` once since the start.
    was_ok: bool,
    started_empty: bool,
    /// What this replica has is a copy of its master's data, be it an old one. Not so from when it is told to follow a
    /// master of another shard until it is in sync with it.
    has_copy: bool,
    /// Where it is none: whose data it is, if that is known.
    data_of: Option<NodeId>,
    own_ip_confirmed: bool,
    next_tick: Millis,
    turns: u64,
    replication: ReplicationStatus,
    election: Election,
    votes: Votes,
    manual: ManualFailover,
    migration: Migration,
    handover: Option<Handover>,
    guard: Guard,
    /// The files of the start are being loaded.
    loading: bool,
    /// Slots without owner whose keys were among what was loaded.
    stranded: SlotSet,
    forgotten: Forgotten,
    stats: Stats,
    /// The write of nodes.conf after which a PONG to all was promised last.
    pong_promised: u64,
}

impl Cluster {
    /// A node. `dataset_empty`: it holds no key; if its nodes.conf says that it owned slots, it does not serve until
    /// a replica has taken over or `CLUSTER REOPEN` was sent. The seed decides everything random.
    #[must_use]
    pub fn new(config: Config, start: Start, dataset_empty: bool, seed: u64, now: Millis) -> Self {
        let mut rng = Rng::new(seed);
        let loaded = matches!(start, Start::Loaded(_));
        let view = match start {
            Start::Fresh { id, shard_id } => {
                let address = Address::unknown(config.announce_port, config.announce_bus_port);
                let mut node = Node::new(id, address, NodeFlags::MASTER, shard_id, now);
                node.told_shard_id = true;
                View::new(node)
            }
            Start::Loaded(conf) => View::from_conf(&conf, conf.myself().id, || rng.node_id(), now),
        };
        let myself = view.myself();
        let owned = !myself.slots.is_empty() || !view.importing.is_empty();
        let closed = loaded && dataset_empty && myself.is_master() && owned;
        let closed = closed && !config.is_mutant(Mutant::EmptyMasterServes);
        let role = myself.role();
        let nothing = Routing::new(0, view.me, role, Serving::Down { allow_reads: false }, Vec::new());
        let announced = Claim {
            current_epoch: view.current_epoch,
            config_epoch: view.shard_master().config_epoch,
            slots: view.shard_master().slots.clone(),
            master: myself.master,
            shard_id: myself.shard_id,
        };
        let mut cluster = Self {
            config,
            now,
            rng,
            view,
            links: Links::default(),
            gate: Gate::new(announced),
            outputs: VecDeque::new(),
            after_publish: Vec::new(),
            drop_keys: SlotSet::new(),
            lost_slots: SlotSet::new(),
            become_master: false,
            urgency: Urgency::Now,
            published: Arc::new(nothing),
            state: State::new(loaded.then_some(now)),
            was_ok: false,
            started_empty: dataset_empty,
            has_copy: true,
            data_of: None,
            own_ip_confirmed: false,
            next_tick: now.after(heartbeat::TICK_MS),
            turns: 0,
            replication: ReplicationStatus::default(),
            election: Election::default(),
            votes: Votes::default(),
            manual: ManualFailover::default(),
            migration: Migration::default(),
            handover: None,
            guard: Guard::new(closed),
            loading: false,
            stranded: SlotSet::new(),
            forgotten: Forgotten::default(),
            stats: Stats::default(),
            pong_promised: 0,
        };
        cluster.begin(role);
        cluster
    }

    fn begin(&mut self, role: Role) {
        self.apply_config();
        self.changed();
        if self.guard.is_closed() {
            let text = "This master owned slots but has no data: closed until a replica has taken over. \
                        CLUSTER REOPEN makes it serve without the data.";
            self.log(Level::Warning, text.into());
        }
        if role != Role::Master {
            self.follow_master();
        }
        self.finish();
    }

    /// Something happened.
    pub fn handle_input(&mut self, now: Millis, input: Input) {
        self.now = now;
        match input {
            Input::Accepted { link, peer, local_ip } => self.on_accepted(link, peer, local_ip),
            Input::Connected { link, local_ip } => self.on_connected(link, local_ip),
            Input::ConnectFailed { link } | Input::Closed { link } => self.on_link_gone(link),
            Input::Frame { link, bytes } => self.on_frame(link, &bytes),
            Input::Command { token, command, asker, keys } => self.on_command(token, &command, asker, keys),
            Input::Transaction { commands, asker } => {
                for (token, command, keys) in commands {
                    self.on_command(token, &command, asker, keys);
                }
            }
            Input::Persisted { seq } => self.on_persisted(seq),
            Input::Replication(status) => self.on_replication(status),
            Input::WritesPaused { offset } => self.on_writes_paused(offset),
            Input::ReplicatedSetSlot { args } => self.on_replicated_set_slot(&args),
            Input::ReplicaSynced => self.on_replica_synced(),
            Input::HandOver { deadline, replicas } => self.on_handover(deadline, &replicas),
            Input::Stay => self.on_stay(),
            Input::Loaded { occupied } => self.on_loaded(&occupied),
        }
        self.finish();
    }

    /// [`Cluster::poll_deadline`] has passed. Calling it early is harmless.
    pub fn handle_deadline(&mut self, now: Millis) {
        self.now = now;
        if self.next_tick <= now {
            self.next_tick = now.after(heartbeat::TICK_MS);
            self.tick();
            self.update_state();
        }
        self.run_votes();
        self.finish();
    }

    /// The next thing to do, in order.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Cluster::handle_deadline`] is due. Changes with every `handle_*`.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Millis> {
        let handover = self.handover.as_ref().map(Handover::deadline);
        let others = [self.election_deadline(), self.votes_deadline(), self.manual.end, handover];
        others.into_iter().flatten().chain([self.next_tick]).min()
    }

    /// Settings that may be changed at run time; they act from the next deadline on.
    pub fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }

    /// This node's name. CLUSTER RESET HARD changes it.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.view.me
    }

    /// Master or replica of whom.
    #[must_use]
    pub fn role(&self) -> Role {
        self.view.myself().role()
    }

    /// The cluster's clock as this node knows it.
    #[must_use]
    pub fn current_epoch(&self) -> Epoch {
        self.view.current_epoch
    }

    /// The slot map that was published last.
    #[must_use]
    pub fn routing(&self) -> Arc<Routing> {
        Arc::clone(&self.published)
    }

    /// Whether the empty-restart guard keeps this master from serving.
    #[must_use]
    pub fn is_closed_empty(&self) -> bool {
        self.guard.is_closed()
    }

    /// CLUSTER NODES, as this node would answer it.
    #[must_use]
    pub fn nodes_text(&self) -> String {
        self.nodes_reply(Family::V4)
    }

    fn on_replication(&mut self, status: ReplicationStatus) {
        self.replication = status;
        if status.master != self.view.myself().master {
            // The link to a former master, which the shell is about to end, says nothing about this one.
            (self.replication.master_link_up, self.replication.last_master_io) = (false, None);
        }
        self.has_copy |= self.replication.master_link_up;
        if let Some(offset) = self.manual.paused_at() {
            self.replication.offset = offset;
        }
    }

    fn on_persisted(&mut self, seq: u64) {
        if !self.gate.done(seq) {
            return;
        }
        self.publish_written();
        for promise in self.gate.release() {
            self.keep_promise(promise);
        }
    }

    /// The end of every `handle_*`: what follows from the new state.
    fn finish(&mut self) {
        self.run_manual_failover();
        self.run_election();
        self.run_handover();
        if self.urgency > Urgency::NotAtAll {
            self.update_state();
            self.view.close_settled_slots();
        }
        self.publish_when_due();
        if self.urgency < Urgency::Now {
            self.flush_after_publish();
        }
        let claim = self.gate.needed().map(|_| self.live_claim());
        if let Some(seq) = claim.and_then(|claim| self.gate.begin(claim)) {
            let text = self.nodes_conf_text();
            self.emit(Output::Persist { seq, text });
        }
    }

    fn flush_after_publish(&mut self) {
        let after = std::mem::take(&mut self.after_publish);
        self.outputs.extend(after);
        // What is deleted now would come again.
        if self.loading {
            return;
        }
        // After writes may go on: what cannot be logged is not deleted.
        let slots = std::mem::take(&mut self.drop_keys).difference(&self.view.myself().slots);
        if !slots.is_empty() {
            self.emit(Output::DropKeys { slots });
        }
    }

    fn nodes_conf_text(&self) -> String {
        let mut conf = self.view.to_conf();
        if self.config.is_mutant(Mutant::VoteBeforePersisted) {
            conf.last_vote_epoch = Epoch(0);
        }
        conf.to_string()
    }

    /// Whether the gate is broken on purpose.
    pub(crate) fn promises_early(&self) -> bool {
        self.config.is_mutant(Mutant::PromiseBeforePersisted)
    }

    fn emit(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    fn log(&mut self, level: Level, message: String) {
        self.emit(Output::Log { level, message });
    }

    /// nodes.conf has to say something else than it does.
    fn changed(&mut self) {
        self.gate.mark_dirty();
    }

    /// Roles, owners, addresses or failures changed.
    fn topology_changed(&mut self) {
        self.changed();
        self.publish_soon();
    }

    fn publish_soon(&mut self) {
        self.urgency = Urgency::Now;
    }

    /// A command changed something: published when it is on disk, once for all commands until then.
    fn changed_by_command(&mut self) {
        self.changed();
        self.urgency = self.urgency.max(Urgency::WithPersist);
    }

    /// What CONFIG SET may have changed of this node's own line.
    fn apply_config(&mut self) {
        let config = self.config.clone();
        let myself = self.view.myself_mut();
        let ip = config.announce_ip.unwrap_or(myself.address.ip);
        let address = Address { ip, port: config.announce_port, bus_port: config.announce_bus_port };
        let announced = Announced::of_config(&config);
        let flags = myself.flags;
        myself.set(NodeFlags::NO_FAILOVER, config.replica_no_failover);
        myself.set(NodeFlags::PFAIL | NodeFlags::FAIL | NodeFlags::NOADDR, false);
        let same = myself.address == address && myself.announced == announced && myself.flags == flags;
        myself.address = address;
        myself.announced = announced;
        if !same {
            self.topology_changed();
        }
    }
}

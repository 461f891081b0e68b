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

pub mod command;
pub mod config;
pub mod io;
pub mod nodes_conf;

pub use command::Command;
pub use config::{Config, EndpointType, Mutant};
pub use io::{DatasetInfo, HandOver, Input, Level, LinkId, Output, ReplicationStatus, Token};
pub use nodes_conf::NodesConf;

use node_server_protocol::{Millis, NodeId};

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
}

impl Cluster {
    /// A node. `dataset_empty`: it holds no key; if its nodes.conf says that it owned slots, it does not serve until
    /// a replica has taken over or `CLUSTER REOPEN` was sent. The seed decides everything random.
    #[must_use]
    pub fn new(config: Config, start: Start, dataset_empty: bool, seed: u64, now: Millis) -> Self {
        let _ = (start, dataset_empty, seed, now);
        Self { config }
    }

    /// Something happened.
    pub fn handle_input(&mut self, now: Millis, input: Input) {
        let _ = (now, input);
    }

    /// [`Cluster::poll_deadline`] has passed. Calling it early is harmless.
    pub fn handle_deadline(&mut self, now: Millis) {
        let _ = now;
    }

    /// The next thing to do, in order.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When [`Cluster::handle_deadline`] is due. Changes with every `handle_*`.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Millis> {
        None
    }

    /// Settings that may be changed at run time; they act from the next `handle_*` on.
    pub fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }
}

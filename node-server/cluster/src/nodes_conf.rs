//! nodes.conf: what a node knows of the cluster, on disk (reference/cluster-bus §1.14).

use node_server_protocol::{Address, Epoch, NodeId, Role, Slot, SlotSet};

/// A parsed nodes.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodesConf {
    /// Every node, in the file's order; exactly one is `myself`.
    pub nodes: Vec<NodeRecord>,
    /// The cluster's clock as last seen.
    pub current_epoch: Epoch,
    /// The epoch in which this node last voted.
    pub last_vote_epoch: Epoch,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// Name.
    pub id: NodeId,
    /// Where it listens.
    pub address: Address,
    /// Its host name, where it announced one.
    pub hostname: Option<String>,
    /// Its shard's name, where the file has one.
    pub shard_id: Option<NodeId>,
    /// This node's own line.
    pub myself: bool,
    /// Master or replica of whom.
    pub role: Role,
    /// Suspected dead.
    pub pfail: bool,
    /// Agreed dead.
    pub fail: bool,
    /// Its address is unknown.
    pub noaddr: bool,
    /// Its replica does not start elections.
    pub nofailover: bool,
    /// When the open PING was sent, Unix ms; 0: none is open.
    pub ping_sent: u64,
    /// When the last PONG came, Unix ms; 0: never.
    pub pong_received: u64,
    /// Version of its slot claim.
    pub config_epoch: Epoch,
    /// Its slots.
    pub slots: SlotSet,
    /// Slots on their way from here, with their targets. On the line of `myself` alone.
    pub migrating: Vec<(Slot, NodeId)>,
    /// Slots on their way to here, with their sources. On the line of `myself` alone.
    pub importing: Vec<(Slot, NodeId)>,
}

/// A nodes.conf that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of nodes.conf: {reason}")]
pub struct NodesConfError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl NodesConf {
    /// Reads the text of a nodes.conf.
    ///
    /// # Errors
    /// The first line that is wrong, and why.
    pub fn parse(text: &str) -> Result<Self, NodesConfError> {
        let _ = text;
        Err(NodesConfError { line: 1, reason: "not implemented yet".into() })
    }
}

//! Where members run. Pods and processes differ in nothing but what this trait says.

pub mod kubernetes;
pub mod local;

use node_server_protocol::{Address, NodeId};
use operator_planner::observed::Gone;
use operator_planner::{Fact, Life, MemberId};
use std::collections::BTreeMap;

/// A member as its platform sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The platform's unique name of this very pod or process.
    pub uid: String,
    /// Where it listens.
    pub address: Address,
    /// Alive or dead, with the evidence.
    pub life: Life,
    /// It was asked to go.
    pub leaving: bool,
    /// Its data is on a volume that its next process gets.
    pub on_volume: bool,
    /// The identity that it last said, if one is remembered.
    pub last_id: Option<NodeId>,
}

/// Who a member last said that it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Which.
    pub member: MemberId,
    /// The unique name of the pod or process that said so.
    pub uid: String,
    /// Its name in the cluster.
    pub id: NodeId,
}

/// Something that keeps a cluster from being as declared, or that its user should know, found outside of the nodes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notice {
    /// In CamelCase, for a condition.
    pub reason: &'static str,
    /// In words.
    pub message: String,
}

/// A platform.
pub trait Platform {
    /// Why an attempt failed.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Every member there is, or why that is not known.
    fn members(&mut self) -> impl Future<Output = Fact<BTreeMap<MemberId, Seen>>>;

    /// Identities of ours that are proven gone.
    fn gone(&self) -> Vec<Gone>;

    /// Who members last said that they were, also those of which nothing is there now.
    fn identities(&self) -> Vec<Identity> {
        Vec::new()
    }

    /// Notes which identity a member has, so that a later one shows that this is gone.
    fn remember(&mut self, member: MemberId, uid: &str, id: NodeId);

    /// No node knows this identity any more: it need not be remembered.
    fn forgotten(&mut self, id: NodeId);

    /// Brings a member into being; nothing happens where it is.
    fn ensure(&mut self, member: MemberId) -> impl Future<Output = Result<(), Self::Error>>;

    /// Stops this very member and lets it and its files go.
    fn remove(&mut self, member: MemberId, uid: &str) -> impl Future<Output = Result<(), Self::Error>>;

    /// What the platform has to say in status beside the members.
    fn notices(&self) -> Vec<Notice> {
        Vec::new()
    }

    /// Returns when something has changed since the last look.
    fn changed(&mut self) -> impl Future<Output = ()>;
}

//! Whom this node follows, and the change of it.

use super::follow::{self, Target};
use super::hub::Hub;
use crate::node::MasterLink;
use crate::start::random_id;
use node_server_protocol::NodeId;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The link to the master, if this node has one.
#[derive(Default)]
pub(super) struct Leader {
    following: Option<Following>,
}

struct Following {
    master: NodeId,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Leader {
    /// Follows `master` from now on, or nobody. When this returns, nothing is applied for the old one any more.
    pub(super) async fn follow(&mut self, hub: &Arc<Hub>, master: Option<(NodeId, SocketAddr, bool)>) {
        let Some((id, address, same_shard)) = master else { return self.lead(hub).await };
        let same = |f: &Following| f.master == id && f.address == address && !f.task.is_finished();
        if self.following.as_ref().is_some_and(same) {
            return;
        }
        // The same master elsewhere: the data goes on.
        let same_shard = same_shard || self.following.as_ref().is_some_and(|f| f.master == id);
        self.stop().await;
        hub.cut_replicas();
        tracing::info!("Connecting to MASTER {address}");
        hub.set_master(Some(MasterLink {
            host: address.ip().to_string(),
            port: address.port(),
            state: "connect",
            last_io: None,
            down_since: None,
        }));
        let (stop, stopped) = watch::channel(false);
        let target = Target { address, partial: same_shard };
        let task = tokio::spawn(follow::follow(Arc::clone(hub), target, stopped));
        self.following = Some(Following { master: id, address, stop, task });
    }

    /// This node is a master: if it followed somebody, its log goes on under a new name.
    async fn lead(&mut self, hub: &Arc<Hub>) {
        if self.following.is_none() {
            return;
        }
        self.stop().await;
        match random_id() {
            Ok(id) => hub.node.engine.log().promote(id.to_string()),
            Err(error) => tracing::error!("the log keeps its name: {error:#}"),
        }
        hub.set_master(None);
        hub.cut_replicas();
        tracing::info!("MASTER MODE enabled");
    }

    /// Ends the link to the master; what was received completely has been applied.
    pub(super) async fn stop(&mut self) {
        let Some(following) = self.following.take() else { return };
        following.stop.send_replace(true);
        if following.task.await.is_err() {
            tracing::error!("the link to the master ended by a panic");
        }
    }
}

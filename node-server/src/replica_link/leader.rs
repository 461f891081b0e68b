//! Whom this node follows, and the change of it.

use super::follow::{self, Target};
use super::hub::Hub;
use crate::node::MasterLink;
use crate::start::random_id;
use node_server_engine::MasterAddress;
use node_server_protocol::NodeId;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// REPLICAOF's reply where nothing changes.
const SAME_MASTER: &str = "OK Already connected to specified master";

/// Whom to follow.
#[derive(Clone, Debug)]
pub(super) struct Master {
    /// Its name in cluster mode.
    pub(super) id: Option<NodeId>,
    /// Where clients reach it.
    pub(super) address: MasterAddress,
    /// Its data may be a continuation of ours.
    pub(super) partial: bool,
    /// It is our replica, and is to change places with us.
    pub(super) takes_over: bool,
}

impl Master {
    /// One that REPLICAOF or redis.conf names. Whether our log is the beginning of its, PSYNC tells.
    pub(super) fn named(address: MasterAddress) -> Self {
        Self { id: None, address, partial: true, takes_over: false }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.id == other.id && self.address == other.address
    }

    /// The same master elsewhere: the data goes on.
    fn has_moved(&self, before: &Self) -> bool {
        self.id.is_some() && self.id == before.id
    }
}

/// The link to the master, if this node has one.
#[derive(Default)]
pub(super) struct Leader {
    following: Option<Following>,
}

struct Following {
    master: Master,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Leader {
    /// Follows `master` from now on, or nobody. When this returns, nothing is applied for the old one any more.
    pub(super) async fn follow(&mut self, hub: &Arc<Hub>, master: Option<Master>) {
        let Some(mut master) = master else { return self.lead(hub).await };
        let before = self.following.as_ref();
        if before.is_some_and(|f| f.master.is_same(&master) && !f.task.is_finished()) {
            return;
        }
        let moved = before.is_some_and(|f| master.has_moved(&f.master));
        master.partial |= moved;
        self.stop().await;
        hub.cut_replicas();
        tracing::info!("Connecting to MASTER {}", master.address);
        if moved {
            hub.move_master(&master.address);
        } else {
            hub.set_master(Some(MasterLink { id: master.id, ..MasterLink::begin(&master.address) }));
        }
        let (stop, stopped) = watch::channel(false);
        let Master { address, partial, takes_over, .. } = master.clone();
        let target = Target { address, partial, takes_over };
        let task = tokio::spawn(follow::follow(Arc::clone(hub), target, stopped));
        self.following = Some(Following { master, stop, task });
    }

    /// REPLICAOF without cluster mode, where this thread alone decides the role: no write of this node's own comes
    /// after the first byte of a master's stream, and none before the log has its new name. Returns the reply.
    pub(super) async fn replica_of(
        &mut self,
        hub: &Arc<Hub>,
        master: Option<MasterAddress>,
        from: &str,
    ) -> &'static str {
        let engine = &hub.node.engine;
        if hub.failover().is_some() {
            return "ERR REPLICAOF not allowed while failing over.";
        }
        let same = |f: &Following| Some(&f.master.address) == master.as_ref();
        if self.following.as_ref().is_some_and(same) {
            tracing::info!(
                "REPLICAOF would result into synchronization with the master we are already connected with. No \
                 operation performed."
            );
            return SAME_MASTER;
        }
        hub.node.config.set_replicaof(master.as_ref());
        match master {
            Some(address) => {
                tracing::info!("REPLICAOF {address} enabled (user request from '{from}')");
                engine.set_replica(true);
                // Who waits for acknowledgements waits in vain.
                hub.node.mailboxes.acks_advanced();
                self.follow(hub, Some(Master::named(address))).await;
            }
            None if self.following.is_some() => {
                self.become_master(hub).await;
                tracing::info!("MASTER MODE enabled (user request from '{from}')");
            }
            None => {}
        }
        "OK"
    }

    /// PSYNC … FAILOVER without cluster mode: our master stopped its clients when we had all of its log, and changes
    /// places. False: it is not the history that we follow.
    pub(super) async fn take_over(&mut self, hub: &Arc<Hub>, replid: &[u8]) -> bool {
        let engine = &hub.node.engine;
        let is_ours = engine.log().history().replid.as_bytes().eq_ignore_ascii_case(replid);
        tracing::warn!("Failover request received for replid {}.", String::from_utf8_lossy(replid));
        if !is_ours || self.following.is_none() {
            return false;
        }
        self.become_master(hub).await;
        true
    }

    /// The end of following somebody, where this thread alone decides the role.
    pub(super) async fn become_master(&mut self, hub: &Arc<Hub>) {
        self.lead(hub).await;
        hub.node.engine.set_replica(false);
        hub.node.config.set_replicaof(None);
    }

    /// This node is a master: if it was a replica, its log goes on under a new name, be it one that could follow nobody
    /// because its master's address is not known. What it writes is not the master's.
    async fn lead(&mut self, hub: &Arc<Hub>) {
        if self.following.is_none() && !hub.node.engine.is_replica() {
            return;
        }
        self.stop().await;
        match random_id() {
            Ok(id) => hub.node.engine.promote(id.to_string()),
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

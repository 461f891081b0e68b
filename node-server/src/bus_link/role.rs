//! Changes of role take two threads. A demotion is published first and followed up then, so that no write of this
//! node's own comes after the first byte of a master's stream; a promotion is published when the replication thread has
//! stopped applying and the log has its new name.

use super::Bus;
use crate::node::ToReplication;
use node_server_protocol::NodeId;
use node_server_protocol::routing::{Routing, Serving};
use std::net::SocketAddr;
use std::sync::Arc;

/// Whom to follow: name, client address, and whether its data may be a continuation of ours.
pub(super) type Master = Option<(NodeId, SocketAddr, bool)>;

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct RoleChange {
    /// Changes that were sent to the replication thread.
    sent: u64,
    /// A change that its queue had no room for.
    unsent: Option<Master>,
    /// The table of a master, until the replication thread is through.
    held: Option<Arc<Routing>>,
    /// All keys are to be deleted once it is.
    drop_all: bool,
}

impl Bus {
    /// Follows a master, or nobody.
    pub(super) fn change_role(&mut self, master: Master) {
        self.role.unsent = Some(master);
        self.send_role();
    }

    fn send_role(&mut self) {
        let Some(master) = self.role.unsent.take() else { return };
        match self.node.replication.ask(ToReplication::Follow { master }) {
            Ok(()) => self.role.sent += 1,
            // Tried again with the next turn.
            Err(_) => self.role.unsent = Some(master),
        }
    }

    fn role_is_settled(&self) -> bool {
        self.role.unsent.is_none() && self.between.roles_done() >= self.role.sent
    }

    /// The core's new table.
    pub(super) fn publish(&mut self, routing: Arc<Routing>) {
        self.role.held = None;
        if routing.role.is_master() && !self.role_is_settled() {
            self.role.held = Some(routing);
        } else {
            self.publish_now(routing);
        }
    }

    fn publish_now(&self, routing: Arc<Routing>) {
        self.between.set_gives_data(routing.serving != Serving::ClosedEmpty);
        self.node.engine.publish_routing(routing);
    }

    /// Deletes all keys once nothing is applied any more; replies wait for it.
    pub(super) fn drop_all(&mut self) {
        self.replies.hold();
        self.role.drop_all = true;
        self.publish_when_ready();
    }

    /// Goes on with what waited for the replication thread.
    pub(super) fn publish_when_ready(&mut self) {
        self.send_role();
        if !self.role_is_settled() {
            return;
        }
        if let Some(routing) = self.role.held.take() {
            self.publish_now(routing);
        }
        if std::mem::take(&mut self.role.drop_all) {
            let (events, now) = (self.events.clone(), self.clock);
            self.delete(move |node| {
                let keys = node.engine.drop_all(now);
                tracing::info!("Deleted all {keys} keys of this node");
                crate::replica_link::forget_history(&node.engine);
                // Fails only when the bus thread has ended.
                let _ = events.blocking_send(super::Event::AllDropped);
            });
        }
    }
}

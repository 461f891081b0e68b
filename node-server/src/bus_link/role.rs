//! Changes of role take two threads. A demotion is published first and followed up then, so that no write of this
//! node's own comes after the first byte of a master's stream; a promotion is published when the replication thread has
//! stopped applying and the log has its new name. What other nodes are to hear waits for that: as soon as they know the
//! new owner they send clients here, who would be sent back.

use super::Bus;
use crate::node::ToReplication;
use node_server_cluster::LinkId;
use node_server_protocol::routing::{Routing, Serving};
use node_server_protocol::{Millis, NodeId};
use std::net::SocketAddr;
use std::sync::Arc;

/// Whom to follow: name, client address, and whether its data may be a continuation of ours.
pub(super) type Master = Option<(NodeId, SocketAddr, bool)>;

/// Longest that frames wait for a promotion to be published, in milliseconds, and the part of the node timeout that it is at
/// most. Sooner, and the former master sends the writers that it held back here, to be sent back.
const FRAMES_WAIT_MS: u64 = 1500;
const FRAMES_WAIT_PART: u64 = 3;
/// Most of them.
const FRAMES_MAX: usize = 4096;

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct RoleChange {
    /// Changes that were sent to the replication thread.
    sent: u64,
    /// A change that its queue had no room for.
    unsent: Option<Master>,
    /// The table of a master, until the replication thread is through.
    held: Option<Arc<Routing>>,
    /// What is to be sent once it is published, and until when that may wait.
    frames: Vec<(LinkId, Vec<u8>)>,
    frames_until: Option<Millis>,
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

    fn publish_now(&mut self, routing: Arc<Routing>) {
        self.give_data_or_not(routing.serving);
        self.node.engine.publish_routing(routing);
        self.role.frames_until = None;
        self.send_held_frames();
    }

    /// Whether replicas may have this node's data: when it is there, and is what it should be.
    pub(super) fn give_data_or_not(&self, serving: Serving) {
        self.between.set_gives_data(serving != Serving::ClosedEmpty && !self.loading);
    }

    /// Keeps a frame that would tell others of a table which is not published yet. `None`: it is kept.
    pub(super) fn unless_held(&mut self, link: LinkId, frame: Vec<u8>) -> Option<Vec<u8>> {
        if self.role.held.is_none() || self.role.frames.len() >= FRAMES_MAX {
            return Some(frame);
        }
        let wait = FRAMES_WAIT_MS.min(self.cluster.config_mut().node_timeout_ms / FRAMES_WAIT_PART);
        let until = *self.role.frames_until.get_or_insert(self.clock.after(wait));
        if self.clock >= until {
            return Some(frame);
        }
        self.role.frames.push((link, frame));
        None
    }

    /// When frames that wait have waited long enough.
    pub(super) fn frames_due(&self) -> Option<Millis> {
        self.role.frames_until.filter(|_| !self.role.frames.is_empty())
    }

    fn send_held_frames(&mut self) {
        for (link, frame) in std::mem::take(&mut self.role.frames) {
            self.send(link, &frame);
        }
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
            if self.frames_due().is_some_and(|due| due <= self.clock) {
                self.send_held_frames();
            }
            return;
        }
        if let Some(routing) = self.role.held.take() {
            self.publish_now(routing);
        }
        if std::mem::take(&mut self.role.drop_all) {
            let (events, now) = (self.events.clone(), self.clock);
            self.delete(move |node| {
                let keys = crate::replica_link::forget_all(&node.engine, now);
                // Replicas are cut off: they see that their place is in a log that is no more.
                node.replication.log_grew.notify_one();
                tracing::info!("Deleted all {keys} keys of this node");
                // Fails only when the bus thread has ended.
                let _ = events.blocking_send(super::Event::AllDropped);
            });
        }
    }
}

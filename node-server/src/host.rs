//! What the engine asks of the process around it.

use crate::commands;
use crate::mailbox::Mail;
use crate::node::{Node, ReplicationHandle, RoleAnswer, ToReplication};
use node_server_engine::{Host, HostCommand, MasterAddress, Session, SessionId};
use node_server_protocol::Millis;
use node_server_protocol::resp::ReplyWriter;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, OnceLock, Weak};

/// Said when another thread has too much to do.
const TRY_AGAIN: &str = "TRYAGAIN the server is overloaded, try again";

/// The engine is made before the node that holds it, so the host learns of the node afterwards.
#[derive(Debug, Default)]
pub struct NodeHost {
    node: OnceLock<Weak<Node>>,
}

impl NodeHost {
    /// From now on the engine's wishes reach `node`.
    pub(crate) fn attach(&self, node: &Arc<Node>) {
        // A second node on the same host would be a mistake of this crate; the first one stays.
        let _ = self.node.set(Arc::downgrade(node));
    }

    fn node(&self) -> Option<Arc<Node>> {
        self.node.get().and_then(Weak::upgrade)
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("run_id", &self.run_id).finish_non_exhaustive()
    }
}

impl Host for NodeHost {
    fn wake(&self, session: SessionId) {
        if let Some(node) = self.node() {
            node.mailboxes.post(node.mailboxes.thread_of(session.0), Mail::Wake(session.0));
        }
    }

    fn log_grew(&self) {
        // First, since every write comes here.
        if ReplicationHandle::note_later() {
            return;
        }
        if let Some(node) = self.node()
            && node.replication.note_growth()
        {
            node.persistence.note_growth();
        }
    }

    fn command(
        &self,
        command: HostCommand,
        session: &mut Session,
        args: &[&[u8]],
        now: Millis,
        reply: &mut ReplyWriter<'_>,
    ) {
        match self.node() {
            Some(node) => commands::answer(&node, command, session, args, now, reply),
            None => reply.error("ERR the server is starting or leaving"),
        }
    }

    fn follow(&self, master: Option<MasterAddress>, session: &mut Session, reply: &mut ReplyWriter<'_>) {
        let client = self.node().and_then(|node| Some((node.clients.get(session.id.0)?, node)));
        let Some((client, node)) = client else { return reply.error("ERR this connection is about to end") };
        let (done, role) = sync_channel(1);
        let from = client.line(crate::node::now());
        let asked = ToReplication::ReplicaOf { master, from, answer: RoleAnswer::Worker(done) };
        if node.replication.ask(asked).is_err() {
            return reply.error(TRY_AGAIN);
        }
        match role.recv() {
            Ok(text) if text.starts_with("ERR ") => reply.error(text),
            Ok(text) => reply.simple(text),
            // The thread has ended: the process leaves.
            Err(_) => reply.error("ERR the server is leaving"),
        }
    }

    fn pause(&self, ms: u64) {
        std::thread::sleep(std::time::Duration::from_millis(ms));
    }

    fn now(&self) -> Millis {
        crate::node::now()
    }
}

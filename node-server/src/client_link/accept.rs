//! New connections, and their end.

use super::connection::{Connection, State};
use super::input::Input;
use super::output::Output;
use super::{DataThread, Hub, LISTENER_TOKENS};
use crate::clients::{Client, Kind};
use crate::listener::prepare;
use crate::mailbox::Mail;
use crate::node::{NewReplica, ToReplication};
use mio::{Interest, Registry, Token};
use node_server_engine::SessionId;
use node_server_protocol::Family;
use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// Most connections accepted in one turn (Redis: MAX_ACCEPTS_PER_CALL).
const ACCEPTS_MAX: usize = 1000;

/// The listening sockets; the data thread that has them deals out connections to all.
pub struct Acceptor {
    listeners: Vec<mio::net::TcpListener>,
    next_thread: usize,
}

impl Acceptor {
    /// Registers the listeners, which are non-blocking, with the poll of the thread that will have them.
    ///
    /// # Errors
    /// The system's.
    pub fn new(listeners: Vec<TcpListener>, registry: &Registry) -> std::io::Result<Self> {
        let mut listeners: Vec<_> = listeners.into_iter().map(mio::net::TcpListener::from_std).collect();
        for (n, listener) in listeners.iter_mut().enumerate() {
            registry.register(listener, Token(LISTENER_TOKENS - n), Interest::READABLE)?;
        }
        Ok(Self { listeners, next_thread: 0 })
    }
}

impl DataThread {
    /// Accepts from listener `n` and deals the connections out in turn.
    pub(super) fn accept(&mut self, n: usize) {
        let threads = self.hub.node.mailboxes.threads();
        for _ in 0..ACCEPTS_MAX {
            let Some(acceptor) = self.acceptor.as_mut() else { return };
            let Some(listener) = acceptor.listeners.get(n) else { return };
            let (socket, peer) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    if error.kind() != ErrorKind::WouldBlock {
                        tracing::warn!("Accepting client connection: {error}");
                    }
                    return;
                }
            };
            acceptor.next_thread = (acceptor.next_thread + 1) % threads;
            let thread = acceptor.next_thread;
            // The others may have ended already.
            if thread == self.hub.index || self.hub.draining.is_some() {
                self.add(socket, peer);
            } else {
                self.hub.node.mailboxes.post(thread, Mail::Client(TcpStream::from(socket), peer));
            }
        }
        // The listener is edge-triggered: it says nothing about those that still wait. Ringing our own bell does.
        self.hub.node.mailboxes.post(self.hub.index, Mail::Accept(n));
    }

    /// A connection of this thread from now on.
    pub(super) fn add(&mut self, mut socket: mio::net::TcpStream, peer: SocketAddr) {
        self.hub.node.stats.connections.add(1);
        if let Some(refusal) = self.hub.refusal(peer) {
            self.hub.node.stats.rejected.add(1);
            // Best effort, as in Redis: a client that does not take the line sees the connection closed.
            let _ = socket.write(refusal.as_bytes());
            return;
        }
        let prepared = prepare(&socket, self.hub.settings.tcp_keepalive_s);
        let (Ok(()), Ok(local)) = (prepared, socket.local_addr()) else { return };
        let at = self.hub.free.pop().unwrap_or(self.hub.connections.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut socket, Token(at), interest) {
            tracing::warn!("Error registering a client connection: {error}");
            self.hub.free.push(at);
            return;
        }
        if at == self.hub.connections.len() {
            self.hub.connections.push(None);
            self.inputs.push(Input::default());
        }
        self.hub.insert(at, socket, peer, local);
    }

    /// Ends a connection.
    pub(super) fn close(&mut self, at: usize) {
        // A session that goes while it is on a waiter list is woken for nothing, and that is all.
        drop(self.take(at));
    }

    /// Gives a replica's connection to the replication thread.
    pub(super) fn hand_over(&mut self, at: usize) {
        let unread = self.inputs[at].take();
        let Some(connection) = self.take(at) else { return };
        let State::Leaving(wanted) = connection.state else { return };
        let hello = connection.client.replica.lock().clone();
        let socket = TcpStream::from(connection.socket);
        let client = Arc::new(connection.client.into_replica());
        let peer = client.peer;
        let replica = NewReplica { socket, client, hello, wanted, unread };
        if self.hub.node.replication.ask(ToReplication::Psync(replica)).is_err() {
            tracing::warn!("the replication thread does not take the replica {peer}: it will try again");
        }
    }

    fn take(&mut self, at: usize) -> Option<Connection> {
        let mut connection = self.hub.connections.get_mut(at).and_then(Option::take)?;
        // Fails only when the kernel has forgotten the socket already.
        let _ = self.poll.registry().deregister(&mut connection.socket);
        self.hub.forget(at, &connection);
        self.inputs[at] = Input::default();
        // Connections end at the end of a turn, so no event of this turn can be taken for one of the next owner.
        self.hub.free.push(at);
        Some(*connection)
    }
}

/// `protected-mode`: a server that asks for no password is for this machine alone.
fn is_protected(protected_mode: bool, asks_password: bool, peer: SocketAddr) -> bool {
    protected_mode && !asks_password && !peer.ip().to_canonical().is_loopback()
}

impl Hub {
    /// What a client is told that cannot be served.
    fn refusal(&self, peer: SocketAddr) -> Option<String> {
        if self.node.stats.connected.get() >= self.node.clients_max() {
            return Some("-ERR max number of clients reached\r\n".into());
        }
        if is_protected(self.settings.protected_mode, self.node.engine.asks_password(), peer) {
            return Some(
                "-DENIED this server is in protected mode: it asks for no password, so only clients on this \
                 machine are served. Set requirepass, or protected-mode no, to serve others as well\r\n"
                    .into(),
            );
        }
        None
    }

    fn insert(&mut self, at: usize, socket: mio::net::TcpStream, peer: SocketAddr, local: SocketAddr) {
        // Numbers of thread t are t + 1, t + 1 + threads, …: unique without asking each other, and 1, 2, 3, … with
        // one thread. The mail to a session finds its thread by the same rule.
        let id = self.created * self.node.mailboxes.threads() as u64 + self.index as u64 + 1;
        self.created += 1;
        let client = Arc::new(Client::new(id, Kind::Normal, peer, local, self.now));
        self.node.clients.add(Arc::clone(&client));
        self.node.stats.connected.add(1);
        let mut session = self.node.engine.new_session(SessionId(id), self.now);
        session.family = Family::of(peer.ip());
        self.by_id.insert(id, at);
        self.connections[at] = Some(Box::new(Connection {
            socket,
            client,
            session: Some(session),
            output: Output::default(),
            state: State::Open,
            readable: true,
            writable: true,
            peer_closed: false,
            closing: false,
            parted: false,
            dead: false,
            listed: false,
            gated: false,
            paused: false,
            consumed: 0,
            above_soft_since: None,
            timer: None,
        }));
        self.list(at);
    }

    /// Takes a connection off every list.
    pub(super) fn forget(&mut self, at: usize, connection: &Connection) {
        self.by_id.remove(&connection.client.id);
        self.node.clients.remove(connection.client.id);
        self.node.stats.connected.sub(1);
        if connection.gated {
            self.gated.remove(&at);
            self.node.mailboxes.gated(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_opens_protected_mode_to_others() {
        let (other, own) = ("192.0.2.1:1".parse().unwrap(), "[::ffff:127.0.0.1]:1".parse().unwrap());
        assert!(is_protected(true, false, other));
        for (mode, asks, peer) in [(true, true, other), (false, false, other), (true, false, own)] {
            assert!(!is_protected(mode, asks, peer), "{mode} {asks} {peer}");
        }
    }
}

//! Clients: one readiness loop per data thread, four phases a turn (reference/performance.md, Prototype):
//!
//! 1. receive from every connection that has something (`receive`),
//! 2. parse all of it and prefetch what it will touch (`serve`),
//! 3. execute under the slots' locks (`serve`, `outcome`),
//! 4. one send per connection (`send`).
//!
//! No thread ever waits for a slot, another thread or a client: a request that cannot go on parks its connection.

mod accept;
mod connection;
pub mod input;
mod leaving;
mod mail;
mod outcome;
pub mod output;
mod receive;
mod send;
mod serve;
mod timers;

pub use accept::Acceptor;

use crate::config::Settings;
use crate::mailbox::Mail;
use crate::node::{Node, now};
use crate::workers::{Job, Workers};
use connection::{Connection, State};
use input::{Input, READ_CHUNK};
use mio::{Events, Poll, Token};
use node_server_protocol::Millis;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use timers::Timers;

/// Events taken from the kernel in one turn.
const EVENTS_MAX: usize = 1024;
/// The token of the mailbox's waker.
pub const MAIL_TOKEN: Token = Token(usize::MAX);
/// Listener `n` has the token `LISTENER_TOKENS - n`.
const LISTENER_TOKENS: usize = usize::MAX - 1;
/// More listeners than anybody binds.
const LISTENERS_MAX: usize = 1024;
/// Longest wait for events; timers are looked at this often at least.
const TICK: Duration = Duration::from_millis(100);

/// One data thread: its connections and its loop.
pub struct DataThread {
    poll: Poll,
    acceptor: Option<Acceptor>,
    scratch: Box<[u8]>,
    mail: Vec<Mail>,
    /// Input of connection `n`. Apart from the rest, because requests borrow from it while the rest changes.
    inputs: Vec<Input>,
    hub: Hub,
}

/// Everything but the inputs.
pub(crate) struct Hub {
    index: usize,
    node: Arc<Node>,
    workers: Arc<Workers>,
    connections: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    by_id: HashMap<u64, usize>,
    /// Connections to look at in this turn.
    active: Vec<usize>,
    /// Connections to look at in the next turn, whatever the kernel says.
    next: Vec<usize>,
    /// Connections that wait for acknowledgements: closed gates and WAIT.
    gated: BTreeSet<usize>,
    /// Requests that wait for room in the workers' queue, first come first served; at most one per connection.
    queued: std::collections::VecDeque<Box<Job>>,
    timers: Timers,
    created: u64,
    settings: Arc<Settings>,
    now: Millis,
    /// Requests executed in this turn.
    executed: u64,
    /// Set while the process leaves: when to close everything.
    draining: Option<Millis>,
}

impl DataThread {
    /// A thread's loop around `poll`, whose waker is registered with [`MAIL_TOKEN`]. One thread gets the acceptor.
    #[must_use]
    pub fn new(
        index: usize,
        poll: Poll,
        node: Arc<Node>,
        workers: Arc<Workers>,
        acceptor: Option<Acceptor>,
    ) -> Self {
        let settings = node.config.settings();
        let hub = Hub {
            index,
            node,
            workers,
            connections: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            active: Vec::new(),
            next: Vec::new(),
            gated: BTreeSet::new(),
            queued: std::collections::VecDeque::new(),
            timers: Timers::default(),
            created: 0,
            settings,
            now: now(),
            executed: 0,
            draining: None,
        };
        let scratch = vec![0; READ_CHUNK].into_boxed_slice();
        Self { poll, acceptor, scratch, mail: Vec::new(), inputs: Vec::new(), hub }
    }

    /// Serves until the process leaves.
    ///
    /// # Errors
    /// The kernel refuses to say which sockets are ready; nothing can be served without that.
    pub fn run(mut self) -> std::io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        while !self.is_over() {
            let timeout = self.hub.timeout();
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            self.turn(&events);
        }
        self.hub.node.mailboxes.thread_ended();
        Ok(())
    }

    fn turn(&mut self, events: &Events) {
        self.hub.now = now();
        self.hub.begin_turn();
        let mut mail = false;
        for event in events {
            match event.token() {
                MAIL_TOKEN => mail = true,
                Token(token) if token > LISTENER_TOKENS - LISTENERS_MAX => {
                    self.accept(LISTENER_TOKENS - token)
                }
                Token(at) => self.hub.note_event(at, event),
            }
        }
        if mail {
            self.read_mail();
        }
        self.receive();
        self.serve();
        self.send();
        self.run_timers();
        self.end_turn();
    }

    fn end_turn(&mut self) {
        self.hub.node.stats.commands.add(std::mem::take(&mut self.hub.executed));
        let mut active = std::mem::take(&mut self.hub.active);
        for at in active.drain(..) {
            let Some(connection) = self.hub.connections[at].as_deref_mut() else { continue };
            connection.listed = false;
            if self.hub.should_close(at, &self.inputs[at]) {
                self.close(at);
            } else if self.hub.is_leaving(at) {
                self.hand_over(at);
            }
        }
        self.hub.active = active;
    }
}

impl Hub {
    /// Zero when a connection has work that no event will announce.
    fn timeout(&self) -> Duration {
        if self.next.is_empty() {
            self.timers.until_next(self.now).map_or(TICK, |t| t.min(TICK))
        } else {
            Duration::ZERO
        }
    }

    fn begin_turn(&mut self) {
        let next = std::mem::take(&mut self.next);
        for at in &next {
            self.list(*at);
        }
        self.next = next;
        self.next.clear();
    }

    /// Puts a connection on the list of this turn, once.
    fn list(&mut self, at: usize) {
        if let Some(Some(connection)) = self.connections.get_mut(at)
            && !connection.listed
        {
            connection.listed = true;
            self.active.push(at);
        }
    }

    fn note_event(&mut self, at: usize, event: &mio::event::Event) {
        let Some(Some(connection)) = self.connections.get_mut(at) else { return };
        connection.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        connection.writable |= event.is_writable();
        connection.dead |= event.is_write_closed() && event.is_read_closed() && event.is_error();
        self.list(at);
    }

    fn connection(&mut self, at: usize) -> Option<&mut Connection> {
        self.connections.get_mut(at)?.as_deref_mut()
    }

    /// Whether a connection is a replica's by now and every reply has left.
    fn is_leaving(&self, at: usize) -> bool {
        let connection = self.connections.get(at).and_then(Option::as_deref);
        connection.is_some_and(|c| matches!(c.state, State::Leaving(_)) && c.output.is_done())
    }

    /// Whether nothing is left to do for a connection.
    fn should_close(&self, at: usize, input: &Input) -> bool {
        let Some(Some(connection)) = self.connections.get(at) else { return false };
        let sent = connection.output.is_done();
        // A client that closed its side after its last request still gets its replies, except to a WAIT, which may
        // take for ever.
        let left = connection.peer_closed
            && match connection.state {
                State::Open => sent && !input.is_worth_parsing(),
                State::Waiting { .. } => true,
                State::Parked | State::Offloaded | State::Deferred | State::Leaving(_) => false,
            };
        connection.dead || left || (connection.closing && sent)
    }
}

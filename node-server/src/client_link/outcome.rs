//! What becomes of a request after the engine has had it.

use super::Hub;
use super::connection::State;
use crate::config::{Allow, Settings};
use crate::mailbox::ReplyTo;
use crate::node::{Node, RoleAnswer, ToBus, ToMigrate, ToReplication};
use crate::persistence::Request;
use crate::shutdown;
use crate::workers::{Finished, Job};
use node_server_cluster::Asker;
use node_server_cluster::command::{self, Command, Parsed};
use node_server_engine::{Deferred, Outcome, Prepared, PsyncRequest};
use node_server_protocol::Family;
use node_server_protocol::resp::{Protocol, ReplyWriter};
use node_server_rdb::decode_dump_unchecked;
use std::net::SocketAddr;
use std::sync::Arc;

/// Redis's words.
const NO_DEBUG: &str = "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can \
     run it from a local connection, otherwise you need to set this option in the configuration file, and then \
     restart the server.";
/// Said when another thread has too much to do.
const TRY_AGAIN: &[u8] = b"-TRYAGAIN the server is overloaded, try again\r\n";

impl Hub {
    /// Executes one request whose bytes end at `end` of the connection's input.
    pub(super) fn execute(&mut self, at: usize, args: &[&[u8]], prepared: &Prepared, end: usize) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(at).and_then(Option::as_deref_mut) else { return };
        if args.is_empty() {
            connection.consumed = end;
            return;
        }
        // While a CLUSTER command waits for the bus thread, only more of them may follow it: their order is the bus
        // thread's, everything else could overtake them.
        if connection.output.pending() > 0 && !args[0].eq_ignore_ascii_case(b"cluster") {
            connection.state = State::Deferred;
            return;
        }
        if args[0].eq_ignore_ascii_case(b"debug") && !may_debug(&self.settings, connection.client.peer) {
            self.answer(at, |_, reply| reply.error(NO_DEBUG));
            if let Some(connection) = self.connection(at) {
                connection.consumed = end;
            }
            return;
        }
        let Some(session) = connection.session.as_mut() else { return };
        let mark = connection.output.mark();
        let outcome =
            self.node.engine.execute_prepared(session, args, prepared, now, connection.output.begin());
        self.executed += 1;
        match outcome {
            Outcome::Park => {
                connection.output.undo(mark);
                connection.state = State::Parked;
                self.executed -= 1;
                return;
            }
            Outcome::Offload => {
                connection.output.undo(mark);
                self.executed -= 1;
                self.offload(at, args, end);
                return;
            }
            Outcome::Done | Outcome::Close | Outcome::Defer(_) => {}
        }
        self.conclude(at, mark, outcome, args);
        if let Some(connection) = self.connection(at) {
            connection.consumed = end;
        }
    }

    /// Books the reply and what else the outcome asks for.
    fn conclude(&mut self, at: usize, mark: usize, outcome: Outcome, args: &[&[u8]]) {
        let Some(connection) = self.connections.get_mut(at).and_then(Option::as_deref_mut) else { return };
        let hold = connection.session.as_mut().and_then(|s| s.hold.take());
        let held = hold.is_some();
        if let Outcome::Defer(deferred) = outcome {
            connection.output.undo(mark);
            self.defer(at, deferred, args);
            return;
        }
        let written = connection.output.written(mark);
        self.node.stats.errors.count(written);
        if written.starts_with(BAD_PAYLOAD) && tracing::enabled!(tracing::Level::DEBUG) {
            log_refused_payload(args);
        }
        connection.output.finish(mark, hold);
        connection.closing |= matches!(outcome, Outcome::Close) || connection.client.is_killed();
        if held {
            self.want_acks(at);
        }
    }

    /// Asks replicas to say how far they are, because a reply waits for it.
    fn want_acks(&mut self, at: usize) {
        let offset = self.connection(at).and_then(|c| c.output.gated_offset());
        if let Some(offset) = offset {
            self.node.replication.want_ack(offset);
        }
        // A replica may have acknowledged in the meantime, before this connection was on the list.
        self.book_gate(at);
        self.look_at_gate(at);
    }

    fn offload(&mut self, at: usize, args: &[&[u8]], end: usize) {
        let thread = self.index;
        let Some(connection) = self.connection(at) else { return };
        let id = connection.client.id;
        let Some(session) = connection.session.take() else { return };
        let args = args.iter().map(|a| a.to_vec()).collect();
        connection.state = State::Offloaded;
        connection.consumed = end;
        let refused = self.workers.submit(Box::new(Job { thread, id, session, args })).err();
        if let Some(job) = refused {
            self.queued.push_back(job);
        }
    }

    /// A worker is through with a connection's request.
    pub(super) fn take_back(&mut self, finished: Finished) {
        self.submit_queued();
        let Finished { id, session, reply, outcome, args } = finished;
        let at = self.by_id.get(&id).copied();
        let Some(connection) = at.and_then(|at| self.connection(at)) else { return };
        connection.session = Some(session);
        connection.state = State::Open;
        let mark = connection.output.mark();
        connection.output.begin().extend_from_slice(&reply);
        let Some(at) = at else { return };
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        self.executed += 1;
        self.conclude(at, mark, outcome, &args);
        self.list(at);
    }

    /// Hands the workers what had no room before.
    fn submit_queued(&mut self) {
        while let Some(job) = self.queued.pop_front() {
            if let Err(job) = self.workers.submit(job) {
                self.queued.push_front(job);
                return;
            }
        }
    }

    fn defer(&mut self, at: usize, deferred: Deferred, args: &[&[u8]]) {
        match deferred {
            Deferred::Cluster => self.defer_to_bus(at, args),
            Deferred::ClusterTransaction(commands) => self.transaction_to_bus(at, &commands),
            Deferred::Migrate(request) => {
                let db = self.connection(at).and_then(|c| c.session.as_ref()).map_or(0, |s| s.db);
                self.ask(at, |node, reply_to, protocol| {
                    node.migrate.try_send(ToMigrate { reply_to, protocol, request, db }).is_ok()
                });
            }
            Deferred::Wait { replicas, offset, deadline, local } => {
                let Some(connection) = self.connection(at) else { return };
                let seq = connection.output.defer();
                connection.state = State::Waiting { replicas, offset, deadline, seq, local };
                self.node.replication.want_ack(offset);
                self.book_gate(at);
                self.look_at_gate(at);
            }
            Deferred::Save => self.ask_keeper(at, Request::Save),
            Deferred::BackgroundSave { schedule } => {
                self.ask_keeper(at, |reply_to| Request::BackgroundSave { reply_to: Some(reply_to), schedule })
            }
            Deferred::RewriteAof => self.ask_keeper(at, |reply_to| Request::Rewrite(Some(reply_to))),
            Deferred::Reload(what) => {
                self.ask_keeper(at, |reply_to| Request::Reload { reply_to, what });
            }
            Deferred::Shutdown(options) => self.ask(at, |node, reply_to, _| {
                node.shutdown.request(if options.abort {
                    shutdown::Request::Abort { reply_to }
                } else {
                    let save = (options.save || options.nosave).then_some(options.save);
                    shutdown::Request::Command { now: options.now, save, force: options.force, reply_to }
                });
                true
            }),
            Deferred::ReplicaOf(master) => {
                let now = self.now;
                let Some(connection) = self.connection(at) else { return };
                let from = connection.client.line(now);
                self.ask(at, |node, reply_to, _| {
                    let answer = RoleAnswer::Client(reply_to);
                    node.replication.ask(ToReplication::ReplicaOf { master, from, answer }).is_ok()
                });
            }
            Deferred::Failover(request) => self.ask(at, |node, reply_to, _| {
                node.replication.ask(ToReplication::Failover { request, reply_to }).is_ok()
            }),
            Deferred::Psync(wanted) => self.leave(at, wanted),
        }
    }

    fn ask_keeper(&mut self, at: usize, request: impl FnOnce(ReplyTo) -> Request) {
        self.ask(at, |node, reply_to, _| node.persistence.ask(request(reply_to)).is_ok());
    }

    /// Sends a request to another thread; nothing else of the connection is executed until the reply has come.
    fn ask(&mut self, at: usize, send: impl FnOnce(&Node, ReplyTo, Protocol) -> bool) {
        if self.send_on(at, send)
            && let Some(connection) = self.connection(at)
        {
            connection.state = State::Deferred;
        }
    }

    /// Sends a request to another thread; its reply has its place among the connection's replies. `false`: that
    /// thread has too much to do, and the client is told so.
    fn send_on(&mut self, at: usize, send: impl FnOnce(&Node, ReplyTo, Protocol) -> bool) -> bool {
        let thread = self.index;
        let node = Arc::clone(&self.node);
        let Some(connection) = self.connection(at) else { return false };
        let protocol = connection.session.as_ref().map_or(Protocol::Resp2, |s| s.protocol);
        let seq = connection.output.defer();
        let sent = send(&node, ReplyTo { thread, session: connection.client.id, seq }, protocol);
        if !sent {
            connection.output.fulfil(seq, TRY_AGAIN.to_vec());
        }
        sent
    }

    /// A CLUSTER command that is not about keys: the bus thread answers it. Those that follow are sent on without
    /// waiting, so that the core can make one promise for all of them.
    fn defer_to_bus(&mut self, at: usize, args: &[&[u8]]) {
        match self.parse_for_core(args) {
            Ok(command) => {
                let family = self.family(at);
                self.send_on(at, |node, reply_to, protocol| {
                    let asker = Asker { protocol, family };
                    node.bus.ask(ToBus::Command { reply_to, asker, command }).is_ok()
                });
            }
            Err(refusal) => self.answer(at, |_, reply| reply.error(&refusal)),
        }
    }

    /// Which addresses the client can use.
    fn family(&mut self, at: usize) -> Family {
        self.connection(at).map_or_else(Family::default, |connection| Family::of(connection.client.peer.ip()))
    }

    fn parse_for_core<A: AsRef<[u8]>>(&self, args: &[A]) -> Result<Command, String> {
        if !self.settings.cluster_enabled {
            return Err("ERR This instance has cluster support disabled".into());
        }
        match command::parse(args) {
            Ok(Parsed::Core(command)) => Ok(command),
            // The engine answers these itself and never defers them.
            Ok(Parsed::Keys(_)) => Err("ERR not a command for the cluster core".into()),
            Err(error) => Err(error.0),
        }
    }

    /// EXEC of such commands: the head of an array, and then their replies in their places.
    fn transaction_to_bus(&mut self, at: usize, transaction: &[Vec<Vec<u8>>]) {
        self.answer(at, |_, reply| reply.array(transaction.len()));
        let (thread, node) = (self.index, Arc::clone(&self.node));
        let mut commands = Vec::new();
        for args in transaction {
            match self.parse_for_core(args) {
                Ok(command) => {
                    let Some(connection) = self.connection(at) else { return };
                    let seq = connection.output.defer();
                    commands.push((ReplyTo { thread, session: connection.client.id, seq }, command));
                }
                Err(refusal) => self.answer(at, |_, reply| reply.error(&refusal)),
            }
        }
        let Some(connection) = self.connection(at) else { return };
        let protocol = connection.session.as_ref().map_or(Protocol::Resp2, |s| s.protocol);
        let asker = Asker { protocol, family: Family::of(connection.client.peer.ip()) };
        let seqs: Vec<u64> = commands.iter().map(|(to, _)| to.seq).collect();
        if node.bus.ask(ToBus::Transaction { asker, commands }).is_err() {
            for seq in seqs {
                connection.output.fulfil(seq, TRY_AGAIN.to_vec());
            }
        }
    }

    /// Answers at once.
    fn answer(&mut self, at: usize, write: impl FnOnce(&Node, &mut ReplyWriter<'_>)) {
        let node = Arc::clone(&self.node);
        let Some(connection) = self.connection(at) else { return };
        let protocol = connection.session.as_ref().map_or(Protocol::Resp2, |s| s.protocol);
        let mark = connection.output.mark();
        write(&node, &mut ReplyWriter::new(connection.output.begin(), protocol));
        connection.output.finish(mark, None);
    }

    /// PSYNC: the connection goes to the replication thread as soon as every earlier reply has left.
    fn leave(&mut self, at: usize, wanted: PsyncRequest) {
        let Some(connection) = self.connection(at) else { return };
        connection.state = State::Leaving(wanted);
    }
}

/// What RESTORE says to a payload that does not decode.
const BAD_PAYLOAD: &[u8] = b"-ERR Bad data format";

/// Why, for the log: Redis tells no more to the client.
fn log_refused_payload(args: &[&[u8]]) {
    let [command, key, _, payload, ..] = args else { return };
    if let Err(error) = decode_dump_unchecked(payload) {
        let (command, key) = (command.escape_ascii(), key.escape_ascii());
        let encoding = encoding_words(payload.first().copied());
        tracing::debug!("{command} of {key}: {encoding} integrity check failed: {error}");
    }
}

/// How Redis's log calls the encodings that it checks, by the type of the payload (Redis: RDB_TYPE_*).
const fn encoding_words(kind: Option<u8>) -> &'static str {
    match kind {
        Some(9) => "Zipmap",
        Some(11) => "Intset",
        Some(12) => "Zset ziplist",
        Some(13) => "Hash ziplist",
        Some(14) => "Ziplist",
        Some(15 | 19 | 21) => "Stream listpack",
        Some(16) => "Hash listpack",
        Some(17) => "Zset listpack",
        Some(18) => "Listpack",
        Some(20) => "Set listpack",
        _ => "Payload",
    }
}

/// `enable-debug-command`.
fn may_debug(settings: &Settings, peer: SocketAddr) -> bool {
    match settings.enable_debug_command {
        Allow::Yes => true,
        Allow::Local => peer.ip().to_canonical().is_loopback(),
        Allow::No => false,
    }
}

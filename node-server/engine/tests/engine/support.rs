//! What the engine's tests share: a host that notes what it is told, and a client that has no socket.

use node_server_engine::{Engine, Host, HostCommand, MasterAddress, Options, Outcome, Session, SessionId};
use node_server_protocol::resp::{Reply, ReplyWriter, parse_reply};
use node_server_protocol::routing::{RouteNode, Routing, Serving};
use node_server_protocol::{Address, Millis, NodeId, Role, Slot, SlotRange};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// A moment to begin at.
pub(crate) const NOW: Millis = Millis(1_700_000_000_000);

type Hook<T> = Box<dyn Fn(T) + Send>;

#[derive(Default)]
pub(crate) struct TestHost {
    woken: Mutex<Vec<SessionId>>,
    bell: Condvar,
    pub(crate) grew: AtomicU64,
    /// What `pause` does; by default nothing.
    on_pause: Mutex<Option<Hook<u64>>>,
    on_command: Mutex<Option<Hook<()>>>,
}

impl TestHost {
    pub(crate) fn woken(&self) -> Vec<SessionId> {
        std::mem::take(&mut self.woken.lock().unwrap())
    }

    /// Waits until the session is woken.
    pub(crate) fn wait_for(&self, session: SessionId) {
        let mut woken = self.woken.lock().unwrap();
        while !woken.contains(&session) {
            let (guard, timeout) = self.bell.wait_timeout(woken, std::time::Duration::from_secs(20)).unwrap();
            assert!(!timeout.timed_out(), "session {session:?} was never woken");
            woken = guard;
        }
        woken.retain(|s| *s != session);
    }

    /// What happens while the host answers a command.
    pub(crate) fn on_command(&self, f: impl Fn() + Send + 'static) {
        *self.on_command.lock().unwrap() = Some(Box::new(move |()| f()));
    }

    pub(crate) fn on_pause(&self, f: impl Fn(u64) + Send + 'static) {
        *self.on_pause.lock().unwrap() = Some(Box::new(f));
    }
}

impl Host for TestHost {
    fn wake(&self, session: SessionId) {
        self.woken.lock().unwrap().push(session);
        self.bell.notify_all();
    }

    fn log_grew(&self) {
        self.grew.fetch_add(1, Ordering::Relaxed);
    }

    fn command(
        &self,
        command: HostCommand,
        _: &mut Session,
        _: &[&[u8]],
        _: Millis,
        reply: &mut ReplyWriter<'_>,
    ) {
        if let Some(f) = self.on_command.lock().unwrap().as_ref() {
            f(());
        }
        reply.simple(&format!("{command:?}"));
    }

    fn follow(&self, master: Option<MasterAddress>, _: &mut Session, reply: &mut ReplyWriter<'_>) {
        if let Some(f) = self.on_command.lock().unwrap().as_ref() {
            f(());
        }
        reply.simple(&master.map_or("nobody".into(), |master| master.to_string()));
    }

    fn pause(&self, ms: u64) {
        if let Some(f) = self.on_pause.lock().unwrap().as_ref() {
            f(ms);
        }
    }

    fn now(&self) -> Millis {
        NOW
    }
}

pub(crate) struct Node {
    pub(crate) engine: Arc<Engine>,
    pub(crate) host: Arc<TestHost>,
    sessions: AtomicU64,
}

pub(crate) fn node_id(n: u8) -> NodeId {
    NodeId::from_bytes([n; 20])
}

pub(crate) fn route_node(n: u8) -> RouteNode {
    let address =
        Address { ip: [127, 0, 0, n].into(), port: 7000 + u16::from(n), bus_port: 17000 + u16::from(n) };
    let (endpoint, port) = (format!("127.0.0.{n}"), address.port);
    RouteNode { id: node_id(n), endpoint, endpoint_v6: Some(format!("2001:db8::{n}")), port, address }
}

/// Node `me` in a cluster of three masters, 1 to 3; 1 owns everything but what `others` says. Node 4 is a replica of 1.
pub(crate) fn routing(me: u8, version: u64, others: &[(&str, u8)]) -> Routing {
    let nodes = (1..=4).map(route_node).collect();
    let role = if me == 4 { Role::Replica { of: node_id(1) } } else { Role::Master };
    let mut routing = Routing::new(version, node_id(me), role, Serving::Ok, nodes);
    Slot::all().for_each(|slot| routing.set_owner(slot, 0));
    for (range, owner) in others {
        let range: SlotRange = range.parse().unwrap();
        range.iter().for_each(|slot| routing.set_owner(slot, usize::from(*owner) - 1));
    }
    routing
}

impl Node {
    /// A master that owns every slot.
    pub(crate) fn master() -> Self {
        let node = Self::with(Options { seed: 7, replid: "a".repeat(40), ..Options::default() });
        node.engine.publish_routing(Arc::new(routing(1, 1, &[])));
        node
    }

    /// A replica of that master.
    pub(crate) fn replica() -> Self {
        let node = Self::with(Options { seed: 8, replid: "b".repeat(40), ..Options::default() });
        node.engine.publish_routing(Arc::new(routing(4, 1, &[])));
        node
    }

    /// Without cluster mode.
    pub(crate) fn standalone() -> Self {
        Self::with(Options { cluster: false, replid: "c".repeat(40), ..Options::default() })
    }

    pub(crate) fn with(options: Options) -> Self {
        let host = Arc::new(TestHost::default());
        let engine = Arc::new(Engine::new(options, Arc::clone(&host) as Arc<dyn Host>));
        Self { engine, host, sessions: AtomicU64::new(1) }
    }

    pub(crate) fn client(&self) -> Client {
        let id = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed));
        let session = self.engine.new_session(id, NOW);
        Client {
            engine: Arc::clone(&self.engine),
            host: Arc::clone(&self.host),
            session,
            now: NOW,
            prepares: false,
        }
    }

    /// Everything that is there: value and expiry by key.
    pub(crate) fn content(&self, now: Millis) -> BTreeMap<Vec<u8>, (Vec<u8>, i64)> {
        let mut client = self.client();
        client.now = now;
        client.session.readonly = true;
        let Reply::Array(keys) = client.run(&["KEYS", "*"]) else { panic!("KEYS gives an array") };
        let mut content = BTreeMap::new();
        for key in keys {
            let Reply::Bulk(key) = key else { panic!("keys are bulk strings") };
            let Reply::Bulk(value) = client.call(&[b"GET", &key]) else { panic!("{key:?} has a value") };
            let Reply::Integer(expire_at) = client.call(&[b"PEXPIRETIME", &key]) else { panic!("an expiry") };
            content.insert(key, (value, expire_at));
        }
        content
    }

    /// The log's bytes from `from` on.
    pub(crate) fn log_from(&self, from: u64) -> Vec<u8> {
        let mut out = Vec::new();
        self.engine.log().read_from(from, usize::MAX, &mut out).unwrap();
        out
    }

    /// The log's commands from `from` on, words joined by blanks.
    pub(crate) fn records_from(&self, from: u64) -> Vec<String> {
        records(&self.log_from(from))
    }
}

/// The commands in a piece of the log.
pub(crate) fn records(mut bytes: &[u8]) -> Vec<String> {
    let mut records = Vec::new();
    while let Some((reply, used)) = parse_reply(bytes).unwrap() {
        let Reply::Array(words) = reply else { panic!("a command is an array") };
        let text = |w: &Reply| match w {
            Reply::Bulk(b) => String::from_utf8_lossy(b).into_owned(),
            other => panic!("{other:?} in a command"),
        };
        records.push(words.iter().map(text).collect::<Vec<_>>().join(" "));
        bytes = &bytes[used..];
    }
    assert!(bytes.is_empty(), "half a record");
    records
}

pub(crate) struct Client {
    pub(crate) engine: Arc<Engine>,
    pub(crate) host: Arc<TestHost>,
    pub(crate) session: Session,
    pub(crate) now: Millis,
    /// The last request was prepared.
    prepares: bool,
}

impl Client {
    /// One attempt; every second one as a data thread makes it.
    pub(crate) fn try_once(&mut self, args: &[&[u8]]) -> (Outcome, Vec<u8>) {
        let mut out = Vec::new();
        self.prepares = !self.prepares;
        if !self.prepares {
            return (self.engine.execute(&mut self.session, args, self.now, &mut out), out);
        }
        let prepared = self.engine.prepare(args);
        self.engine.prefetch_position(&prepared);
        self.engine.prefetch_entry(&prepared);
        let outcome = self.engine.execute_prepared(&mut self.session, args, &prepared, self.now, &mut out);
        (outcome, out)
    }

    pub(crate) fn outcome(&mut self, args: &[&str]) -> Outcome {
        let args: Vec<&[u8]> = args.iter().map(|a| a.as_bytes()).collect();
        self.try_once(&args).0
    }

    /// Runs a request as the shell does: parks until woken, offloads to "a worker".
    pub(crate) fn call(&mut self, args: &[&[u8]]) -> Reply {
        loop {
            let (mut outcome, mut out) = self.try_once(args);
            if outcome == Outcome::Offload {
                outcome = self.engine.execute_offloaded(&mut self.session, args, self.now, &mut out);
            }
            match outcome {
                Outcome::Done => {
                    let (reply, used) =
                        parse_reply(&out).unwrap().unwrap_or_else(|| panic!("half a reply: {out:?}"));
                    assert_eq!(used, out.len(), "more than one reply to {args:?}");
                    return reply;
                }
                Outcome::Park => {
                    assert!(out.is_empty(), "a parked request has no reply");
                    self.host.wait_for(self.session.id);
                }
                other => panic!("{args:?} gave {other:?}"),
            }
        }
    }

    pub(crate) fn run(&mut self, args: &[&str]) -> Reply {
        let args: Vec<&[u8]> = args.iter().map(|a| a.as_bytes()).collect();
        self.call(&args)
    }

    /// Runs a line of words.
    pub(crate) fn line(&mut self, line: &str) -> Reply {
        self.run(&line.split(' ').collect::<Vec<_>>())
    }

    /// Runs a line and expects `+OK`.
    pub(crate) fn ok(&mut self, line: &str) {
        assert_eq!(self.line(line), Reply::Simple("OK".into()), "{line}");
    }

    /// Runs a line and expects an error.
    pub(crate) fn error(&mut self, line: &str) -> String {
        match self.line(line) {
            Reply::Error(text) => text,
            other => panic!("{line} gave {other:?} and no error"),
        }
    }
}

pub(crate) fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

pub(crate) fn int(n: i64) -> Reply {
    Reply::Integer(n)
}

//! Every connected client, for CLIENT LIST, INFO and KILL. Each data thread keeps its own entries up to date; others
//! read them.

use node_server_engine::Session;
use node_server_protocol::Millis;
use node_server_protocol::resp::Protocol;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Notify;

/// What CLIENT LIST and KILL tell apart by TYPE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anybody who sends requests.
    Normal,
    /// A replica of this node; the replication thread serves it.
    Replica,
    /// The link to this node's master.
    Master,
}

/// The first number of a link to a master. Data threads number their clients from 1; they do not get as far.
const MASTER_IDS: u64 = 1 << 48;

/// One client as others see it.
#[derive(Debug)]
pub struct Client {
    /// CLIENT ID.
    pub id: u64,
    /// Who it is.
    pub kind: Kind,
    /// Its end.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// When it connected.
    pub connected: Millis,
    /// When something last came from it, in Unix milliseconds.
    pub last_active: AtomicU64,
    /// Bytes received and not executed, at the end of the last turn.
    pub input_bytes: AtomicU64,
    /// Bytes written and not sent, at the end of the last turn.
    pub output_bytes: AtomicU64,
    /// Whether it waits: parked, for another thread, or for a deferred reply.
    pub blocked: AtomicBool,
    /// Close it once the reply to its present request is written.
    pub killed: AtomicBool,
    /// Told to end now. Only replicas and masters look: other connections end by mail to their data thread.
    pub end: Notify,
    /// What its commands say about it.
    pub details: Mutex<Details>,
    /// What REPLCONF said, on a connection that is about to send PSYNC.
    pub replica: Mutex<ReplicaHello>,
}

/// What a replica says about itself before PSYNC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaHello {
    /// `REPLCONF listening-port`; 0 when it did not say.
    pub listening_port: u16,
    /// `REPLCONF ip-address`, where it said.
    pub announced_ip: Option<String>,
    /// `REPLCONF version`, where it said: Valkey 8 and newer do.
    pub version: Option<String>,
    /// Every `REPLCONF capa`, lower case, at most [`CAPABILITIES_MAX`].
    pub capabilities: Vec<String>,
}

/// More than any replica has.
pub const CAPABILITIES_MAX: usize = 32;

/// What a client's commands say about it: a copy of its session, made after each turn in which it sent something.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub lib_version: Vec<u8>,
    /// The last command, `client|list`.
    pub command: &'static str,
    /// Whether it chose RESP3.
    pub resp3: bool,
    /// Selected database.
    pub database: u16,
    /// Commands queued in MULTI; `None` outside.
    pub queued: Option<usize>,
    /// Watched keys.
    pub watched: usize,
    /// READONLY was sent.
    pub readonly: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// CLIENT NO-EVICT. Not in the session: nothing acts on it, clients are never evicted.
    pub no_evict: bool,
}

impl Details {
    fn copy(&mut self, session: &Session) {
        for (own, new) in [
            (&mut self.name, &session.name),
            (&mut self.lib_name, &session.lib_name),
            (&mut self.lib_version, &session.lib_version),
        ] {
            if own != new {
                own.clone_from(new);
            }
        }
        self.command = session.last_command;
        self.resp3 = session.protocol == Protocol::Resp3;
        self.database = session.db;
        self.queued = session.queued();
        self.watched = session.watching();
        self.readonly = session.readonly;
        self.no_touch = session.no_touch;
    }
}

impl Client {
    /// One who has just come.
    #[must_use]
    pub fn new(id: u64, kind: Kind, peer: SocketAddr, local: SocketAddr, connected: Millis) -> Self {
        Self {
            id,
            kind,
            peer,
            local,
            connected,
            last_active: AtomicU64::new(connected.0),
            input_bytes: AtomicU64::default(),
            output_bytes: AtomicU64::default(),
            blocked: AtomicBool::default(),
            killed: AtomicBool::default(),
            end: Notify::new(),
            details: Mutex::default(),
            replica: Mutex::default(),
        }
    }

    /// The connection of a normal client that turned out to be a replica's: it keeps its number, name and age.
    #[must_use]
    pub fn into_replica(&self) -> Self {
        let replica = Self::new(self.id, Kind::Replica, self.peer, self.local, self.connected);
        replica.details.lock().clone_from(&self.details.lock());
        replica
    }

    /// Lets others see what the session says now.
    pub fn copy(&self, session: &Session) {
        self.details.lock().copy(session);
    }

    /// Whether it was told to close after its reply.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    /// The client's line in CLIENT LIST, without line end. Memory figures that we do not count are left at 0.
    #[must_use]
    pub fn line(&self, now: Millis) -> String {
        let details = self.details.lock().clone();
        let idle = now.since(Millis(self.last_active.load(Ordering::Relaxed))) / 1000;
        let input = self.input_bytes.load(Ordering::Relaxed);
        let output = self.output_bytes.load(Ordering::Relaxed);
        let queued = details.queued.map_or(-1, |n| n as i64);
        let mut line = format!(
            "id={} addr={} laddr={} fd=-1 name={}",
            self.id,
            self.peer,
            self.local,
            text(&details.name)
        );
        // Writing to a String cannot fail.
        let _ = write!(
            line,
            " age={} idle={idle} flags={} db={} sub=0 psub=0 ssub=0 multi={queued} watch={}",
            now.since(self.connected) / 1000,
            self.flags(&details),
            details.database,
            details.watched,
        );
        let _ = write!(
            line,
            " qbuf={input} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={output} oll=0 omem=0 tot-mem={}",
            input + output,
        );
        let _ = write!(
            line,
            " events=r cmd={} user=default redir=-1 resp={} lib-name={} lib-ver={}",
            if details.command.is_empty() { "NULL" } else { details.command },
            if details.resp3 { 3 } else { 2 },
            text(&details.lib_name),
            text(&details.lib_version),
        );
        line
    }

    /// Redis's letters.
    fn flags(&self, details: &Details) -> String {
        let letters = [
            ('S', self.kind == Kind::Replica),
            ('M', self.kind == Kind::Master),
            ('x', details.queued.is_some()),
            ('b', self.blocked.load(Ordering::Relaxed)),
            ('r', details.readonly),
            ('e', details.no_evict),
            ('T', details.no_touch),
        ];
        let set: String = letters.iter().filter(|(_, on)| *on).map(|(letter, _)| letter).collect();
        if set.is_empty() { "N".into() } else { set }
    }
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// All of them, by id.
#[derive(Debug, Default)]
pub struct Clients {
    by_id: Mutex<BTreeMap<u64, Arc<Client>>>,
    masters: AtomicU64,
}

impl Clients {
    /// A client connected.
    pub fn add(&self, client: Arc<Client>) {
        self.by_id.lock().insert(client.id, client);
    }

    /// A link to a master was made.
    #[must_use]
    pub fn add_master(&self, peer: SocketAddr, local: SocketAddr, now: Millis) -> Arc<Client> {
        let id = MASTER_IDS + self.masters.fetch_add(1, Ordering::Relaxed);
        let client = Arc::new(Client::new(id, Kind::Master, peer, local, now));
        self.add(Arc::clone(&client));
        client
    }

    /// A client went.
    pub fn remove(&self, id: u64) {
        self.by_id.lock().remove(&id);
    }

    /// Everybody now, by id.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.by_id.lock().values().cloned().collect()
    }

    /// One client.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.by_id.lock().get(&id).cloned()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.lock().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_redis_fields() {
        let (peer, local) = ("127.0.0.1:5000".parse().unwrap(), "127.0.0.1:7001".parse().unwrap());
        let mut client = Client::new(7, Kind::Normal, peer, local, Millis(1000));
        client.last_active = AtomicU64::new(3000);
        client.input_bytes = AtomicU64::new(5);
        *client.details.lock() =
            Details { name: b"n".to_vec(), command: "client|list", ..Details::default() };
        assert_eq!(
            client.line(Millis(6000)),
            "id=7 addr=127.0.0.1:5000 laddr=127.0.0.1:7001 fd=-1 name=n age=5 idle=3 flags=N db=0 sub=0 psub=0 \
             ssub=0 multi=-1 watch=0 qbuf=5 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 \
             tot-mem=5 events=r cmd=client|list user=default redir=-1 resp=2 lib-name= lib-ver="
        );
        assert!(client.into_replica().line(Millis(6000)).contains(" name=n age=5 idle=5 flags=S db=0 "));
        let clients = Clients::default();
        clients.add(Arc::new(client));
        let master = clients.add_master(peer, local, Millis(6000));
        assert!(master.line(Millis(6000)).contains(" flags=M "));
        assert_eq!(clients.len(), 2);
        clients.remove(master.id);
        clients.remove(7);
        assert!(clients.is_empty());
    }
}

//! Every connected client, for CLIENT LIST, INFO and KILL. Each data thread keeps its own entries up to date; others
//! read them.

use node_server_protocol::Millis;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// One client as others see it.
#[derive(Debug)]
pub struct Client {
    /// CLIENT ID.
    pub id: u64,
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
    /// What its commands say about it.
    pub details: Mutex<Details>,
}

/// What a client's commands say about it.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// CLIENT SETNAME.
    pub name: String,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: String,
    /// CLIENT SETINFO LIB-VER.
    pub lib_version: String,
    /// The last command, `client|list`.
    pub command: String,
    /// RESP version.
    pub resp: u8,
    /// Selected database.
    pub database: u64,
    /// Commands queued in MULTI; `None` outside.
    pub queued: Option<usize>,
    /// Watched keys.
    pub watched: usize,
    /// READONLY was sent.
    pub readonly: bool,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
}

impl Client {
    /// The client's line in CLIENT LIST, without line end. Memory figures that we do not count are left at 0.
    #[must_use]
    pub fn line(&self, now: Millis) -> String {
        let details = self.details.lock().clone();
        let idle = now.since(Millis(self.last_active.load(Ordering::Relaxed))) / 1000;
        let input = self.input_bytes.load(Ordering::Relaxed);
        let output = self.output_bytes.load(Ordering::Relaxed);
        let queued = details.queued.map_or(-1, |n| n as i64);
        let mut line =
            format!("id={} addr={} laddr={} fd=-1 name={}", self.id, self.peer, self.local, details.name);
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
            if details.command.is_empty() { "NULL" } else { &details.command },
            details.resp.max(2),
            details.lib_name,
            details.lib_version,
        );
        line
    }

    /// Redis's letters.
    fn flags(&self, details: &Details) -> String {
        let letters = [
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

/// All of them, by id.
#[derive(Debug, Default)]
pub struct Clients {
    by_id: Mutex<BTreeMap<u64, Arc<Client>>>,
}

impl Clients {
    /// A client connected.
    pub fn add(&self, client: Arc<Client>) {
        self.by_id.lock().insert(client.id, client);
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
        let client = Client {
            id: 7,
            peer: "127.0.0.1:5000".parse().unwrap(),
            local: "127.0.0.1:7001".parse().unwrap(),
            connected: Millis(1000),
            last_active: AtomicU64::new(3000),
            input_bytes: AtomicU64::new(5),
            output_bytes: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            details: Mutex::new(Details {
                name: "n".into(),
                command: "client|list".into(),
                ..Details::default()
            }),
        };
        assert_eq!(
            client.line(Millis(6000)),
            "id=7 addr=127.0.0.1:5000 laddr=127.0.0.1:7001 fd=-1 name=n age=5 idle=3 flags=N db=0 sub=0 psub=0 \
             ssub=0 multi=-1 watch=0 qbuf=5 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 \
             tot-mem=5 events=r cmd=client|list user=default redir=-1 resp=2 lib-name= lib-ver="
        );
        let clients = Clients::default();
        clients.add(Arc::new(client));
        assert_eq!(clients.len(), 1);
        clients.remove(7);
        assert!(clients.is_empty());
    }
}

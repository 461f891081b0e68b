//! A replica of ours: PSYNC's answer, the snapshot if it needs one, then the log as it grows.

mod acks;
mod full;
mod limits;

use super::hub::{Granted, Hub, Replica, ReplicaState, acknowledges_batches};
use crate::clients::{Client, ReplicaHello};
use crate::node::{NewReplica, now};
use node_server_engine::{Pin, PsyncRequest};
use node_server_rdb::Dialect;
use std::io;
use std::sync::Arc;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;

/// Bytes of the log that are sent at a time.
const SEND_LEN: usize = 256 * 1024;
/// The answer while there is no data to give: the replica comes again.
const NO_MASTER_LINK: &[u8] = b"-NOMASTERLINK Can't SYNC while not connected with my master\r\n";

/// What a replica asked for.
struct Wanted {
    /// The history to continue; empty for SYNC.
    replid: Vec<u8>,
    /// First offset wanted, counted from 1.
    offset: i64,
    /// It takes a snapshot whose length is not known beforehand.
    eof: bool,
    /// It takes a new name with +CONTINUE.
    psync2: bool,
    /// What it reads where a field of a hash expires.
    newer: Dialect,
}

impl Wanted {
    fn is_sync(&self) -> bool {
        self.replid.is_empty()
    }
}

/// One replica's link.
struct Feed {
    hub: Arc<Hub>,
    number: u64,
    writer: OwnedWriteHalf,
    acked: Arc<Notify>,
    name: String,
}

/// Serves a connection that sent PSYNC or SYNC, until either side ends it.
pub(super) async fn serve(hub: Arc<Hub>, new: NewReplica) {
    let NewReplica { socket, client, hello, wanted: PsyncRequest { replid, offset, .. }, unread } = new;
    let ip = hello.announced_ip.clone().unwrap_or_else(|| client.peer.ip().to_canonical().to_string());
    let name = format!("{ip}:{}", hello.listening_port);
    let mut cut = hub.cut.subscribe();
    let stream = match TcpStream::from_std(socket) {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!("replica {name} cannot be served: {error}"),
    };
    // Without it acknowledgements would wait for each other; a socket that refuses works all the same.
    let _ = stream.set_nodelay(true);
    let (reader, mut writer) = stream.into_split();
    if !hub.between.gives_data() || !hub.has_data() || hub.failover().is_some() {
        // It comes again, whether it reads this or not.
        let _ = writer.write_all(NO_MASTER_LINK).await;
        return tracing::debug!("refused to sync replica {name}: this node has no data to give now");
    }
    tracing::info!("Replica {name} asks for synchronization");
    let (replica, acked) = introduce(ip, &hello, Arc::clone(&client));
    let number = hub.add(replica);
    let capable = |what: &str| hello.capabilities.iter().any(|c| c == what);
    let (eof, psync2, newer) = (capable("eof"), capable("psync2"), dialect(&hello));
    let wanted = Wanted { replid, offset, eof, psync2, newer };
    let mut feed = Feed { hub: Arc::clone(&hub), number, writer, acked, name };
    let name = feed.name.clone();
    let ended = tokio::select! {
        biased;
        // First: of another log not one byte is sent.
        _ = cut.changed() => Err(other_history()),
        () = client.end.notified() => Err(io::Error::other("CLIENT KILL")),
        ended = acks::read(&hub, number, reader, unread) => ended,
        ended = feed.run(&wanted) => ended,
        ended = limits::watch(&hub, number) => ended,
    };
    drop(feed);
    hub.remove(number);
    let reason = ended.err().map_or_else(|| "it closed the connection".into(), |error| error.to_string());
    tracing::info!("Connection with replica {name} lost: {reason}");
}

/// Refuses a connection that sent PSYNC.
pub(super) fn refuse(new: NewReplica, error: &'static [u8]) {
    tokio::spawn(async move {
        if let Ok(mut stream) = TcpStream::from_std(new.socket) {
            // It comes again or gives up, whether it reads this or not.
            let _ = stream.write_all(error).await;
        }
    });
}

/// Whose form of expiring hash fields a replica reads. Valkey's replicas and ours announce a version, Redis's do not.
fn dialect(hello: &ReplicaHello) -> Dialect {
    if hello.version.is_some() { Dialect::Valkey } else { Dialect::Redis }
}

fn other_history() -> io::Error {
    io::Error::other("it has to begin anew, the history changed")
}

fn introduce(ip: String, hello: &ReplicaHello, client: Arc<Client>) -> (Replica, Arc<Notify>) {
    let acked = Arc::new(Notify::new());
    let replica = Replica {
        ip,
        port: hello.listening_port,
        state: ReplicaState::Waiting,
        sent: 0,
        acknowledged: None,
        on_disk: 0,
        last_heard: now(),
        last_taken: now(),
        last_ack: now(),
        batch_ack: acknowledges_batches(&hello.capabilities),
        acked: Arc::clone(&acked),
        client,
    };
    (replica, acked)
}

impl Feed {
    /// Until the connection fails or the replica has fallen out of the backlog.
    async fn run(&mut self, wanted: &Wanted) -> io::Result<()> {
        let hub = Arc::clone(&self.hub);
        let log = hub.node.engine.log();
        // Before the place in it is looked for: of a log that begins anew meanwhile nothing is sent.
        let restarts = log.standing().restarts;
        let (from, pin) = match log.continue_from(&wanted.replid, wanted.offset) {
            Some(from) => {
                let pin = log.pin(from);
                self.grant_partial(wanted, from).await?;
                (from, pin)
            }
            None => self.full_sync(wanted).await?,
        };
        hub.update(self.number, |replica| replica.sent = from);
        hub.set_state(self.number, ReplicaState::Online);
        self.stream(from, restarts, &pin).await
    }

    async fn grant_partial(&mut self, wanted: &Wanted, from: u64) -> io::Result<()> {
        let log = self.hub.node.engine.log();
        let answer = match wanted.psync2 {
            true => format!("+CONTINUE {}\r\n", log.history().replid),
            false => "+CONTINUE\r\n".into(),
        };
        let bytes = log.end().saturating_sub(from);
        tracing::info!(
            "Partial resynchronization request from {} accepted. Sending {bytes} bytes of backlog starting from offset {}.",
            self.name,
            wanted.offset
        );
        // A replica acknowledges what the log says of open slots before its nodes.conf has it, and may have ended between
        // the two. It is said again; what is known already changes nothing.
        self.hub.between.sync_begun();
        self.hub.granted(Granted::Partial);
        self.write(answer.as_bytes()).await
    }

    /// The log from `position` on, as it grows, until another one takes its place.
    async fn stream(&mut self, mut position: u64, restarts: u64, pin: &Pin) -> io::Result<()> {
        let hub = Arc::clone(&self.hub);
        let log = hub.node.engine.log();
        let mut grown = hub.grown.subscribe();
        let mut buffer = Vec::with_capacity(SEND_LEN);
        loop {
            grown.mark_unchanged();
            buffer.clear();
            let read = log.read_until_restart(restarts, position, SEND_LEN, &mut buffer);
            let read = read.map_err(io::Error::other)?.ok_or_else(other_history)?;
            if read == 0 {
                grown.changed().await.map_err(io::Error::other)?;
                continue;
            }
            self.write(&buffer).await?;
            position += read as u64;
            pin.advance(position);
            hub.update(self.number, |replica| replica.sent = position);
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes).await?;
        self.hub.node.stats.replication_output_bytes.add(bytes.len() as u64);
        self.hub.update(self.number, |replica| replica.last_taken = now());
        Ok(())
    }
}

//! A full sync: a snapshot without fork, sent while it is made (`$EOF:`), or collected first for replicas that want to
//! know its length.

use super::{Feed, Wanted};
use crate::node::now;
use crate::replica_link::hub::{Granted, ReplicaState};
use crate::start::random_id;
use node_server_engine::{Chunk, Pin, Snapshot, SnapshotError};
use node_server_rdb::Dialect;
use std::io;
use std::time::Duration;

/// Bytes of the snapshot that are made at a time, about.
const CHUNK_LEN: usize = 64 * 1024;
/// How soon a write or slot that is in the way is looked at again.
const SOON: Duration = Duration::from_millis(1);
/// How soon the end of another replica's snapshot is looked for.
const IN_TURN: Duration = Duration::from_millis(20);
/// How often a waiting replica is told that we live.
const KEEPALIVE_MS: u64 = 1000;
/// Why a full sync ends before its end.
const FILES_FIRST: &str = "a file is to be written first, it has to begin anew";
/// The largest snapshot that is collected for a replica without `capa eof`, in bytes.
const COLLECTED_MAX: usize = 1 << 30;

impl Feed {
    /// Sends everything; where the log goes on, and the pin that keeps it.
    pub(super) async fn full_sync(&mut self, wanted: &Wanted) -> io::Result<(u64, Pin)> {
        let refused = !matches!(wanted.replid.as_slice(), b"" | b"?");
        self.hub.granted(Granted::Full { refused });
        let mut snapshot = self.begin(wanted.newer).await?;
        let offset = snapshot.offset;
        let pin = match snapshot.pin.take() {
            Some(pin) => pin,
            None => self.hub.node.engine.log().pin(offset),
        };
        // A snapshot has keys alone; what the core says of open slots now comes behind it in the log.
        self.hub.between.sync_begun();
        self.hub.update(self.number, |replica| replica.sent = offset);
        self.hub.set_state(self.number, ReplicaState::Sending);
        tracing::info!("Full resync of replica {} begins at offset {offset}", self.name);
        let hub = std::sync::Arc::clone(&self.hub);
        let collected = tokio::select! {
            biased;
            () = hub.node.replication.files_first.wanted() => Err(io::Error::other(FILES_FIRST)),
            sent = self.send_snapshot(wanted, &mut snapshot) => sent,
        }?;
        if wanted.eof {
            // The mark could not be told from the stream that follows; the replica says when it has seen it.
            self.acked.notified().await;
        } else {
            self.write(format!("${}\r\n", collected.len()).as_bytes()).await?;
            self.write(&collected).await?;
        }
        tracing::info!("Synchronization with replica {} succeeded", self.name);
        Ok((offset, pin))
    }

    /// All of the snapshot, which is through then; what is collected of it for a replica that must know its length.
    async fn send_snapshot(&mut self, wanted: &Wanted, snapshot: &mut Snapshot) -> io::Result<Vec<u8>> {
        if !wanted.is_sync() {
            let (replid, offset) = (self.hub.node.engine.log().history().replid, snapshot.offset);
            self.write(format!("+FULLRESYNC {replid} {offset}\r\n").as_bytes()).await?;
        }
        if wanted.eof {
            self.send_until_mark(snapshot).await?;
            return Ok(Vec::new());
        }
        self.collect(snapshot).await
    }

    /// A snapshot, as soon as no other is under way and no write is in the way.
    async fn begin(&mut self, newer: Dialect) -> io::Result<Snapshot> {
        let engine = std::sync::Arc::clone(&self.hub.node.engine);
        let mut told = now();
        loop {
            let is_kept = self.hub.node.replication.files_first.is_on();
            let begun =
                if is_kept { Err(SnapshotError::UnderWay) } else { engine.begin_snapshot(now(), newer) };
            match begun {
                Ok(snapshot) => return Ok(snapshot),
                Err(SnapshotError::Busy) => tokio::time::sleep(SOON).await,
                Err(SnapshotError::UnderWay) => tokio::time::sleep(IN_TURN).await,
            }
            if now().since(told) >= KEEPALIVE_MS {
                told = now();
                self.write(b"\n").await?;
            }
        }
    }

    async fn send_until_mark(&mut self, snapshot: &mut Snapshot) -> io::Result<()> {
        let mark = random_id().map_err(io::Error::other)?.to_hex();
        self.write(&[b"$EOF:", mark.as_slice(), b"\r\n"].concat()).await?;
        loop {
            match snapshot.next_chunk(CHUNK_LEN) {
                Chunk::Bytes(bytes) => self.write(&bytes).await?,
                Chunk::Busy => tokio::time::sleep(SOON).await,
                Chunk::Failed(error) => return Err(io::Error::other(error)),
                Chunk::End => break,
            }
        }
        self.write(&mark).await
    }

    async fn collect(&mut self, snapshot: &mut Snapshot) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut told = now();
        loop {
            match snapshot.next_chunk(CHUNK_LEN) {
                Chunk::Bytes(bytes) if all.len() + bytes.len() > COLLECTED_MAX => {
                    let reason = "its data is too large for a replica without REPLCONF capa eof";
                    return Err(io::Error::other(reason));
                }
                Chunk::Bytes(bytes) => {
                    all.extend_from_slice(&bytes);
                    tokio::task::yield_now().await;
                }
                Chunk::Busy => tokio::time::sleep(SOON).await,
                Chunk::Failed(error) => return Err(io::Error::other(error)),
                Chunk::End => return Ok(all),
            }
            if now().since(told) >= KEEPALIVE_MS {
                told = now();
                self.write(b"\n").await?;
            }
        }
    }
}

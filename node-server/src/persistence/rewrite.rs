//! A rewrite of the append-only file: a snapshot becomes the new base on a thread of its own, while the log goes on into
//! the next increment.

use super::open::Open;
use crate::append_only::{AofError, NewBase, RealFiles};
use crate::node::{Node, now};
use crate::process::step_behind;
use node_server_engine::{Chunk, Snapshot};
use node_server_protocol::Millis;
use node_server_rdb::Dialect;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;

/// Bytes of a snapshot that are written at a time.
pub(super) const CHUNK_LEN: usize = 1 << 20;
/// How soon a slot that is locked is looked at again.
pub(super) const SOON: Duration = Duration::from_millis(1);

/// What became of the base.
pub(super) enum Written {
    /// It is complete and on the disk.
    Base(NewBase<RealFiles>),
    /// It is not, and why.
    Failed(NewBase<RealFiles>, String),
    /// Its thread has ended without a word.
    Lost,
}

/// A rewrite under way. Dropping it makes its thread give up.
pub(super) struct Rewrite {
    pub(super) begun: Millis,
    result: Receiver<Written>,
    given_up: Arc<AtomicBool>,
}

impl Rewrite {
    /// Begins one. `None`: a write or another snapshot is in the way; try again in a while.
    pub(super) fn begin(
        node: &Arc<Node>,
        open: &mut Open,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<Self>, AofError> {
        let Ok(mut snapshot) = node.engine.begin_snapshot(now(), Dialect::Valkey) else { return Ok(None) };
        open.files().set_database(snapshot.stream_db);
        let base = if open.is_stale() {
            open.begin_anew(node, &mut snapshot)?
        } else {
            open.catch_up(node, Some(snapshot.offset), buffer)?;
            if open.is_stale() {
                return Ok(None);
            }
            open.files().begin_rewrite()?
        };
        // The file has its own pin.
        snapshot.pin = None;
        let (sender, result) = sync_channel(1);
        let given_up = Arc::new(AtomicBool::new(false));
        let gives_up = Arc::clone(&given_up);
        let spawned = std::thread::Builder::new().name("rewrite".into()).spawn(move || {
            step_behind();
            // Fails only when the keeper has gone, and then the temporary file goes at the next start.
            let _ = sender.send(write(base, snapshot, &gives_up));
        });
        if let Err(source) = spawned {
            open.files().rewrite_lost();
            open.not_rewritten();
            return Err(AofError::System {
                path: ".".into(),
                doing: "start a thread for the rewrite",
                source,
            });
        }
        Ok(Some(Self { begun: now(), result, given_up }))
    }

    /// What it came to, once it has ended.
    pub(super) fn ended(&mut self) -> Option<Written> {
        match self.result.try_recv() {
            Ok(written) => Some(written),
            Err(TryRecvError::Disconnected) => Some(Written::Lost),
            Err(TryRecvError::Empty) => None,
        }
    }
}

impl Drop for Rewrite {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Release);
    }
}

fn write(mut base: NewBase<RealFiles>, mut snapshot: Snapshot, given_up: &AtomicBool) -> Written {
    let result =
        write_chunks(&mut snapshot, given_up, |bytes| base.write(bytes).map_err(|error| error.to_string()));
    match result.and_then(|()| base.sync().map_err(|error| error.to_string())) {
        Ok(()) => Written::Base(base),
        Err(reason) => Written::Failed(base, reason),
    }
}

/// Writes a whole snapshot.
pub(super) fn write_chunks(
    snapshot: &mut Snapshot,
    given_up: &AtomicBool,
    mut write: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    loop {
        if given_up.load(Ordering::Acquire) {
            return Err("it was given up".into());
        }
        match snapshot.next_chunk(CHUNK_LEN) {
            Chunk::Bytes(bytes) => write(&bytes)?,
            Chunk::Busy => std::thread::sleep(SOON),
            Chunk::Failed(error) => return Err(error.to_string()),
            Chunk::End => return Ok(()),
        }
    }
}

//! A full sync arriving (reference/replication §2.2). The old data serves until the new is complete.

use super::{Connection, Link, LinkError};
use crate::node::now;
use crate::persistence::KeyDelay;
use node_server_engine::{LoadStep, Loader};
use std::sync::Arc;
use std::time::Duration;

/// Length of the mark that ends a snapshot of unknown length.
const MARK_LEN: usize = 40;
/// Bytes that are parsed before other links get their turn.
const FEED_LEN: usize = 64 * 1024;
/// The runtime's clock has this step: shorter pauses of `key-load-delay` are gathered.
const SLEEP_MIN: Duration = Duration::from_millis(1);

/// How the snapshot's end is told.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Mark(Vec<u8>),
    Len(u64),
}

impl Link {
    /// Reads the snapshot, and puts it in the place of the data.
    pub(super) async fn load(
        &mut self,
        connection: &mut Connection,
        replid: &str,
        offset: u64,
    ) -> Result<(), LinkError> {
        let hub = Arc::clone(&self.hub);
        let mut loader = hub.node.engine.begin_load(now());
        hub.publish();
        tracing::info!("MASTER <-> REPLICA sync: receiving a snapshot of {replid} at offset {offset}");
        let read = async {
            let line = connection.line("PSYNC's snapshot").await?;
            match end_of(&line)? {
                End::Mark(mark) => read_until_mark(connection, &mut loader, &mark, &hub).await,
                End::Len(len) => read_len(connection, &mut loader, len, &hub).await,
            }
        };
        self.unless_stopped(read).await?;
        if loader.libraries() > 0 {
            let count = loader.libraries();
            tracing::info!(
                "{count} function libraries of the master are kept, and not run: this version runs none"
            );
        }
        // Our own replicas must not read on in a log that begins anew.
        hub.cut_replicas();
        let replid = replid.to_owned();
        // It waits for slots, and must not be given up halfway: a change of role waits for it.
        let committed = tokio::task::spawn_blocking(move || loader.commit(&replid, offset)).await;
        let keys = committed.map_err(std::io::Error::other)??;
        tracing::info!("MASTER <-> REPLICA sync: Finished with success, {keys} keys");
        Ok(())
    }
}

fn end_of(line: &str) -> Result<End, LinkError> {
    let bad = || LinkError::Answer { what: "PSYNC's snapshot", reply: line.into() };
    let rest = line.strip_prefix('$').ok_or_else(bad)?;
    match rest.strip_prefix("EOF:") {
        Some(mark) if mark.len() == MARK_LEN => Ok(End::Mark(mark.as_bytes().to_vec())),
        Some(_) => Err(bad()),
        None => rest.parse().map(End::Len).map_err(|_| bad()),
    }
}

/// Feeds all but what may be the mark; the master sends nothing behind it before we acknowledge.
async fn read_until_mark(
    connection: &mut Connection,
    loader: &mut Loader,
    mark: &[u8],
    hub: &super::Hub,
) -> Result<(), LinkError> {
    let mut ended = false;
    loop {
        let ready = connection.buffer.len().saturating_sub(MARK_LEN);
        let at_end = connection.buffer.ends_with(mark);
        if ready > 0 {
            ended = feed(connection, loader, ready, hub).await?;
        }
        if at_end {
            connection.buffer.clear();
            // Bytes that look like the mark and are not the end leave the stream unfinished: said by commit.
            return if ended { Ok(()) } else { Err(node_server_engine::LoadError::Unfinished.into()) };
        }
        received(connection.fill().await?, hub);
    }
}

async fn read_len(
    connection: &mut Connection,
    loader: &mut Loader,
    len: u64,
    hub: &super::Hub,
) -> Result<(), LinkError> {
    let mut left = len;
    while left > 0 {
        let ready = connection.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if ready > 0 {
            feed(connection, loader, ready, hub).await?;
            left -= ready as u64;
        } else {
            received(connection.fill().await?, hub);
        }
    }
    Ok(())
}

/// Gives the first `len` bytes to the loader, in portions.
async fn feed(
    connection: &mut Connection,
    loader: &mut Loader,
    len: usize,
    hub: &super::Hub,
) -> Result<bool, LinkError> {
    let bytes: Vec<u8> = connection.buffer.drain(..len).collect();
    let mut ended = false;
    let mut delay = KeyDelay::new(&hub.node.config);
    for portion in bytes.chunks(FEED_LEN) {
        loader.push(portion);
        let mut owed = Duration::ZERO;
        loop {
            match loader.step()? {
                LoadStep::Key => owed += delay.next(),
                step => break ended = step == LoadStep::Ended,
            }
            if owed >= SLEEP_MIN {
                tokio::time::sleep(std::mem::take(&mut owed)).await;
                delay.look(&hub.node.config);
            }
        }
        tokio::task::yield_now().await;
    }
    Ok(ended)
}

/// Only counted. That a snapshot comes makes the data no fresher, and the connection sees to its silence.
fn received(bytes: usize, hub: &super::Hub) {
    hub.node.stats.replication_input_bytes.add(bytes as u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_snapshot_is_announced() {
        let mark = "0123456789".repeat(4);
        assert_eq!(end_of(&format!("$EOF:{mark}")).unwrap(), End::Mark(mark.into_bytes()));
        assert_eq!(end_of("$175").unwrap(), End::Len(175));
        for bad in ["$EOF:short", "$", "$-1", "175", "-ERR no"] {
            assert!(end_of(bad).is_err(), "{bad}");
        }
    }
}

//! The master's stream: applied as it comes, acknowledged after every batch.

use super::{Connection, Link, LinkError};
use crate::node::now;
use node_server_engine::Applier;
use node_server_engine::log::put_command;
use std::sync::Arc;
use std::time::Duration;

/// How often an acknowledgement is sent when nothing comes.
const ACK_EVERY: Duration = Duration::from_secs(1);
/// How soon a slot that is locked is tried again.
const SOON: Duration = Duration::from_millis(1);
/// Longest command or transaction: what may wait in the buffer for its end.
const PIECE_MAX: usize = 1 << 30;

impl Link {
    /// Applies until the connection ends.
    pub(super) async fn stream(&mut self, connection: &mut Connection) -> Result<(), LinkError> {
        let hub = Arc::clone(&self.hub);
        let mut applier = Applier::default();
        let mut acknowledged = None;
        let mut last_read = now();
        let timeout_s = hub.node.config.settings().repl_timeout_s;
        let mut tick = tokio::time::interval(ACK_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.apply(connection, &mut applier).await?;
            let end = hub.node.engine.log().end();
            if acknowledged != Some(end) {
                acknowledged = Some(end);
                connection.write(&ack(end)).await?;
            }
            let more = async {
                tokio::select! {
                    read = connection.fill() => read.map(Some),
                    _ = tick.tick() => Ok(None),
                }
            };
            match self.unless_stopped(more).await? {
                Some(bytes) => {
                    last_read = now();
                    hub.node.stats.replication_input_bytes.add(bytes as u64);
                    hub.update_master(|master| master.last_io = Some(last_read));
                }
                None if now().since(last_read) > timeout_s * 1000 => {
                    return Err(LinkError::Silent(timeout_s));
                }
                // Once more, so that the master knows that we live.
                None => acknowledged = None,
            }
        }
    }

    /// Applies what is complete in the buffer.
    async fn apply(&mut self, connection: &mut Connection, applier: &mut Applier) -> Result<(), LinkError> {
        let hub = Arc::clone(&self.hub);
        let mut begin = 0;
        loop {
            let applied = hub.node.engine.apply(applier, &connection.buffer[begin..], now())?;
            begin += applied.consumed;
            for record in applied.set_slots {
                // Not given up halfway: what is logged is acknowledged, so the core has to get it. It takes records
                // before anything else, so this does not wait long.
                let _ = hub.between.records.send(record).await;
            }
            if applied.get_ack {
                connection.write(&ack(hub.node.engine.log().end())).await?;
            } else if applied.busy {
                let wait = async {
                    tokio::time::sleep(SOON).await;
                    Ok(())
                };
                self.unless_stopped(wait).await?;
            } else {
                break;
            }
        }
        connection.buffer.drain(..begin);
        if begin > 0 {
            hub.between.progress.notify_one();
        }
        if connection.buffer.len() > PIECE_MAX {
            return Err(LinkError::TooLong(PIECE_MAX));
        }
        Ok(())
    }
}

fn ack(offset: u64) -> Vec<u8> {
    let mut request = Vec::with_capacity(64);
    put_command(&mut request, &[b"REPLCONF", b"ACK", offset.to_string().as_bytes()]);
    request
}

//! The master's stream: applied as it comes, acknowledged after every batch.

use super::{Connection, Link, LinkError};
use crate::node::now;
use node_server_engine::log::put_command;
use node_server_engine::{Applier, Engine};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often an acknowledgement is sent when nothing comes.
const ACK_EVERY: Duration = Duration::from_secs(1);
/// How soon a slot that is locked is tried again.
const SOON: Duration = Duration::from_millis(1);
/// Longest command or transaction: what may wait in the buffer for its end.
const PIECE_MAX: usize = 1 << 30;

/// Why the stream goes on.
enum More {
    Bytes(usize),
    Tick,
    /// More of the log is on the disk.
    Synced,
}

impl Link {
    /// Applies until the connection ends.
    pub(super) async fn stream(&mut self, connection: &mut Connection) -> Result<(), LinkError> {
        let hub = Arc::clone(&self.hub);
        let mut applier = Applier::in_database(hub.node.engine.log().database());
        let mut acknowledged = None;
        let mut last_read = now();
        let timeout_s = hub.node.config.settings().repl_timeout_s;
        let mut tick = tokio::time::interval(ACK_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // A write from before the demotion may have ended after the link had begun.
            if hub.node.engine.needs_full_resync() {
                return Err(LinkError::Unlogged);
            }
            self.apply(connection, &mut applier).await?;
            let standing = standing(&hub.node.engine);
            if acknowledged != Some(standing) {
                acknowledged = Some(standing);
                connection.write(&ack(standing)).await?;
            }
            let more = async {
                tokio::select! {
                    read = connection.fill() => read.map(More::Bytes),
                    _ = tick.tick() => Ok(More::Tick),
                    () = hub.node.replication.synced.notified() => Ok(More::Synced),
                }
            };
            match self.unless_stopped(more).await? {
                More::Bytes(bytes) => {
                    last_read = now();
                    hub.node.stats.replication_input_bytes.add(bytes as u64);
                    hub.update_master(|master| master.last_io = Some(last_read));
                    if let Some(client) = &self.client {
                        client.last_active.store(last_read.0, Ordering::Relaxed);
                    }
                }
                More::Tick if now().since(last_read) > timeout_s * 1000 => {
                    return Err(LinkError::Silent(timeout_s));
                }
                // Once more, so that the master knows that we live.
                More::Tick => acknowledged = None,
                More::Synced => {}
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
                connection.write(&ack(standing(&hub.node.engine))).await?;
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

/// What is acknowledged: the end of the log, and how far it is on the disk where there is a file.
type Standing = (u64, Option<u64>);

fn standing(engine: &Engine) -> Standing {
    let on_disk = engine.durability().on_disk();
    (engine.log().end(), on_disk)
}

fn ack((end, on_disk): Standing) -> Vec<u8> {
    let mut request = Vec::with_capacity(96);
    let (end, on_disk) = (end.to_string(), on_disk.map(|offset| offset.to_string()));
    let mut args: Vec<&[u8]> = vec![b"REPLCONF", b"ACK", end.as_bytes()];
    if let Some(on_disk) = &on_disk {
        args.extend([b"FACK".as_slice(), on_disk.as_bytes()]);
    }
    put_command(&mut request, &args);
    request
}

#[cfg(test)]
mod tests {
    use super::ack;

    #[test]
    fn the_disk_is_told_where_there_is_a_file() {
        let text = |standing| String::from_utf8(ack(standing)).unwrap().replace("\r\n", " ");
        assert_eq!(text((42, None)), "*3 $8 REPLCONF $3 ACK $2 42 ");
        assert_eq!(text((42, Some(7))), "*5 $8 REPLCONF $3 ACK $2 42 $4 FACK $1 7 ");
    }
}

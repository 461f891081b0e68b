//! Every key of some slots from one node to another, by MIGRATE.

use super::connections::{Connections, LANES, error_text};
use futures::future::try_join_all;
use node_server_protocol::{Address, Slot, SlotSet};
use operator_planner::commands::{KEYS_PER_MIGRATE, get_keys, migrate};
use redis::Value;
use std::collections::BTreeSet;

/// Most MIGRATEs for one slot in one attempt: more means that writers refill it faster than it empties, and the next
/// attempt goes on.
const ROUNDS_MAX: usize = 100_000;

/// Moves the keys; an error leaves the rest where it is.
pub(super) async fn move_keys(
    connections: &Connections,
    source: Address,
    target: Address,
    slots: &SlotSet,
    replace: bool,
) -> Result<(), String> {
    let slots: Vec<Slot> = slots.iter().collect();
    let asked: Vec<_> = slots.iter().map(|slot| get_keys(*slot)).collect();
    let replies = connections.send(source.client(), 0, &asked).await?;
    let mut lanes: Vec<Vec<(Slot, Vec<Vec<u8>>)>> = vec![Vec::new(); LANES];
    let filled = slots.iter().zip(replies).map(|(slot, reply)| Ok((*slot, keys(&reply)?)));
    for (i, slot) in
        filled.filter(|f: &Result<_, String>| f.as_ref().map_or(true, |(_, k)| !k.is_empty())).enumerate()
    {
        lanes[i % LANES].push(slot?);
    }
    let run = |(lane, slots): (usize, Vec<_>)| async move {
        for (slot, keys) in slots {
            let mover = Mover { connections, source, target, lane, replace };
            mover.empty(slot, keys).await?;
        }
        Ok::<(), String>(())
    };
    try_join_all(lanes.into_iter().enumerate().map(run)).await.map(|_| ())
}

struct Mover<'c> {
    connections: &'c Connections,
    source: Address,
    target: Address,
    lane: usize,
    replace: bool,
}

impl Mover<'_> {
    /// Moves batch after batch until the source gives no key that is not refused.
    async fn empty(&self, slot: Slot, mut batch: Vec<Vec<u8>>) -> Result<(), String> {
        let mut refused: BTreeSet<Vec<u8>> = BTreeSet::new();
        for _ in 0..ROUNDS_MAX {
            batch.retain(|key| !refused.contains(key));
            if batch.is_empty() {
                return Ok(());
            }
            let last = batch.len() < KEYS_PER_MIGRATE;
            self.move_batch(&batch, &mut refused).await?;
            if last && refused.is_empty() {
                // Fewer than asked for: they were all there is, and an open slot gets no new keys.
                return Ok(());
            }
            let mut again = get_keys(slot);
            if let Some(count) = again.last_mut() {
                *count = (KEYS_PER_MIGRATE + refused.len()).to_string().into_bytes();
            }
            let reply = self.send(again).await?;
            batch = keys(&reply)?;
        }
        Err(format!("slot {slot} is refilled faster than it empties"))
    }

    async fn move_batch(&self, batch: &[Vec<u8>], refused: &mut BTreeSet<Vec<u8>>) -> Result<(), String> {
        let Some(error) = self.migrate(batch).await? else { return Ok(()) };
        if self.replace || !error.contains("BUSYKEY") {
            return Err(format!("{}: MIGRATE: {error}", self.source.client()));
        }
        // Which of them the target has already is only said one by one.
        for key in batch {
            match self.migrate(std::slice::from_ref(key)).await? {
                None => {}
                Some(error) if error.contains("BUSYKEY") => {
                    refused.insert(key.clone());
                }
                Some(error) => return Err(format!("{}: MIGRATE: {error}", self.source.client())),
            }
        }
        Ok(())
    }

    /// The error reply, if it is one. NOKEY is none: the keys have gone or expired meanwhile.
    async fn migrate(&self, keys: &[Vec<u8>]) -> Result<Option<String>, String> {
        let reply = self.send(migrate(self.target, keys, self.replace)).await?;
        Ok(error_text(&reply))
    }

    async fn send(&self, args: Vec<Vec<u8>>) -> Result<Value, String> {
        let mut replies = self.connections.send(self.source.client(), self.lane, &[args]).await?;
        replies.pop().ok_or_else(|| format!("{}: no reply", self.source.client()))
    }
}

/// The keys of a GETKEYSINSLOT reply.
fn keys(reply: &Value) -> Result<Vec<Vec<u8>>, String> {
    let bytes = |value: &Value| match value {
        Value::BulkString(bytes) => Ok(bytes.clone()),
        other => Err(format!("CLUSTER GETKEYSINSLOT: unexpected {other:?}")),
    };
    match reply {
        Value::Array(items) => items.iter().map(bytes).collect(),
        other => {
            Err(error_text(other).unwrap_or_else(|| format!("CLUSTER GETKEYSINSLOT: unexpected {other:?}")))
        }
    }
}

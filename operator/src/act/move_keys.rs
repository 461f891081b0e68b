//! Every key of some slots from one node to another, by MIGRATE.

use super::connections::{Connections, LANES, Lane, MIGRATES_PER_SEND, error_text};
use futures::future::try_join_all;
use node_server_protocol::{Address, Slot, SlotSet};
use operator_planner::commands::{KEYS_PER_MIGRATE, get_keys, migrate};
use redis::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;

/// Keys of one slot that are asked for at a time.
const KEYS_PER_ROUND: usize = 10 * KEYS_PER_MIGRATE;
/// Most rounds in one attempt: with a thousand keys of a slot in each, more than any node holds.
const ROUNDS_MAX: usize = 1_000_000;

/// Moves the keys and says how many; an error leaves the rest where it is.
pub(super) async fn move_keys(
    connections: &Connections,
    source: Address,
    target: Address,
    slots: &SlotSet,
    replace: bool,
) -> Result<u64, String> {
    let mover = Mover { connections, source, target, replace };
    let mut left: BTreeMap<Slot, Refused> = slots.iter().map(|slot| (slot, Refused::new())).collect();
    let mut moved = 0;
    for _ in 0..ROUNDS_MAX {
        moved += mover.round(&mut left).await?;
        if left.is_empty() {
            return Ok(moved);
        }
    }
    Err(format!("{} slots are refilled faster than they empty", left.len()))
}

/// Keys that the target has already and that are not to be replaced.
type Refused = BTreeSet<Vec<u8>>;
/// A slot's keys for one MIGRATE.
type Batch = (Slot, Vec<Vec<u8>>);

struct Mover<'c> {
    connections: &'c Connections,
    source: Address,
    target: Address,
    replace: bool,
}

impl Mover<'_> {
    /// Moves up to [`KEYS_PER_ROUND`] keys of each slot that is left, and says how many. A slot that has no more than
    /// that, and nothing but refused keys afterwards, is done: an open slot gets no new keys.
    async fn round(&self, left: &mut BTreeMap<Slot, Refused>) -> Result<u64, String> {
        let asked: Vec<_> = left.iter().map(|(slot, refused)| ask(*slot, refused)).collect();
        let replies = self.connections.send(self.source.client(), Lane::COMMANDS, &asked).await?;
        let mut work = VecDeque::new();
        let mut done = Vec::new();
        for ((slot, refused), reply) in left.iter().zip(replies) {
            let all = keys(&reply)?;
            let last = all.len() < KEYS_PER_ROUND + refused.len();
            let new: Vec<_> = all.into_iter().filter(|key| !refused.contains(key)).collect();
            if new.is_empty() || (last && refused.is_empty() && self.replace) {
                done.push(*slot);
            }
            work.extend(new.chunks(KEYS_PER_MIGRATE).map(|keys| (*slot, keys.to_vec())));
        }
        let moved = work.iter().map(|(_, keys)| keys.len() as u64).sum();
        for (slot, key) in self.run(work).await? {
            left.entry(slot).or_default().insert(key);
        }
        for slot in done {
            left.remove(&slot);
        }
        Ok(moved)
    }

    /// Works batches off on all lanes at once; what the target refused comes back.
    async fn run(&self, work: VecDeque<Batch>) -> Result<Vec<(Slot, Vec<u8>)>, String> {
        let work = Mutex::new(work);
        let take = || {
            let mut work = work.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let most = MIGRATES_PER_SEND.min(work.len());
            work.drain(..most).collect::<Vec<Batch>>()
        };
        let lanes = (0..LANES).map(|number| {
            let take = &take;
            async move {
                let (lane, mut refused) = (Lane::to(self.target, number), Vec::new());
                loop {
                    let batches = take();
                    if batches.is_empty() {
                        return Ok::<_, String>(refused);
                    }
                    refused.extend(self.send(lane, &batches).await?);
                }
            }
        });
        Ok(try_join_all(lanes).await?.into_iter().flatten().collect())
    }

    async fn send(&self, lane: Lane, batches: &[Batch]) -> Result<Vec<(Slot, Vec<u8>)>, String> {
        let mut refused = Vec::new();
        for ((slot, keys), error) in batches.iter().zip(self.migrate(lane, batches).await?) {
            if self.busy(error)? {
                // Which of them the target has already is only said one by one.
                let single: Vec<Batch> = keys.iter().map(|key| (*slot, vec![key.clone()])).collect();
                for some in single.chunks(MIGRATES_PER_SEND) {
                    for ((slot, keys), error) in some.iter().zip(self.migrate(lane, some).await?) {
                        if self.busy(error)? {
                            refused.extend(keys.iter().map(|key| (*slot, key.clone())));
                        }
                    }
                }
            }
        }
        Ok(refused)
    }

    /// Whether the reply says that the target has a key already, where that is no error.
    fn busy(&self, error: Option<String>) -> Result<bool, String> {
        match error {
            None => Ok(false),
            Some(error) if !self.replace && error.contains("BUSYKEY") => Ok(true),
            Some(error) => Err(format!("{}: MIGRATE: {error}", self.source.client())),
        }
    }

    /// The error replies, where they are such. NOKEY is none: the keys have gone or expired meanwhile.
    async fn migrate(&self, lane: Lane, batches: &[Batch]) -> Result<Vec<Option<String>>, String> {
        let commands: Vec<_> =
            batches.iter().map(|(_, keys)| migrate(self.target, keys, self.replace)).collect();
        let replies = self.connections.send(self.source.client(), lane, &commands).await?;
        Ok(replies.iter().map(error_text).collect())
    }
}

/// CLUSTER GETKEYSINSLOT for more keys than were refused.
fn ask(slot: Slot, refused: &Refused) -> Vec<Vec<u8>> {
    let mut ask = get_keys(slot);
    if let Some(count) = ask.last_mut() {
        *count = (KEYS_PER_ROUND + refused.len()).to_string().into_bytes();
    }
    ask
}

/// The keys of a GETKEYSINSLOT reply.
fn keys(reply: &Value) -> Result<Vec<Vec<u8>>, String> {
    let unexpected = |value: &Value| format!("CLUSTER GETKEYSINSLOT: unexpected {value:?}");
    let bytes = |value: &Value| match value {
        Value::BulkString(bytes) => Ok(bytes.clone()),
        other => Err(unexpected(other)),
    };
    match reply {
        Value::Array(items) => items.iter().map(bytes).collect(),
        other => Err(error_text(other).unwrap_or_else(|| unexpected(other))),
    }
}

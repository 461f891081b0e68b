//! Many keys at once, and whether all are still there.

use super::Options;
use super::router::{Outcome, Request, Router};
use anyhow::{Context, Result, bail, ensure};
use node_server_protocol::resp::Reply;
use node_server_protocol::{Slot, SlotSet, key_slot};
use std::collections::BTreeMap;

/// Commands sent at once to one node.
const PIPELINE: usize = 256;
/// Wrong keys that are named.
const NAMED: usize = 20;

/// What became of preloaded keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Preloaded {
    /// Keys that were looked for.
    pub keys: u64,
    /// Keys that are absent.
    pub missing: u64,
    /// Keys that hold something else.
    pub wrong: u64,
    /// The first of both.
    pub named: Vec<String>,
}

impl Preloaded {
    /// All keys are there and right.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.missing == 0 && self.wrong == 0
    }
}

/// Keys `PREFIX:0` to `PREFIX:COUNT-1`, each with its number as value, filled up to `len` bytes.
#[derive(Clone, Debug)]
pub struct Keys {
    /// First part of every name; with a hash tag all are in one slot.
    pub prefix: String,
    /// How many.
    pub count: u64,
    /// Bytes of a value.
    pub len: usize,
    /// Only those in these slots.
    pub within: Option<SlotSet>,
}

impl Keys {
    /// So many keys, spread over all slots.
    #[must_use]
    pub fn spread(count: u64, len: usize) -> Self {
        Self { prefix: "preloaded".into(), count, len, within: None }
    }

    /// So many keys in the slot of `tag`.
    #[must_use]
    pub fn tagged(tag: &str, count: u64, len: usize) -> Self {
        Self { prefix: format!("{{{tag}}}"), count, len, within: None }
    }

    fn name(&self, i: u64) -> String {
        format!("{}:{i}", self.prefix)
    }

    fn value(&self, i: u64) -> Vec<u8> {
        let mut value = format!("{i}|").into_bytes();
        value.resize(value.len().max(self.len), b'p');
        value
    }

    fn slot(&self, i: u64) -> Slot {
        key_slot(self.name(i).as_bytes())
    }

    /// Sets them all, pipelined. Uses seeds and password of the options.
    ///
    /// # Errors
    /// A node refuses or cannot be reached.
    pub async fn set(&self, options: &Options) -> Result<()> {
        let command = |i| vec![b"SET".to_vec(), self.name(i).into_bytes(), self.value(i)];
        let take = |i, reply: &Reply| {
            ensure!(*reply == Reply::Simple("OK".into()), "SET of {}: {reply:?}", self.name(i));
            Ok(())
        };
        self.for_all(&mut options.router(), command, take).await
    }

    /// Reads what [`Self::set`] has set.
    ///
    /// # Errors
    /// A node refuses or cannot be reached.
    pub async fn verify(&self, options: &Options) -> Result<Preloaded> {
        let mut found = Preloaded::default();
        let command = |i| vec![b"GET".to_vec(), self.name(i).into_bytes()];
        let take = |i, reply: &Reply| {
            found.keys += 1;
            let count = match reply {
                Reply::Bulk(bytes) if *bytes == self.value(i) => return Ok(()),
                Reply::Null => &mut found.missing,
                _ => &mut found.wrong,
            };
            *count += 1;
            if found.named.len() < NAMED {
                found.named.push(self.name(i));
            }
            Ok(())
        };
        self.for_all(&mut options.router(), command, take).await?;
        Ok(found)
    }

    /// One command per key, in batches per owner; a key whose reply is an error is sent again by itself.
    async fn for_all(
        &self,
        router: &mut Router,
        command: impl Fn(u64) -> Vec<Vec<u8>>,
        mut take: impl FnMut(u64, &Reply) -> Result<()>,
    ) -> Result<()> {
        ensure!(router.refresh(None).await, "no node answers CLUSTER SLOTS");
        let mut waiting: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for i in 0..self.count {
            let slot = self.slot(i);
            if self.within.as_ref().is_some_and(|within| !within.contains(slot)) {
                continue;
            }
            let owner = router.map().owner(slot).with_context(|| format!("nobody owns slot {slot}"))?;
            let batch = waiting.entry(owner.to_owned()).or_default();
            batch.push(i);
            if batch.len() == PIPELINE {
                let (owner, batch) = (owner.to_owned(), std::mem::take(batch));
                self.run_batch(router, &owner, &batch, &command, &mut take).await?;
            }
        }
        for (owner, batch) in waiting.into_iter().filter(|(_, batch)| !batch.is_empty()) {
            self.run_batch(router, &owner, &batch, &command, &mut take).await?;
        }
        Ok(())
    }

    async fn run_batch(
        &self,
        router: &mut Router,
        owner: &str,
        batch: &[u64],
        command: &impl Fn(u64) -> Vec<Vec<u8>>,
        take: &mut impl FnMut(u64, &Reply) -> Result<()>,
    ) -> Result<()> {
        let empty = Request { slot: Slot::FIRST, bytes: Vec::new(), replies: 0 };
        let all = batch.iter().fold(empty, |request, i| request.and(&command(*i)));
        let replies = match router.exchange(owner, &all, false).await {
            Ok((replies, _)) => replies,
            Err(_) => vec![Reply::Error("not answered".into()); batch.len()],
        };
        for (i, reply) in batch.iter().zip(replies) {
            if let Reply::Error(_) = reply {
                take(*i, &run_single(router, &Request::new(self.slot(*i), &command(*i))).await?)?;
            } else {
                take(*i, &reply)?;
            }
        }
        Ok(())
    }
}

async fn run_single(router: &mut Router, request: &Request) -> Result<Reply> {
    match router.run(request).await {
        Outcome::Done { mut replies, .. } => replies.pop().context("no reply"),
        Outcome::Refused { error, by } => bail!("{by}: {error}"),
        Outcome::NotSent(what) | Outcome::Unknown(what) => bail!(what),
    }
}

//! Many keys at once, and whether all are still there.

use super::Options;
use super::router::{Outcome, Request, Router};
use anyhow::{Context, Result, bail, ensure};
use node_server_protocol::resp::Reply;
use node_server_protocol::{Slot, key_slot};
use std::collections::BTreeMap;

/// Commands sent at once to one node.
const PIPELINE: usize = 256;
/// Wrong keys that are named.
const NAMED: usize = 20;

/// What became of preloaded keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
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

fn name(i: u64) -> String {
    format!("preloaded:{i}")
}

/// The value of the `i`-th key: its number, filled up to `len` bytes.
fn value(i: u64, len: usize) -> Vec<u8> {
    let mut value = format!("{i}|").into_bytes();
    value.resize(value.len().max(len), b'p');
    value
}

/// Sets keys 0 to `keys - 1` with values of `len` bytes, pipelined. Uses seeds and password of the options.
///
/// # Errors
/// A node refuses or cannot be reached.
pub async fn preload(options: &Options, keys: u64, len: usize) -> Result<()> {
    let mut router = options.router();
    for_all(
        &mut router,
        keys,
        |i| vec![b"SET".to_vec(), name(i).into_bytes(), value(i, len)],
        |i, reply| {
            ensure!(*reply == Reply::Simple("OK".into()), "SET of {}: {reply:?}", name(i));
            Ok(())
        },
    )
    .await
}

/// Reads what [`preload`] set.
///
/// # Errors
/// A node refuses or cannot be reached.
pub async fn verify_preloaded(options: &Options, keys: u64, len: usize) -> Result<Preloaded> {
    let mut router = options.router();
    let mut found = Preloaded { keys, ..Preloaded::default() };
    for_all(
        &mut router,
        keys,
        |i| vec![b"GET".to_vec(), name(i).into_bytes()],
        |i, reply| {
            let count = match reply {
                Reply::Bulk(bytes) if *bytes == value(i, len) => return Ok(()),
                Reply::Null => &mut found.missing,
                _ => &mut found.wrong,
            };
            *count += 1;
            if found.named.len() < NAMED {
                found.named.push(name(i));
            }
            Ok(())
        },
    )
    .await?;
    Ok(found)
}

/// One command per key, in batches per owner; a key whose reply is an error is sent again by itself.
async fn for_all(
    router: &mut Router,
    keys: u64,
    command: impl Fn(u64) -> Vec<Vec<u8>>,
    mut take: impl FnMut(u64, &Reply) -> Result<()>,
) -> Result<()> {
    ensure!(router.refresh(None).await, "no node answers CLUSTER SLOTS");
    let mut waiting: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for i in 0..keys {
        let owner = router.map().owner(slot(i)).with_context(|| format!("nobody owns slot {}", slot(i)))?;
        let batch = waiting.entry(owner.to_owned()).or_default();
        batch.push(i);
        if batch.len() == PIPELINE {
            let (owner, batch) = (owner.to_owned(), std::mem::take(batch));
            run_batch(router, &owner, &batch, &command, &mut take).await?;
        }
    }
    for (owner, batch) in waiting.into_iter().filter(|(_, batch)| !batch.is_empty()) {
        run_batch(router, &owner, &batch, &command, &mut take).await?;
    }
    Ok(())
}

fn slot(i: u64) -> Slot {
    key_slot(name(i).as_bytes())
}

async fn run_batch(
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
            take(*i, &run_single(router, &Request::new(slot(*i), &command(*i))).await?)?;
        } else {
            take(*i, &reply)?;
        }
    }
    Ok(())
}

async fn run_single(router: &mut Router, request: &Request) -> Result<Reply> {
    match router.run(request).await {
        Outcome::Done { mut replies, .. } => replies.pop().context("no reply"),
        Outcome::Refused(error) => bail!(error),
        Outcome::NotSent(what) | Outcome::Unknown(what) => bail!(what),
    }
}

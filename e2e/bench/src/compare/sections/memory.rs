//! Bytes per key.

use crate::compare::alone::{Alone, info};
use crate::compare::contender::{Contender, turns};
use crate::compare::table::Table;
use crate::compare::{Settings, machine, progress};
use anyhow::Result;
use e2e::wait;
use std::time::Duration;

const VALUE_LENS: [usize; 3] = [3, 16, 64];
/// The same requests take the same memory: more rounds show nothing new.
const ROUNDS_MAX: usize = 3;
/// How long buffers of connections that are gone may take to be freed.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(crate) fn run(settings: &Settings, contenders: &[Contender]) -> Result<Table> {
    let how = format!(
        "Cluster mode, {} keys of 10 B: what `used_memory` and the resident set grow by, through the number of keys. \
         A fresh server for every figure. `used_memory` of Redis and Valkey is all that their \
         allocator gave; ours counts the keys and the backlog only, so the resident set is what compares.",
        settings.keys
    );
    let mut table = Table::new("Bytes per key", how, contenders);
    for round in 0..settings.rounds.min(ROUNDS_MAX) {
        for len in VALUE_LENS {
            for i in turns(round, contenders.len()) {
                let who = &contenders[i];
                let (used, resident) = measure(who, settings.keys, len)?;
                table.add(&format!("{len} B: used_memory"), 1, who, used);
                table.add(&format!("{len} B: resident"), 1, who, resident);
            }
        }
        progress("memory", round, settings);
    }
    Ok(table)
}

fn measure(who: &Contender, keys: u64, len: usize) -> Result<(f64, f64)> {
    let server = Alone::start(who, &[])?;
    let before = settled(&server)?;
    server.fill(keys, len)?;
    let after = settled(&server)?;
    let per_key = |before: u64, after: u64| after.saturating_sub(before) as f64 / keys as f64;
    Ok((per_key(before.0, after.0), per_key(before.1, after.1)))
}

/// `used_memory` and the resident set when the former does not change any more.
fn settled(server: &Alone) -> Result<(u64, u64)> {
    let mut client = server.client()?;
    let mut last = None;
    wait::until_every(LOOK_EVERY, "used_memory settles", SETTLE_LIMIT, || {
        let now = info(&mut client, "memory", "used_memory").ok();
        // What the asking itself takes comes and goes.
        let stays = now.zip(last).is_some_and(|(now, last)| now.abs_diff(last) <= now / 1000);
        last = now;
        stays
    })?;
    Ok((info(&mut client, "memory", "used_memory")?, machine::resident_bytes(server.pid()?)?))
}

//! Seconds until a server that starts has its keys.

use crate::compare::alone::Alone;
use crate::compare::contender::{Contender, turns};
use crate::compare::table::Table;
use crate::compare::{Settings, progress};
use anyhow::Result;
use e2e::wait;
use node_server_protocol::resp::Reply;
use std::time::{Duration, Instant};

const VALUE_LEN: usize = 64;
const LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(2);

pub(crate) fn run(settings: &Settings, contenders: &[Contender]) -> Result<Table> {
    let how = format!(
        "Cluster mode, {} keys of 10 B with {VALUE_LEN} B, files in the page cache: from the start of the process to the first \
         PONG, and its CPU until then. The append-only file is one SET a key, never rewritten.",
        settings.keys
    );
    let mut table = Table::new("Loading at the start", how, contenders);
    let filled = |who: &Contender| Ok([append_only(who, settings.keys)?, rdb(who, settings.keys)?]);
    let mut servers: Vec<[Alone; 2]> = contenders.iter().map(filled).collect::<Result<_>>()?;
    for round in 0..settings.rounds {
        for i in turns(round, servers.len()) {
            for (what, server) in ["append-only file", "RDB file"].iter().zip(&mut servers[i]) {
                let (seconds, cpu) = measure(server, settings.keys)?;
                table.add(&format!("{what}: s"), 2, &contenders[i], seconds);
                table.add(&format!("{what}: CPU s"), 2, &contenders[i], cpu);
            }
        }
        progress("load", round, settings);
    }
    Ok(table)
}

/// A server that has ended and left all keys in an append-only file.
fn append_only(who: &Contender, keys: u64) -> Result<Alone> {
    let directives = [("appendonly", "yes"), ("auto-aof-rewrite-percentage", "0")];
    let mut server = Alone::start(who, &directives)?;
    server.fill(keys, VALUE_LEN)?;
    server.server.stop()?;
    Ok(server)
}

/// The same with an RDB file.
fn rdb(who: &Contender, keys: u64) -> Result<Alone> {
    let mut server = Alone::start(who, &[])?;
    server.fill(keys, VALUE_LEN)?;
    server.client()?.call(&["SAVE"])?;
    server.server.stop()?;
    Ok(server)
}

/// Starts it, looks whether everything is there, and ends it.
fn measure(server: &mut Alone, keys: u64) -> Result<(f64, f64)> {
    let begun = Instant::now();
    server.server.restart()?;
    let mut client = server.client()?;
    wait::until_every(LOOK_EVERY, "the server has loaded", LIMIT, || {
        client.command(&["PING"]).is_ok_and(|reply| reply == Reply::Simple("PONG".into()))
    })?;
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), server.cpu_seconds()?);
    server.ensure_keys(keys)?;
    server.server.kill()?;
    Ok((seconds, cpu))
}

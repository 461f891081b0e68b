//! SIGKILL to writable.

use crate::summary::{say, summarize};
use anyhow::{Context, Result};
use e2e::{Declared, wait};
use node_server_protocol::key_slot;
use node_server_protocol::resp::Reply;
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// Node timeout of `operator local` unless set, with what an election takes on top, and more.
const LIMIT: Duration = Duration::from_secs(10);
/// The first shard's, one after the other.
const SHARDS: u16 = 3;

pub(crate) fn run(rounds: usize, alone: bool) -> Result<()> {
    let mut cluster = Declared::with_spec("masters: 3, replicasPerMaster: 1")?;
    cluster.start_operator()?;
    cluster.wait_converged()?;
    let mut all = Vec::new();
    for (round, shard) in (1..=rounds).zip((0..SHARDS).cycle()) {
        if alone {
            cluster.kill_operator()?;
        }
        let took = kill(&cluster, shard)?;
        if alone {
            cluster.start_operator()?;
        }
        say(&format!("round {round}: shard {shard} takes writes {took:.0} ms after SIGKILL of its master"));
        all.push(took);
        cluster.wait_converged()?;
    }
    let who = if alone { "operator away, node timeout 5000 ms" } else { "with the operator" };
    summarize(&format!("SIGKILL to writable, {who}"), "ms", &all);
    Ok(())
}

fn kill(cluster: &Declared, shard: u16) -> Result<f64> {
    let (master, replica) = (cluster.master_of(shard)?, cluster.replica_of(shard)?);
    let slots = cluster.report(master)?.own_slots();
    let mut keys = (0..10_000).map(|i| format!("probe:{i}"));
    let key = keys.find(|key| slots.contains(key_slot(key.as_bytes()))).context("no key in these slots")?;
    let mut client = cluster.place(replica)?.client()?;
    let begun = Instant::now();
    cluster.signal_member(master, Signal::KILL)?;
    wait::until("the replica takes a write", LIMIT, || {
        matches!(client.command(&["SET", &key, "x"]), Ok(Reply::Simple(_)))
    })?;
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}

//! Seconds from SIGKILL of a master until its slots take writes.

use crate::compare::contender::{Contender, turns};
use crate::compare::table::Table;
use crate::compare::{Settings, progress};
use anyhow::{Context, Result};
use e2e::{Client, LocalCluster, Shape, wait};
use node_server_protocol::resp::Reply;
use node_server_protocol::{Slot, key_slot};
use std::time::{Duration, Instant};

const NODE_TIMEOUT_MS: u64 = 3000;
/// Masters, each with a replica.
const SHARDS: u16 = 3;
/// One slot of each shard, in the order in which masters are killed.
const SLOTS: [u16; 3] = [0, 5461, 10923];
/// Node timeout and election, several times over.
const LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Names that are tried for a key in a slot.
const NAMES_MAX: u32 = 1_000_000;

pub(crate) fn run(settings: &Settings, contenders: &[Contender]) -> Result<Table> {
    let how = format!(
        "{SHARDS} masters with a replica each, without data, `cluster-node-timeout {NODE_TIMEOUT_MS}`. From SIGKILL of a master until its \
         replica takes a write. The one that was killed comes back as a replica before the next round."
    );
    let mut table = Table::new("Failover", how, contenders);
    let shape = Shape::new(SHARDS, 1).with("cluster-node-timeout", NODE_TIMEOUT_MS);
    let start = |who: &Contender| LocalCluster::start(who.binary, &shape);
    let mut clusters: Vec<LocalCluster> = contenders.iter().map(start).collect::<Result<_>>()?;
    for round in 0..settings.rounds {
        let slot = Slot::new(SLOTS[round % SLOTS.len()]).context("no such slot")?;
        for i in turns(round, clusters.len()) {
            let seconds = measure(&mut clusters[i], slot)?;
            table.add("SIGKILL to writable, s", 2, &contenders[i], seconds);
        }
        progress("failover", round, settings);
    }
    Ok(table)
}

fn measure(cluster: &mut LocalCluster, slot: Slot) -> Result<f64> {
    let (master, replica) = shard(cluster, slot)?;
    let names = (0..NAMES_MAX).map(|i| format!("probe:{i}"));
    let key = { names }.find(|name| key_slot(name.as_bytes()) == slot).context("no key in that slot")?;
    let mut client = cluster.nodes[replica].client()?;
    let begun = Instant::now();
    cluster.nodes[master].kill()?;
    wait::until_every(LOOK_EVERY, "the replica takes a write", LIMIT, || writes(&mut client, &key))?;
    let seconds = begun.elapsed().as_secs_f64();
    cluster.nodes[master].restart()?;
    wait::until("the one that was killed is a replica", LIMIT, || {
        shard(cluster, slot).is_ok_and(|found| found == (replica, master))
    })?;
    cluster.wait_agreed()?;
    cluster.wait_synced()?;
    Ok(seconds)
}

fn writes(client: &mut Client, key: &str) -> bool {
    matches!(client.command(&["SET", key, "x"]), Ok(Reply::Simple(_)))
}

/// Who owns the slot, and its replica, as every node sees it.
fn shard(cluster: &LocalCluster, slot: Slot) -> Result<(usize, usize)> {
    let mut seen = None;
    for from in 0..cluster.nodes.len() {
        let lines = cluster.view(from)?;
        let owner = lines.iter().find(|line| line.slots.contains(slot)).context("nobody owns the slot")?;
        let replica = lines.iter().find(|line| line.master == Some(owner.id)).context("no replica")?;
        let index = |port| cluster.nodes.iter().position(|node| node.port() == port);
        let both = index(owner.address.port).zip(index(replica.address.port)).context("a stranger")?;
        anyhow::ensure!(*seen.get_or_insert(both) == both, "the nodes do not agree");
    }
    seen.context("no nodes")
}

//! SET where every reply waits for the disk.

use crate::compare::alone::Alone;
use crate::compare::client::closed::{self, Load};
use crate::compare::client::requests::{Operation, Pick};
use crate::compare::contender::{Contender, turns};
use crate::compare::statistics::quantile;
use crate::compare::table::Table;
use crate::compare::{CONNECTIONS, Settings, progress};
use anyhow::Result;

const VALUE_LEN: usize = 64;
/// A disk's sync takes about four times as long as a request without.
const PART: u64 = 4;

pub(crate) fn run(settings: &Settings, contenders: &[Contender]) -> Result<Table> {
    let how = format!(
        "`appendonly yes`, `appendfsync always`, cluster mode, {CONNECTIONS} connections, pipeline 1, values of \
         {VALUE_LEN} B, {} requests. Nothing is pinned. Latency is from sending to the reply.",
        requests(settings)
    );
    let mut table = Table::new("SET with appendfsync always", how, contenders);
    let directives = [("appendonly", "yes"), ("appendfsync", "always"), ("auto-aof-rewrite-percentage", "0")];
    let start = |who| Alone::start(who, &directives);
    let servers: Vec<Alone> = contenders.iter().map(start).collect::<Result<_>>()?;
    for round in 0..settings.rounds {
        for i in turns(round, servers.len()) {
            measure(&servers[i], &contenders[i], settings, &mut table)?;
        }
        progress("always", round, settings);
    }
    Ok(table)
}

fn requests(settings: &Settings) -> u64 {
    (settings.requests / PART).max(1)
}

fn measure(server: &Alone, who: &Contender, settings: &Settings, table: &mut Table) -> Result<()> {
    let load = Load {
        operation: Operation::Set(VALUE_LEN),
        keys: settings.keys,
        pick: Pick::AtRandom,
        connections: CONNECTIONS,
        pipeline: 1,
        requests: requests(settings),
    };
    let before = server.cpu_seconds()?;
    let mut outcome = closed::run(server.port(), &load)?;
    let cpu = server.cpu_seconds()? - before;
    let mut ms = |part| f64::from(quantile(&mut outcome.latencies_us, part)) / 1000.0;
    let (p50, p99) = (ms(0.5), ms(0.99));
    table.add("requests/s", 0, who, outcome.per_second());
    table.add("p50, ms", 2, who, p50);
    table.add("p99, ms", 2, who, p99);
    table.add("CPU s per million", 2, who, cpu / outcome.requests as f64 * 1e6);
    Ok(())
}

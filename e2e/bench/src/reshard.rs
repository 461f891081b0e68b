//! Slots and keys per second, and what the writer feels of it.

use crate::summary::{say, summarize};
use anyhow::{Result, ensure};
use e2e::writer::{Keys, Options, Report, Writer};
use e2e::{Declared, wait};
use node_server_protocol::{Slot, SlotSet};
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

const MOVED: usize = 4096;
const LIMIT: Duration = Duration::from_secs(600);

/// One round.
struct Round {
    seconds: f64,
    /// Of all processes and the operator.
    cpu_seconds: f64,
    keys: u64,
    report: Report,
}

pub(crate) async fn run(rounds: usize, keys: u64, len: usize, rate: u64) -> Result<()> {
    let [mut slots_per_s, mut keys_per_s, mut p99, mut cpu] = [const { Vec::new() }; 4];
    for round in 1..=rounds {
        let Round { seconds, cpu_seconds, keys, report } = measure(keys, len, rate).await?;
        let t = &report.tally;
        let (slots, moved) = (MOVED as f64 / seconds, keys as f64 / seconds);
        let latency = [0.5, 0.99, 1.0].map(|part| t.latency.quantile_ms(part));
        say(&format!(
            "round {round}: {MOVED} slots, {keys} keys of {len} B in {seconds:.2} s and {cpu_seconds:.2} s of CPU: {slots:.0} slots/s, {moved:.0} keys/s; writer: {} commands, {} failed, {} lost, median {:.2} ms, p99 {:.2} ms, longest {:.0} ms",
            t.operations, report.failed, report.lost, latency[0], latency[1], latency[2]
        ));
        slots_per_s.push(slots);
        keys_per_s.push(moved);
        p99.push(latency[1]);
        cpu.push(cpu_seconds);
    }
    summarize("slots", "per second", &slots_per_s);
    summarize("keys", "per second", &keys_per_s);
    summarize("CPU of operator and nodes", "s", &cpu);
    summarize("writer's p99", "ms", &p99);
    Ok(())
}

/// A fresh cluster each time: keys only in the slots that move.
async fn measure(keys: u64, len: usize, rate: u64) -> Result<Round> {
    let mut cluster = Declared::with_spec("masters: 3, replicasPerMaster: 1")?;
    cluster.start_operator()?;
    block_in_place(|| cluster.wait_converged())?;
    let options = Options { operations_per_second: rate, ..Options::new(&cluster.addresses()?) };
    // A quarter of all names is in a quarter of the slots, about.
    let moving = [0..1365, 5461..6827, 10_923..12_288];
    let within: SlotSet = moving.into_iter().flatten().filter_map(Slot::new).collect();
    let some = Keys { within: Some(within), ..Keys::spread(keys * 4, len) };
    some.set(&options).await?;
    let writer = Writer::start(options.clone()).await?;
    cluster.declare("masters: 4, replicasPerMaster: 1")?;
    let (seconds, cpu_seconds) = block_in_place(|| time(&cluster))?;
    let report = writer.finish().await?;
    ensure!(report.is_clean() && report.failed == 0 && report.lost == 0, "{report}");
    block_in_place(|| cluster.wait_converged())?;
    let found = some.verify(&options).await?;
    ensure!(found.is_complete(), "{found:?}");
    Ok(Round { seconds, cpu_seconds, keys: found.keys, report })
}

/// Seconds, and seconds of CPU, from the first line about a move until the fourth master has all that it gets.
fn time(cluster: &Declared) -> Result<(f64, f64)> {
    wait::until("the reshard begins", LIMIT, || cluster.said().contains("move slots"))?;
    let (begun, cpu) = (Instant::now(), cluster.cpu_seconds()?);
    let has = || cluster.owned().ok().and_then(|owned| owned.get(3).map(SlotSet::len));
    wait::until("all slots have moved", LIMIT, || has() == Some(MOVED))?;
    Ok((begun.elapsed().as_secs_f64(), cluster.cpu_seconds()? - cpu))
}

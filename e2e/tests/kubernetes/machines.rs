//! A machine drained, and one frozen.

use crate::cluster::Pod;
use crate::kind::Kind;
use crate::scene::{Company, measured, run, seconds};
use crate::wait;
use anyhow::{Context, Result, ensure};
use operator_planner::MemberId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(120);

/// Nothing fails: evictions are graceful, and the budgets let one pod of a shard go at a time.
#[test]
fn drained() {
    run("drained", Company::Alone, |scene| {
        let cluster = scene.written("masters: 3, replicasPerMaster: 1", false, 5000)?;
        let master = cluster.master_of(0)?;
        let machine = cluster.pods()?.remove(&master).context("the master has no pod")?.machine;
        let begun = Instant::now();
        let args = ["drain", &machine, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=180s"];
        let done = cluster.kubectl().ok(&args);
        measured("a machine drained", &seconds(begun.elapsed()))?;
        let converged = done.and_then(|_| cluster.wait_converged());
        cluster.kubectl().ok(&["uncordon", &machine])?;
        converged?;
        let left = cluster.pods()?.values().filter(|pod| pod.machine == machine).count();
        ensure!(left == 0, "{left} pods are left on {machine}");
        scene.client.warm()?;
        let report = scene.client.stop()?;
        measured("a machine drained", &format!("longest stall {} ms", report.longest_gap()))?;
        report.assert_no_failures();
        ensure!(report.lost == 0, "{report}");
        scene.client.verify(&cluster.addresses()?, 5000)
    });
}

/// Its masters' replicas take over; when it goes on, its nodes are replicas.
#[test]
fn frozen() {
    run("frozen", Company::Alone, |scene| {
        let Some(kind) = Kind::or_skip(&scene.kubectl, "a frozen machine")? else { return Ok(()) };
        let cluster = scene.written("masters: 3, replicasPerMaster: 1", true, 5000)?;
        let pods = cluster.pods()?;
        let masters = (0..3).map(|shard| cluster.master_of(shard)).collect::<Result<Vec<_>>>()?;
        let (master, machine) = alone(&masters, &pods)?;
        kind.engine(&["pause", &machine])?;
        let taken = wait::until("another is master of its shard, and writes go on", LIMIT, || {
            cluster.master_of(master.shard).is_ok_and(|now| now != master)
        })
        .and_then(|()| scene.client.warm());
        let gap = scene.client.take_gap();
        kind.engine(&["unpause", &machine])?;
        taken.with_context(|| cluster.status())?;
        measured("a machine frozen", &format!("longest stall {} ms", gap?))?;
        cluster.wait_converged()?;
        scene.client.warm()?;
        let report = scene.client.stop()?;
        report.assert_clean();
        let frozen: Vec<String> =
            pods.values().filter(|pod| pod.machine == machine).map(|pod| pod.address()).collect();
        for lost in &report.lost_writes {
            ensure!(frozen.contains(&lost.master), "{} was not frozen: {report}", lost.master);
        }
        scene.client.verify(&cluster.addresses()?, 5000)
    });
}

/// A master that shares its machine with no other: two of three masters gone at once leave nobody to elect another.
fn alone(masters: &[MemberId], pods: &BTreeMap<MemberId, Pod>) -> Result<(MemberId, String)> {
    let machine = |member: &MemberId| pods.get(member).map(|pod| pod.machine.clone()).unwrap_or_default();
    let shares = |one: &&MemberId| masters.iter().filter(|other| machine(other) == machine(one)).count() > 1;
    let found = masters.iter().find(|master| !shares(master));
    let found = found.with_context(|| format!("all masters share machines: {masters:?} {pods:#?}"))?;
    Ok((*found, machine(found)))
}

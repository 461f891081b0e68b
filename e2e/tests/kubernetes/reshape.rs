//! Larger edits under the writer: nothing fails and nothing is lost.

use crate::create::{THREE, one_budget_per_pod};
use crate::scene::{Company, measured, run, seconds};
use anyhow::ensure;

#[test]
fn more_masters_and_more_replicas_in_one_edit() {
    run("reshape", Company::Others, |scene| {
        let cluster = scene.written("masters: 3, replicasPerMaster: 1", false, 5000)?;
        cluster.declare("masters: 5, replicasPerMaster: 2")?;
        measured("3x1 to 5x2 in one edit", &seconds(cluster.wait_converged()?))?;
        ensure!(cluster.pods()?.len() == 15, "{:?}", cluster.pods()?);
        let counts: Vec<usize> = cluster.counts()?;
        ensure!(counts == [3277, 3277, 3277, 3277, 3276], "{counts:?}");
        one_budget_per_pod(&cluster)?;
        scene.client.warm()?;
        scene.finish_spotless(&cluster, 5000)
    });
}

#[test]
fn replicas_come_and_go() {
    run("replicas", Company::Others, |scene| {
        let cluster = scene.written("masters: 3, replicasPerMaster: 1", false, 5000)?;
        for replicas in [2, 0, 1] {
            cluster.declare(&format!("masters: 3, replicasPerMaster: {replicas}"))?;
            measured(&format!("to {replicas} replicas per master"), &seconds(cluster.wait_converged()?))?;
            ensure!(cluster.pods()?.len() == 3 * (replicas + 1), "{:?}", cluster.pods()?);
            cluster.ensure_owned(&THREE)?;
            one_budget_per_pod(&cluster)?;
            scene.client.warm()?;
        }
        scene.finish_spotless(&cluster, 5000)
    });
}

#[test]
fn declared_ranges() {
    run("ranges", Company::Others, |scene| {
        let spec = |slots: [&str; 3]| {
            let slots = slots.map(|ranges| format!("{{ranges: [{ranges}]}}")).join(", ");
            format!("masters: 3, replicasPerMaster: 1, slots: [{slots}]")
        };
        let cluster = scene.written(&spec(["0-5460", "5461-10922", "10923-16383"]), false, 5000)?;
        for (ranges, owned) in [
            (["0-99", "100-12000", "12001-16383"], ["0-99", "100-12000", "12001-16383"]),
            (
                ["5461-5461, 10923-16383", "0-5460", "5462-10922"],
                ["5461,10923-16383", "0-5460", "5462-10922"],
            ),
        ] {
            cluster.declare(&spec(ranges))?;
            measured("declared ranges changed, to Ready", &seconds(cluster.wait_converged()?))?;
            cluster.ensure_owned(&owned)?;
            scene.client.warm()?;
        }
        let refused = cluster.kubectl().refused(&["scale", "rediscluster/demo", "--replicas=4"], "")?;
        ensure!(refused.contains("change slots and masters in one edit"), "{refused}");
        scene.finish_spotless(&cluster, 5000)
    });
}

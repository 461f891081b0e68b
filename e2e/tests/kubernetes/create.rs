//! A manifest becomes a cluster: exact ranges, pairs on different machines, exactly one budget per pod, both Services.

use crate::cluster::Cluster;
use crate::scene::{Company, Scene, measured, run, seconds};
use crate::wait;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// The tutorial's ranges.
pub(crate) const THREE: [&str; 3] = ["0-5460", "5461-10922", "10923-16383"];
/// How long the status may take to tell what nodes say.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn three_masters_with_a_replica_each() {
    run("create", Company::Others, |scene| {
        // Not counted: how long the client's image takes.
        scene.client.wait_running()?;
        let cluster = scene.declare("masters: 3, replicasPerMaster: 1, storage: {size: 64Mi}")?;
        measured("manifest (3x1, volumes) to Ready", &seconds(cluster.wait_converged()?))?;
        cluster.ensure_owned(&THREE)?;
        wait_said(&cluster, &THREE)?;
        pairs_are_apart(&cluster)?;
        one_budget_per_pod(&cluster)?;
        services(&cluster)?;
        let seeds = cluster.addresses()?;
        scene.client.start(&seeds, false)?;
        let report = scene.client.stop()?;
        report.assert_no_failures();
        Ok(())
    });
}

#[test]
fn one_master_alone() {
    small("alone", "masters: 1, replicasPerMaster: 0", &["0-16383"]);
}

#[test]
fn one_master_with_a_replica() {
    small("pair", "masters: 1, replicasPerMaster: 1", &["0-16383"]);
}

#[test]
fn two_masters_alone() {
    small("two", "masters: 2, replicasPerMaster: 0", &["0-8191", "8192-16383"]);
}

fn small(name: &str, spec: &str, slots: &[&str]) {
    run(name, Company::Others, |scene: &Scene| {
        let cluster = scene.written(spec, false, 0)?;
        cluster.ensure_owned(slots)?;
        wait_said(&cluster, slots)?;
        one_budget_per_pod(&cluster)?;
        scene.client.stop()?.assert_no_failures();
        Ok(())
    });
}

/// The status tells the same ranges.
fn wait_said(cluster: &Cluster<'_>, slots: &[&str]) -> Result<()> {
    wait::until("the status tells the slots", LIMIT, || {
        let object = cluster.object().unwrap_or_default();
        let shards = object["status"]["shards"].as_array().into_iter().flatten();
        shards.map(|shard| &shard["slots"]).eq(slots)
    })
    .with_context(|| cluster.status())
}

/// No machine has two pods of a shard.
fn pairs_are_apart(cluster: &Cluster<'_>) -> Result<()> {
    let mut taken = BTreeMap::new();
    for (member, pod) in cluster.pods()? {
        let other = taken.insert((member.shard, pod.machine.clone()), member);
        ensure!(other.is_none(), "{member} and {other:?} are both on {}", pod.machine);
    }
    Ok(())
}

/// Two budgets for one pod make every eviction of it fail.
pub(crate) fn one_budget_per_pod(cluster: &Cluster<'_>) -> Result<()> {
    let list = |kind: &str| -> Result<Vec<Value>> {
        let all: Value = serde_json::from_str(&cluster.kubectl().ok(&["get", kind, "--output=json"])?)?;
        Ok(all["items"].as_array().cloned().unwrap_or_default())
    };
    let (budgets, pods) = (list("poddisruptionbudgets")?, list("pods")?);
    for pod in pods.iter().filter(|pod| pod["metadata"]["name"] != "client") {
        let labels = &pod["metadata"]["labels"];
        let of_pod = |budget: &&Value| {
            let wanted = budget["spec"]["selector"]["matchLabels"].as_object();
            wanted.is_some_and(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value))
        };
        let found = budgets.iter().filter(of_pod).count();
        ensure!(found == 1, "{found} budgets for {}", pod["metadata"]["name"]);
    }
    Ok(())
}

/// One address for clients, and names for all pods.
fn services(cluster: &Cluster<'_>) -> Result<()> {
    let client = cluster.kubectl().get("service", &cluster.name)?;
    ensure!(client["spec"]["clusterIP"].as_str().is_some_and(|ip| ip != "None"), "{client:#}");
    let nodes = cluster.kubectl().get("service", &format!("{}-nodes", cluster.name))?;
    ensure!(nodes["spec"]["clusterIP"] == "None", "{nodes:#}");
    ensure!(nodes["spec"]["publishNotReadyAddresses"] == true, "{nodes:#}");
    Ok(())
}

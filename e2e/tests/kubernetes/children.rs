//! Children that somebody deletes by hand come back, and no pod restarts for it.

use crate::cluster::{Cluster, Pods, ensure_untouched};
use crate::scene::{Company, run};
use crate::wait;
use anyhow::{Context, Result, ensure};
use e2e::Kubectl;
use std::time::Duration;

/// Kubernetes tries ever more rarely to make pods whose names are taken yet by those of a deleted set.
const LIMIT: Duration = Duration::from_secs(180);

#[test]
fn deleted_by_hand() {
    run("children", Company::Others, |scene| {
        let cluster = scene.written("masters: 3, replicasPerMaster: 1", false, 1000)?;
        let pods = cluster.pods()?;
        let kubectl = cluster.kubectl();
        for child in [
            "configmap/demo",
            "service/demo",
            "service/demo-nodes",
            "serviceaccount/demo",
            "poddisruptionbudget/demo-0",
        ] {
            let before = uid(kubectl, child)?;
            kubectl.ok(&["delete", child, "--wait=false"])?;
            wait_back(&cluster, child, &before)?;
        }
        let before = uid(kubectl, "statefulset/demo-1")?;
        kubectl.ok(&["delete", "statefulset/demo-1", "--cascade=orphan", "--wait=false"])?;
        wait_back(&cluster, "statefulset/demo-1", &before)?;
        cluster.wait_converged()?;
        ensure_untouched(&cluster.pods()?, &pods)?;
        scene.client.warm()?;
        scene.finish_spotless(&cluster, 1000)
    });
}

/// A StatefulSet takes its pods with it: the shard is lost, which is said; without storage it is made anew.
#[test]
fn a_stateful_set_with_its_pods() {
    run("set-deleted", Company::Others, |scene| {
        let cluster = scene.written(
            "masters: 3, replicasPerMaster: 1, recovery: {allowDataLoss: false}",
            true,
            1000,
        )?;
        let before = uid(cluster.kubectl(), "statefulset/demo-1")?;
        let others =
            |pods: Pods| -> Pods { pods.into_iter().filter(|(member, _)| member.shard != 1).collect() };
        let kept = others(cluster.pods()?);
        cluster.kubectl().ok(&["delete", "statefulset/demo-1", "--wait=false"])?;
        wait_back(&cluster, "statefulset/demo-1", &before)?;
        wait::until("the loss of shard 1 is named", LIMIT, || {
            let words = cluster.object().map(|object| object["status"].to_string()).unwrap_or_default();
            words.contains("allowDataLoss") && words.contains("5461-10922")
        })
        .with_context(|| cluster.status())?;
        ensure!(cluster.condition("Ready")?["status"] == "False", "{}", cluster.status());
        cluster.declare("masters: 3, replicasPerMaster: 1, recovery: {allowDataLoss: true}")?;
        cluster.wait_converged()?;
        cluster.ensure_owned(&crate::create::THREE)?;
        ensure_untouched(&others(cluster.pods()?), &kept).context("pods of other shards")?;
        scene.client.warm()?;
        let report = scene.client.stop()?;
        report.assert_clean();
        Ok(())
    });
}

pub(crate) fn uid(kubectl: &Kubectl, child: &str) -> Result<String> {
    kubectl.ok(&["get", child, "--output=jsonpath={.metadata.uid}"])
}

fn wait_back(cluster: &Cluster<'_>, child: &str, before: &str) -> Result<()> {
    wait::until(&format!("{child} is back"), LIMIT, || {
        uid(cluster.kubectl(), child).is_ok_and(|now| !now.is_empty() && now != before)
    })
    .with_context(|| cluster.status())
}

//! The operator killed at bad moments, its leader replaced, its release upgraded and removed: clusters do not mind.

use crate::cluster::{Cluster, ensure_untouched};
use crate::kind::Kind;
use crate::platform::{self, OPERATOR_NAMESPACE, RELEASE};
use crate::scale::FOUR;
use crate::scene::{Company, Scene, measured, run, seconds};
use crate::wait;
use anyhow::{Context, Result, ensure};
use e2e::{Helm, Kubectl};
use operator::build::CLUSTER_LABEL;
use serde_json::Value;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(120);
/// How often a reshard may be over before it was seen.
const RESHARDS: usize = 5;

fn operator() -> Result<Kubectl> {
    Ok(platform::kubectl()?.in_namespace(OPERATOR_NAMESPACE))
}

/// The operator's pods that are not being deleted.
fn pods(operator: &Kubectl) -> Result<Vec<String>> {
    let selector = format!("--selector={CLUSTER_LABEL}={RELEASE}");
    let list: Value = serde_json::from_str(&operator.ok(&["get", "pods", &selector, "--output=json"])?)?;
    let stays = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
    let pods = list["items"].as_array().context("no list of pods")?.iter().filter(stays);
    Ok(pods.filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect())
}

/// SIGKILL on kind; elsewhere its pod is deleted without grace.
fn kill(operator: &Kubectl) -> Result<()> {
    for pod in pods(operator)? {
        match Kind::or_skip(operator, "SIGKILL of the operator: deleted by force instead")? {
            Some(kind) => drop(kind.kill(operator, &pod)?),
            None => drop(operator.ok(&["delete", "pod", &pod, "--grace-period=0", "--force"])?),
        }
    }
    Ok(())
}

#[test]
fn killed_during_a_reshard() {
    run("operator-reshard", Company::Alone, |scene| {
        let cluster = scene.written("masters: 3, replicasPerMaster: 1", false, 50_000)?;
        catch_a_reshard(&cluster)?;
        let begun = Instant::now();
        kill(&operator()?)?;
        cluster.wait_converged()?;
        measured("operator killed during a reshard, to Ready", &seconds(begun.elapsed()))?;
        cluster.ensure_owned(&FOUR)?;
        spotless(scene)?;
        scene.client.verify(&cluster.addresses()?, 50_000)
    });
}

/// Begins to make 4 masters of 3, and gives while the fourth has some slots and not all.
fn catch_a_reshard(cluster: &Cluster<'_>) -> Result<()> {
    // The object is looked at more often than nodes could be, and says it a moment later than they would.
    let slots = || cluster.object().ok().and_then(|o| o["status"]["shards"][3]["slotCount"].as_i64());
    for _ in 0..RESHARDS {
        cluster.declare("masters: 4, replicasPerMaster: 1")?;
        let mut seen = 0;
        wait::until("the new master has slots", LIMIT, || {
            seen = slots().unwrap_or(0);
            seen > 0
        })
        .with_context(|| cluster.status())?;
        if seen < 4096 {
            return Ok(());
        }
        cluster.wait_converged()?;
        cluster.declare("masters: 3, replicasPerMaster: 1")?;
        cluster.wait_converged()?;
    }
    anyhow::bail!("{RESHARDS} reshards were over before they were seen\n{}", cluster.status())
}

#[test]
fn killed_during_a_failover() {
    run("operator-failover", Company::Alone, |scene| {
        let Some(kind) = Kind::or_skip(&scene.kubectl, "master and operator killed")? else { return Ok(()) };
        let cluster = scene.written("masters: 3, replicasPerMaster: 1", true, 5000)?;
        let master = cluster.master_of(1)?;
        let former = cluster.pods()?.remove(&master).context("the master has no pod")?;
        kind.kill(&scene.kubectl, &cluster.pod_name(master))?;
        kill(&operator()?)?;
        wait::until("another is master of shard 1", LIMIT, || {
            cluster.master_of(1).is_ok_and(|now| now != master)
        })
        .with_context(|| cluster.status())?;
        wait::until("the former master's container runs again", LIMIT, || {
            cluster.pods().is_ok_and(|pods| {
                pods.get(&master).is_some_and(|pod| pod.restarts > former.restarts && pod.ready)
            })
        })?;
        cluster.wait_converged()?;
        scene.client.warm()?;
        let gap = scene.client.take_gap()?;
        measured("master and operator SIGKILLed", &format!("longest stall {gap} ms"))?;
        let report = scene.client.stop()?;
        report.assert_clean();
        ensure!(report.lost_writes.iter().all(|lost| lost.master == former.address()), "{report}");
        scene.client.verify(&cluster.addresses()?, 5000)
    });
}

#[test]
fn the_leader_of_two_killed() {
    run("leader", Company::Alone, |scene| {
        let operator = operator()?;
        let helm = Helm::of(&operator)?;
        platform::upgrade(&helm, &["--set", "replicas=2"])?;
        let done = leader_killed(scene, &operator);
        platform::upgrade(&helm, &["--set", "replicas=1"])?;
        done
    });
}

fn leader_killed(scene: &Scene, operator: &Kubectl) -> Result<()> {
    let cluster = scene.written("masters: 3, replicasPerMaster: 1", false, 5000)?;
    let leader = || -> Result<String> {
        let lease = operator.get("lease", "slotkeeper-operator")?;
        Ok(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned())
    };
    let first = leader()?;
    ensure!(pods(operator)?.contains(&first), "{first} leads, of {:?}", pods(operator)?);
    operator.ok(&["delete", "pod", &first, "--grace-period=0", "--force"])?;
    let begun = Instant::now();
    cluster.declare("masters: 4, replicasPerMaster: 1")?;
    cluster.wait_converged()?;
    measured("leader killed, then 3 to 4 masters to Ready", &seconds(begun.elapsed()))?;
    ensure!(leader()? != first, "{first} still leads");
    cluster.ensure_owned(&FOUR)?;
    spotless(scene)
}

#[test]
fn upgraded_and_removed() {
    run("release", Company::Alone, |scene| {
        let cluster = scene.written("masters: 3, replicasPerMaster: 1", false, 5000)?;
        let before = cluster.pods()?;
        let operator = operator()?;
        let helm = Helm::of(&operator)?;
        platform::upgrade(&helm, &["--set", "logLevel=debug"])?;
        cluster.wait_converged()?;
        helm.ok(&["uninstall", RELEASE, "--wait"])?;
        helm.ok(&["uninstall", "redis-operator-crds", "--wait"])?;
        let there = cluster.object();
        platform::install(&operator)?;
        there.context("the cluster went with the release")?;
        // Another generation, which the new operator has to follow.
        cluster.declare("masters: 3, replicasPerMaster: 1, recovery: {allowDataLoss: true}")?;
        cluster.wait_converged()?;
        ensure_untouched(&cluster.pods()?, &before)?;
        spotless(scene)
    });
}

/// The writer saw nothing of it.
fn spotless(scene: &Scene) -> Result<()> {
    scene.client.warm()?;
    let report = scene.client.stop()?;
    report.assert_no_failures();
    ensure!(report.lost == 0, "{report}");
    Ok(())
}

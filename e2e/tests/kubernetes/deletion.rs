//! A cluster that is deleted takes everything with it but its volumes, with the operator and without; and its name may be
//! used again at once.

use crate::cluster::Cluster;
use crate::platform::{self, OPERATOR_NAMESPACE, RELEASE};
use crate::scene::{Company, measured, run, seconds};
use crate::wait;
use anyhow::{Context, Result, ensure};
use operator::build::CLUSTER_LABEL;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(180);
const SPEC: &str = "masters: 3, replicasPerMaster: 1, storage: {size: 64Mi}";

#[test]
fn with_the_operator() {
    run("deletion", Company::Others, |scene| {
        let cluster = scene.declare(SPEC)?;
        scene.client.wait_running()?;
        cluster.wait_converged()?;
        delete(&cluster)?;
        let claims = cluster.kubectl().ok(&["get", "pvc", "--output=name"])?;
        ensure!(claims.lines().count() == 6, "volumes stay: {claims}");
        Ok(())
    });
}

#[test]
fn with_the_operator_gone() {
    run("deletion-alone", Company::Alone, |scene| {
        let cluster = scene.declare("masters: 3, replicasPerMaster: 1")?;
        scene.client.wait_running()?;
        cluster.wait_converged()?;
        let operator = platform::kubectl()?.in_namespace(OPERATOR_NAMESPACE);
        let deployment = format!("deployment/{RELEASE}");
        let scale = |replicas: &str| operator.ok(&["scale", &deployment, replicas]);
        scale("--replicas=0")?;
        let selector = format!("--selector={CLUSTER_LABEL}={RELEASE}");
        let gone = operator.ok(&["wait", "--for=delete", "pods", &selector, "--timeout=180s"]);
        let deleted = gone.and_then(|_| delete(&cluster));
        scale("--replicas=1")?;
        operator.ok(&["rollout", "status", &deployment, "--timeout=180s"])?;
        deleted
    });
}

#[test]
fn and_made_anew_at_once() {
    run("recreated", Company::Others, |scene| {
        let cluster = scene.declare("masters: 3, replicasPerMaster: 1")?;
        scene.client.wait_running()?;
        cluster.wait_converged()?;
        let before = cluster.pods()?;
        cluster.kubectl().ok(&["delete", "rediscluster", "demo", "--wait=true"])?;
        cluster.declare("masters: 3, replicasPerMaster: 1")?;
        let took = cluster.wait_converged()?;
        measured("deleted and made anew at once, to Ready", &seconds(took))?;
        cluster.ensure_owned(&crate::create::THREE)?;
        let kept = cluster.pods()?.values().filter(|pod| before.values().any(|b| b.uid == pod.uid)).count();
        ensure!(kept == 0, "{kept} pods of the former cluster are there");
        Ok(())
    });
}

fn delete(cluster: &Cluster<'_>) -> Result<()> {
    let begun = Instant::now();
    cluster.kubectl().ok(&["delete", "rediscluster", &cluster.name, "--wait=false"])?;
    let kinds = "rediscluster,pods,statefulsets,services,poddisruptionbudgets,configmaps,serviceaccounts";
    let selector = format!("--selector={CLUSTER_LABEL}={}", cluster.name);
    let mut left = String::new();
    wait::until("everything of it is gone", LIMIT, || {
        cluster.kubectl().ok(&["get", kinds, &selector, "--output=name"]).is_ok_and(|found| {
            left = found;
            left.trim().is_empty()
        })
    })
    .with_context(|| left.clone())?;
    measured("cluster deleted (3x1) until nothing of it is left", &seconds(begun.elapsed()))
}

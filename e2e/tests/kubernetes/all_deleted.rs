//! All pods deleted at once, with storage: the volumes hold identities, so ids, slots and roles return, but no data. The
//! guard holds until somebody allows the loss.

use crate::cluster::Cluster;
use crate::create::THREE;
use crate::scene::{Company, measured, run, seconds};
use crate::wait;
use anyhow::{Context, Result, ensure};
use node_server_protocol::{NodeId, Role};
use operator::build::CLUSTER_LABEL;
use operator_planner::MemberId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(120);
const SPEC: &str = "masters: 3, replicasPerMaster: 1, storage: {size: 64Mi}";

#[test]
fn with_storage() {
    run("all-deleted", Company::Others, |scene| {
        let cluster = scene.written(SPEC, true, 5000)?;
        let before = identities(&cluster)?;
        delete_all(&cluster)?;
        wait::until("the loss is named, and every node is who it was", LIMIT, || {
            says_what_is_lost(&cluster).unwrap_or(false)
                && identities(&cluster).is_ok_and(|now| now == before)
        })
        .with_context(|| {
            format!("before {before:#?}\nnow {:#?}\n{}", identities(&cluster), cluster.status())
        })?;
        cluster.ensure_owned(&THREE)?;
        let closed = roles(&cluster)?;
        ensure!(closed.values().filter(|role| role.is_master()).count() == 3, "{closed:#?}");
        // Nothing is reopened while nobody allows it: Ready is False, and stays so.
        ensure!(cluster.condition("Ready")?["status"] == "False", "{}", cluster.status());

        cluster.declare(&format!("{SPEC}, recovery: {{allowDataLoss: true}}"))?;
        measured("data loss allowed, to Ready", &seconds(cluster.wait_converged()?))?;
        ensure!(roles(&cluster)? == closed, "before {closed:#?}\nnow {:#?}", roles(&cluster)?);
        scene.client.warm()?;

        let begun = Instant::now();
        delete_all(&cluster)?;
        cluster.wait_converged()?;
        measured("all six pods deleted (loss allowed) to Ready", &seconds(begun.elapsed()))?;
        scene.client.warm()?;
        let report = scene.client.stop()?;
        report.assert_clean();
        let kept = scene.client.look_for(&cluster.addresses()?, 5000)?;
        measured(
            "writes lost with all pods, twice",
            &format!("{} of {}", report.lost, report.tally.acknowledged),
        )?;
        measured("preloaded keys lost with all pods", &format!("{} of {}", kept.missing, kept.keys))?;
        ensure!(kept.wrong == 0, "{kept:?}");
        Ok(())
    });
}

/// Who each member is.
fn identities(cluster: &Cluster<'_>) -> Result<BTreeMap<MemberId, NodeId>> {
    Ok(cluster.reports()?.into_iter().map(|(member, report)| (member, report.id)).collect())
}

/// Of whom each member is a replica. A master that is told to end before its replica hands over to it: so they are compared
/// only once all pods are new ones.
fn roles(cluster: &Cluster<'_>) -> Result<BTreeMap<MemberId, Role>> {
    Ok(cluster.reports()?.into_iter().map(|(member, report)| (member, report.role)).collect())
}

/// Gives when every pod is another one.
fn delete_all(cluster: &Cluster<'_>) -> Result<()> {
    let before = cluster.pods()?;
    // In one request: with one for each pod, the first are back before the last are told.
    let (namespace, name) = (cluster.kubectl().namespace(), &cluster.name);
    let selector = format!("labelSelector={CLUSTER_LABEL}={name},app.kubernetes.io/component=node");
    cluster.kubectl().ok(&["delete", "--raw", &format!("/api/v1/namespaces/{namespace}/pods?{selector}")])?;
    wait::until("every pod is another one", LIMIT, || {
        cluster.pods().is_ok_and(|now| {
            before
                .iter()
                .all(|(member, pod)| now.get(member).is_some_and(|n| n.uid != pod.uid && !n.ip.is_empty()))
        })
    })
}

/// Ready is False because data is gone, and the slots of every master without its data are named. A master that was told
/// to end a moment before its replica may have saved its shard by handing it over there and back.
fn says_what_is_lost(cluster: &Cluster<'_>) -> Result<bool> {
    let reports = cluster.reports()?;
    let lost = reports.values().filter(|report| report.role.is_master() && report.closed_empty);
    let lost: Vec<String> = lost.map(|report| report.own_slots().to_string()).collect();
    let (ready, object) = (cluster.condition("Ready")?, cluster.object()?);
    let words = object["status"]["plan"].to_string();
    let named = lost.iter().all(|slots| words.contains(slots)) && words.contains("allowDataLoss");
    Ok(!lost.is_empty() && named && ready["status"] == "False" && ready["reason"] == "Refused")
}

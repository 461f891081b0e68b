//! All pods deleted at once, with storage: the volumes hold identities, so ids, slots and roles return, but no data. The
//! guard holds until somebody allows the loss.

use crate::cluster::Cluster;
use crate::create::THREE;
use crate::scene::{Company, measured, run, seconds};
use anyhow::{Context, Result, ensure};
use e2e::wait;
use node_server_protocol::{NodeId, Role};
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
            says_what_is_lost(&cluster) && identities(&cluster).is_ok_and(|now| now == before)
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
    let names: Vec<String> = before.keys().map(|member| cluster.pod_name(*member)).collect();
    let mut args = vec!["delete", "pods", "--wait=false"];
    args.extend(names.iter().map(String::as_str));
    cluster.kubectl().ok(&args)?;
    wait::until("every pod is another one", LIMIT, || {
        cluster.pods().is_ok_and(|now| {
            before
                .iter()
                .all(|(member, pod)| now.get(member).is_some_and(|n| n.uid != pod.uid && !n.ip.is_empty()))
        })
    })
}

/// Ready is False for the reason that the data is gone, and names the slots of every shard.
fn says_what_is_lost(cluster: &Cluster<'_>) -> bool {
    let said = |ready: serde_json::Value| {
        let object = cluster.object().unwrap_or_default();
        let words = format!("{} {}", ready["message"], object["status"]["plan"]);
        ready["status"] == "False"
            && ready["reason"] == "Refused"
            && words.contains("allowDataLoss")
            && THREE.iter().all(|range| words.contains(range))
    };
    cluster.condition("Ready").is_ok_and(said)
}

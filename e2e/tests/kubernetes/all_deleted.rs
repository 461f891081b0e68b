//! All pods deleted at once, with storage: ids, slots and data return from the volumes. Where the files of the data are
//! gone as well, the guard holds until somebody allows the loss.

use crate::cluster::Cluster;
use crate::create::THREE;
use crate::kind::Kind;
use crate::scene::{Company, measured, run, seconds};
use crate::wait;
use anyhow::{Context, Result, ensure};
use node_server_protocol::{NodeId, Role};
use operator::build::{CLUSTER_LABEL, claim_name};
use operator_planner::MemberId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(120);
const KEYS: u64 = 5000;
/// Room for what the writer writes until a rewrite makes the files small again.
const SPEC: &str = "masters: 3, replicasPerMaster: 1, storage: {size: 1Gi}";

/// What is removed of a node's files is not written anew by a rewrite.
const NOT_REWRITTEN: &str = "config: {auto-aof-rewrite-percentage: '0'}";
/// How often all shards may save themselves: a master that is told to end a moment before its replica hands over to it, and
/// gets its data back from it where that one is told later.
const DELETIONS: usize = 5;

/// Who is told to end writes everything to its volume first: so nothing may be missing, whoever is master afterwards.
#[test]
fn with_storage() {
    run("all-deleted", Company::Others, |scene| {
        let cluster = scene.written(SPEC, false, KEYS)?;
        let (before, former) = (identities(&cluster)?, masters(&cluster)?);
        let begun = Instant::now();
        delete_all(&cluster)?;
        cluster.wait_converged()?;
        measured("all six pods deleted, with storage, to Ready", &seconds(begun.elapsed()))?;
        let now = identities(&cluster)?;
        ensure!(now == before, "before {before:#?}\nnow {now:#?}");
        cluster.ensure_owned(&THREE)?;
        wait_pairs(&cluster)?;
        // A master that is told to end before its replica hands over to it.
        let same = masters(&cluster)?.iter().filter(|member| former.contains(member)).count();
        measured("masters that are the former ones", &format!("{same} of {}", former.len()))?;
        scene.client.warm()?;
        // Commands may have failed: for some seconds there was nobody who could answer.
        let report = scene.client.stop()?;
        report.assert_clean();
        ensure!(report.lost == 0, "{report}");
        measured(
            "writes lost with all pods deleted, with storage",
            &format!("{} of {}", report.lost, report.tally.acknowledged),
        )?;
        scene.client.verify(&cluster.addresses()?, KEYS)
    });
}

/// Somebody has deleted the data's files on every volume; the nodes' identities are there.
#[test]
fn with_the_files_of_all_volumes() {
    run("all-files-gone", Company::Others, |scene| {
        let Some(kind) = Kind::or_skip(&scene.kubectl, "the files of all volumes gone")? else {
            return Ok(());
        };
        let cluster = scene.written(&format!("{SPEC}, {NOT_REWRITTEN}"), true, KEYS)?;
        lose_data(&cluster, &kind)?;
        cluster.ensure_owned(&THREE)?;
        let (closed, epoch) = (roles(&cluster)?, cluster.newest_epoch()?);
        ensure!(closed.values().filter(|role| role.is_master()).count() == 3, "{closed:#?}");
        // Nothing is reopened while nobody allows it: Ready is False, and stays so.
        ensure!(cluster.condition("Ready")?["status"] == "False", "{}", cluster.status());

        cluster.declare(&format!("{SPEC}, {NOT_REWRITTEN}, recovery: {{allowDataLoss: true}}"))?;
        measured("data loss allowed, to Ready", &seconds(cluster.wait_converged()?))?;
        cluster.ensure_owned(&THREE)?;
        wait_pairs(&cluster)?;
        // A busy machine may have had an election meanwhile. Without one everybody is what it was.
        let (now, unchanged) = (roles(&cluster)?, cluster.newest_epoch()? == epoch);
        ensure!(!unchanged || now == closed, "before {closed:#?}\nnow {now:#?}");
        measured(
            "roles of all while the slots are opened again",
            if unchanged { "as before" } else { "an election" },
        )?;
        scene.client.warm()?;
        let report = scene.client.stop()?;
        report.assert_clean();
        let kept = scene.client.look_for(&cluster.addresses()?, KEYS)?;
        measured(
            "writes lost with the files of all volumes",
            &format!("{} of {}", report.lost, report.tally.acknowledged),
        )?;
        measured(
            "preloaded keys lost with the files of all volumes",
            &format!("{} of {}", kept.missing, kept.keys),
        )?;
        ensure!(kept.wrong == 0, "{kept:?}");
        Ok(())
    });
}

/// Removes files and pods until a shard has lost its data, which is then named, and every node is who it was.
fn lose_data(cluster: &Cluster<'_>, kind: &Kind) -> Result<()> {
    let before = identities(cluster)?;
    for _ in 0..DELETIONS {
        delete_files(cluster, kind)?;
        delete_all(cluster)?;
        let mut lost = false;
        wait::until("the loss is named, and every node is who it was; or nothing is lost", LIMIT, || {
            lost = says_what_is_lost(cluster).unwrap_or(false)
                && identities(cluster).is_ok_and(|now| now == before);
            lost || has_all(cluster).unwrap_or(false)
        })
        .with_context(|| {
            format!("before {before:#?}\nnow {:#?}\n{}", identities(cluster), cluster.status())
        })?;
        if lost {
            return Ok(());
        }
    }
    anyhow::bail!("{DELETIONS} times all shards have handed over and back")
}

/// Whether every member answers and has its data.
fn has_all(cluster: &Cluster<'_>) -> Result<bool> {
    let reports = cluster.reports()?;
    let empty = reports.values().any(|report| report.closed_empty);
    Ok(reports.len() == 6 && !empty && cluster.violations()?.is_empty())
}

/// Removes the append-only files under the running nodes; what they write from now on is in files without a name.
fn delete_files(cluster: &Cluster<'_>, kind: &Kind) -> Result<()> {
    for (member, pod) in cluster.pods()? {
        let claim = cluster.kubectl().get("pvc", &claim_name(&cluster.name, member))?;
        let volume = claim["spec"]["volumeName"].as_str().context("the claim has no volume")?;
        let volume = cluster.kubectl().get("pv", volume)?;
        let spec = &volume["spec"];
        let path = spec["hostPath"]["path"].as_str().or_else(|| spec["local"]["path"].as_str());
        let files = format!("{}/appendonlydir", path.context("the volume is no directory of its machine")?);
        // A test that removes nothing would prove nothing.
        wait::until(&format!("{files} is there"), LIMIT, || {
            kind.engine(&["exec", &pod.machine, "test", "-d", &files]).is_ok()
        })?;
        kind.engine(&["exec", &pod.machine, "rm", "-rf", &files])?;
    }
    Ok(())
}

/// The members that are masters.
fn masters(cluster: &Cluster<'_>) -> Result<Vec<MemberId>> {
    Ok(roles(cluster)?.into_iter().filter(|(_, role)| role.is_master()).map(|(member, _)| member).collect())
}

/// Every shard has one master, and its other pod is this master's replica. A busy machine may be in an election.
fn wait_pairs(cluster: &Cluster<'_>) -> Result<()> {
    let mut last = Ok(());
    wait::until("every shard is a pair", LIMIT, || {
        last = ensure_pairs(cluster);
        last.is_ok()
    })
    .with_context(|| format!("{last:?}"))
}

fn ensure_pairs(cluster: &Cluster<'_>) -> Result<()> {
    let reports = cluster.reports()?;
    for (member, report) in &reports {
        let Some(of) = report.role.master() else { continue };
        let master = reports.iter().find(|(_, other)| other.id == of);
        let fits = master.is_some_and(|(m, r)| m.shard == member.shard && r.role.is_master());
        ensure!(fits, "{member} follows {of}\n{}", cluster.status());
    }
    let masters = masters(cluster)?;
    let shards: Vec<u16> = masters.iter().map(|member| member.shard).collect();
    ensure!(shards == [0, 1, 2], "masters {masters:?}\n{}", cluster.status());
    Ok(())
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

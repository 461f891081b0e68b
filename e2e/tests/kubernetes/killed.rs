//! SIGKILL of a master's process, five times: its replica takes over; what is lost is counted and is a suffix of each
//! connection's writes to that master.

use crate::kind::Kind;
use crate::reaction;
use crate::scene::{Company, measured, run};
use crate::wait;
use anyhow::{Context, ensure};
use std::time::Duration;

const KILLS: u16 = 5;
/// A container ends and another is started by the kubelet, which looks once a second and waits after a second end.
const RESTART_LIMIT: Duration = Duration::from_secs(120);
/// The replica has what is older: it lags by milliseconds, and the machine may be busy.
const LAG_MS: u64 = 10_000;

#[test]
fn a_masters_process_five_times() {
    run("killed", Company::Others, |scene| {
        let Some(kind) = Kind::or_skip(&scene.kubectl, "SIGKILL of a master's process")? else {
            return Ok(());
        };
        let cluster = scene.written("masters: 3, replicasPerMaster: 1", true, 5000)?;
        let mut killed = Vec::new();
        for i in 0..KILLS {
            let (master, epoch) = (cluster.master_of(i % 3)?, cluster.newest_epoch()?);
            let pod = cluster.pods()?.remove(&master).context("the master has no pod")?;
            let death = kind.kill(&scene.kubectl, &cluster.pod_name(master))?;
            killed.push(pod.address());
            wait::until("the container was restarted", RESTART_LIMIT, || {
                cluster.pods().is_ok_and(|pods| {
                    pods.get(&master).is_some_and(|now| now.restarts > pod.restarts && now.ready)
                })
            })
            .with_context(|| cluster.status())?;
            cluster.wait_converged()?;
            scene.client.warm()?;
            let gap = scene.client.take_gap()?;
            measured(
                &format!("a master's process SIGKILLed ({master})"),
                &format!("longest stall {gap} ms"),
            )?;
            let begun = reaction::of_the_operator(&scene.kubectl, death)?;
            let begun =
                begun.map_or("none: the nodes were faster".to_owned(), |at| format!("{} ms", at.as_millis()));
            measured("SIGKILL to the operator's first step", &begun)?;
            let after = cluster.master_of(i % 3)?;
            // A busy machine may have had another election, with all data.
            let once = cluster.newest_epoch()? <= epoch + 1;
            ensure!(
                after != master || !once,
                "{master} is master again, without the data that its replica had"
            );
        }
        let report = scene.client.stop()?;
        report.assert_clean();
        for lost in &report.lost_writes {
            ensure!(killed.contains(&lost.master), "{} was not killed: {report}", lost.master);
            ensure!(lost.span_ms <= LAG_MS, "more than the replica lagged: {lost:?}\n{report}");
        }
        let most = report.lost_writes.iter().map(|lost| lost.span_ms).max().unwrap_or(0);
        measured("from the first write lost to the last acknowledged, at most", &format!("{most} ms"))?;
        measured(
            "writes lost by five SIGKILLs",
            &format!("{} of {}", report.lost, report.tally.acknowledged),
        )?;
        scene.client.verify(&cluster.addresses()?, 5000)
    });
}

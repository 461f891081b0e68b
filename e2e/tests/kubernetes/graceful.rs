//! Every pod deleted in turn, as a rolling change of machines does: nothing fails and nothing is lost.

use crate::create::THREE;
use crate::scene::{Company, measured, run};

#[test]
fn every_pod_in_turn() {
    run("graceful", Company::Others, |scene| {
        let cluster = scene.written_by_default("masters: 3, replicasPerMaster: 1", 5000)?;
        for (member, pod) in cluster.pods()? {
            let role = if cluster.master_of(member.shard)? == member { "master" } else { "replica" };
            cluster.kubectl().ok(&["delete", "pod", &cluster.pod_name(member), "--wait=false"])?;
            cluster.wait_replaced(member, &pod)?;
            cluster.wait_converged()?;
            scene.client.warm()?;
            let gap = scene.client.take_gap()?;
            measured(
                &format!("a {role}'s pod deleted gracefully ({member})"),
                &format!("longest stall {gap} ms"),
            )?;
        }
        cluster.ensure_owned(&THREE)?;
        scene.finish_spotless(&cluster, 5000)
    });
}

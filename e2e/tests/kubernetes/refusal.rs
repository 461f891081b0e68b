//! What does not hold is refused with a message, by the API server or in a condition, and nothing is done for it.

use crate::cluster::Cluster;
use crate::scene::{Company, run};
use crate::wait;
use anyhow::{Context, ensure};
use std::time::Duration;

#[test]
fn manifests_that_do_not_hold() {
    run("refusal", Company::Others, |scene| {
        let cluster = Cluster::new(scene, "demo");
        for (spec, words) in [
            ("masters: 0", "masters"),
            ("masters: 1001", "masters"),
            ("replicasPerMaster: -1", "replicasPerMaster"),
            ("masters: 1, slots: [{ranges: [0-100]}]", "16384"),
            ("masters: 2, slots: [{ranges: [0-9000]}, {ranges: [9000-16383]}]", "slots"),
            ("masters: 2, slots: [{ranges: [0-16383]}]", "slots"),
        ] {
            let refused = scene.kubectl.refused(&["apply", "--filename=-"], &cluster.manifest(spec))?;
            ensure!(refused.contains(words), "{spec} is refused with: {refused}");
        }
        // A directive that the node does not take is known to the operator alone.
        cluster.declare("masters: 1, replicasPerMaster: 0, config: {no-such-directive: 'yes'}")?;
        wait::until("the directive is named", Duration::from_secs(180), || {
            cluster.condition("Ready").is_ok_and(|c| {
                c["status"] == "False" && c["message"].to_string().contains("no-such-directive")
            })
        })
        .with_context(|| cluster.status())?;
        ensure!(cluster.pods()?.is_empty(), "{:?}", cluster.pods()?);
        cluster.declare("masters: 1, replicasPerMaster: 0")?;
        scene.client.wait_running()?;
        cluster.wait_converged()?;
        Ok(())
    });
}

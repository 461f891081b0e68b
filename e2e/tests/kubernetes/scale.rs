//! 3 to 4 to 3 masters under the writer, by each way there is to say so: nothing fails and nothing is lost.

use crate::cluster::Cluster;
use crate::create::THREE;
use crate::scene::{Company, Scene, measured, run, seconds};
use anyhow::{Result, ensure};

/// The tutorial's ranges.
pub(crate) const FOUR: [&str; 4] = ["1365-5460", "6827-10922", "12288-16383", "0-1364,5461-6826,10923-12287"];
/// Small keys, as in the comparison with others.
const KEYS: u64 = 5000;

#[test]
fn by_an_edit_of_masters() {
    there_and_back("edit", |cluster, masters| {
        cluster.declare(&format!("masters: {masters}, replicasPerMaster: 1"))
    });
}

#[test]
fn by_kubectl_scale() {
    there_and_back("scale", |cluster, masters| {
        let (what, many) = (format!("rediscluster/{}", cluster.name), format!("--replicas={masters}"));
        cluster.kubectl().ok(&["scale", &what, &many])?;
        Ok(())
    });
}

#[test]
fn by_a_patch_of_the_subresource() {
    there_and_back("patch", |cluster, masters| {
        let patch = format!(r#"{{"spec":{{"replicas":{masters}}}}}"#);
        let args = [
            "patch",
            "rediscluster",
            &cluster.name,
            "--subresource=scale",
            "--type=merge",
            "--patch",
            &patch,
        ];
        cluster.kubectl().ok(&args)?;
        Ok(())
    });
}

fn there_and_back(how: &str, set: impl FnOnce(&Cluster<'_>, u32) -> Result<()> + Copy) {
    run(how, Company::Others, |scene: &Scene| {
        let cluster = scene.written_by_default("masters: 3, replicasPerMaster: 1", KEYS)?;
        cluster.ensure_owned(&THREE)?;
        for (masters, slots, what) in [(4, &FOUR[..], "3 to 4"), (3, &THREE, "4 to 3")] {
            set(&cluster, masters)?;
            let took = cluster.wait_converged()?;
            scene.client.warm()?;
            let gap = scene.client.take_gap()?;
            measured(
                &format!("{what} masters ({how})"),
                &format!("{}, longest stall {gap} ms", seconds(took)),
            )?;
            cluster.ensure_owned(slots)?;
            ensure!(cluster.pods()?.len() == masters as usize * 2, "{:?}", cluster.pods()?);
        }
        let report = scene.client.stop()?;
        report.assert_no_failures();
        ensure!(report.lost == 0, "{report}");
        scene.client.verify(&cluster.addresses()?, KEYS)
    });
}

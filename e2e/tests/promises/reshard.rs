//! Three masters become four and three again with 100,000 keys under load: the tutorial's ranges, nothing lost, nothing
//! failed.

use crate::scene::{FOUR, Scene, THREE};
use e2e::writer::Keys;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_three_masters_to_four_and_back() {
    let scene = Scene::three(vec![Keys::spread(100_000, 100)]).await;
    scene.follow("masters: 4, replicasPerMaster: 1", &FOUR).await;
    scene.follow("masters: 3, replicasPerMaster: 1", &THREE).await;
    let report = scene.finish_spotless().await;
    assert!(report.tally.redirections.moved > 0, "slots moved under the writer's eyes: {report}");
}

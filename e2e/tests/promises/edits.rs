//! Edits that are followed in one go: larger ones, weights, declared ranges.

use crate::scene::{Scene, THREE, assert_owned};
use e2e::Declared;
use e2e::writer::{Keys, Loss};
use std::path::Path;

/// Keys that are there before the edit.
const KEYS: u64 = 20_000;

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// 3 × 1 to 5 × 2: four new replicas of old masters and two new shards, in one edit; and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_masters_and_more_replicas_at_once() {
    let scene = Scene::three(vec![Keys::spread(KEYS, 100)]).await;
    scene.cluster.declare("masters: 5, replicasPerMaster: 2").unwrap();
    scene.converged().await;
    assert_eq!(scene.counts(), [3277, 3277, 3277, 3277, 3276]);
    assert_eq!(scene.cluster.places().unwrap().len(), 15);
    scene.follow("masters: 3, replicasPerMaster: 1", &THREE).await;
    assert_eq!(scene.cluster.places().unwrap().len(), 6);
    scene.finish_spotless().await;
}

/// An even cluster is given weights, and is even again afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights() {
    let scene = Scene::three(vec![Keys::spread(KEYS, 100)]).await;
    let weighted = example("weighted.yaml").replace("name: weighted", "name: demo");
    scene.cluster.write(&weighted).unwrap();
    scene.converged().await;
    assert_eq!(scene.counts(), [8192, 4096, 4096]);
    scene.cluster.declare("masters: 3, replicasPerMaster: 1").unwrap();
    scene.converged().await;
    let mut even = scene.counts();
    even.sort_unstable();
    assert_eq!(even, [5461, 5461, 5462]);
    scene.finish_spotless().await;
}

/// A cluster that was created with the declared ranges swaps two of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn declared_ranges() {
    let declared = example("declared-ranges.yaml");
    let keys = vec![Keys::spread(KEYS, 100)];
    let scene = Scene::new(Declared::new(&declared).unwrap(), &THREE, Loss::None, keys).await;
    let spec = |slots: [&str; 3]| {
        let entry = |ranges: &str| format!("{{ranges: [{ranges}]}}");
        let head = "apiVersion: slotkeeper.dev/v1alpha1\nkind: RedisCluster\nmetadata: {name: declared}\n";
        let slots = slots.map(entry).join(", ");
        format!("{head}spec: {{masters: 3, replicasPerMaster: 1, slots: [{slots}]}}\n")
    };
    scene.cluster.write(&spec(["0-99", "100-12000", "12001-16383"])).unwrap();
    scene.converged().await;
    assert_owned(&scene.cluster, &["0-99", "100-12000", "12001-16383"]);
    scene.cluster.write(&spec(["5461-5461, 10923-16383", "0-5460", "5462-10922"])).unwrap();
    scene.converged().await;
    assert_owned(&scene.cluster, &["5461,10923-16383", "0-5460", "5462-10922"]);
    scene.finish_spotless().await;
}

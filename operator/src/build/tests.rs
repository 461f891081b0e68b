//! What is built, as it is applied.

use super::*;
use serde_json::json;
use std::time::{Duration, Instant};

fn cluster(spec: Value) -> RedisCluster {
    let mut cluster = RedisCluster::new("demo", serde_json::from_value(spec).unwrap());
    cluster.metadata.namespace = Some("shop".into());
    cluster
}

fn owner() -> OwnerReference {
    OwnerReference {
        api_version: "slotkeeper.dev/v1alpha1".into(),
        kind: "RedisCluster".into(),
        name: "demo".into(),
        uid: "11111111-2222-3333-4444-555555555555".into(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

fn built(spec: Value, sizes: &[(u16, u16)]) -> Vec<Child> {
    let (cluster, owner) = (cluster(spec), owner());
    let blueprint = Blueprint {
        cluster: &cluster,
        owner: &owner,
        default_image: "slotkeeper/node-server:0.1.0",
        sizes: &sizes.iter().copied().collect(),
        budgets: &BTreeMap::from([(0, 1)]),
    };
    Children::build(&blueprint).into_list().unwrap()
}

fn yaml(children: &[Child]) -> String {
    children.iter().map(|c| format!("---\n{}", serde_yaml::to_string(&c.object).unwrap())).collect()
}

fn find(children: &[Child], kind: Kind, name: &str) -> Value {
    children.iter().find(|c| c.kind == kind && c.name == name).unwrap().object.clone()
}

#[test]
fn a_cluster_in_memory() {
    insta::assert_snapshot!(yaml(&built(json!({"masters": 1}), &[(0, 2)])));
}

#[test]
fn a_cluster_with_everything() {
    let spec = json!({
        "masters": 1,
        "image": "registry.example/node:1",
        "config": {"Maxmemory-Policy": "allkeys-lru", "cluster-node-timeout": 3000, "shutdown-timeout": 60},
        "storage": {"size": "1Gi", "storageClassName": "fast", "whenDeleted": "Delete"},
        "resources": {"limits": {"memory": "1Gi"}, "requests": {"cpu": 1}},
        "pod": {
            "labels": {"team": "a", "app.kubernetes.io/instance": "not-this"},
            "annotations": {"note": "b"},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "dedicated", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
            "priorityClassName": "high",
            "imagePullSecrets": [{"name": "pull"}]
        }
    });
    insta::assert_snapshot!(yaml(&built(spec, &[(0, 1)])));
}

fn redis_conf(spec: Value) -> Vec<String> {
    let map = find(&built(spec, &[(0, 1)]), Kind::ConfigMap, "demo");
    map["data"]["redis.conf"].as_str().unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn data_is_written_to_a_volume_and_nowhere_else() {
    let has = |lines: &[String], line: &str| lines.iter().filter(|l| *l == line).count();
    let storage = json!({"size": "1Gi"});
    let on_volume = redis_conf(json!({"storage": storage}));
    let in_memory = redis_conf(json!({}));
    for (lines, appendonly) in [(&on_volume, "appendonly yes"), (&in_memory, "appendonly no")] {
        assert_eq!(has(lines, appendonly), 1, "{lines:?}");
        assert_eq!(has(lines, "save \"\""), 1, "{lines:?}");
        assert_eq!(lines.iter().filter(|l| l.starts_with("appendonly ")).count(), 1, "{lines:?}");
    }
    assert_eq!(has(&on_volume, "appendfsync everysec"), 1, "{on_volume:?}");
}

#[test]
fn how_the_file_is_written_is_the_users_to_say() {
    let config =
        json!({"AppendFsync": "always", "auto-aof-rewrite-percentage": 50, "aof-load-truncated": "no"});
    let lines = redis_conf(json!({"storage": {"size": "1Gi"}, "config": config}));
    let of = |name: &str| lines.iter().filter(|l| l.starts_with(name)).cloned().collect::<Vec<_>>();
    assert_eq!(of("appendfsync"), ["appendfsync always"]);
    assert_eq!(of("auto-aof-rewrite-percentage"), ["auto-aof-rewrite-percentage 50"]);
    assert_eq!(of("aof-load-truncated"), ["aof-load-truncated no"]);
}

/// A node of an older image answers nobody before it has read its files.
#[test]
fn a_node_with_a_volume_may_take_long_to_start() {
    let container = |spec: Value| {
        let set = find(&built(spec, &[(0, 1)]), Kind::StatefulSet, "demo-0");
        set["spec"]["template"]["spec"]["containers"][0].clone()
    };
    let node = container(json!({"storage": {"size": "1Gi"}}));
    let startup = &node["startupProbe"];
    let bound = |probe: &Value| {
        probe["failureThreshold"].as_i64().unwrap() * probe["periodSeconds"].as_i64().unwrap()
    };
    assert_eq!(startup["httpGet"]["path"], "/livez");
    assert!(bound(startup) >= 10 * bound(&node["livenessProbe"]), "{startup}");
    assert!(
        startup["timeoutSeconds"].as_i64() <= startup["periodSeconds"].as_i64(),
        "else the bound is longer"
    );
    assert!(container(json!({}))["startupProbe"].is_null(), "in memory there is nothing to read");
}

#[test]
fn every_shard_has_its_set_and_its_budget() {
    let children = built(json!({"masters": 2}), &[(0, 2), (1, 3)]);
    let names: Vec<(Kind, &str)> = children.iter().map(|c| (c.kind, c.name.as_str())).collect();
    assert_eq!(
        names,
        [
            (Kind::ServiceAccount, "demo"),
            (Kind::ConfigMap, "demo"),
            (Kind::Service, "demo-nodes"),
            (Kind::Service, "demo"),
            (Kind::PodDisruptionBudget, "demo-0"),
            (Kind::PodDisruptionBudget, "demo-1"),
            (Kind::StatefulSet, "demo-0"),
            (Kind::StatefulSet, "demo-1"),
        ]
    );
    let budget = |name| find(&children, Kind::PodDisruptionBudget, name)["spec"].clone();
    assert_eq!(
        (&budget("demo-0")["maxUnavailable"], &budget("demo-1")["maxUnavailable"]),
        (&json!(1), &json!(0))
    );
    let selector = budget("demo-0")["selector"]["matchLabels"].clone();
    let pods = &find(&children, Kind::StatefulSet, "demo-0")["spec"]["template"]["metadata"]["labels"];
    let other = &find(&children, Kind::StatefulSet, "demo-1")["spec"]["template"]["metadata"]["labels"];
    let covers = |labels: &Value| selector.as_object().unwrap().iter().all(|(k, v)| labels[k] == *v);
    assert!(covers(pods) && !covers(other), "exactly one budget covers a pod");
}

#[test]
fn the_longest_handover_fits_into_the_grace_period() {
    let grace = |spec: Value| {
        let set = find(&built(spec, &[(0, 1)]), Kind::StatefulSet, "demo-0");
        set["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap()
    };
    assert_eq!(grace(json!({})), 30);
    assert_eq!(grace(json!({"config": {"shutdown-timeout": "120"}})), 130);
}

#[test]
fn names_fit_into_labels() {
    let longest = "a".repeat(operator_api::spec::NAME_MAX);
    // A StatefulSet's pods carry its name and a hash of 11 characters in a label of at most 63.
    assert!(shard_name(&longest, 999).len() + "-6d5f8b9c7d".len() <= 63);
}

/// Seen on Kubernetes: a budget was written with every batch of a reshard.
#[test]
fn a_budget_falls_at_once_and_rises_when_it_has_stayed() {
    let begin = Instant::now();
    let mut steady = Steady::default();
    let mut hold = |budget: i32, ms: u64| {
        let now = begin + Duration::from_millis(ms);
        steady.hold(BTreeMap::from([(0, budget), (1, 1)]), now)
    };
    let pause = u64::try_from(RISE_PAUSE.as_millis()).unwrap();
    assert_eq!(hold(1, 0)[&0], 1);
    assert_eq!(hold(0, 10)[&0], 0);
    assert_eq!(hold(1, 20), BTreeMap::from([(0, 0), (1, 1)]));
    assert_eq!(hold(0, 30)[&0], 0);
    assert_eq!(hold(1, 29 + pause)[&0], 0);
    assert_eq!(hold(1, 30 + pause)[&0], 1);
}

//! `kubectl scale`.

use crate::{PLANE, cluster};
use serde_json::{Value, json};

#[test]
fn scaling_sets_masters() {
    let kubectl = PLANE.fresh_namespace().unwrap();
    kubectl.ok_with(&["apply", "--filename=-"], &cluster("demo", "{masters: 3}")).unwrap();
    kubectl.ok(&["scale", "rediscluster", "demo", "--replicas=4"]).unwrap();
    let demo = kubectl.get("rdc", "demo").unwrap();
    assert_eq!(demo["spec"]["masters"], 4);
    assert_eq!(demo["metadata"]["generation"], 2, "the operator is told by the generation");
    let patch = r#"{"spec": {"replicas": 3}}"#;
    kubectl.ok(&["patch", "rdc", "demo", "--subresource=scale", "--type=merge", "--patch", patch]).unwrap();
    assert_eq!(kubectl.get("rdc", "demo").unwrap()["spec"]["masters"], 3);
}

#[test]
fn an_autoscaler_reads_masters_and_the_pods_selector() {
    let kubectl = PLANE.fresh_namespace().unwrap();
    kubectl.ok_with(&["apply", "--filename=-"], &cluster("demo", "{masters: 3}")).unwrap();
    let status = json!({"status": {"masters": 2, "selector": "slotkeeper.dev/cluster=demo"}}).to_string();
    kubectl
        .ok(&["patch", "rdc", "demo", "--subresource=status", "--type=merge", "--patch", &status])
        .unwrap();
    let scale = kubectl.ok(&["get", "rdc", "demo", "--subresource=scale", "--output=json"]).unwrap();
    let scale: Value = serde_json::from_str(&scale).unwrap();
    assert_eq!(scale["spec"]["replicas"], 3);
    assert_eq!(scale["status"], json!({"replicas": 2, "selector": "slotkeeper.dev/cluster=demo"}));
}

#[test]
fn scaling_to_nothing_is_refused() {
    let kubectl = PLANE.fresh_namespace().unwrap();
    kubectl.ok_with(&["apply", "--filename=-"], &cluster("demo", "{masters: 3}")).unwrap();
    let said = kubectl.refused(&["scale", "rdc", "demo", "--replicas=0"], "").unwrap();
    assert!(said.contains("spec.masters in body should be greater than or equal to 1"), "{said}");
    assert_eq!(kubectl.get("rdc", "demo").unwrap()["spec"]["masters"], 3);
}

#[test]
fn scaling_with_declared_ranges_is_refused_and_says_what_to_do() {
    let kubectl = PLANE.fresh_namespace().unwrap();
    let spec = "{masters: 2, slots: [{ranges: ['0-99']}, {ranges: ['100-16383']}]}";
    kubectl.ok_with(&["apply", "--filename=-"], &cluster("declared", spec)).unwrap();
    for replicas in ["--replicas=1", "--replicas=3"] {
        let said = kubectl.refused(&["scale", "rdc", "declared", replicas], "").unwrap();
        assert!(said.contains("change slots and masters in one edit"), "{said}");
    }
    assert_eq!(kubectl.get("rdc", "declared").unwrap()["spec"]["masters"], 2);
}

#[test]
fn weights_leave_scaling_free() {
    let kubectl = PLANE.fresh_namespace().unwrap();
    let spec = "{masters: 2, slots: [{weight: 2}]}";
    kubectl.ok_with(&["apply", "--filename=-"], &cluster("weighted", spec)).unwrap();
    kubectl.ok(&["scale", "rdc", "weighted", "--replicas=3"]).unwrap();
    assert_eq!(kubectl.get("rdc", "weighted").unwrap()["spec"]["masters"], 3);
}

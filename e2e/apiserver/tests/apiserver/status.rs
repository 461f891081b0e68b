//! Who writes what: the status belongs to the operator, the spec to the user, and a conflict names the other.

use crate::{PLANE, cluster};
use serde_json::json;

#[test]
fn a_manifest_cannot_write_the_status() {
    let kubectl = PLANE.fresh_namespace().unwrap();
    let manifest = cluster("demo", "{}") + "status: {slotsCovered: 16384}\n";
    kubectl.ok_with(&["apply", "--filename=-"], &manifest).unwrap();
    let demo = kubectl.get("rdc", "demo").unwrap();
    assert!(demo["status"]["slotsCovered"].as_i64().unwrap_or(0) == 0, "{demo:#}");
}

#[test]
fn writing_the_status_changes_no_generation() {
    let kubectl = PLANE.fresh_namespace().unwrap();
    kubectl.ok_with(&["apply", "--filename=-"], &cluster("demo", "{}")).unwrap();
    let patch = json!({"status": {"slotsCovered": 16384, "observedGeneration": 1}}).to_string();
    kubectl.ok(&["patch", "rdc", "demo", "--subresource=status", "--type=merge", "--patch", &patch]).unwrap();
    let demo = kubectl.get("rdc", "demo").unwrap();
    assert_eq!(demo["metadata"]["generation"], 1);
    assert_eq!(demo["status"]["slotsCovered"], 16384);
}

/// A status with one condition, as one field manager applies it.
fn condition(kind: &str) -> String {
    let condition = format!(
        "{{type: {kind}, status: 'True', reason: Test, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}}"
    );
    cluster("demo", "{}").replace("spec: {}", &format!("status: {{conditions: [{condition}]}}"))
}

#[test]
fn conditions_of_two_writers_stand_side_by_side() {
    let kubectl = PLANE.fresh_namespace().unwrap();
    kubectl.ok_with(&["apply", "--filename=-"], &cluster("demo", "{}")).unwrap();
    for (manager, kind) in [("--field-manager=one", "Ready"), ("--field-manager=two", "Available")] {
        let args = ["apply", "--server-side", "--subresource=status", manager, "--filename=-"];
        kubectl.ok_with(&args, &condition(kind)).unwrap();
    }
    let demo = kubectl.get("rdc", "demo").unwrap();
    let kinds: Vec<_> = demo["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["Ready", "Available"]);
}

#[test]
fn a_conflict_over_a_field_names_who_has_it() {
    let kubectl = PLANE.fresh_namespace().unwrap();
    let apply = |manager: &str, masters: u32, force: bool| {
        let manager = format!("--field-manager={manager}");
        let mut args = vec!["apply", "--server-side", "--filename=-", &manager];
        args.extend(force.then_some("--force-conflicts"));
        kubectl.run_with(&args, &cluster("demo", &format!("{{masters: {masters}}}"))).unwrap()
    };
    assert!(apply("alice", 3, false).ok);
    let refused = apply("bob", 4, false);
    assert!(
        !refused.ok && refused.stderr.contains(r#"conflict with "alice": .spec.masters"#),
        "{}",
        refused.stderr
    );
    assert!(apply("bob", 4, true).ok);
    // The tool that scaled behind alice's back is named to her as well.
    let refused = apply("alice", 3, false);
    assert!(
        !refused.ok && refused.stderr.contains(r#"conflict with "bob": .spec.masters"#),
        "{}",
        refused.stderr
    );
}

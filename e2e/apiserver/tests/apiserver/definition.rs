//! What the definition accepts, and what it says to what it refuses. Only a real API server counts the cost of CEL.

use crate::{PLANE, cluster};
use serde_json::json;

#[test]
fn the_definition_is_structural_and_its_rules_fit_the_budget() {
    let admin = PLANE.admin().unwrap();
    let definition = admin.get("crd", "redisclusters.slotkeeper.dev").unwrap();
    let conditions = definition["status"]["conditions"].as_array().unwrap();
    let status = |wanted: &str| conditions.iter().find(|c| c["type"] == wanted).map(|c| &c["status"]);
    assert_eq!(status("Established"), Some(&json!("True")), "{conditions:?}");
    assert_eq!(status("NamesAccepted"), Some(&json!("True")), "{conditions:?}");
    // An API server adds this one only to complain.
    assert_eq!(status("NonStructuralSchema"), None, "{conditions:?}");
}

#[test]
fn what_is_not_said_has_its_default() {
    let kubectl = PLANE.fresh_namespace().unwrap();
    kubectl.ok_with(&["apply", "--filename=-"], &cluster("plain", "{}")).unwrap();
    let spec = kubectl.get("rdc", "plain").unwrap()["spec"].clone();
    assert_eq!(spec["masters"], 3);
    assert_eq!(spec["replicasPerMaster"], 1);
    assert_eq!(spec["paused"], false);
}

#[test]
fn every_example_is_accepted() {
    let kubectl = PLANE.fresh_namespace().unwrap();
    let examples = e2e::tools::repository().join("examples");
    kubectl.ok(&["create", "--dry-run=server", "--filename", &examples.to_string_lossy()]).unwrap();
}

/// `count` ranges over `masters` masters, at most 16 each, taking turns so that no two neighbours merge.
fn ranges(masters: usize, count: usize) -> String {
    let width = 16384 / count;
    let mut entries = vec![Vec::new(); masters];
    for i in 0..count {
        let last = if i + 1 == count { 16383 } else { (i + 1) * width - 1 };
        entries[i % masters].push(format!("{}-{last}", i * width));
    }
    let slots: Vec<_> = entries.into_iter().map(|ranges| json!({"ranges": ranges})).collect();
    json!({"masters": masters, "replicasPerMaster": 0, "slots": slots}).to_string()
}

#[test]
fn as_many_ranges_as_are_promised_are_accepted_and_updated() {
    let kubectl = PLANE.fresh_namespace().unwrap();
    kubectl.ok_with(&["apply", "--filename=-"], &cluster("many", &ranges(32, 512))).unwrap();
    // An update pays for the rules again, and for comparing with the old object.
    kubectl.ok(&["annotate", "rdc", "many", "touched=yes"]).unwrap();
    kubectl.ok_with(&["apply", "--filename=-"], &cluster("many", &ranges(128, 512))).unwrap();
    let slots = kubectl.get("rdc", "many").unwrap()["spec"]["slots"].clone();
    assert_eq!(slots.as_array().unwrap().len(), 128);
    let said = kubectl.refused(&["apply", "--filename=-"], &cluster("more", &ranges(33, 513))).unwrap();
    assert!(said.contains("at most 512 ranges in all"), "{said}");
}

/// Specs that are refused, and what a user then reads.
const REFUSED: &[(&str, &str)] = &[
    (
        "{masters: 0}",
        "spec.masters: Invalid value: 0: spec.masters in body should be greater than or equal to 1",
    ),
    ("{masters: 1001}", "should be less than or equal to 1000"),
    ("{masters: three}", r#"must be of type integer: "string""#),
    ("{replicasPerMaster: 6}", "should be less than or equal to 5"),
    ("{masters: 500, replicasPerMaster: 2}", "masters × (1 + replicasPerMaster) must be at most 1000"),
    ("{replicas: 3}", r#"unknown field "spec.replicas""#),
    ("{masters: 1, slots: [{weight: 0}]}", "should be greater than or equal to 1"),
    (
        "{masters: 1, slots: [{weight: 1, ranges: ['0-16383']}]}",
        "an entry of slots has either weight or ranges",
    ),
    ("{masters: 1, slots: [{}]}", "an entry of slots has either weight or ranges"),
    ("{masters: 2, slots: [{weight: 1}, {ranges: ['0-16383']}]}", "slots must be all weights or all ranges"),
    ("{masters: 2, slots: [{ranges: ['0-16383']}]}", "change slots and masters in one edit"),
    (
        "{masters: 1, slots: [{weight: 1}, {weight: 2}]}",
        "slots must not have more entries than there are masters",
    ),
    ("{masters: 1, slots: [{ranges: ['0-16384']}]}", "must run from a lower to a higher slot, at most 16383"),
    ("{masters: 1, slots: [{ranges: ['16383-0']}]}", "must run from a lower to a higher slot, at most 16383"),
    ("{masters: 1, slots: [{ranges: ['1-16383']}]}", "no range begins with slot 0"),
    ("{masters: 1, slots: [{ranges: ['0-1', '3-16383']}]}", "there is a gap"),
    (
        "{masters: 1, slots: [{ranges: ['0-8', '8-16383']}]}",
        "must cover each of the 16384 slots exactly once",
    ),
    ("{masters: 1, slots: [{ranges: ['0-16382']}]}", "must cover each of the 16384 slots exactly once"),
    ("{masters: 1, slots: [{ranges: ['all']}]}", "spec.slots[0].ranges[0] in body should match"),
    ("{masters: 1, slots: [{ranges: []}]}", "spec.slots[0].ranges in body should have at least 1 items"),
    ("{config: {maxmemory: [1]}}", r#"must be of type integer,string: "array""#),
];

#[test]
fn what_is_wrong_is_refused_with_a_readable_message() {
    let kubectl = PLANE.fresh_namespace().unwrap();
    let mut wrong = Vec::new();
    for (spec, wanted) in REFUSED {
        let said = kubectl.refused(&["create", "--filename=-"], &cluster("wrong", spec)).unwrap();
        if !said.contains(wanted) {
            wrong.push(format!("{spec}\n  wanted: {wanted}\n  said:   {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_that_pods_could_not_have_are_refused() {
    let kubectl = PLANE.fresh_namespace().unwrap();
    let forty = format!("a{}", "b".repeat(39));
    kubectl.ok_with(&["create", "--filename=-"], &cluster(&forty, "{}")).unwrap();
    for (name, wanted) in [
        (format!("{forty}c"), "metadata.name must be at most 40 characters"),
        ("\"1st\"".to_owned(), "metadata.name must be a DNS label that begins with a letter"),
        ("a.b".to_owned(), "metadata.name must be a DNS label that begins with a letter"),
    ] {
        let said = kubectl.refused(&["create", "--filename=-"], &cluster(&name, "{}")).unwrap();
        assert!(said.contains(wanted), "{name}: {said}");
    }
}

#[test]
fn kubectl_explains_the_fields() {
    let kubectl = PLANE.admin().unwrap();
    let text = kubectl.ok(&["explain", "rediscluster.spec.masters"]).unwrap();
    assert!(text.contains("How many masters"), "{text}");
}

//! The rules that the API server checks, run here by kube's own CEL.

use operator_api::{RedisCluster, RedisClusterSpec};
use serde_json::{Value, json};

fn cluster(name: &str, spec: Value) -> Result<RedisCluster, String> {
    let spec: RedisClusterSpec = serde_json::from_value(spec).map_err(|e| e.to_string())?;
    let cluster = RedisCluster::new(name, spec);
    cluster
        .validate_cel()
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    Ok(cluster)
}

fn refused(name: &str, spec: Value, message: &str) {
    match cluster(name, spec.clone()) {
        Ok(_) => panic!("accepted: {spec}"),
        Err(error) => assert!(error.contains(message), "{spec}: {error:?} does not say {message:?}"),
    }
}

#[test]
fn an_empty_spec_has_its_defaults() {
    let spec = cluster("demo", json!({})).unwrap().spec;
    assert_eq!(
        (spec.masters, spec.replicas_per_master, spec.paused, spec.allow_data_loss()),
        (3, 1, false, true)
    );
}

#[test]
fn valid_distributions() {
    for slots in [
        json!([{"weight": 2}]),
        json!([{"weight": 2}, {"weight": 1}, {"weight": 100}]),
        json!([{"ranges": ["0-5460"]}, {"ranges": ["5461-10922"]}, {"ranges": ["10923-16383"]}]),
        json!([{"ranges": ["16000-16383", "0-0"]}, {"ranges": ["1-9999"]}, {"ranges": ["10000-15999"]}]),
    ] {
        cluster("demo", json!({"masters": 3, "slots": slots})).unwrap();
    }
}

#[test]
fn names() {
    cluster(&"a".repeat(40), json!({})).unwrap();
    refused(&"a".repeat(41), json!({}), "at most 40 characters");
    for name in ["1demo", "-demo", "demo-", "Demo", "de.mo"] {
        refused(name, json!({}), "DNS label");
    }
}

#[test]
fn sizes() {
    refused("demo", json!({"masters": 200, "replicasPerMaster": 5}), "at most 1000");
    cluster("demo", json!({"masters": 500, "replicasPerMaster": 1})).unwrap();
}

#[test]
fn ranges_must_cover_every_slot_once() {
    let with = |ranges: Value| json!({"masters": 1, "slots": [{"ranges": ranges}]});
    cluster("demo", with(json!(["0-16383"]))).unwrap();
    refused("demo", with(json!(["1-16383"])), "no range begins with slot 0");
    refused("demo", with(json!(["0-16382"])), "exactly once");
    refused("demo", with(json!(["0-9", "5-16383"])), "exactly once");
    refused("demo", with(json!(["0-16384"])), "at most 16383");
    refused("demo", with(json!(["0-9", "20-16383", "5-14"])), "gap");
    refused("demo", with(json!(["9-0", "10-16383"])), "lower to a higher");
}

#[test]
fn entries_must_fit_the_masters() {
    refused("demo", json!({"masters": 2, "slots": [{"ranges": ["0-16383"]}]}), "exactly as many entries");
    refused("demo", json!({"masters": 1, "slots": [{"weight": 1}, {"weight": 2}]}), "more entries");
    refused(
        "demo",
        json!({"masters": 2, "slots": [{"weight": 1}, {"ranges": ["0-16383"]}]}),
        "all weights or all ranges",
    );
    refused("demo", json!({"masters": 1, "slots": [{}]}), "either weight or ranges");
}

#[test]
fn unknown_fields_are_refused() {
    assert!(cluster("demo", json!({"master": 3})).unwrap_err().contains("unknown field"));
}

#[test]
fn the_crd_survives_yaml() {
    let crd = operator_api::crd::crd();
    let text = serde_yaml::to_string(&crd).unwrap();
    let again: Value = serde_yaml::from_str(&text).unwrap();
    assert_eq!(again, serde_json::to_value(&crd).unwrap());
}

#[test]
fn the_schema_has_what_is_promised() {
    let crd = serde_json::to_value(operator_api::crd::crd()).unwrap();
    let version = &crd["spec"]["versions"][0];
    assert_eq!(version["subresources"]["scale"]["specReplicasPath"], ".spec.masters");
    let columns: Vec<&str> = version["additionalPrinterColumns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(columns, ["Masters", "Replicas", "Slots", "Ready", "Why", "Age"]);
    let text = crd.to_string();
    assert!(!text.contains("uint"), "unsigned formats are unknown to API servers");
    undocumented(&version["schema"]["openAPIV3Schema"]["properties"]["spec"], "spec");
    undocumented(
        &version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["shards"],
        "shards",
    );
}

/// Every field of the spec is explained.
fn undocumented(schema: &Value, path: &str) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        assert!(field["description"].is_string(), "{path} has no description");
        undocumented(field, &path);
        undocumented(&field["items"], &path);
    }
}

//! What lies in `crds/` is what the types say.

#[test]
fn the_generated_crd_is_not_stale() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crds/slotkeeper.dev_redisclusters.yaml");
    let generated = serde_yaml::to_string(&operator_api::crd::crd()).unwrap();
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == generated,
        "crds/ is stale; refresh it: cargo run -p operator -- crds > crds/slotkeeper.dev_redisclusters.yaml"
    );
}

#[test]
fn the_reference_is_not_stale() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.md");
    let generated = operator_api::reference::markdown(&operator_api::crd::crd());
    for field in ["| masters | integer: 1 to 1000 | `3` |", "## spec.slots[]", "## status.shards[].nodes[]"] {
        assert!(generated.contains(field), "{field} is not in\n{generated}");
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == generated,
        "docs/api.md is stale: cargo run -p operator -- crds --reference > docs/api.md"
    );
}

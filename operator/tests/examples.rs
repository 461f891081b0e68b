//! Every example is a manifest that is accepted.

use std::path::Path;

#[test]
fn examples_are_accepted() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        operator::manifest::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        count += 1;
    }
    assert!(count >= 3, "only {count} examples found");
}

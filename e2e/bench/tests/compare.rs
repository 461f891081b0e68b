//! A few requests through every section of `compare`, ours alone: so that it cannot rot.

#![allow(clippy::unwrap_used, reason = "a test, and clippy takes only test functions for one")]

use std::process::Command;

const TITLES: [&str; 6] = [
    "### Throughput and CPU per request",
    "### SET with appendfsync always",
    "### SET p99.9 during BGSAVE and a full sync",
    "### Bytes per key",
    "### Loading at the start",
    "### Failover",
];

#[test]
fn every_section_gives_a_table() {
    let mut compare = Command::new(env!("CARGO_BIN_EXE_e2e-bench"));
    compare.args(["compare", "--alone", "--rounds", "1", "--requests", "2000", "--keys", "20000"]);
    let output = compare.env("NODE_SERVER_BIN", e2e::Binary::NodeServer.path().unwrap()).output().unwrap();
    let (said, errors) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{said}\n{errors}");
    let at: Vec<usize> =
        TITLES.map(|title| said.find(title).unwrap_or_else(|| panic!("{title}: {said}"))).into();
    assert!(at.is_sorted(), "{said}");
    let rows = said.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| |"));
    let values: Vec<(&str, f64)> = rows.map(value).collect();
    assert_eq!(values.len(), 12 + 4 + 6 + 6 + 4 + 1, "{said}");
    let of = |what: &str| values.iter().find(|(name, _)| *name == what).unwrap().1;
    assert!(of("SET, pipeline 1: requests/s") > 100.0, "{said}");
    assert!((70.0..400.0).contains(&of("64 B: used_memory")), "{said}");
    assert!((0.5..30.0).contains(&of("SIGKILL to writable, s")), "{said}");
}

/// What a row is about, and its only value.
fn value(row: &str) -> (&str, f64) {
    let cells: Vec<&str> = row.split('|').map(str::trim).collect();
    let [_, what, value, _] = cells[..] else { panic!("not a row of one value: {row}") };
    (what, value.replace(',', "").parse().unwrap_or_else(|_| panic!("no number: {row}")))
}

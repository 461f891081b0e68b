//! The table against COMMAND of redis-server 7.0.15, and COMMAND's own replies.

use super::categories;
use crate::command::keys::legacy_range;
use crate::command::spec::{Begin, Find, KeySpec, Spec};
use crate::command::table::all;
use std::collections::BTreeMap;

/// Captured from redis-server 7.0.15; see its first lines.
const REDIS: &str = include_str!("redis-7.0.15.txt");

fn sorted<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut words: Vec<&str> = words.collect();
    words.sort_unstable();
    if words.is_empty() { "-".into() } else { words.join(",") }
}

fn keys_text(keys: &KeySpec) -> String {
    let begin = match keys.begin {
        Begin::Index(at) => at.to_string(),
        Begin::Keyword(word, from) => format!("{word}:{from}"),
        Begin::Unknown => "?".into(),
    };
    let find = match keys.find {
        Find::Range { last, step, limit } => format!("{last}:{step}:{limit}"),
        Find::Count { number, first, step } => format!("{number}#{first}:{step}"),
        Find::Unknown => "?".into(),
    };
    format!("{}@{begin}/{find}", keys.flags.join("+"))
}

/// Arity, flags, first, last, step, categories, tips, key specs.
fn fields(spec: &Spec) -> Vec<String> {
    let (first, last, step) = legacy_range(spec);
    let keys: Vec<String> = spec.keys.iter().map(keys_text).collect();
    vec![
        spec.arity.to_string(),
        sorted(spec.flags.words()),
        format!("{first} {last} {step}"),
        sorted(categories(spec)),
        sorted(spec.tips.iter().copied()),
        if keys.is_empty() { "-".into() } else { keys.join(";") },
    ]
}

/// The fields of a captured line.
fn captured(line: &str) -> (&str, Vec<String>) {
    let words: Vec<&str> = line.split(' ').collect();
    let word = |at: usize| words[at].to_owned();
    (words[0], vec![word(1), word(2), words[3..6].join(" "), word(6), word(7), word(8)])
}

/// What we say otherwise, and why.
fn explained(name: &str, field: usize, ours: &str) -> bool {
    match (name, field, ours) {
        // Redis 7.2.
        ("command|getkeys" | "command|getkeysandflags", 0, "-3") => true,
        ("msetnx", 4, "-") => true,
        ("wait", 1, "blocking") | ("wait", 3, "blocking,connection,slow") => true,
        ("randomkey", 4, _) | ("scan", 4, _) => ours.contains("response_policy:special"),
        ("config|resetstat" | "config|rewrite" | "client|setname", 4, _) => ours.contains("all_succeeded"),
        // The shell answers later, so it cannot be queued.
        ("migrate", 1, _) => ours == "movablekeys,no_multi,write",
        _ => false,
    }
}

#[test]
fn rows_are_those_of_redis() {
    let redis: BTreeMap<&str, Vec<String>> =
        REDIS.lines().filter(|l| !l.starts_with('#')).map(captured).collect();
    let rows = all().flat_map(|c| std::iter::once(c).chain(c.subcommands.values())).map(|c| c.spec);
    let mut differences = Vec::new();
    for spec in rows {
        let Some(theirs) = redis.get(spec.name) else {
            differences.push(format!("{}: not in Redis", spec.name));
            continue;
        };
        for (field, (ours, theirs)) in fields(spec).iter().zip(theirs).enumerate() {
            if ours != theirs && !explained(spec.name, field, ours) {
                differences.push(format!("{} field {field}: {ours} where Redis has {theirs}", spec.name));
            }
        }
    }
    // Newer than Redis 7.0, and one of our own.
    let new = ["client|no-touch", "client|setinfo", "cluster|myshardid", "cluster|reopen", "waitaof"];
    differences.retain(|d| !new.iter().any(|name| *d == format!("{name}: not in Redis")));
    assert!(differences.is_empty(), "{differences:#?}");
}

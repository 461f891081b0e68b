//! `operator plan --from FILE`: the plan of a dumped state, in words.

use crate::dump::Dump;
use crate::manifest;
use operator_planner::{Plan, explain, plan};
use std::fmt::Write as _;

/// The plan in words.
///
/// # Errors
/// The declaration in the dump does not hold.
pub fn describe(dump: &Dump) -> anyhow::Result<String> {
    let text = serde_json::to_string(&dump.cluster)?;
    let manifest = manifest::parse(&text)?;
    let name = manifest.desired.name();
    Ok(words(&plan(&manifest.desired, &dump.observed), name))
}

fn words(plan: &Plan, name: &str) -> String {
    let mut text = String::new();
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{title}:");
            for (i, line) in lines.iter().enumerate() {
                let _ = writeln!(text, "{:>4}. {line}", i + 1);
            }
        }
    };
    section("next", plan.steps.iter().map(|s| explain::step(&s.step, name)).collect());
    section("waiting for", plan.waiting.iter().map(|w| explain::waiting(w, name)).collect());
    section("refused", plan.unsafe_.iter().map(|u| explain::refusal(u, name)).collect());
    if plan.paused {
        text.push_str("paused: nothing of this is done\n");
    }
    if text.is_empty() { "nothing to do: everything is as declared\n".into() } else { text }
}

//! `operator plan --from FILE`: the plan of a dumped state, in words.

use crate::dump::Dump;
use crate::manifest;
use operator_planner::{explain, plan};

/// The plan in words.
///
/// # Errors
/// The declaration in the dump does not hold.
pub fn describe(dump: &Dump) -> anyhow::Result<String> {
    let manifest = manifest::parse(&serde_json::to_string(&dump.cluster)?)?;
    let plan = plan(&manifest.desired, &dump.observed);
    Ok(explain(&manifest.desired, &dump.observed, &plan).to_string())
}

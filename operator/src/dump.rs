//! What the planner sees, as a file: for `operator plan --from FILE`, for bug reports and for tests.

use anyhow::Context as _;
use operator_planner::Observed;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Everything that a plan follows from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dump {
    /// The declaration, as the user wrote it.
    pub cluster: operator_api::RedisCluster,
    /// What was seen.
    pub observed: Observed,
}

impl Dump {
    /// Reads a dump.
    ///
    /// # Errors
    /// The file cannot be read or is no dump.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let name = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("could not read {name}"))?;
        serde_json::from_str(&text).with_context(|| {
            format!("{name} is no dump of a cluster's state (`operator local --dump FILE` writes one)")
        })
    }

    /// Writes a dump as JSON.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self).context("could not write the state as JSON")?;
        let temporary = path.with_extension("tmp");
        std::fs::write(&temporary, text)
            .with_context(|| format!("could not write {}", temporary.display()))?;
        std::fs::rename(&temporary, path).with_context(|| format!("could not write {}", path.display()))
    }
}

//! Who is compared.

use anyhow::{Context, Result, ensure};
use e2e::Binary;
use std::process::Command;

/// A program.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    pub(crate) binary: Binary,
    /// The first line that it prints of itself.
    pub(crate) version: String,
}

impl Contender {
    fn new(binary: Binary) -> Result<Self> {
        let path = binary.path()?;
        let output = Command::new(&path).arg("--version").output();
        let output = output.with_context(|| format!("could not run {}", path.display()))?;
        ensure!(output.status.success(), "{} --version ended with {}", path.display(), output.status);
        let text = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned();
        Ok(Self { binary, version: text })
    }

    pub(crate) fn name(&self) -> &'static str {
        Self::name_of(self.binary)
    }

    pub(crate) const fn name_of(binary: Binary) -> &'static str {
        match binary {
            Binary::NodeServer => "node-server",
            Binary::Redis => "redis-server",
            Binary::Valkey => "valkey-server",
        }
    }

    pub(crate) const fn short_name_of(binary: Binary) -> &'static str {
        match binary {
            Binary::NodeServer => "ours",
            Binary::Redis => "Redis",
            Binary::Valkey => "Valkey",
        }
    }
}

/// Ours first; ours only when `alone`.
///
/// # Errors
/// A program is missing.
pub(crate) fn all(alone: bool) -> Result<Vec<Contender>> {
    let binaries: &[Binary] =
        if alone { &[Binary::NodeServer] } else { &[Binary::NodeServer, Binary::Redis, Binary::Valkey] };
    binaries.iter().map(|binary| Contender::new(*binary)).collect()
}

/// In which order `count` servers have their turns: another one begins in every round.
pub(crate) fn turns(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |i| (i + round) % count)
}

#[cfg(test)]
mod tests {
    use super::turns;

    #[test]
    fn another_one_begins_in_every_round() {
        let orders: Vec<Vec<usize>> = (0..4).map(|round| turns(round, 3).collect()).collect();
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
    }
}

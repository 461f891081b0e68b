//! The repository, and running what is in it.

use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The repository this was built from.
///
/// # Panics
/// The package was moved elsewhere in the tree.
#[must_use]
pub fn repository() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("e2e is a folder of the repository").to_owned()
}

/// The lines a command prints.
///
/// # Errors
/// It cannot be run or fails.
pub fn lines_of(command: &mut Command) -> Result<Vec<String>> {
    let done = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let done = done.with_context(|| format!("could not run {command:?}"))?;
    ensure!(done.status.success(), "{command:?} ended with {}", done.status);
    Ok(String::from_utf8(done.stdout)?.lines().map(str::to_owned).collect())
}

/// The directory of helm and kubectl, which are fetched when they are not there.
///
/// # Errors
/// They cannot be fetched.
pub fn helm_directory() -> Result<PathBuf> {
    let lines = lines_of(&mut Command::new(repository().join("tools/setup-helm.sh")))?;
    Ok(lines.last().context("tools/setup-helm.sh printed no directory")?.into())
}

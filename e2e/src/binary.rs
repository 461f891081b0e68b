//! Where the programs are.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// A server program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// Ours: `NODE_SERVER_BIN`, else the target directory of the running test.
    NodeServer,
    /// Redis: `REDIS_SERVER_BIN`, else `redis-server` of the PATH.
    Redis,
    /// Valkey: `VALKEY_SERVER_BIN`, else `valkey-server` of the PATH.
    Valkey,
}

impl Binary {
    /// The program's path.
    ///
    /// # Errors
    /// It is not there; the message says what to do.
    pub fn path(self) -> Result<PathBuf> {
        match self {
            Self::NodeServer => ours("node-server", "NODE_SERVER_BIN"),
            Self::Redis => foreign("redis-server", "REDIS_SERVER_BIN"),
            Self::Valkey => foreign("valkey-server", "VALKEY_SERVER_BIN"),
        }
    }
}

/// The operator's path: `OPERATOR_BIN`, else the target directory of the running test.
///
/// # Errors
/// It is not there; the message says what to do.
pub fn operator() -> Result<PathBuf> {
    ours("operator", "OPERATOR_BIN")
}

fn ours(name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(path) = named(variable)? {
        return Ok(path);
    }
    let test = std::env::current_exe().context("could not find the running program")?;
    // target/debug/deps/test-1234, target/debug/examples/x or target/debug/x
    let near = test.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    near.with_context(|| format!("{name} is not built: run `cargo build -p {name}`, or set {variable}"))
}

fn foreign(name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(path) = named(variable)? {
        return Ok(path);
    }
    let dirs = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&dirs).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is not in the PATH: install it, or set {variable}"))
}

fn named(variable: &str) -> Result<Option<PathBuf>> {
    let Some(path) = std::env::var_os(variable).map(PathBuf::from) else { return Ok(None) };
    if !path.is_file() {
        bail!("{variable} names {}, which is no file", path.display());
    }
    Ok(Some(path))
}

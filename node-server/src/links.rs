//! Where the bus, replication and MIGRATE threads are started.

use crate::config::Settings;
use crate::node::{Node, Receivers};
use std::sync::Arc;

/// What was opened before the node listens.
pub struct Storage;

/// Opens what has to be there before the node listens: nothing without cluster mode.
///
/// # Errors
/// Cluster mode.
pub fn open(settings: &Settings) -> anyhow::Result<Storage> {
    anyhow::ensure!(!settings.cluster_enabled, "cluster mode: the bus is not linked into this build yet");
    Ok(Storage)
}

/// Starts the threads. Without cluster mode nobody asks them for anything.
///
/// # Errors
/// The system has no more threads.
pub fn start(_: &Arc<Node>, _: Receivers, _: &mut Storage) -> anyhow::Result<()> {
    Ok(())
}

//! One module for every table.

pub(super) mod always;
pub(super) mod failover;
pub(super) mod load;
pub(super) mod memory;
pub(super) mod snapshot;
pub(super) mod throughput;

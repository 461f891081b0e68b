//! The stages of a plan, each a function of the world. Healing comes first, and no stage waits for what it does not
//! depend on.

pub(crate) mod assign_slots;
pub(crate) mod attach_replicas;
pub(crate) mod drain;
pub(crate) mod failover;
pub(crate) mod forget;
pub(crate) mod join;
pub(crate) mod members;
pub(crate) mod open_slots;
pub(crate) mod rebalance;
pub(crate) mod strangers;

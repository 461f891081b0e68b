//! The `RedisCluster` resource: what a user writes, what the status says, and the rules that the API server checks.
//!
//! Forbidden here: a client, tokio, a clock. The CRD in `crds/` is generated from these types.

#![allow(unreachable_pub, reason = "KubeSchema makes a private copy of every type")]

pub mod config;
pub mod crd;
pub mod pod;
pub mod reference;
pub mod slots;
pub mod spec;
pub mod status;

pub use pod::{PodSpec, StorageSpec, VolumePolicy};
pub use slots::SlotsEntry;
pub use spec::{RecoverySpec, RedisCluster, RedisClusterSpec};
pub use status::{FormerNode, NodeState, NodeStatus, PlanStatus, RedisClusterStatus, ShardStatus};

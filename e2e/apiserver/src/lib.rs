//! kube-apiserver and etcd alone, from the same build as the kind node image: no kubelet, no controllers, no scheduler.
//!
//! Objects are what a test makes of them, so what the API server itself decides (the definition's rules, permissions,
//! conflicts, Leases) is tested within seconds and without containers.

mod container;
pub mod control_plane;
pub mod held;
pub mod machine;
pub mod programs;

pub use control_plane::ControlPlane;
pub use machine::Machine;

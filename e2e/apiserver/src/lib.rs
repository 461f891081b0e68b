//! kube-apiserver and etcd alone, from the same build as the kind node image: no kubelet, no controllers, no scheduler.
//!
//! Objects are what a test makes of them, so what the API server itself decides (the definition's rules, permissions,
//! conflicts, Leases) is tested within seconds and without containers.

mod container;
pub mod control_plane;
pub mod held;
pub mod helm;
pub mod kubectl;
pub mod machine;
pub mod programs;

pub use control_plane::ControlPlane;
pub use kubectl::{Kubectl, Output};
pub use machine::Machine;

use std::path::PathBuf;

/// The repository this was built from.
///
/// # Panics
/// The package was moved elsewhere in the tree.
#[must_use]
pub fn repository() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("e2e/apiserver is two folders below the repository").to_owned()
}

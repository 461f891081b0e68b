//! What the end-to-end tests share: starting servers, small clients, and the checked writer.
//!
//! Nothing here is part of the product. Helpers that wait do so on a condition and give up at a deadline.

pub mod answers;
pub mod binary;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod crashes;
#[cfg(feature = "operator")]
pub mod declared;
pub mod helm;
pub mod interrupt;
pub mod kubectl;
#[cfg(feature = "operator")]
pub mod observation;
pub mod ports;
pub mod random;
pub mod server;
pub mod tools;
pub mod wait;
pub mod writer;

pub use binary::Binary;
pub use client::Client;
pub use cluster::{LocalCluster, Shape};
#[cfg(feature = "operator")]
pub use declared::{Declared, Place};
pub use helm::Helm;
pub use kubectl::{Kubectl, Output};
pub use ports::PortBlock;
pub use server::{Server, ServerSpec};

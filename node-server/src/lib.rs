//! The Slotkeeper node: the shell around the pure crates. Owns sockets, disk, clock and signals.

pub mod config;
pub mod mailbox;
pub mod node;
pub mod stats;

//! The Slotkeeper node: the shell around the pure crates. Owns sockets, disk, clock and signals.

pub mod client_link;
pub mod clients;
pub mod config;
pub mod info;
pub mod listener;
pub mod log;
pub mod mailbox;
pub mod node;
pub mod process;
pub mod rates;
pub mod shutdown;
pub mod stats;

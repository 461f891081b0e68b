//! What the compatibility tests share: the tutorial's installation, redis-cli as a person uses it, clusters of two
//! kinds of servers.
//!
//! The tests compare `node-server` with Redis itself: an unmodified redis-cli 7.0.15 drives it, redis-server 7.0.15 and
//! Valkey 9.1.2 are in one cluster with it, and its answers are held against theirs.

pub mod cli;
pub mod conversation;
pub mod installation;
pub mod mixed;
pub mod process;
pub mod twins;
pub mod views;

pub use conversation::Conversation;
pub use installation::Installation;
pub use mixed::Mixed;

//! The Slotkeeper node: the shell around the pure crates. Owns sockets, disk, clock and signals.

mod admin;
pub mod append_only;
mod bus_link;
pub mod check;
pub mod cli;
pub mod client_link;
pub mod clients;
pub mod commands;
pub mod config;
pub mod cron;
pub mod host;
pub mod info;
pub mod links;
pub mod listener;
pub mod log;
pub mod mailbox;
mod migrate;
pub mod node;
pub mod persistence;
pub mod process;
pub mod rates;
mod replica_link;
pub mod shutdown;
pub mod start;
pub mod stats;
pub mod storage;
pub mod workers;

//! Replication of our node with redis-server 7.0.15 and Valkey 9.1.2, both ways. `REPLICATION_COMMANDS` says how many
//! random commands each pairing gets, `REPLICATION_SEED` which: those
//! of a run that failed, or else others in every run.
#![allow(unreachable_pub, clippy::print_stdout, reason = "tests")]

mod cascade;
mod digest;
mod failover;
mod generate;
mod pairings;
mod proxy;
mod refused;
mod restart;
mod role;
mod run;
mod support;
mod waiting;

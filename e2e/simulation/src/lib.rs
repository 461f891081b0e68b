//! The simulation: the real planner and the real cluster state machines in one process, with a seeded network and a
//! virtual clock, clients, faults, and somebody who watches. One seed gives one run.

pub mod client;
pub mod dataset;
pub mod disk;
pub mod faults;
pub mod happen;
pub mod migrate;
pub mod monitor;
mod monitor_volumes;
pub mod network;
pub mod node;
pub mod operator;
pub mod outputs;
pub mod replication;
pub mod rng;
pub mod run;
pub mod stats;
pub mod wires;
pub mod world;

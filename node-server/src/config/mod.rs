//! Configuration: redis.conf, flags and CONFIG. One table (`directive::table`, which the operator shares) names every
//! directive, its kind, default and when it may change; everything else follows from it.

pub mod grammar;
pub mod load;
pub mod rewrite;
mod settings;
mod store;

#[cfg(test)]
mod tests;

pub use load::Loaded;
pub use node_server_protocol::directive::{kind, rules, table, values};
pub use settings::{Allow, Fsync, OutputLimit, Secret, Settings};
pub use store::{ConfigStore, SetError};

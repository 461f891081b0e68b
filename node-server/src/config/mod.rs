//! Configuration: redis.conf, flags and CONFIG. One table (`table`) names every directive, its kind, default and when
//! it may change; everything else follows from it.

pub mod grammar;
pub mod kind;
pub mod load;
pub mod rewrite;
pub mod rules;
mod settings;
mod store;
pub mod table;
pub mod values;

#[cfg(test)]
mod tests;

pub use load::Loaded;
pub use settings::{Allow, OutputLimit, Settings};
pub use store::{ConfigStore, SetError};

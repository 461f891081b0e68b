//! Commands on keys of any type.

mod dump;
mod expiration;
mod keys;
mod object;
mod table;

pub(crate) use expiration::expire_at;
pub use table::TABLE;

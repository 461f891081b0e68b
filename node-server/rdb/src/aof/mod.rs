//! The append-only file since Redis 7: a manifest that names a base and the increments behind it, each a row of RESP
//! commands. Source: reference/persistence §3.2; what is not said there was tried on redis-server 7.0.15.
//!
//! Redis's file has no checksum, so damage in its middle is loaded as data. Ours are sealed: an annotation, which
//! other servers skip, says the checksum of what stands before it; see [`seal()`].

mod check;
mod damage;
mod error;
mod frame;
mod item;
mod manifest;
mod names;
mod opening;
mod scanner;
mod seal;
mod words;

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod manifest_tests;
#[cfg(test)]
mod opening_tests;
#[cfg(test)]
mod redis_tests;
#[cfg(test)]
mod scanner_tests;

pub use check::{Check, Report};
pub use error::{AofError, ManifestCause, ManifestError, NameError};
pub use item::{Ending, Item, Later, Record, Resume, Torn, timestamp_line};
pub use manifest::{Entry, Kind, Manifest};
pub use names::{BaseFormat, Names};
pub use opening::opening;
pub use scanner::Scanner;
pub use seal::{Replid, RunningCrc, SEAL_LEN_MAX, Seal, seal};

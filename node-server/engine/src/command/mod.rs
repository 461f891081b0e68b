//! Commands. Each file has its slice of the table and the handlers in it; another data type is one more file, one more
//! line in [`table`] and one more variant of [`crate::keyspace::Value`].

pub mod arguments;
pub mod call;
pub mod cluster;
pub mod connection;
pub mod containers;
pub mod error;
pub mod generic;
pub mod introspection;
pub mod keys;
pub mod replication;
pub mod server;
pub mod spec;
pub mod strings;
pub mod table;
pub mod transactions;
pub mod whole;

pub use call::{Call, NodeCall, SessionCall};
pub use error::{CommandError, CommandResult};
pub use spec::{Argument, Begin, Find, Flags, Group, KeySpec, Run, Spec, keys, one_key};
pub use table::{Command, all, lookup};

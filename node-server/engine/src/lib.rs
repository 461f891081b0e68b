//! Keyspace and commands of one node: 16384 small tables behind a lock each, one ordered log of effects, gates and a
//! barrier. What it does is in docs/design.md, "The node"; the rules named in comments are that list's.
//!
//! The way of a write: [`Engine::execute`] finds the command in the table, routes it by the published slot map, takes
//! the slot's lock (or parks), reads the slot's state again, runs the handler, appends the effect to the [`log`] (which
//! reads the state once more), lets the slot go and wakes whoever waits for it.
//!
//! Forbidden here: sockets, files, clocks, waiting (but on a worker thread, by [`Host::pause`] and slot locks).

pub mod acks;
pub mod apply;
pub mod command;
mod digest;
pub mod durability;
pub mod effects;
mod engine;
mod exec;
mod execute;
mod flush;
mod functions;
mod gate;
pub mod glob;
pub mod host;
pub mod keyspace;
pub mod load;
pub mod log;
mod maintain;
pub mod migrate;
pub mod options;
pub mod outcome;
mod password;
mod prefetch;
mod route;
pub mod session;
pub mod snapshot;
mod transaction;
mod undo;

pub use acks::{Acks, ReplicaAck};
pub use apply::{Applied, Applier, ApplyError};
pub use durability::Durability;
pub use engine::Engine;
pub use gate::Barrier;
pub use host::{Host, HostCommand};
pub use load::{LoadError, Loader, Step as LoadStep};
pub use log::{History, Log, NotInBacklog, Pin, Standing};
pub use migrate::{Fate, Leaving, MigrateBegin, MigrateRequest, Migration};
pub use options::Options;
pub use outcome::{Deferred, FailoverRequest, Hold, MasterAddress, Outcome, PsyncRequest, Reload, Shutdown};
pub use prefetch::Prepared;
pub use session::{Session, SessionId};
pub use snapshot::{Chunk, Snapshot, SnapshotError};

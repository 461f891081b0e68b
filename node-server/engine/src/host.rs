//! What the engine asks of the process around it.

use crate::outcome::MasterAddress;
use crate::session::{Session, SessionId};
use node_server_protocol::Millis;
use node_server_protocol::resp::ReplyWriter;

/// Commands about the process, not the keys: the shell answers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostCommand {
    /// BGSAVE in a transaction: it is scheduled.
    BackgroundSave,
    /// BGREWRITEAOF in a transaction: the same.
    RewriteAof,
    /// CLIENT and its subcommands.
    Client,
    /// CONFIG and its subcommands.
    Config,
    /// DEBUG, except SLEEP and SLEEP-SLOT.
    Debug,
    /// INFO.
    Info,
    /// LASTSAVE.
    LastSave,
    /// LATENCY and its subcommands.
    Latency,
    /// MEMORY and its subcommands, except USAGE.
    Memory,
    /// REPLCONF on a connection that is not yet a replica's.
    Replconf,
    /// ROLE.
    Role,
    /// SLOWLOG and its subcommands.
    Slowlog,
    /// TIME.
    Time,
}

/// Implemented by the shell. Every method returns soon; none is called with a slot's lock held, but for
/// [`Host::pause`].
pub trait Host: Send + Sync {
    /// A parked session may run its request again. It may be called without need, and for sessions that have gone.
    fn wake(&self, session: SessionId);

    /// The log has grown.
    fn log_grew(&self);

    /// Answers a command about the process. Writes exactly one reply.
    fn command(
        &self,
        command: HostCommand,
        session: &mut Session,
        args: &[&[u8]],
        now: Millis,
        reply: &mut ReplyWriter<'_>,
    );

    /// REPLICAOF in a transaction: returns when the role has changed, and writes the reply. Only
    /// [`crate::Engine::execute_offloaded`] calls it, so the thread is a worker's.
    fn follow(&self, master: Option<MasterAddress>, session: &mut Session, reply: &mut ReplyWriter<'_>);

    /// Lets `ms` milliseconds pass on the calling thread. Only [`crate::Engine::execute_offloaded`] calls it, so the
    /// thread is a worker's; DEBUG SLEEP-SLOT calls it with that slot's lock held, which is its purpose.
    fn pause(&self, ms: u64);

    /// The clock, for offloaded commands that have waited.
    fn now(&self) -> Millis;
}

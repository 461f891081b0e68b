//! What a handler works with.

use super::error::CommandResult;
use crate::Engine;
use crate::keyspace::{AllSlots, Keys, SlotGuard, WaitFor};
use crate::outcome::Outcome;
use crate::session::Session;
use crate::{command::CommandError, effects::Effects, keyspace::Expired};
use node_server_protocol::resp::ReplyWriter;
use node_server_protocol::{Millis, Slot};

/// Runs a command on the keys of one locked slot. It writes exactly one reply and pushes its effects (to
/// `call.keys.effects()`), or returns an error and has changed nothing.
pub type SlotHandler = fn(&mut Call<'_, '_>) -> CommandResult;
/// Runs a command that touches no key.
pub type SessionHandler = fn(&mut SessionCall<'_>) -> CommandResult<Outcome>;
/// Runs a command that looks into slots of its own choice.
pub type NodeHandler = fn(&mut NodeCall<'_, '_>) -> CommandResult;

/// One command on one locked slot.
pub struct Call<'a, 'k> {
    /// Name and arguments.
    pub args: &'a [&'a [u8]],
    /// The keys of the slot.
    pub keys: Keys<'a, 'k>,
    /// The reply.
    pub reply: ReplyWriter<'a>,
    /// The connection (the applier's on a replica).
    pub session: &'a mut Session,
    /// The engine, for what is not about keys.
    pub engine: &'k Engine,
}

impl Call<'_, '_> {
    /// The time; it stands still during a command or transaction.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.keys.now()
    }

    /// The command's effect is the command itself.
    pub fn replicate_verbatim(&mut self) {
        self.keys.effects().push(self.args);
    }

    /// One effect.
    pub fn replicate(&mut self, args: &[&[u8]]) {
        self.keys.effects().push(args);
    }
}

/// One command that touches no key.
pub struct SessionCall<'a> {
    /// Name and arguments.
    pub args: &'a [&'a [u8]],
    /// The time.
    pub now: Millis,
    /// The reply.
    pub reply: ReplyWriter<'a>,
    /// The connection.
    pub session: &'a mut Session,
    /// The engine.
    pub engine: &'a Engine,
    /// Whether EXEC runs it: it must not defer or close.
    pub in_exec: bool,
    /// Whether a worker thread runs it: it may wait.
    pub offloaded: bool,
}

/// One command that looks into slots of its own choice.
pub struct NodeCall<'a, 'k> {
    /// Name and arguments.
    pub args: &'a [&'a [u8]],
    /// The time.
    pub now: Millis,
    /// The reply.
    pub reply: ReplyWriter<'a>,
    /// The connection.
    pub session: &'a mut Session,
    /// The engine.
    pub engine: &'k Engine,
    /// How it gets at slots.
    pub(crate) access: Access<'a, 'k>,
}

/// How slots are reached.
pub(crate) enum Access<'a, 'k> {
    /// One after the other, if free: on a data thread.
    Try,
    /// One after the other, waiting for each: on a worker thread.
    Wait,
    /// All are locked already, by EXEC or by the applier; effects go to the transaction's.
    Held(&'a mut AllSlots<'k>, &'a mut Effects),
}

impl<'k> NodeCall<'_, 'k> {
    /// Calls `look` with the keys of a slot, which is locked for that long. Expired keys are hidden.
    ///
    /// # Errors
    /// The slot is taken: pass the error on, the command will run again.
    pub fn with_slot<R>(
        &mut self,
        slot: Slot,
        look: impl FnOnce(&mut Keys<'_, 'k>) -> R,
    ) -> CommandResult<R> {
        let (engine, now) = (self.engine, self.now);
        let mut none = Effects::off();
        let look = |guard: &mut SlotGuard<'k>, session: &Session| {
            look(&mut Keys::new(&engine.keyspace, guard, &mut none, now, Expired::Hide, session))
        };
        Ok(match &mut self.access {
            Access::Try => {
                let guard = engine.keyspace.lock_or_park(slot, self.session.id);
                let mut guard = guard.ok_or(CommandError::Wait(WaitFor::Slot(slot)))?;
                look(&mut guard, self.session)
            }
            Access::Wait => look(&mut engine.keyspace.lock(slot), self.session),
            Access::Held(all, _) => {
                let guard = all.get(slot).ok_or(CommandError::text("ERR the slot is not locked"))?;
                look(guard, self.session)
            }
        })
    }
}

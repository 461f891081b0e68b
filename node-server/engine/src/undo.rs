//! What a streamed transaction has changed, to be taken back when a later command of it fails: otherwise it would be in
//! memory and not in the log, and applied once more when the link comes again.

use crate::Engine;
use crate::command::keys::key_indexes;
use crate::command::table::Command;
use crate::command::{CommandResult, Run};
use crate::effects::Effects;
use crate::keyspace::{AllSlots, Expired, Keys, SlotGuard, Table, Value};
use crate::session::Session;
use node_server_protocol::{Millis, Slot};

/// What was there before each of the commands. As large as the values that they name, so bounded by the data.
#[derive(Default)]
pub(crate) struct Undo(Vec<Step>);

enum Step {
    /// A key with value and expiry; `None`: it was not there.
    Key(Slot, Box<[u8]>, Option<(Value, Option<Millis>)>),
    /// All keys of a slot.
    Table(Slot, Table),
}

impl Undo {
    /// Remembers what a command of the applier's is about to change. A flush finds its keys gone already: they are kept
    /// here and need not be copied.
    pub(crate) fn remember<'k>(
        &mut self,
        engine: &'k Engine,
        session: &Session,
        (command, args): (&Command, &[&[u8]]),
        locks: &mut AllSlots<'k>,
        now: Millis,
    ) -> CommandResult {
        if !command.spec.is_write() {
            return Ok(());
        }
        if matches!(command.spec.run, Run::Node(_)) {
            let only = engine.flushed_by(session, args[0]);
            for guard in locks.iter_mut().filter(|guard| only.is_none_or(|db| db == guard.slot().number())) {
                let slot = guard.slot();
                let table = with_keys(engine, session, guard, now, |keys| keys.remove_all());
                if !table.is_empty() {
                    self.0.push(Step::Table(slot, table));
                }
            }
            return Ok(());
        }
        for at in key_indexes(command.spec, args) {
            let key = args[at];
            let Some(slot) = engine.slot_of(session, std::iter::once(key))? else { continue };
            let Some(guard) = locks.get(slot) else { continue };
            let was = with_keys(engine, session, guard, now, |keys| {
                keys.peek(key).map(|entry| (entry.value().to_owned(), entry.expire_at()))
            });
            self.0.push(Step::Key(slot, key.into(), was));
        }
        Ok(())
    }

    /// Everything is as it was before.
    pub(crate) fn take_back<'k>(
        self,
        engine: &'k Engine,
        session: &Session,
        locks: &mut AllSlots<'k>,
        now: Millis,
    ) {
        for step in self.0.into_iter().rev() {
            let (Step::Key(slot, ..) | Step::Table(slot, _)) = &step;
            let Some(guard) = locks.get(*slot) else { continue };
            match step {
                Step::Key(_, key, Some((value, expire_at))) => {
                    with_keys(engine, session, guard, now, |keys| keys.set(&key, value.into(), expire_at));
                }
                Step::Key(_, key, None) => {
                    with_keys(engine, session, guard, now, |keys| keys.remove(&key));
                }
                Step::Table(_, table) => guard.table_to_write().keys = table,
            }
        }
    }
}

/// As the applier sees keys: those whose time has passed are there until the master deletes them.
fn with_keys<'k, R>(
    engine: &'k Engine,
    session: &Session,
    guard: &mut SlotGuard<'k>,
    now: Millis,
    f: impl FnOnce(&mut Keys<'_, 'k>) -> R,
) -> R {
    let mut none = Effects::off();
    f(&mut Keys::new(&engine.keyspace, guard, &mut none, now, Expired::Ignore, session))
}

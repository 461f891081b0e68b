//! The way of a request: lookup, MULTI's queue, routing, the slot's lock, the command, the log.

use crate::Engine;
use crate::command::call::Access;
use crate::command::keys::key_indexes;
use crate::command::table::{Command, lookup};
use crate::command::{Call, CommandError, CommandResult, Flags, NodeCall, Run, SessionCall, Spec};
use crate::effects::Effects;
use crate::keyspace::{Expired, Keys, SlotGuard, SlotState, WaitFor};
use crate::options::{CROSSING_HOLD_MS, HOLD_MS};
use crate::outcome::Outcome;
use crate::prefetch::{Place, Prepared};
use crate::route::{Need, Present};
use crate::session::{Origin, Session};
use node_server_protocol::resp::ReplyWriter;
use node_server_protocol::{Millis, Slot};
use smallvec::SmallVec;
use std::sync::atomic::Ordering;

/// A write while there are too few replicas (`min-replicas-to-write`).
pub(crate) const NO_REPLICAS: &str = "NOREPLICAS Not enough good replicas to write.";
/// A write to a replica, where no other node can be named.
pub(crate) const READ_ONLY: &str = "READONLY You can't write against a read only replica.";

/// A request on its way.
pub(crate) struct Request<'a> {
    pub command: &'static Command,
    pub args: &'a [&'a [u8]],
    pub now: Millis,
    /// On a worker thread: it may wait.
    pub offloaded: bool,
    /// Where its one key is, if that is known already.
    pub place: Option<Place>,
}

impl Engine {
    /// Runs a request of a connection and appends its reply to `out`. Never waits: see [`Outcome`].
    pub fn execute(&self, session: &mut Session, args: &[&[u8]], now: Millis, out: &mut Vec<u8>) -> Outcome {
        self.request(session, args, &Prepared::default(), now, out, false)
    }

    /// The same for a request that was prepared by [`Engine::prepare`].
    pub fn execute_prepared(
        &self,
        session: &mut Session,
        args: &[&[u8]],
        prepared: &Prepared,
        now: Millis,
        out: &mut Vec<u8>,
    ) -> Outcome {
        self.request(session, args, prepared, now, out, false)
    }

    /// Runs a request for which [`Engine::execute`] returned [`Outcome::Offload`]. It may take as long as it likes, so
    /// the thread has to be a worker's.
    pub fn execute_offloaded(
        &self,
        session: &mut Session,
        args: &[&[u8]],
        now: Millis,
        out: &mut Vec<u8>,
    ) -> Outcome {
        self.request(session, args, &Prepared::default(), now, out, true)
    }

    fn request(
        &self,
        session: &mut Session,
        args: &[&[u8]],
        prepared: &Prepared,
        now: Millis,
        out: &mut Vec<u8>,
        offloaded: bool,
    ) -> Outcome {
        if args.is_empty() {
            return Outcome::Done;
        }
        let start = out.len();
        let command = match prepared.command.map_or_else(|| lookup(args), Ok) {
            Ok(command) => command,
            Err(CommandError::Arity("exec")) => {
                return self.reject_exec(session, &CommandError::Arity("exec"), out);
            }
            Err(error) => return self.reject(session, &error, out),
        };
        session.last_command = command.spec.name;
        if let Err(error) = self.refuse(session, command.spec, args) {
            command.rejected.fetch_add(1, Ordering::Relaxed);
            return match command.spec.name {
                "exec" => self.reject_exec(session, &error, out),
                _ => self.reject(session, &error, out),
            };
        }
        let request = Request { command, args, now, offloaded, place: prepared.place };
        let result = if session.in_multi() && !command.spec.flags.has(Flags::IN_MULTI_NOW) {
            self.queue(session, &request, out)
        } else {
            self.run(session, &request, out)
        };
        self.conclude(session, command, result, out, start)
    }

    /// Turns a result into a reply and an outcome.
    fn conclude(
        &self,
        session: &mut Session,
        command: &Command,
        result: CommandResult<Outcome>,
        out: &mut Vec<u8>,
        start: usize,
    ) -> Outcome {
        let outcome = match result {
            Ok(Outcome::Park | Outcome::Offload) | Err(CommandError::Wait(_)) => {
                out.truncate(start);
                return if matches!(result, Ok(Outcome::Offload)) { Outcome::Offload } else { Outcome::Park };
            }
            Ok(outcome) => outcome,
            Err(error) => {
                command.failed.fetch_add(1, Ordering::Relaxed);
                out.truncate(start);
                error.write(&mut ReplyWriter::new(out, session.protocol));
                Outcome::Done
            }
        };
        command.calls.fetch_add(1, Ordering::Relaxed);
        if !session.in_multi() && command.spec.name != "asking" {
            session.asking = false;
        }
        outcome
    }

    fn reject(&self, session: &mut Session, error: &CommandError, out: &mut Vec<u8>) -> Outcome {
        match &mut session.multi {
            Some(multi) => multi.aborted = true,
            None => session.asking = false,
        }
        error.write(&mut ReplyWriter::new(out, session.protocol));
        Outcome::Done
    }

    /// An EXEC that cannot run ends its transaction (Redis: execCommandAbort).
    fn reject_exec(&self, session: &mut Session, error: &CommandError, out: &mut Vec<u8>) -> Outcome {
        session.multi = None;
        session.watched.clear();
        let why = error.to_string();
        let why = why.strip_prefix("ERR ").unwrap_or(&why);
        let text = format!("EXECABORT Transaction discarded because of: {why}");
        self.reject(session, &CommandError::text(text), out)
    }

    /// Refusals that depend on the node, and on what the client may, alone.
    fn refuse(&self, session: &mut Session, spec: &Spec, args: &[&[u8]]) -> CommandResult {
        if session.origin == Origin::Master {
            return Ok(());
        }
        if !spec.flags.has(Flags::NO_AUTH) && self.is_stranger(session) {
            return Err(CommandError::text("NOAUTH Authentication required."));
        }
        if !self.is_replica()
            && let Err(refusal) = self.durability.check(spec)
        {
            self.redirect(session, spec, args)?;
            return Err(refusal);
        }
        if spec.is_write() && self.lacks_replicas() {
            self.redirect(session, spec, args)?;
            return Err(CommandError::text(NO_REPLICAS));
        }
        if spec.is_write() && self.is_read_only() {
            return Err(CommandError::text(READ_ONLY));
        }
        if self.is_loading() && !self.answers_while_loading(spec) {
            self.redirect_while_loading(session, spec, args)?;
            return Err(CommandError::text("LOADING Redis is loading the dataset in memory"));
        }
        if self.refuses_stale() && !spec.flags.has(Flags::STALE) {
            self.redirect(session, spec, args)?;
            return Err(CommandError::text(
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            ));
        }
        // Commands with keys are redirected instead.
        if spec.is_write() && spec.keys.is_empty() && self.is_replica() {
            return Err(CommandError::text(READ_ONLY));
        }
        Ok(())
    }

    /// A replica that cannot redirect.
    pub(crate) fn is_read_only(&self) -> bool {
        !self.options.cluster && self.is_replica()
    }

    /// While a node reads its own files it says no more than Redis's does.
    fn answers_while_loading(&self, spec: &Spec) -> bool {
        spec.flags.has(Flags::LOADING) || (spec.flags.has(Flags::FULL_SYNC) && !self.is_loading_files())
    }

    /// As [`Engine::redirect`]. A node that reads its files says that the cluster is down, whatever it hears, and is not
    /// asked about that: what others serve they serve.
    fn redirect_while_loading(&self, session: &mut Session, spec: &Spec, args: &[&[u8]]) -> CommandResult {
        if !self.is_loading_files() {
            return self.redirect(session, spec, args);
        }
        let indexes = key_indexes(spec, args);
        if indexes.is_empty() || !self.options.cluster {
            return Ok(());
        }
        let Some(slot) = self.slot_of(session, indexes.iter().map(|at| args[*at]))? else { return Ok(()) };
        let reads_here = session.readonly && spec.flags.has(Flags::READONLY);
        if reads_here && self.keyspace.state(slot).has(SlotState::REPLICA) {
            return Ok(());
        }
        self.moved_to(session, slot).map_or(Ok(()), Err)
    }

    /// A node that cannot answer yet still says who does: a drained master that copies the data of its new one, to
    /// clients that have not heard of it.
    fn redirect(&self, session: &mut Session, spec: &Spec, args: &[&[u8]]) -> CommandResult {
        if !matches!(spec.run, Run::Slot(_)) || !self.options.cluster {
            return Ok(());
        }
        let indexes = key_indexes(spec, args);
        match self.slot_of(session, indexes.iter().map(|at| args[*at]))? {
            Some(slot) => self.route_hint(session, &Need::of(spec, slot, indexes.len() > 1)),
            None => Ok(()),
        }
    }

    pub(crate) fn run(
        &self,
        session: &mut Session,
        request: &Request<'_>,
        out: &mut Vec<u8>,
    ) -> CommandResult<Outcome> {
        let &Request { command, args, now, offloaded, .. } = request;
        let spec = command.spec;
        if spec.flags.has(Flags::OFFLOAD) && !offloaded {
            return Ok(Outcome::Offload);
        }
        let protocol = session.protocol;
        match spec.run {
            Run::Slot(_) => self.run_slot(session, request, out),
            Run::Session(handler) => {
                let reply = ReplyWriter::new(out, protocol);
                handler(&mut SessionCall {
                    args,
                    now,
                    reply,
                    session,
                    engine: self,
                    in_exec: false,
                    offloaded,
                })
            }
            Run::Node(handler) => {
                let access = if offloaded { Access::Wait } else { Access::Try };
                let reply = ReplyWriter::new(out, protocol);
                handler(&mut NodeCall { args, now, reply, session, engine: self, access })?;
                // It may have looked at any slot, or changed it.
                self.depends_on(session, self.log.end());
                Ok(Outcome::Done)
            }
            Run::Host(what) => {
                self.host_command(what, session, args, now, &mut ReplyWriter::new(out, protocol));
                Ok(Outcome::Done)
            }
            Run::Container => Err(CommandError::Arity(spec.name)),
        }
    }

    /// A command on one slot.
    fn run_slot(
        &self,
        session: &mut Session,
        request: &Request<'_>,
        out: &mut Vec<u8>,
    ) -> CommandResult<Outcome> {
        let spec = request.command.spec;
        let indexes = match request.place {
            Some(place) => SmallVec::from_slice(&[place.at]),
            None => key_indexes(spec, request.args),
        };
        let keys = || indexes.iter().map(|at| request.args[*at]);
        let slot = match request.place {
            Some(place) => place.slot,
            None => self.slot_of(session, keys())?.ok_or(CommandError::Syntax)?,
        };
        let need =
            Need::of(spec, slot, indexes.iter().any(|at| request.args[*at] != request.args[indexes[0]]));
        self.route_hint(session, &need)?;
        let start = out.len();
        let mut guard =
            self.keyspace.lock_or_park(slot, session.id).ok_or(CommandError::Wait(WaitFor::Slot(slot)))?;
        self.admit(session, &need, spec.is_write(), &guard, keys, request.now)?;
        let mut effects = Effects::new(std::mem::take(&mut session.effects));
        let result = self.run_handler(session, request, &mut guard, &mut effects, out);
        let logged = self.log_effects(session, &guard, &mut effects);
        self.depends_on_slot(session, slot);
        drop(guard);
        if !effects.is_empty() {
            self.host.log_grew();
            if logged && spec.flags.has(Flags::HOLD) && self.acks.holds() {
                let limit = if self.acks.in_sync() > 0 { CROSSING_HOLD_MS } else { HOLD_MS };
                session.hold_until(session.last_write, request.now.after(limit));
            }
        }
        session.effects = effects.into_buffer();
        if !logged {
            out.truncate(start);
            return self.overtaken(session, slot);
        }
        result.map(|()| Outcome::Done)
    }

    /// Under the slot's lock: whether the request may run now.
    pub(crate) fn admit<'a, I: Iterator<Item = &'a [u8]>>(
        &self,
        session: &mut Session,
        need: &Need,
        writes: bool,
        guard: &SlotGuard<'_>,
        keys: impl Fn() -> I,
        now: Millis,
    ) -> CommandResult {
        let present = |guard: &SlotGuard<'_>| {
            let mut present = Present::default();
            for key in keys() {
                // What the target has or may have of a key that is on its way, or unclear, is not what clients are to see:
                // also where the key has expired here meanwhile.
                let ours = || guard.table().is_some_and(|t| t.is_unclear(key) || t.is_leaving(key));
                let there = self.keyspace.is_there(guard, key, now) || ours();
                *(if there { &mut present.existing } else { &mut present.missing }) += 1;
            }
            present
        };
        self.route(session, need, guard, || present(guard), now)?;
        if !writes || session.origin == Origin::Master {
            return Ok(());
        }
        if self.waits_for_gate(session.id) {
            return Err(CommandError::Wait(WaitFor::Writes));
        }
        let leaving = guard.table().is_some_and(|t| t.leaving() > 0 && keys().any(|key| t.is_leaving(key)));
        if leaving {
            // Taken off the list by whoever unmarks the key, under this slot's lock.
            self.keyspace.waiters.push(WaitFor::Leaving(need.slot), session.id);
            return Err(CommandError::Wait(WaitFor::Leaving(need.slot)));
        }
        Ok(())
    }

    /// Calls a slot's command.
    pub(crate) fn run_handler<'k>(
        &'k self,
        session: &mut Session,
        request: &Request<'_>,
        guard: &mut SlotGuard<'k>,
        effects: &mut Effects,
        out: &mut Vec<u8>,
    ) -> CommandResult {
        let Run::Slot(handler) = request.command.spec.run else { return Err(CommandError::Syntax) };
        // An admitted write may delete, whatever the gate says by now: who closed it waits for this slot.
        let closed = self.gate.is_closed() && !request.command.spec.is_write();
        let expired = self.expired(session, guard, closed);
        let known = request.place.map(|place| (request.args[place.at], place.hash));
        let keys = Keys::new(&self.keyspace, guard, effects, request.now, expired, session).with_known(known);
        let reply = ReplyWriter::new(out, session.protocol);
        handler(&mut Call { args: request.args, keys, reply, session, engine: self })
    }

    /// What this node may do with keys whose time has passed; `closed`: nothing may be logged now.
    pub(crate) fn expired(&self, session: &Session, guard: &SlotGuard<'_>, closed: bool) -> Expired {
        if session.origin == Origin::Master {
            Expired::Ignore
        } else if guard.state().writable() && !self.is_replica() && !closed {
            Expired::Delete
        } else {
            Expired::Hide
        }
    }

    /// Logs what a command did, under the slot's lock. False: this node was demoted meanwhile, and what is in memory
    /// now will never be in a log.
    pub(crate) fn log_effects(
        &self,
        session: &mut Session,
        guard: &SlotGuard<'_>,
        effects: &mut Effects,
    ) -> bool {
        if effects.is_empty() || session.origin == Origin::Master {
            return true;
        }
        let db = if self.options.cluster { 0 } else { guard.slot().number() };
        self.changes.fetch_add(effects.count() as u64, Ordering::Relaxed);
        let end = self.log.append(effects.finish(), db, || guard.state().writable());
        match end {
            Some(end) => {
                session.last_write = end;
                if self.durability.holds() {
                    self.keyspace.set_logged(guard.slot(), end);
                }
            }
            None => self.set_needs_full_resync(),
        }
        end.is_some()
    }

    /// `appendfsync always`: what a reply tells of a slot must be on the disk before it leaves, whoever wrote it.
    pub(crate) fn depends_on_slot(&self, session: &mut Session, slot: Slot) {
        if self.durability.holds() {
            self.depends_on(session, self.keyspace.logged(slot));
        }
    }

    /// The same for a log offset. A replica promises nothing: its master does.
    pub(crate) fn depends_on(&self, session: &mut Session, offset: u64) {
        let promises = session.origin == Origin::Client && !self.is_replica();
        if promises && self.durability.holds() && offset > self.durability.synced() {
            session.hold_for_disk(offset);
        }
    }

    /// The answer to a command that was overtaken by a demotion: MOVED, or a closed connection; never OK.
    pub(crate) fn overtaken(&self, session: &Session, slot: Slot) -> CommandResult<Outcome> {
        self.moved_to(session, slot).map_or(Ok(Outcome::Close), Err)
    }
}

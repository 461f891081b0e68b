//! MULTI's queue, and EXEC: one slot, one stretch of the log.

use crate::Engine;
use crate::command::call::Access;
use crate::command::keys::key_indexes;
use crate::command::{CommandError, CommandResult, Flags, NodeCall, Run, SessionCall};
use crate::effects::Effects;
use crate::execute::{NO_REPLICAS, READ_ONLY, Request};
use crate::keyspace::{AllSlots, SlotGuard, WaitFor};
use crate::options::MULTI_BYTES_MAX;
use crate::outcome::{Deferred, Outcome};
use crate::route::Need;
use crate::session::Session;
use crate::transaction::{Multi, Queued, Watched};
use node_server_protocol::resp::ReplyWriter;
use node_server_protocol::{Millis, Slot};
use std::sync::atomic::Ordering;

/// Redis would do both in a row; here whoever changes the role waits for every slot to come free.
const ROLE_AND_KEYS: &str = "REPLICAOF and commands on keys are in one transaction; send them apart";

/// What a transaction needs.
struct Plan<'m> {
    multi: &'m Multi,
    need: Option<Need>,
    writes: bool,
    /// It has commands that look into slots of their own choice or change the database.
    all_slots: bool,
    /// FLUSHALL or FLUSHDB is among them.
    flushes: bool,
    /// It changes the node's role, as Sentinel does: it waits on a worker thread until that is done.
    role: bool,
}

/// What holds the locks of a transaction.
enum Locks<'k> {
    None,
    One(SlotGuard<'k>),
    All(AllSlots<'k>),
}

impl Engine {
    /// Queues a request behind MULTI.
    pub(crate) fn queue(
        &self,
        session: &mut Session,
        request: &Request<'_>,
        out: &mut Vec<u8>,
    ) -> CommandResult<Outcome> {
        let checked = self.check_queued(session, request);
        let Some(multi) = &mut session.multi else { return Err(CommandError::Syntax) };
        if let Err(error) = checked {
            multi.aborted = true;
            return Err(error);
        }
        ReplyWriter::new(out, session.protocol).simple("QUEUED");
        // It will not run: nothing is kept of it (Redis: queueMultiCommand), so EXEC does not look at its keys either.
        if multi.aborted || session.watched.iter().any(Watched::is_changed) {
            return Ok(Outcome::Done);
        }
        multi.bytes += request.args.iter().map(|a| a.len()).sum::<usize>();
        multi.queue.push(Queued {
            command: request.command,
            args: request.args.iter().map(|a| a.to_vec()).collect(),
        });
        Ok(Outcome::Done)
    }

    fn check_queued(&self, session: &mut Session, request: &Request<'_>) -> CommandResult {
        let spec = request.command.spec;
        if spec.flags.has(Flags::NO_MULTI) {
            return Err(CommandError::text("ERR Command not allowed inside a transaction"));
        }
        let by_core = session.multi.as_ref().and_then(Multi::is_by_core);
        if by_core.is_some_and(|by_core| by_core != spec.flags.has(Flags::BY_CORE)) {
            return Err(CommandError::text("ERR a transaction has CLUSTER commands only, or none"));
        }
        let bytes: usize = request.args.iter().map(|a| a.len()).sum();
        if session.multi.as_ref().is_some_and(|m| m.bytes + bytes > MULTI_BYTES_MAX) {
            return Err(CommandError::text("ERR the transaction's queue is full; send EXEC or DISCARD"));
        }
        let indexes = key_indexes(spec, request.args);
        let slot = self.slot_of(session, indexes.iter().map(|at| request.args[*at]))?;
        slot.map_or(Ok(()), |slot| self.route_hint(session, &Need::of(spec, slot, false)))
    }

    /// EXEC.
    pub(crate) fn exec(
        &self,
        session: &mut Session,
        now: Millis,
        offloaded: bool,
        out: &mut Vec<u8>,
    ) -> CommandResult<Outcome> {
        let Some(multi) = session.multi.take() else {
            return Err(CommandError::text("ERR EXEC without MULTI"));
        };
        let result = self.exec_multi(session, &multi, now, offloaded, out);
        if matches!(result, Ok(Outcome::Offload) | Err(CommandError::Wait(_))) {
            session.multi = Some(multi);
        } else {
            session.watched.clear();
        }
        result
    }

    fn exec_multi(
        &self,
        session: &mut Session,
        multi: &Multi,
        now: Millis,
        offloaded: bool,
        out: &mut Vec<u8>,
    ) -> CommandResult<Outcome> {
        // As in Redis, where the keys are comes before whether it may run.
        let plan = self.plan(session, multi)?;
        if let Some(need) = &plan.need {
            self.route_hint(session, need)?;
        }
        // As in Redis, this is said even of a transaction that was aborted.
        if plan.writes && !self.is_replica() {
            self.durability.check_writes().map_err(|refusal| discarded(&refusal.to_string()))?;
        }
        if plan.writes && self.lacks_replicas() {
            return Err(discarded(NO_REPLICAS));
        }
        if plan.writes && self.is_read_only() {
            return Err(discarded(READ_ONLY));
        }
        if multi.aborted {
            return Err(CommandError::text("EXECABORT Transaction discarded because of previous errors."));
        }
        if multi.is_by_core() == Some(true) {
            return Ok(self.exec_by_core(session, multi, now, out));
        }
        if plan.role && (plan.need.is_some() || plan.all_slots) {
            return Err(discarded(ROLE_AND_KEYS));
        }
        if (plan.all_slots || plan.role) && !offloaded {
            return Ok(Outcome::Offload);
        }
        let mut locks = self.lock_for(session, &plan)?;
        self.admit_all(session, &plan, &locks, now)?;
        if self.watched_changed(session, &locks, now) {
            self.depends_on_watched(session);
            ReplyWriter::new(out, session.protocol).null_array();
            return Ok(Outcome::Done);
        }
        let start = out.len();
        let mut effects = Effects::new(std::mem::take(&mut session.effects));
        self.run_all(session, &plan, now, &mut locks, &mut effects, out);
        let logged = self.log_transaction(session, &plan, &mut effects);
        match &plan.need {
            _ if plan.all_slots => self.depends_on(session, self.log.end()),
            Some(need) => self.depends_on_slot(session, need.slot),
            None => {}
        }
        drop(locks);
        if !effects.is_empty() {
            self.host.log_grew();
        }
        session.effects = effects.into_buffer();
        if logged {
            return Ok(Outcome::Done);
        }
        out.truncate(start);
        plan.need.map_or(Ok(Outcome::Close), |need| self.overtaken(session, need.slot))
    }

    /// `appendfsync always`: that a watched key has changed is told when the change is on the disk.
    fn depends_on_watched(&self, session: &mut Session) {
        let slots: Vec<Slot> = session.watched.iter().map(|watched| watched.slot).collect();
        slots.into_iter().for_each(|slot| self.depends_on_slot(session, slot));
    }

    /// The cluster core has its own order; it does all of them in a row.
    fn exec_by_core(&self, session: &mut Session, multi: &Multi, now: Millis, out: &mut Vec<u8>) -> Outcome {
        if self.watched_changed(session, &Locks::None, now) {
            self.depends_on_watched(session);
            ReplyWriter::new(out, session.protocol).null_array();
            return Outcome::Done;
        }
        for queued in &multi.queue {
            queued.command.calls.fetch_add(1, Ordering::Relaxed);
        }
        let commands = multi.queue.iter().map(|queued| queued.args.clone()).collect();
        Outcome::Defer(Deferred::ClusterTransaction(commands))
    }

    /// The slot of all keys, and what is needed of it.
    fn plan<'m>(&self, session: &Session, multi: &'m Multi) -> CommandResult<Plan<'m>> {
        let mut plan =
            Plan { multi, need: None, writes: false, all_slots: false, role: false, flushes: false };
        let mut first_key: Option<&[u8]> = None;
        for queued in &multi.queue {
            let spec = queued.command.spec;
            let args: Vec<&[u8]> = queued.args.iter().map(Vec::as_slice).collect();
            let indexes = key_indexes(spec, &args);
            plan.writes |= spec.is_write();
            plan.flushes |= spec.is_write() && matches!(spec.run, Run::Node(_));
            plan.role |= spec.flags.has(Flags::ROLE) && !self.options.cluster;
            plan.all_slots |=
                matches!(spec.run, Run::Node(_)) || (spec.name == "select" && !self.options.cluster);
            if indexes.is_empty() {
                continue;
            }
            let keys = first_key.into_iter().chain(indexes.iter().map(|at| args[*at]));
            let Some(slot) = self.slot_of(session, keys)? else { continue };
            let first = *first_key.get_or_insert(queued.args[indexes[0]].as_slice());
            let one = Need::of(spec, slot, indexes.iter().any(|at| args[*at] != first));
            plan.need = Some(match plan.need {
                None => one,
                Some(need) => Need {
                    reads_only: need.reads_only && one.reads_only,
                    asking: need.asking || one.asking,
                    several: need.several || one.several,
                    ..need
                },
            });
        }
        Ok(plan)
    }

    fn lock_for(&self, session: &Session, plan: &Plan<'_>) -> CommandResult<Locks<'_>> {
        if plan.flushes {
            return self.lock_all_without_leaving().map(Locks::All);
        }
        if plan.all_slots {
            return self.lock_all().map(Locks::All);
        }
        let Some(need) = plan.need else { return Ok(Locks::None) };
        let guard = self.keyspace.lock_or_park(need.slot, session.id);
        guard.map(Locks::One).ok_or(CommandError::Wait(WaitFor::Slot(need.slot)))
    }

    fn admit_all(
        &self,
        session: &mut Session,
        plan: &Plan<'_>,
        locks: &Locks<'_>,
        now: Millis,
    ) -> CommandResult {
        if let (Some(need), Some(guard)) = (&plan.need, locks.guard(plan)) {
            let keys = || {
                plan.multi.queue.iter().flat_map(|queued| {
                    let args: Vec<&[u8]> = queued.args.iter().map(Vec::as_slice).collect();
                    let indexes = key_indexes(queued.command.spec, &args);
                    indexes.into_iter().map(|at| queued.args[at].as_slice())
                })
            };
            return self.admit(session, need, plan.writes, guard, keys, now);
        }
        if plan.writes && self.waits_for_gate(session.id) {
            return Err(CommandError::Wait(WaitFor::Writes));
        }
        Ok(())
    }

    /// Whether WATCH forbids the transaction.
    fn watched_changed(&self, session: &Session, locks: &Locks<'_>, now: Millis) -> bool {
        session.watched.iter().any(|watched| {
            let has_expired = || {
                let guard = locks.of(watched.slot);
                watched.existed && guard.is_some_and(|g| !self.keyspace.is_there(g, &watched.key, now))
            };
            watched.is_changed() || has_expired()
        })
    }

    fn run_all<'k>(
        &'k self,
        session: &mut Session,
        plan: &Plan<'_>,
        now: Millis,
        locks: &mut Locks<'k>,
        effects: &mut Effects,
        out: &mut Vec<u8>,
    ) {
        ReplyWriter::new(out, session.protocol).array(plan.multi.queue.len());
        for queued in &plan.multi.queue {
            let args: Vec<&[u8]> = queued.args.iter().map(Vec::as_slice).collect();
            let request =
                Request { command: queued.command, args: &args, now, offloaded: plan.role, place: None };
            let start = out.len();
            let result = self.run_queued(session, &request, locks, effects, out);
            if queued.command.spec.is_write() {
                locks.keep_books();
            }
            queued.command.calls.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = result {
                queued.command.failed.fetch_add(1, Ordering::Relaxed);
                out.truncate(start);
                error.write(&mut ReplyWriter::new(out, session.protocol));
            }
        }
    }

    fn run_queued<'k>(
        &'k self,
        session: &mut Session,
        request: &Request<'_>,
        locks: &mut Locks<'k>,
        effects: &mut Effects,
        out: &mut Vec<u8>,
    ) -> CommandResult {
        let &Request { command, args, now, offloaded, .. } = request;
        let protocol = session.protocol;
        effects.enter(if self.options.cluster { 0 } else { session.db });
        match (command.spec.run, &mut *locks) {
            (Run::Slot(_), Locks::One(guard)) => self.run_handler(session, request, guard, effects, out),
            (Run::Slot(_), Locks::All(all)) => {
                let indexes = key_indexes(command.spec, args);
                let slot = self.slot_of(session, indexes.iter().map(|at| args[*at]))?;
                let guard = slot.and_then(|slot| all.get(slot)).ok_or(CommandError::Syntax)?;
                self.run_handler(session, request, guard, effects, out)
            }
            (Run::Node(handler), Locks::All(all)) => {
                let reply = ReplyWriter::new(out, protocol);
                let access = Access::Held(all, effects);
                handler(&mut NodeCall { args, now, reply, session, engine: self, access })
            }
            (Run::Session(handler), _) => {
                let reply = ReplyWriter::new(out, protocol);
                let mut call =
                    SessionCall { args, now, reply, session, engine: self, in_exec: true, offloaded };
                if let Outcome::Defer(Deferred::ReplicaOf(master)) = handler(&mut call)? {
                    self.host.follow(master, call.session, &mut call.reply);
                }
                Ok(())
            }
            (Run::Host(what), _) => {
                self.host_command(what, session, args, now, &mut ReplyWriter::new(out, protocol));
                Ok(())
            }
            _ => Err(CommandError::Syntax),
        }
    }

    fn log_transaction(&self, session: &mut Session, plan: &Plan<'_>, effects: &mut Effects) -> bool {
        if effects.is_empty() {
            return true;
        }
        let slot = plan.need.map(|need| need.slot);
        let allowed = || match slot {
            Some(slot) => self.keyspace.state(slot).writable(),
            None => !self.is_replica(),
        };
        let (first, last) = effects.databases();
        self.changes.fetch_add(effects.count() as u64, Ordering::Relaxed);
        let end = self.log.append_across(effects.finish(), first, last, allowed);
        match end {
            Some(end) => {
                session.last_write = end;
                if plan.all_slots {
                    self.all_logged(None, end);
                } else if let Some(slot) = slot.filter(|_| self.durability.holds()) {
                    self.keyspace.set_logged(slot, end);
                }
            }
            None => self.set_needs_full_resync(),
        }
        end.is_some()
    }
}

fn discarded(why: &str) -> CommandError {
    CommandError::text(format!("EXECABORT Transaction discarded because of: {why}"))
}

impl<'k> Locks<'k> {
    /// DBSIZE, KEYS and SCAN in the same transaction see what was written before them.
    fn keep_books(&mut self) {
        match self {
            Self::None => {}
            Self::One(guard) => guard.keep_books(),
            Self::All(all) => all.iter_mut().for_each(SlotGuard::keep_books),
        }
    }

    fn guard(&self, plan: &Plan<'_>) -> Option<&SlotGuard<'k>> {
        self.of(plan.need?.slot)
    }

    fn of(&self, slot: Slot) -> Option<&SlotGuard<'k>> {
        match self {
            Self::None => None,
            Self::One(guard) => (guard.slot() == slot).then_some(guard),
            Self::All(all) => all.peek(slot),
        }
    }
}

//! Whether this node answers, and if not, who does: Redis's getNodeByQuery, in the same order.

use crate::command::{CommandError, CommandResult, Flags, Spec};
use crate::keyspace::{SlotGuard, SlotState};
use crate::options::HOLD_MS;
use crate::session::Session;
use crate::{Engine, session::Origin};
use node_server_protocol::routing::{RouteNode, Routing, Serving};
use node_server_protocol::{Millis, NodeId, Role, Slot, key_slot};

/// What a request needs of its slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    pub slot: Slot,
    /// All its commands only read.
    pub reads_only: bool,
    /// One of its commands is flagged so.
    pub asking: bool,
    /// MIGRATE: keys that are missing are no reason to redirect.
    pub migrates: bool,
    /// It has more than one key; the same key again does not count.
    pub several: bool,
}

/// How many of a request's keys are there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Present {
    pub existing: usize,
    pub missing: usize,
}

impl Engine {
    /// The slot of a command's keys.
    ///
    /// # Errors
    /// They are in different slots, or nobody owns the first key's.
    pub(crate) fn slot_of<'a>(
        &self,
        session: &Session,
        mut keys: impl Iterator<Item = &'a [u8]>,
    ) -> CommandResult<Option<Slot>> {
        let Some(first) = keys.next() else { return Ok(None) };
        if !self.options.cluster {
            return Ok(Slot::new(session.db));
        }
        let slot = key_slot(first);
        if keys.all(|key| key_slot(key) == slot) {
            Ok(Some(slot))
        } else if self.with_routing(|routing| routing.owner(slot).is_none()) {
            // The first key is looked at first.
            Err(CommandError::text("CLUSTERDOWN Hash slot not served"))
        } else {
            Err(CommandError::text("CROSSSLOT Keys in request don't hash to the same slot"))
        }
    }

    /// The answer of [`Engine::route`] where it does not depend on the keys: without the slot's lock.
    pub(crate) fn route_hint(&self, session: &mut Session, need: &Need) -> CommandResult {
        let state = self.keyspace.state(need.slot);
        let depends = state.has(SlotState::MIGRATING) || state.has(SlotState::IMPORTING);
        let is_elsewhere = self.options.cluster && session.origin != Origin::Master;
        if state == SlotState::OWNED || depends || !is_elsewhere {
            return Ok(());
        }
        self.with_routing(|routing| self.decide(routing, session, need, Present::default()))
    }

    /// Whether the request may run, under the slot's lock.
    ///
    /// # Errors
    /// The redirection or refusal to send instead.
    pub(crate) fn route(
        &self,
        session: &mut Session,
        need: &Need,
        guard: &SlotGuard<'_>,
        present: impl FnOnce() -> Present,
        now: Millis,
    ) -> CommandResult {
        let state = guard.state();
        if state == SlotState::OWNED || session.origin == Origin::Master || !self.options.cluster {
            return Ok(());
        }
        let depends = state.has(SlotState::MIGRATING) || state.has(SlotState::IMPORTING);
        let present = if depends { present() } else { Present::default() };
        let (decided, target) = self.with_routing(|routing| {
            let decided = self.decide(routing, session, need, present);
            let asks = matches!(&decided, Err(CommandError::Text(text)) if text.starts_with("ASK "));
            (decided, routing.migrating_to(need.slot).filter(|_| asks).map(|n| n.id))
        });
        if let Some(target) = target {
            self.hold_ask(session, guard, target, now);
        }
        decided
    }

    /// Rule 11: the source's ASK leaves when a replica in sync has the deletion of the keys that crossed, and with
    /// `appendfsync always` the disk: a source that came back with the key would answer for it again.
    fn hold_ask(&self, session: &mut Session, guard: &SlotGuard<'_>, target: NodeId, now: Millis) {
        let depends_on_more = session.hold.is_some();
        let crossed_at = guard.table().map_or(0, |t| t.crossed_at());
        if crossed_at > 0 && !self.acks.reached(crossed_at) {
            session.hold_until(crossed_at, now.after(HOLD_MS));
        }
        self.depends_on_slot(session, guard.slot());
        if let Some(hold) = session.hold.as_mut().filter(|_| !depends_on_more) {
            hold.asks = Some((guard.slot(), target));
        }
    }

    /// Whether another node owns the slot: what is held for ASK to it may leave, also when this node is no master any more.
    #[must_use]
    pub fn is_owned_by(&self, slot: Slot, id: NodeId) -> bool {
        self.with_routing(|routing| routing.owner(slot).is_some_and(|owner| owner.id == id))
    }

    fn decide(&self, routing: &Routing, session: &Session, need: &Need, present: Present) -> CommandResult {
        let slot = need.slot;
        let Some(owner) = routing.owner(slot) else {
            return Err(CommandError::text("CLUSTERDOWN Hash slot not served"));
        };
        serves(routing.serving, need)?;
        let mine = owner.id == routing.myself && routing.role.is_master();
        let migrating = if mine { routing.migrating_to(slot) } else { None };
        let arrives = !mine && routing.importing_from(slot).is_some();
        let importing = arrives && routing.role.is_master();
        if (migrating.is_some() || importing) && need.migrates {
            return Ok(());
        }
        if let Some(target) = migrating
            && present.missing > 0
        {
            return Err(if present.existing > 0 {
                try_again()
            } else {
                redirect("ASK", slot, target, session)
            });
        }
        if importing && (session.asking || need.asking) {
            return if need.several && present.missing > 0 { Err(try_again()) } else { Ok(()) };
        }
        let replica_reads = session.readonly && need.reads_only;
        match routing.role {
            Role::Master if mine => Ok(()),
            Role::Replica { of } if replica_reads && owner.id == of => Ok(()),
            // The slot's source has not heard yet that another one took over its target.
            Role::Replica { of } if arrives && (session.asking || need.asking) && owner.id != of => {
                Err(redirect("ASK", slot, routing.node(of).unwrap_or(owner), session))
            }
            _ => Err(redirect("MOVED", slot, owner, session)),
        }
    }

    /// Where a command that was overtaken by a demotion is sent; `None`: nowhere, close the connection.
    pub(crate) fn moved_to(&self, session: &Session, slot: Slot) -> Option<CommandError> {
        self.with_routing(|routing| {
            let owner = routing.owner(slot).filter(|n| n.id != routing.myself)?;
            Some(redirect("MOVED", slot, owner, session))
        })
    }
}

impl Need {
    /// Of one command.
    pub(crate) fn of(spec: &Spec, slot: Slot, several: bool) -> Self {
        Self {
            slot,
            reads_only: spec.flags.has(Flags::READONLY),
            asking: spec.flags.has(Flags::ASKING),
            migrates: spec.flags.has(Flags::MIGRATES),
            several,
        }
    }
}

impl Session {
    /// Holds the reply back until a replica has acknowledged `offset`; the further of two offsets counts.
    pub(crate) fn hold_until(&mut self, offset: u64, deadline: Millis) {
        let hold = self.hold.get_or_insert_default();
        hold.offset = hold.offset.max(offset);
        hold.deadline = hold.deadline.max(deadline);
    }

    /// Holds the reply back until the log is on the disk up to `offset`.
    pub(crate) fn hold_for_disk(&mut self, offset: u64) {
        let hold = self.hold.get_or_insert_default();
        hold.disk = hold.disk.max(offset);
    }
}

fn serves(serving: Serving, need: &Need) -> CommandResult {
    match serving {
        Serving::Ok => Ok(()),
        Serving::Down { allow_reads: true } if need.reads_only => Ok(()),
        Serving::Down { allow_reads: true } => {
            Err(CommandError::text("CLUSTERDOWN The cluster is down and only accepts read commands"))
        }
        Serving::Down { allow_reads: false } | Serving::ClosedEmpty => {
            Err(CommandError::text("CLUSTERDOWN The cluster is down"))
        }
    }
}

fn try_again() -> CommandError {
    CommandError::text("TRYAGAIN Multiple keys request during rehashing of slot")
}

fn redirect(kind: &str, slot: Slot, to: &RouteNode, session: &Session) -> CommandError {
    CommandError::text(format!("{kind} {slot} {}:{}", to.endpoint_for(session.family), to.port))
}

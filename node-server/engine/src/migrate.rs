//! MIGRATE (rule 11): keys are serialised and marked under the slot's lock, the lock is let go for the network, and
//! when the target has acknowledged they are deleted and that is logged. Writers of marked keys park meanwhile.

use crate::Engine;
use crate::command::{CommandError, CommandResult};
use crate::effects::Effects;
use crate::keyspace::{Expired, Keys, SlotGuard};
use crate::options::{CROSSING_HOLD_MS, HOLD_MS};
use crate::session::Session;
use node_server_protocol::resp::request::parse_number;
use node_server_protocol::{Millis, Slot};
use node_server_rdb::dump::encode_string_dump;
use std::sync::atomic::Ordering;

/// Most keys of one MIGRATE.
pub const MIGRATE_KEYS_MAX: usize = 100_000;
/// The timeout that stands for zero, in milliseconds (Redis).
const TIMEOUT_DEFAULT_MS: u64 = 1000;

/// A MIGRATE as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrateRequest {
    /// Target host.
    pub host: String,
    /// Target port.
    pub port: u16,
    /// Database at the target.
    pub db: u16,
    /// Longest silence of the target, in milliseconds.
    pub timeout_ms: u64,
    /// Keep the keys here.
    pub copy: bool,
    /// Replace keys at the target.
    pub replace: bool,
    /// AUTH or AUTH2: user (if any) and password for the target.
    pub auth: Option<(Option<Vec<u8>>, Vec<u8>)>,
    /// The keys.
    pub keys: Vec<Vec<u8>>,
}

impl MigrateRequest {
    /// Parses `MIGRATE host port key|"" db timeout [COPY] [REPLACE] [AUTH password] [AUTH2 user password] [KEYS …]`.
    ///
    /// # Errors
    /// Redis's, for bad syntax and numbers.
    pub fn parse(args: &[&[u8]]) -> CommandResult<Self> {
        let text = |at: usize| String::from_utf8_lossy(args[at]).into_owned();
        let number = |at: usize| parse_number(args[at]).ok_or(CommandError::NotInteger);
        let mut request = Self {
            host: text(1),
            port: 0,
            db: 0,
            timeout_ms: 0,
            copy: false,
            replace: false,
            auth: None,
            keys: Vec::new(),
        };
        // Redis looks at the options first, then at timeout and database.
        request.parse_options(args)?;
        let (timeout, db, port) = (number(5)?, number(4)?, number(2)?);
        request.timeout_ms = u64::try_from(timeout).ok().filter(|t| *t > 0).unwrap_or(TIMEOUT_DEFAULT_MS);
        request.db = u16::try_from(db).map_err(|_| CommandError::NotInteger)?;
        request.port = u16::try_from(port).map_err(|_| CommandError::NotInteger)?;
        if request.keys.is_empty() {
            request.keys = vec![args[3].to_vec()];
        }
        Ok(request)
    }

    fn parse_options(&mut self, args: &[&[u8]]) -> CommandResult {
        let mut rest = &args[6..];
        while let Some((word, tail)) = rest.split_first() {
            rest = tail;
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            let mut next = || {
                let (value, tail) = rest.split_first().ok_or(CommandError::Syntax)?;
                rest = tail;
                Ok::<_, CommandError>(value.to_vec())
            };
            if is(b"COPY") {
                self.copy = true;
            } else if is(b"REPLACE") {
                self.replace = true;
            } else if is(b"AUTH") {
                self.auth = Some((None, next()?));
            } else if is(b"AUTH2") {
                self.auth = Some((Some(next()?), next()?));
            } else if is(b"KEYS") {
                if !args[3].is_empty() {
                    return Err(CommandError::text(
                        "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
                    ));
                }
                self.keys = std::mem::take(&mut rest).iter().map(|k| k.to_vec()).collect();
                if self.keys.is_empty() || self.keys.len() > MIGRATE_KEYS_MAX {
                    return Err(CommandError::Syntax);
                }
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(())
    }
}

/// One key on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Its name.
    pub key: Vec<u8>,
    /// When it expires.
    pub expires: Option<Millis>,
    /// DUMP's payload.
    pub payload: Vec<u8>,
    /// The target may have it already, of an earlier try: to be replaced.
    pub replace: bool,
    /// It was deleted here after an earlier try, of which the target may have a copy: to be deleted there.
    pub gone: bool,
}

/// How a key on its way has fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The target has acknowledged it.
    Arrived,
    /// It was not sent, or refused.
    Stayed,
    /// It was sent and not answered.
    Unclear,
}

impl From<bool> for Fate {
    /// Acknowledged or not.
    fn from(acknowledged: bool) -> Self {
        if acknowledged { Self::Arrived } else { Self::Unclear }
    }
}

/// Keys on their way. Give it to [`Engine::migrate_end`], whatever has happened.
#[must_use = "the keys stay marked until migrate_end"]
#[derive(Debug)]
pub struct Migration {
    /// The keys that are there, in the order of the request.
    pub keys: Vec<Leaving>,
    /// End of the log when they were marked: nothing behind it changes them.
    pub written: u64,
    slot: Slot,
    id: u64,
    copy: bool,
    send_by: Millis,
}

/// What [`Engine::migrate_begin`] says.
#[derive(Debug)]
pub enum MigrateBegin {
    /// Send the keys.
    Send(Migration),
    /// None of the keys exists: reply `+NOKEY`.
    NoKey,
    /// The slot is locked, or one of the keys is already on its way: try again in a while.
    Busy,
}

/// A pause or barrier of writes: the keys stay marked, call again in a while.
#[derive(Debug, thiserror::Error)]
#[error("writes are held back; end the migration again in a while")]
pub struct WritesHeldBack(pub Migration);

impl Leaving {
    /// A key whose deletion is to be repeated at the target.
    fn gone(key: &[u8]) -> Self {
        let mut payload = Vec::new();
        encode_string_dump(&mut payload, b"", false);
        Self { key: key.to_vec(), expires: None, payload, replace: true, gone: true }
    }

    /// Milliseconds to live, as RESTORE takes them: 0 for no expiry. `None`: it is gone, and is to be gone at the target.
    #[must_use]
    pub fn ttl_ms(&self, now: Millis) -> Option<u64> {
        let left = self.expires.map(|at| at.since(now));
        (!self.gone && left != Some(0)).then(|| left.unwrap_or(0))
    }
}

impl Engine {
    /// Serialises the keys and, unless they are copied, marks them: until [`Engine::migrate_end`] they can be read and
    /// not written.
    ///
    /// # Errors
    /// The reply to send: keys in different slots, or a slot that this node does not own.
    pub fn migrate_begin(
        &self,
        request: &MigrateRequest,
        db: u16,
        now: Millis,
    ) -> CommandResult<MigrateBegin> {
        let mut session = Session::master();
        session.db = db;
        let slot = self.slot_of(&session, request.keys.iter().map(Vec::as_slice))?;
        let Some(slot) = slot else { return Ok(MigrateBegin::NoKey) };
        let Some(mut guard) = self.keyspace.try_lock(slot) else { return Ok(MigrateBegin::Busy) };
        self.answers_for(&guard)?;
        let on_their_way = |t: &crate::keyspace::SlotTable| request.keys.iter().any(|key| t.is_leaving(key));
        if guard.table().is_some_and(|t| t.leaving() > 0 && on_their_way(t)) {
            return Ok(MigrateBegin::Busy);
        }
        let mut none = Effects::off();
        let view = Keys::new(&self.keyspace, &mut guard, &mut none, now, Expired::Hide, &session);
        let mut keys: Vec<Leaving> = Vec::with_capacity(request.keys.len());
        for key in &request.keys {
            let replace = view.is_unclear(key);
            let Some(entry) = view.peek(key) else {
                if replace && !request.copy {
                    keys.push(Leaving::gone(key));
                }
                continue;
            };
            let mut payload = Vec::new();
            entry
                .value()
                .put_dump(&mut payload, self.compresses_rdb())
                .map_err(|error| CommandError::text(format!("ERR {error}")))?;
            let expires = entry.expire_at();
            keys.push(Leaving { key: key.clone(), expires, payload, replace, gone: false });
        }
        if keys.is_empty() {
            return Ok(MigrateBegin::NoKey);
        }
        let id = self.next_move();
        if !request.copy {
            let table = guard.table_mut();
            // A key that is named twice is sent once.
            keys.retain(|leaving| table.mark_leaving(&leaving.key, id));
            self.leaving.fetch_add(keys.len(), Ordering::SeqCst);
        }
        let written = self.log.end();
        let send_by = now.after(if self.acks.in_sync() > 0 { CROSSING_HOLD_MS } else { HOLD_MS });
        Ok(MigrateBegin::Send(Migration { keys, written, slot, id, copy: request.copy, send_by }))
    }

    /// Whether the keys may be sent: a replica in sync has them, and all that was written before. Otherwise, were this node
    /// to die and the replica to take over, the target's part of an MSET would be the new one and the rest the old one.
    /// A replica that does not acknowledge holds them up for [`CROSSING_HOLD_MS`], one that lives and is out of sync for
    /// [`HOLD_MS`]. Nothing is sent while writes are held back, for another master may be about to take over.
    #[must_use]
    pub fn may_send(&self, migration: &Migration, now: Millis) -> bool {
        let replicated =
            || !self.acks.holds() || self.acks.furthest() >= migration.written || now >= migration.send_by;
        migration.copy || (!self.gate.is_closed() && replicated())
    }

    /// After a wait for [`Self::may_send`]: whether this node still answers for the keys. `None`: the slot is locked, ask
    /// again in a while.
    #[must_use]
    pub fn still_answers_for(&self, migration: &Migration) -> Option<CommandResult> {
        self.keyspace.try_lock(migration.slot).map(|guard| self.answers_for(&guard))
    }

    fn answers_for(&self, guard: &SlotGuard<'_>) -> CommandResult {
        if guard.state().writable() {
            return Ok(());
        }
        let not_served = CommandError::text("CLUSTERDOWN Hash slot not served");
        Err(self.moved_to(&Session::master(), guard.slot()).unwrap_or(not_served))
    }

    /// Ends a migration: keys that have arrived are deleted here (unless copied); the others stay, whatever the target
    /// has made of them. Where that is unclear this node goes on answering for the key even when it is deleted, until
    /// another MIGRATE has settled it: a copy at the target must not come to life. Writers that waited go on. Waits
    /// for the slot: not on a data thread. Returns the log offset behind the deletion, if there was one.
    ///
    /// # Errors
    /// Writes are held back: call again with what the error gives back.
    #[allow(clippy::result_large_err, reason = "the migration has to come back to be ended later")]
    pub fn migrate_end<F: Into<Fate>>(
        &self,
        migration: Migration,
        fate: impl Fn(usize) -> F,
        now: Millis,
    ) -> Result<Option<u64>, WritesHeldBack> {
        if migration.copy {
            return Ok(None);
        }
        let mut guard = self.keyspace.lock(migration.slot);
        let arrived: Vec<&[u8]> = migration
            .keys
            .iter()
            .enumerate()
            .filter(|(n, leaving)| {
                fate(*n).into() == Fate::Arrived && guard.table().is_some_and(|t| t.is_leaving(&leaving.key))
            })
            .map(|(_, leaving)| leaving.key.as_slice())
            .collect();
        if self.gate.is_closed() && !arrived.is_empty() && guard.state().writable() {
            drop(guard);
            return Err(WritesHeldBack(migration));
        }
        let mut offset = None;
        if guard.state().writable() && !arrived.is_empty() {
            offset = self.delete_arrived(&mut guard, &arrived, now);
        }
        for (n, leaving) in migration.keys.iter().enumerate() {
            let table = guard.table_mut();
            match fate(n).into() {
                Fate::Arrived => table.settle(&leaving.key),
                // Void when the keys have become others meanwhile.
                Fate::Unclear if table.is_leaving(&leaving.key) => table.mark_unclear(&leaving.key),
                Fate::Unclear | Fate::Stayed => {}
            }
            table.unmark_leaving(&leaving.key, migration.id);
        }
        self.leaving.fetch_sub(migration.keys.len(), Ordering::SeqCst);
        if let Some(offset) = offset {
            guard.table_mut().set_crossed_at(offset);
        }
        guard.wake_leaving();
        drop(guard);
        if offset.is_some() {
            self.host.log_grew();
        }
        Ok(offset)
    }

    fn delete_arrived<'k>(
        &'k self,
        guard: &mut SlotGuard<'k>,
        arrived: &[&[u8]],
        now: Millis,
    ) -> Option<u64> {
        let mut session = Session::master();
        session.origin = crate::session::Origin::Client;
        let mut effects = Effects::new(Vec::new());
        let mut keys = Keys::new(&self.keyspace, guard, &mut effects, now, Expired::Ignore, &session);
        let mut record: Vec<&[u8]> = vec![b"DEL"];
        record.extend(arrived.iter().filter(|key| keys.remove(key).is_some()));
        if record.len() > 1 {
            keys.effects().push(&record);
        }
        let logged = self.log_effects(&mut session, guard, &mut effects);
        (logged && !effects.is_empty()).then_some(session.last_write)
    }
}

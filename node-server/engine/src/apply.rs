//! The replica's applier (rule 5): the master's stream is applied in order by one caller, and logged byte for byte.

use crate::Engine;
use crate::command::call::Access;
use crate::command::keys::key_indexes;
use crate::command::table::{Command, by_name, lookup};
use crate::command::{NodeCall, Run};
use crate::effects::Effects;
use crate::execute::Request;
use crate::keyspace::AllSlots;
use crate::options::BARRIER_TRIES;
use crate::session::Session;
use crate::undo::Undo;
use node_server_protocol::resp::request::parse_number;
use node_server_protocol::resp::{Limits, Parsed, ReplyWriter, RequestError, parse_request};
use node_server_protocol::{Millis, Slot};
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

type Args<'b> = SmallVec<[&'b [u8]; 8]>;

/// The place in a master's stream: one for each link.
#[derive(Debug)]
pub struct Applier {
    session: Session,
    reply: Vec<u8>,
}

impl Default for Applier {
    fn default() -> Self {
        Self { session: Session::master(), reply: Vec::new() }
    }
}

impl Applier {
    /// For a stream that goes on where `db` is selected.
    #[must_use]
    pub fn in_database(db: u16) -> Self {
        let mut applier = Self::default();
        applier.session.db = db;
        applier
    }

    /// The database that is selected now.
    #[must_use]
    pub fn database(&self) -> u16 {
        self.session.db
    }
}

/// How far [`Engine::apply`] has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Bytes that were applied and logged; give the rest again, with more behind it.
    pub consumed: usize,
    /// The last thing applied was REPLCONF GETACK: answer with `log().end()`, then go on.
    pub get_ack: bool,
    /// A slot is locked or writes are held back: go on in a while.
    pub busy: bool,
    /// CLUSTER SETSLOT records, for the cluster core.
    pub set_slots: Vec<Vec<Vec<u8>>>,
}

/// The stream cannot be applied: the data may differ from the master's. Start a full sync.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Bytes that are no commands.
    #[error("the master's stream is broken at offset {offset}: {error}")]
    Broken {
        /// Where.
        offset: u64,
        /// How.
        error: RequestError,
    },
    /// A command that this version does not know.
    #[error(
        "the master sent '{0}', which this version does not know; neither it nor what stands behind it was applied"
    )]
    Unknown(String),
    /// A command that failed here and not at the master.
    #[error("the master's '{command}' failed here: {error}; the data differs")]
    Failed {
        /// Its name.
        command: String,
        /// The reply.
        error: String,
    },
}

/// One piece of the stream: a command, or everything from MULTI to EXEC.
struct Piece<'b> {
    commands: Vec<Args<'b>>,
    len: usize,
}

enum Step {
    Done,
    Busy,
    GetAck,
    SetSlot(Vec<Vec<u8>>),
}

impl Engine {
    /// Applies as much of the master's stream as is complete. What is between MULTI and EXEC is applied at once, so
    /// `bytes` has to hold all of it. Never waits.
    ///
    /// # Errors
    /// The stream cannot be applied; what stands before the error has been, but nothing of the transaction that it is in.
    pub fn apply(&self, applier: &mut Applier, bytes: &[u8], now: Millis) -> Result<Applied, ApplyError> {
        let mut applied = Applied::default();
        while let Some(piece) = next_piece(&bytes[applied.consumed..], self.log.end())? {
            let raw = &bytes[applied.consumed..applied.consumed + piece.len];
            match self.apply_piece(applier, &piece, raw, now)? {
                Step::Busy => {
                    applied.busy = true;
                    break;
                }
                Step::Done => {}
                Step::GetAck => applied.get_ack = true,
                Step::SetSlot(args) => applied.set_slots.push(args),
            }
            applied.consumed += piece.len;
            if applied.get_ack {
                break;
            }
        }
        if applied.consumed > 0 {
            self.host.log_grew();
        }
        Ok(applied)
    }

    fn apply_piece(
        &self,
        applier: &mut Applier,
        piece: &Piece<'_>,
        raw: &[u8],
        now: Millis,
    ) -> Result<Step, ApplyError> {
        if let [args] = piece.commands.as_slice()
            && let Some(step) = self.apply_plain(applier, args, raw)?
        {
            return Ok(step);
        }
        if !self.run_piece(applier, &piece.commands, Some(raw), now)? {
            return Ok(Step::Busy);
        }
        self.changes.fetch_add(piece.commands.len() as u64, Ordering::Relaxed);
        Ok(Step::Done)
    }

    /// Runs commands at once, and logs `raw` for them. False: a slot is locked or writes are held back.
    fn run_piece(
        &self,
        applier: &mut Applier,
        piece: &[Args<'_>],
        raw: Option<&[u8]>,
        now: Millis,
    ) -> Result<bool, ApplyError> {
        let mut commands = Vec::with_capacity(piece.len());
        let mut slots = BTreeSet::new();
        let first_db = applier.session.db;
        let mut db = first_db;
        for args in piece {
            let command = find(args)?;
            if command.spec.name == "select" {
                db = self.database(args)?;
            }
            applier.session.db = db;
            self.slots_of(&applier.session, command, args, &mut slots)?;
            commands.push((command, db, args));
        }
        // Tried again from the beginning, in the database in which the piece begins.
        applier.session.db = first_db;
        let Some(mut locks) = self.keyspace.try_lock_all(slots.into_iter()) else { return Ok(false) };
        if self.gate.is_closed() {
            return Ok(false);
        }
        self.run_commands(applier, &commands, &mut locks, now)?;
        // With the locks: whoever closes the gate and finds nobody inside reads the end of the log, be it for a snapshot.
        if let Some(raw) = raw {
            self.log.append_verbatim(raw, applier.session.db, || true);
        }
        Ok(true)
    }

    /// Runs commands with their databases: all of them, or none.
    fn run_commands<'k>(
        &'k self,
        applier: &mut Applier,
        commands: &[(&'static Command, u16, &Args<'_>)],
        locks: &mut AllSlots<'k>,
        now: Millis,
    ) -> Result<(), ApplyError> {
        let mut undo = Undo::default();
        for (at, &(command, db, args)) in commands.iter().enumerate() {
            applier.session.db = db;
            // One that fails has changed nothing, so the last need not be taken back.
            let remembered = match at + 1 < commands.len() {
                true => undo.remember(self, &applier.session, (command, args), locks, now),
                false => Ok(()),
            };
            let run = match remembered {
                Ok(()) => self.apply_command(applier, command, args, locks, now),
                Err(error) => Err(failed(args, &error.to_string())),
            };
            if let Err(error) = run {
                undo.take_back(self, &applier.session, locks, now);
                return Err(error);
            }
            // As in Redis, INFO commandstats counts what a master sends, and not what a file holds.
            command.calls.fetch_add(u64::from(!self.is_loading_files()), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Runs what an append-only file holds, in order; MULTI and EXEC are passed over, as is what changes nothing and runs
    /// in the shell. Nothing is logged. Waits for a slot that somebody holds (DEBUG SLEEP-SLOT): not on a data thread.
    ///
    /// # Errors
    /// A command is not known or fails, or its slot was held for too long; those before it have been run.
    pub fn replay(
        &self,
        applier: &mut Applier,
        commands: &[Vec<Vec<u8>>],
        now: Millis,
    ) -> Result<(), ApplyError> {
        for command in commands {
            let args: Args<'_> = command.iter().map(Vec::as_slice).collect();
            let is = |name: &[u8]| args.first().is_some_and(|a| a.eq_ignore_ascii_case(name));
            if is(b"SELECT") {
                applier.session.db = self.database(&args)?;
            } else if !is(b"MULTI") && !is(b"EXEC") {
                match self.replay_piece(applier, &args, now) {
                    // Redis runs CLUSTER SLOTS and the like when they stand in a file: they change nothing.
                    Err(ApplyError::Unknown(_)) if lookup(&args).is_ok_and(|c| !c.spec.is_write()) => {}
                    other => other?,
                }
            }
        }
        Ok(())
    }

    fn replay_piece(&self, applier: &mut Applier, args: &Args<'_>, now: Millis) -> Result<(), ApplyError> {
        for _ in 0..BARRIER_TRIES {
            if self.run_piece(applier, std::slice::from_ref(args), None, now)? {
                return Ok(());
            }
            self.host.pause(1);
        }
        Err(failed(args, "ERR a slot is in use"))
    }

    /// Records that touch no key.
    fn apply_plain(
        &self,
        applier: &mut Applier,
        args: &Args<'_>,
        raw: &[u8],
    ) -> Result<Option<Step>, ApplyError> {
        let is = |at: usize, name: &[u8]| args.get(at).is_some_and(|a| a.eq_ignore_ascii_case(name));
        let step = if is(0, b"PING") || is(0, b"SELECT") {
            Step::Done
        } else if is(0, b"REPLCONF") && is(1, b"GETACK") {
            Step::GetAck
        } else if is(0, b"CLUSTER") && is(1, b"SETSLOT") {
            Step::SetSlot(args.iter().map(|a| a.to_vec()).collect())
        } else {
            return Ok(None);
        };
        let may_log = || !self.gate.is_closed();
        // A database holds for the file as well.
        let logged = if is(0, b"SELECT") {
            let db = self.database(args)?;
            let logged = self.log.append_verbatim(raw, db, may_log);
            if logged.is_some() {
                applier.session.db = db;
            }
            logged
        } else {
            self.log.append_plain(raw, may_log)
        };
        Ok(Some(logged.map_or(Step::Busy, |_| step)))
    }

    fn database(&self, args: &Args<'_>) -> Result<u16, ApplyError> {
        let number = args.get(1).and_then(|a| parse_number(a)).and_then(|n| u16::try_from(n).ok());
        number.filter(|db| *db < self.databases()).ok_or_else(|| failed(args, "ERR DB index is out of range"))
    }

    fn slots_of(
        &self,
        session: &Session,
        command: &Command,
        args: &Args<'_>,
        slots: &mut BTreeSet<Slot>,
    ) -> Result<(), ApplyError> {
        if matches!(command.spec.run, Run::Node(_)) {
            slots.extend(Slot::all().take(usize::from(self.slots())));
            return Ok(());
        }
        // A foreign command may have keys in several slots.
        for at in key_indexes(command.spec, args) {
            let slot = self.slot_of(session, std::iter::once(args[at]));
            slots.extend(slot.map_err(|error| failed(args, &error.to_string()))?);
        }
        Ok(())
    }

    fn apply_command<'k>(
        &'k self,
        applier: &mut Applier,
        command: &'static Command,
        args: &Args<'_>,
        locks: &mut AllSlots<'k>,
        now: Millis,
    ) -> Result<(), ApplyError> {
        let mut effects = Effects::off();
        applier.reply.clear();
        let Applier { session, reply } = applier;
        let result = match command.spec.run {
            Run::Slot(_) => {
                let keys = key_indexes(command.spec, args);
                let slot = self.slot_of(session, keys.iter().map(|at| args[*at]));
                let slot = slot.map_err(|error| failed(args, &error.to_string()))?;
                let Some(guard) = slot.and_then(|slot| locks.get(slot)) else {
                    return Err(failed(args, "ERR syntax error"));
                };
                let request = Request { command, args, now, offloaded: false, place: None };
                self.run_handler(session, &request, guard, &mut effects, reply)
            }
            Run::Node(handler) => {
                let reply = ReplyWriter::new(reply, session.protocol);
                let access = Access::Held(locks, &mut effects);
                handler(&mut NodeCall { args, now, reply, session, engine: self, access })
            }
            _ if command.spec.name == "select" => Ok(()),
            _ => return Err(ApplyError::Unknown(name_of(args))),
        };
        result.map_err(|error| failed(args, &error.to_string()))
    }
}

fn find(args: &Args<'_>) -> Result<&'static Command, ApplyError> {
    lookup(args).map_err(|error| match args.first().and_then(|name| by_name(name)) {
        None => ApplyError::Unknown(name_of(args)),
        // A subcommand that is not known, or a wrong number of arguments.
        Some(_) => failed(args, &error.to_string()),
    })
}

fn name_of(args: &Args<'_>) -> String {
    String::from_utf8_lossy(args.first().copied().unwrap_or_default()).into_owned()
}

fn failed(args: &Args<'_>, error: &str) -> ApplyError {
    ApplyError::Failed { command: name_of(args), error: error.to_owned() }
}

/// The next whole piece at the front of `bytes`, whose first byte is at `offset`.
fn next_piece(bytes: &[u8], offset: u64) -> Result<Option<Piece<'_>>, ApplyError> {
    let Some((first, mut len)) = next_command(bytes, offset)? else { return Ok(None) };
    if !first.first().is_some_and(|name| name.eq_ignore_ascii_case(b"MULTI")) {
        return Ok(Some(Piece { commands: vec![first], len }));
    }
    let mut commands = Vec::new();
    loop {
        let Some((args, used)) = next_command(&bytes[len..], offset + len as u64)? else { return Ok(None) };
        len += used;
        if args.first().is_some_and(|name| name.eq_ignore_ascii_case(b"EXEC")) {
            return Ok(Some(Piece { commands, len }));
        }
        commands.push(args);
    }
}

fn next_command(bytes: &[u8], offset: u64) -> Result<Option<(Args<'_>, usize)>, ApplyError> {
    let broken = |error| ApplyError::Broken { offset, error };
    match parse_request(bytes, &Limits::default()).map_err(broken)? {
        Parsed::Incomplete { .. } => Ok(None),
        Parsed::Request { args, consumed } if !args.is_empty() => Ok(Some((args, consumed))),
        Parsed::Request { .. } | Parsed::Inline { .. } => Err(broken(RequestError::ArgumentCount)),
    }
}

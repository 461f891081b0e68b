//! The one table: finds a command by its name.

use super::error::{CommandError, CommandResult, unknown_command, unknown_subcommand};
use super::spec::Spec;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Slices of the table, one for each file of commands.
const SLICES: &[&[Spec]] = &[
    super::cluster::TABLE,
    super::connection::TABLE,
    super::containers::TABLE,
    super::generic::TABLE,
    super::introspection::TABLE,
    super::replication::TABLE,
    super::server::TABLE,
    super::strings::TABLE,
    super::transactions::TABLE,
    super::whole::TABLE,
];

/// A command or subcommand in the table, with its counters.
pub struct Command {
    /// What is known about it.
    pub spec: &'static Spec,
    /// How often it was run.
    pub calls: AtomicU64,
    /// How often it was refused before it ran.
    pub rejected: AtomicU64,
    /// How often it answered with an error.
    pub failed: AtomicU64,
    /// Its subcommands by their own names.
    pub subcommands: BTreeMap<&'static str, Command>,
}

impl Command {
    fn new(spec: &'static Spec) -> Self {
        let own_name = |s: &'static Spec| s.name.split_once('|').map_or(s.name, |(_, own)| own);
        let subcommands = spec.subcommands.iter().map(|s| (own_name(s), Self::new(s))).collect();
        let zero = AtomicU64::default;
        Self { spec, calls: zero(), rejected: zero(), failed: zero(), subcommands }
    }

    /// CONFIG RESETSTAT.
    pub fn reset_counters(&self) {
        for counter in [&self.calls, &self.rejected, &self.failed] {
            counter.store(0, Ordering::Relaxed);
        }
        self.subcommands.values().for_each(Self::reset_counters);
    }
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::new);

/// Longest name in the table.
const NAME_MAX: usize = 32;
/// Places of the open-addressing index; at least twice the number of commands.
const PLACES: usize = 1024;

struct Table {
    commands: Vec<Command>,
    index: Vec<u16>,
}

impl Table {
    fn new() -> Self {
        let mut commands: Vec<Command> = SLICES.iter().copied().flatten().map(Command::new).collect();
        commands.sort_by_key(|c| c.spec.name);
        assert!(commands.len() * 2 <= PLACES, "PLACES has to grow with the table");
        let mut index = vec![u16::MAX; PLACES];
        for (number, command) in commands.iter().enumerate() {
            let mut at = place(command.spec.name.as_bytes());
            while index[at] != u16::MAX {
                at = (at + 1) % PLACES;
            }
            index[at] = number as u16;
        }
        Self { commands, index }
    }

    fn find(&self, name: &[u8]) -> Option<&Command> {
        if name.len() > NAME_MAX {
            return None;
        }
        let mut at = place(name);
        while let Some(command) = self.commands.get(usize::from(self.index[at])) {
            if name.eq_ignore_ascii_case(command.spec.name.as_bytes()) {
                return Some(command);
            }
            at = (at + 1) % PLACES;
        }
        None
    }
}

/// The first place of a name, whatever its case (FNV-1a over letters without their case bit).
fn place(name: &[u8]) -> usize {
    let hash = name.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte | 0x20)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 32)) as usize % PLACES
}

/// Every command, by name.
pub fn all() -> impl ExactSizeIterator<Item = &'static Command> {
    TABLE.commands.iter()
}

/// A command by its name alone, in any case.
#[must_use]
pub fn by_name(name: &[u8]) -> Option<&'static Command> {
    TABLE.find(name)
}

/// The command or subcommand that a request names.
///
/// # Errors
/// There is none, or the number of arguments is wrong.
pub fn lookup(args: &[&[u8]]) -> CommandResult<&'static Command> {
    let mut command = by_name(args[0]).ok_or_else(|| unknown_command(args))?;
    if !command.subcommands.is_empty()
        && let Some(name) = args.get(1)
    {
        let container = command.spec.name;
        command = subcommand(command, name).ok_or_else(|| unknown_subcommand(container, name))?;
    }
    if command.spec.accepts(args.len()) {
        Ok(command)
    } else {
        command.rejected.fetch_add(1, Ordering::Relaxed);
        Err(CommandError::Arity(command.spec.name))
    }
}

/// The command or subcommand that a request names, if it can be run; counts nothing.
#[must_use]
pub fn recognise(args: &[&[u8]]) -> Option<&'static Command> {
    let command = by_name(args.first()?)?;
    let named = args.get(1).filter(|_| !command.subcommands.is_empty());
    let command = named.map_or(Some(command), |name| subcommand(command, name))?;
    command.spec.accepts(args.len()).then_some(command)
}

/// A subcommand by its name in any case.
#[must_use]
pub fn subcommand(command: &'static Command, name: &[u8]) -> Option<&'static Command> {
    command.subcommands.iter().find(|(own, _)| name.eq_ignore_ascii_case(own.as_bytes())).map(|(_, c)| c)
}

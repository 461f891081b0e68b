//! COMMAND LIST.

use super::categories;
use crate::command::table::{Command, all};
use crate::command::{CommandError, CommandResult};
use crate::glob;

/// Which names are wanted.
pub(super) enum Filter {
    /// All.
    Everything,
    /// Those of a module: there are no modules.
    Module,
    /// Those of an ACL category.
    Category(String),
    /// Those that match a pattern; in lower case.
    Pattern(Vec<u8>),
}

impl Filter {
    pub(super) fn parse(args: &[&[u8]]) -> CommandResult<Self> {
        let [filter, kind, value] = args else {
            return if args.is_empty() { Ok(Self::Everything) } else { Err(CommandError::Syntax) };
        };
        if !filter.eq_ignore_ascii_case(b"FILTERBY") {
            return Err(CommandError::Syntax);
        }
        match kind.to_ascii_uppercase().as_slice() {
            b"MODULE" => Ok(Self::Module),
            b"ACLCAT" => Ok(Self::Category(String::from_utf8_lossy(value).to_ascii_lowercase())),
            b"PATTERN" => Ok(Self::Pattern(value.to_ascii_lowercase())),
            _ => Err(CommandError::Syntax),
        }
    }

    fn takes(&self, command: &Command) -> bool {
        match self {
            Self::Everything => true,
            Self::Module => false,
            Self::Category(wanted) => categories(command.spec).any(|category| category == wanted),
            Self::Pattern(pattern) => glob::matches(pattern, command.spec.name.as_bytes()),
        }
    }
}

/// The names that a filter takes, subcommands' included.
pub(super) fn names(filter: &Filter) -> Vec<&'static str> {
    let everything = all().flat_map(|c| std::iter::once(c).chain(c.subcommands.values()));
    everything.filter(|c| filter.takes(c)).map(|c| c.spec.name).collect()
}

//! ACL categories of a command: some follow from its flags and group, the rest stands in its row.

use crate::command::spec::{Flags, Group, Spec};

/// Every category, in the order in which COMMAND INFO names them.
const ALL: &[&str] = &[
    "keyspace",
    "read",
    "write",
    "string",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
];

fn belongs(spec: &Spec, category: &str) -> bool {
    let has = |flag| spec.flags.has(flag);
    let implied = match category {
        "read" => has(Flags::READONLY),
        "write" => has(Flags::WRITE),
        "string" => spec.group == Group::String,
        "admin" | "dangerous" => has(Flags::ADMIN),
        "fast" => has(Flags::FAST),
        "slow" => !has(Flags::FAST),
        "blocking" => has(Flags::BLOCKING),
        // Of the subcommands, not of what contains them.
        "connection" => spec.group == Group::Connection && spec.subcommands.is_empty(),
        "transaction" => spec.group == Group::Transactions,
        _ => false,
    };
    implied || spec.categories.contains(&category)
}

/// The categories of a command, without `@`.
pub fn categories(spec: &Spec) -> impl Iterator<Item = &'static str> {
    ALL.iter().copied().filter(|category| belongs(spec, category))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::all;

    #[test]
    fn rows_name_only_categories_that_there_are() {
        let subcommands = |c: &'static crate::command::Command| c.subcommands.values();
        for command in all().flat_map(|c| std::iter::once(c).chain(subcommands(c))) {
            for category in command.spec.categories {
                assert!(ALL.contains(category), "{}: {category}", command.spec.name);
            }
        }
    }
}

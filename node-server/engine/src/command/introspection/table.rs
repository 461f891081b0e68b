//! COMMAND's rows.

use super::handlers::{
    command, count, docs_of_some, get_keys, get_keys_and_flags, help, info_of_some, list_names,
};
use crate::command::arguments::{one_of, pattern, text};
use crate::command::spec::{Argument, Flags, Group, Run, Spec};

const SERVER: Spec = Spec {
    flags: Flags::LOADING.with(Flags::STALE),
    categories: &["connection"],
    group: Group::Server,
    since: "7.0.0",
    ..Spec::BASE
};
const NAMES: &[Argument] = &[text("command-name").any_number()];
const WHOLE_COMMAND: &[Argument] = &[text("command"), text("arg").any_number()];
const UNORDERED: &[&str] = &["nondeterministic_output_order"];

/// COMMAND.
pub const TABLE: &[Spec] = &[Spec {
    name: "command",
    arity: -1,
    since: "2.8.13",
    complexity: "O(N), N being the number of commands",
    summary: "Describes every command for programs.",
    tips: UNORDERED,
    subcommands: SUBCOMMANDS,
    run: Run::Session(command),
    ..SERVER
}];

const SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "command|count",
        arity: 2,
        since: "2.8.13",
        summary: "Counts the commands.",
        run: Run::Session(count),
        ..SERVER
    },
    Spec {
        name: "command|docs",
        arity: -2,
        complexity: "O(N), N being the number of commands asked for",
        summary: "Describes commands for people.",
        tips: UNORDERED,
        arguments: NAMES,
        run: Run::Session(docs_of_some),
        ..SERVER
    },
    Spec {
        name: "command|getkeys",
        arity: -3,
        since: "2.8.13",
        complexity: "O(N), N being the number of arguments",
        summary: "Says which arguments of a command are keys.",
        arguments: WHOLE_COMMAND,
        run: Run::Session(get_keys),
        ..SERVER
    },
    Spec {
        name: "command|getkeysandflags",
        arity: -3,
        complexity: "O(N), N being the number of arguments",
        summary: "Says which arguments of a command are keys, and what is done with them.",
        arguments: WHOLE_COMMAND,
        run: Run::Session(get_keys_and_flags),
        ..SERVER
    },
    Spec {
        name: "command|help",
        arity: 2,
        since: "5.0.0",
        summary: "Answers with a list of the subcommands.",
        run: Run::Session(help),
        ..SERVER
    },
    Spec {
        name: "command|info",
        arity: -2,
        since: "2.8.13",
        complexity: "O(N), N being the number of commands asked for",
        summary: "Describes commands for programs.",
        tips: UNORDERED,
        arguments: NAMES,
        run: Run::Session(info_of_some),
        ..SERVER
    },
    Spec {
        name: "command|list",
        arity: -2,
        complexity: "O(N), N being the number of commands",
        summary: "Names the commands.",
        tips: UNORDERED,
        arguments: &[one_of(
            "filterby",
            &[
                text("module-name").after("MODULE"),
                text("category").after("ACLCAT"),
                pattern("pattern").after("PATTERN"),
            ],
        )
        .after("FILTERBY")
        .optional()],
        run: Run::Session(list_names),
        ..SERVER
    },
];

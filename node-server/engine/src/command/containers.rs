//! The rows of CLIENT, CONFIG, LATENCY and SLOWLOG, which the shell answers.

use super::arguments::{block, integer, one_of, text, word};
use super::spec::{Argument, Flags, Group, Run, Spec};
use crate::HostCommand;

const HELP: Flags = Flags::LOADING.with(Flags::STALE);
const OWN: Flags = HELP.with(Flags::NOSCRIPT);
const ADMIN: Flags = OWN.with(Flags::ADMIN);
const LOG: Flags = HELP.with(Flags::ADMIN);

const CONNECTION: &[&str] = &["connection"];
const VARIES: &[&str] = &["nondeterministic_output"];
const TO_ALL: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];
const FROM_ALL: &[&str] = &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];
const PER_CONNECTION: &str = "O(N), N being the number of connections";
const LIST_OF_SUBCOMMANDS: &str = "Answers with a list of the subcommands.";

const CONTAINER: Spec =
    Spec { arity: -2, group: Group::Server, complexity: "Depends on the subcommand.", ..Spec::BASE };

/// The containers.
pub const TABLE: &[Spec] = &[
    Spec {
        name: "client",
        group: Group::Connection,
        since: "2.4.0",
        summary: "Connections: this one and the others.",
        subcommands: CLIENT,
        ..CONTAINER
    },
    Spec { name: "config", since: "2.0.0", summary: "The configuration.", subcommands: CONFIG, ..CONTAINER },
    Spec {
        name: "latency",
        since: "2.8.13",
        summary: "Events that took long.",
        subcommands: LATENCY,
        ..CONTAINER
    },
    Spec {
        name: "slowlog",
        since: "2.2.12",
        summary: "Commands that took long.",
        subcommands: SLOWLOG,
        ..CONTAINER
    },
];

/// A subcommand of CLIENT. Which subcommands are there is what the shell can answer.
const fn client(name: &'static str, arity: i32, since: &'static str, flags: Flags) -> Spec {
    Spec {
        name,
        arity,
        since,
        flags,
        categories: CONNECTION,
        group: Group::Connection,
        run: Run::Host(HostCommand::Client),
        ..Spec::BASE
    }
}

const SWITCH: &[Argument] = &[one_of("enabled", &[word("on", "ON"), word("off", "OFF")])];
const TYPES: &[Argument] = &[
    word("normal", "NORMAL"),
    word("master", "MASTER"),
    word("replica", "REPLICA"),
    word("pubsub", "PUBSUB"),
];
const FILTERS: &[Argument] = &[
    integer("client-id").after("ID").optional(),
    one_of("client-type", TYPES).after("TYPE").optional(),
    text("username").after("USER").optional(),
    text("addr").after("ADDR").optional(),
    text("laddr").after("LADDR").optional(),
    one_of("skipme", &[word("yes", "YES"), word("no", "NO")]).after("SKIPME").optional(),
];

const CLIENT: &[Spec] = &[
    Spec { summary: "Answers with the name.", ..client("client|getname", 2, "2.6.9", OWN) },
    Spec { summary: LIST_OF_SUBCOMMANDS, ..client("client|help", 2, "5.0.0", HELP) },
    Spec { summary: "Answers with the number.", ..client("client|id", 2, "5.0.0", OWN) },
    Spec {
        summary: "Answers with what is known about the connection.",
        tips: VARIES,
        ..client("client|info", 2, "6.2.0", OWN)
    },
    Spec {
        complexity: PER_CONNECTION,
        summary: "Ends connections.",
        arguments: &[one_of("filter", &[text("old-format"), block("new-format", FILTERS).multiple()])],
        ..client("client|kill", -3, "2.4.0", ADMIN)
    },
    Spec {
        complexity: PER_CONNECTION,
        summary: "Answers with what is known about connections.",
        tips: VARIES,
        arguments: &[
            one_of("client-type", TYPES).after("TYPE").optional(),
            integer("client-id").multiple().after("ID").optional(),
        ],
        ..client("client|list", -2, "2.4.0", ADMIN)
    },
    Spec {
        summary: "Keeps the connection when memory is short.",
        arguments: SWITCH,
        ..client("client|no-evict", 3, "7.0.0", ADMIN)
    },
    Spec {
        summary: "Lets reads leave no trace in when a key was used.",
        arguments: SWITCH,
        ..client("client|no-touch", 3, "7.2.0", OWN)
    },
    Spec {
        summary: "Tells which library the client uses.",
        tips: TO_ALL,
        arguments: &[one_of("attr", &[text("libname").after("LIB-NAME"), text("libver").after("LIB-VER")])],
        ..client("client|setinfo", 4, "7.2.0", OWN)
    },
    Spec {
        summary: "Names the connection.",
        tips: TO_ALL,
        arguments: &[text("connection-name")],
        ..client("client|setname", 3, "2.6.9", OWN)
    },
    Spec {
        summary: "Turns client side caching off; it cannot be turned on yet.",
        arguments: &[one_of("status", &[word("on", "ON"), word("off", "OFF")])],
        ..client("client|tracking", -3, "6.0.0", OWN)
    },
];

/// A subcommand of CONFIG, LATENCY or SLOWLOG.
const fn server(
    name: &'static str,
    arity: i32,
    since: &'static str,
    flags: Flags,
    host: HostCommand,
) -> Spec {
    Spec { name, arity, since, flags, group: Group::Server, run: Run::Host(host), ..Spec::BASE }
}

const CONFIG: &[Spec] = &[
    Spec {
        complexity: "O(N), N being the number of directives",
        summary: "Answers with directives and their values.",
        arguments: &[text("parameter").multiple()],
        ..server("config|get", -3, "2.0.0", ADMIN, HostCommand::Config)
    },
    Spec { summary: LIST_OF_SUBCOMMANDS, ..server("config|help", 2, "5.0.0", HELP, HostCommand::Config) },
    Spec {
        summary: "Sets INFO's counters to zero.",
        tips: TO_ALL,
        ..server("config|resetstat", 2, "2.0.0", ADMIN, HostCommand::Config)
    },
    Spec {
        summary: "Writes the configuration in use to its file.",
        tips: TO_ALL,
        ..server("config|rewrite", 2, "2.8.0", ADMIN, HostCommand::Config)
    },
    Spec {
        complexity: "O(N), N being the number of directives",
        summary: "Changes directives, all or none.",
        tips: TO_ALL,
        arguments: &[block("data", &[text("parameter"), text("value")]).multiple()],
        ..server("config|set", -4, "2.0.0", ADMIN, HostCommand::Config)
    },
];

const LATENCY: &[Spec] = &[
    Spec {
        summary: "Answers with how long commands took.",
        tips: FROM_ALL,
        arguments: &[text("command").any_number()],
        ..server("latency|histogram", -2, "7.0.0", ADMIN, HostCommand::Latency)
    },
    Spec {
        summary: "Answers with the samples of an event.",
        tips: FROM_ALL,
        arguments: &[text("event")],
        ..server("latency|history", 3, "2.8.13", ADMIN, HostCommand::Latency)
    },
    Spec {
        summary: "Answers with the latest sample of every event.",
        tips: FROM_ALL,
        ..server("latency|latest", 2, "2.8.13", ADMIN, HostCommand::Latency)
    },
    Spec {
        summary: "Forgets samples.",
        tips: TO_ALL,
        arguments: &[text("event").any_number()],
        ..server("latency|reset", -2, "2.8.13", ADMIN, HostCommand::Latency)
    },
];

const SLOWLOG: &[Spec] = &[
    Spec {
        summary: "Answers with the entries.",
        tips: &["nondeterministic_output", "request_policy:all_nodes"],
        arguments: &[integer("count").optional()],
        ..server("slowlog|get", -2, "2.2.12", LOG, HostCommand::Slowlog)
    },
    Spec {
        summary: "Counts the entries.",
        tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:agg_sum"],
        ..server("slowlog|len", 2, "2.2.12", LOG, HostCommand::Slowlog)
    },
    Spec {
        summary: "Forgets the entries.",
        tips: TO_ALL,
        ..server("slowlog|reset", 2, "2.2.12", LOG, HostCommand::Slowlog)
    },
];

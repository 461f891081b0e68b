//! The rows of the commands on keys of any type.

use super::{dump, expiration, keys as handlers, object};
use crate::command::arguments::{KEY, KEYS, integer, key, moment, one_of, text, word};
use crate::command::spec::{Argument, Flags, Group, KeySpec, Run, Spec, keys, one_key};

const READ_FAST: Flags = Flags::READONLY.with(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.with(Flags::FAST);
const GROW: Flags = Flags::WRITE.with(Flags::DENYOOM);

const LOOK: &[KeySpec] = &[one_key(1, &["RO"])];
const LOOK_AT_ALL: &[KeySpec] = &[keys(1, -1, 1, &["RO"])];
const READ_ONE: &[KeySpec] = &[one_key(1, &["RO", "access"])];
const UPDATE: &[KeySpec] = &[one_key(1, &["RW", "update"])];
const OVERWRITE: &[KeySpec] = &[one_key(1, &["OW", "update"])];
const DELETE_ALL: &[KeySpec] = &[keys(1, -1, 1, &["RM", "delete"])];

const SUM_OVER_SHARDS: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];
const NONDETERMINISTIC: &[&str] = &["nondeterministic_output"];
const PER_KEY: &str = "O(N), N being the number of keys";

const CONDITION: Argument =
    one_of("condition", &[word("nx", "NX"), word("xx", "XX"), word("gt", "GT"), word("lt", "LT")]).optional();
const RESTORE_ARGUMENTS: &[Argument] = &[
    KEY,
    integer("ttl"),
    text("serialized-value"),
    word("replace", "REPLACE").optional(),
    word("absttl", "ABSTTL").optional(),
    integer("seconds").after("IDLETIME").optional(),
    integer("frequency").after("FREQ").optional(),
];

const GENERIC: Spec =
    Spec { group: Group::Generic, categories: &["keyspace"], arguments: &[KEY], ..Spec::BASE };

/// The commands on keys of any type, without those that look into many slots.
pub const TABLE: &[Spec] = &[
    Spec {
        name: "copy",
        arity: -3,
        flags: GROW,
        keys: &[one_key(1, &["RO", "access"]), one_key(2, &["OW", "update"])],
        since: "6.2.0",
        summary: "Copies a value to another key.",
        arguments: &[
            key("source", 0),
            key("destination", 1),
            integer("destination-db").after("DB").optional(),
            word("replace", "REPLACE").optional(),
        ],
        run: Run::Slot(handlers::copy),
        ..GENERIC
    },
    Spec {
        name: "del",
        arity: -2,
        flags: Flags::WRITE,
        keys: DELETE_ALL,
        complexity: PER_KEY,
        summary: "Deletes keys.",
        tips: SUM_OVER_SHARDS,
        arguments: &[KEYS],
        run: Run::Slot(handlers::del),
        ..GENERIC
    },
    Spec {
        name: "dump",
        arity: 2,
        flags: Flags::READONLY,
        keys: READ_ONE,
        since: "2.6.0",
        complexity: "O(N), N being the size of the value",
        summary: "Answers with a value in a form for RESTORE.",
        tips: NONDETERMINISTIC,
        run: Run::Slot(dump::dump),
        ..GENERIC
    },
    Spec {
        name: "exists",
        arity: -2,
        flags: READ_FAST,
        keys: LOOK_AT_ALL,
        complexity: PER_KEY,
        summary: "Counts the keys that are there.",
        tips: SUM_OVER_SHARDS,
        arguments: &[KEYS],
        run: Run::Slot(handlers::exists),
        ..GENERIC
    },
    Spec {
        name: "expire",
        arity: -3,
        flags: WRITE_FAST,
        keys: UPDATE,
        summary: "Lets a key expire after some seconds.",
        arguments: &[KEY, integer("seconds"), CONDITION],
        run: Run::Slot(expiration::expire),
        ..GENERIC
    },
    Spec {
        name: "expireat",
        arity: -3,
        flags: WRITE_FAST,
        keys: UPDATE,
        since: "1.2.0",
        summary: "Lets a key expire at a moment in seconds.",
        arguments: &[KEY, moment("unix-time-seconds"), CONDITION],
        run: Run::Slot(expiration::expireat),
        ..GENERIC
    },
    Spec {
        name: "expiretime",
        arity: 2,
        flags: READ_FAST,
        keys: READ_ONE,
        since: "7.0.0",
        summary: "Answers with the moment at which a key expires, in seconds.",
        run: Run::Slot(expiration::expiretime),
        ..GENERIC
    },
    Spec {
        name: "object",
        arity: -2,
        categories: &[],
        since: "2.2.3",
        complexity: "Depends on the subcommand.",
        summary: "Looks at how keys are kept.",
        arguments: &[],
        subcommands: OBJECT,
        ..GENERIC
    },
    Spec {
        name: "persist",
        arity: 2,
        flags: WRITE_FAST,
        keys: UPDATE,
        since: "2.2.0",
        summary: "Lets a key expire no more.",
        run: Run::Slot(expiration::persist),
        ..GENERIC
    },
    Spec {
        name: "pexpire",
        arity: -3,
        flags: WRITE_FAST,
        keys: UPDATE,
        since: "2.6.0",
        summary: "Lets a key expire after some milliseconds.",
        arguments: &[KEY, integer("milliseconds"), CONDITION],
        run: Run::Slot(expiration::pexpire),
        ..GENERIC
    },
    Spec {
        name: "pexpireat",
        arity: -3,
        flags: WRITE_FAST,
        keys: UPDATE,
        since: "2.6.0",
        summary: "Lets a key expire at a moment in milliseconds.",
        arguments: &[KEY, moment("unix-time-milliseconds"), CONDITION],
        run: Run::Slot(expiration::pexpireat),
        ..GENERIC
    },
    Spec {
        name: "pexpiretime",
        arity: 2,
        flags: READ_FAST,
        keys: READ_ONE,
        since: "7.0.0",
        summary: "Answers with the moment at which a key expires, in milliseconds.",
        run: Run::Slot(expiration::pexpiretime),
        ..GENERIC
    },
    Spec {
        name: "pttl",
        arity: 2,
        flags: READ_FAST,
        keys: READ_ONE,
        since: "2.6.0",
        summary: "Answers with how long a key has to live, in milliseconds.",
        tips: NONDETERMINISTIC,
        run: Run::Slot(expiration::pttl),
        ..GENERIC
    },
    Spec {
        name: "rename",
        arity: 3,
        flags: Flags::WRITE,
        keys: &[one_key(1, &["RW", "access", "delete"]), one_key(2, &["OW", "update"])],
        summary: "Gives a key another name, in place of a key that has it.",
        arguments: &[KEY, key("newkey", 1)],
        run: Run::Slot(handlers::rename),
        ..GENERIC
    },
    Spec {
        name: "renamenx",
        arity: 3,
        flags: WRITE_FAST,
        keys: &[one_key(1, &["RW", "access", "delete"]), one_key(2, &["OW", "insert"])],
        summary: "Gives a key another name that no key has.",
        arguments: &[KEY, key("newkey", 1)],
        run: Run::Slot(handlers::renamenx),
        ..GENERIC
    },
    Spec {
        name: "restore",
        arity: -4,
        flags: GROW,
        categories: &["keyspace", "dangerous"],
        keys: OVERWRITE,
        since: "2.6.0",
        complexity: "O(N), N being the size of the value",
        summary: "Creates a key from DUMP's answer.",
        arguments: RESTORE_ARGUMENTS,
        run: Run::Slot(dump::restore),
        ..GENERIC
    },
    Spec {
        name: "restore-asking",
        arity: -4,
        flags: GROW.with(Flags::ASKING).with(Flags::HOLD).with(Flags::IMPORTS),
        categories: &["keyspace", "dangerous"],
        keys: OVERWRITE,
        group: Group::Server,
        since: "3.0.0",
        complexity: "O(N), N being the size of the value",
        summary: "RESTORE into a slot that is being imported; nodes send it to each other.",
        doc_flags: &["syscmd"],
        arguments: RESTORE_ARGUMENTS,
        run: Run::Slot(dump::restore),
        ..GENERIC
    },
    Spec {
        name: "touch",
        arity: -2,
        flags: READ_FAST,
        keys: LOOK_AT_ALL,
        since: "3.2.1",
        complexity: PER_KEY,
        summary: "Marks keys as used just now and counts them.",
        tips: SUM_OVER_SHARDS,
        arguments: &[KEYS],
        run: Run::Slot(handlers::touch),
        ..GENERIC
    },
    Spec {
        name: "ttl",
        arity: 2,
        flags: READ_FAST,
        keys: READ_ONE,
        summary: "Answers with how long a key has to live, in seconds.",
        tips: NONDETERMINISTIC,
        run: Run::Slot(expiration::ttl),
        ..GENERIC
    },
    Spec {
        name: "type",
        arity: 2,
        flags: READ_FAST,
        keys: LOOK,
        summary: "Answers with the type of a value.",
        run: Run::Slot(handlers::type_of),
        ..GENERIC
    },
    Spec {
        name: "unlink",
        arity: -2,
        flags: WRITE_FAST,
        keys: DELETE_ALL,
        since: "4.0.0",
        complexity: PER_KEY,
        summary: "Deletes keys; large values are freed later.",
        tips: SUM_OVER_SHARDS,
        arguments: &[KEYS],
        run: Run::Slot(handlers::del),
        ..GENERIC
    },
];

const OBJECT_KEY: Spec = Spec {
    arity: 3,
    flags: Flags::READONLY,
    keys: &[one_key(2, &["RO"])],
    since: "2.2.3",
    tips: NONDETERMINISTIC,
    ..GENERIC
};

const OBJECT: &[Spec] = &[
    Spec {
        name: "object|encoding",
        summary: "Answers with how a value is kept.",
        run: Run::Slot(object::encoding),
        ..OBJECT_KEY
    },
    Spec {
        name: "object|freq",
        since: "4.0.0",
        summary: "Answers with how often a key is used, under an LFU policy.",
        run: Run::Slot(object::freq),
        ..OBJECT_KEY
    },
    Spec {
        name: "object|help",
        arity: 2,
        flags: Flags::LOADING.with(Flags::STALE),
        since: "6.2.0",
        summary: "Answers with a list of the subcommands.",
        arguments: &[],
        run: Run::Session(object::help),
        ..GENERIC
    },
    Spec {
        name: "object|idletime",
        summary: "Answers with the seconds since a key was last used.",
        run: Run::Slot(object::idletime),
        ..OBJECT_KEY
    },
    Spec {
        name: "object|refcount",
        summary: "Answers with how many references a value has.",
        run: Run::Slot(object::refcount),
        ..OBJECT_KEY
    },
];

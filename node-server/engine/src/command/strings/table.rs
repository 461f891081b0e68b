//! The string commands' rows.

use super::{edit, lcs, read, write};
use crate::command::arguments::{KEY, KEYS, block, integer, key, moment, one_of, text, typed, word};
use crate::command::spec::{Argument, Deprecated, Flags, Group, KeySpec, Run, Spec, keys, one_key};

const READ_FAST: Flags = Flags::READONLY.with(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.with(Flags::FAST);
const GROW: Flags = Flags::WRITE.with(Flags::DENYOOM);
const GROW_FAST: Flags = GROW.with(Flags::FAST);

const READ_ONE: &[KeySpec] = &[one_key(1, &["RO", "access"])];
const INSERT: &[KeySpec] = &[one_key(1, &["OW", "insert"])];
const UPDATE: &[KeySpec] = &[one_key(1, &["RW", "update"])];
const OVERWRITE: &[KeySpec] = &[one_key(1, &["OW", "update"])];
const ACCESS_UPDATE: &[KeySpec] = &[one_key(1, &["RW", "access", "update"])];
const RANGE: &[Argument] = &[KEY, integer("start"), integer("end")];
const PAIRS: &[Argument] = &[block("data", &[KEY, text("value")]).multiple()];

const STRING: Spec = Spec { group: Group::String, arguments: &[KEY], ..Spec::BASE };

/// The string commands.
pub const TABLE: &[Spec] = &[
    Spec {
        name: "append",
        arity: 3,
        flags: GROW_FAST,
        keys: &[one_key(1, &["RW", "insert"])],
        since: "2.0.0",
        summary: "Adds to the end of a string; a key that is not there is created.",
        arguments: &[KEY, text("value")],
        run: Run::Slot(edit::append),
        ..STRING
    },
    Spec {
        name: "decr",
        arity: 2,
        flags: GROW_FAST,
        keys: ACCESS_UPDATE,
        summary: "Takes one from an integer.",
        run: Run::Slot(edit::decr),
        ..STRING
    },
    Spec {
        name: "decrby",
        arity: 3,
        flags: GROW_FAST,
        keys: ACCESS_UPDATE,
        summary: "Takes a number from an integer.",
        arguments: &[KEY, integer("decrement")],
        run: Run::Slot(edit::decrby),
        ..STRING
    },
    Spec {
        name: "get",
        arity: 2,
        flags: READ_FAST,
        keys: READ_ONE,
        summary: "Answers with a string.",
        run: Run::Slot(read::get),
        ..STRING
    },
    Spec {
        name: "getdel",
        arity: 2,
        flags: WRITE_FAST,
        keys: &[one_key(1, &["RW", "access", "delete"])],
        since: "6.2.0",
        summary: "Answers with a string and deletes it.",
        run: Run::Slot(write::getdel),
        ..STRING
    },
    Spec {
        name: "getex",
        arity: -2,
        flags: WRITE_FAST,
        keys: &[KeySpec { notes: "RW and UPDATE because it changes the TTL", ..ACCESS_UPDATE[0] }],
        since: "6.2.0",
        summary: "Answers with a string and changes when it expires.",
        arguments: &[KEY, one_of("expiration", GETEX_EXPIRATION).optional()],
        run: Run::Slot(write::getex),
        ..STRING
    },
    Spec {
        name: "getrange",
        arity: 4,
        flags: Flags::READONLY,
        keys: READ_ONE,
        since: "2.4.0",
        complexity: "O(N), N being the length of the answer",
        summary: "Answers with a part of a string.",
        arguments: RANGE,
        run: Run::Slot(read::getrange),
        ..STRING
    },
    Spec {
        name: "getset",
        arity: 3,
        flags: GROW_FAST,
        keys: ACCESS_UPDATE,
        summary: "Sets a string and answers with the one before.",
        arguments: &[KEY, text("value")],
        deprecated: Some(Deprecated { since: "6.2.0", by: "`SET` with the `GET` option" }),
        run: Run::Slot(write::getset),
        ..STRING
    },
    Spec {
        name: "incr",
        arity: 2,
        flags: GROW_FAST,
        keys: ACCESS_UPDATE,
        summary: "Adds one to an integer.",
        run: Run::Slot(edit::incr),
        ..STRING
    },
    Spec {
        name: "incrby",
        arity: 3,
        flags: GROW_FAST,
        keys: ACCESS_UPDATE,
        summary: "Adds a number to an integer.",
        arguments: &[KEY, integer("increment")],
        run: Run::Slot(edit::incrby),
        ..STRING
    },
    Spec {
        name: "incrbyfloat",
        arity: 3,
        flags: GROW_FAST,
        keys: ACCESS_UPDATE,
        since: "2.6.0",
        summary: "Adds a decimal number to a decimal number.",
        arguments: &[KEY, typed("increment", "double")],
        run: Run::Slot(edit::incrbyfloat),
        ..STRING
    },
    Spec {
        name: "lcs",
        arity: -3,
        flags: Flags::READONLY.with(Flags::OFFLOAD),
        keys: &[keys(1, 1, 1, &["RO", "access"])],
        since: "7.0.0",
        complexity: "O(N*M), the lengths of both strings",
        summary: "Answers with the longest common subsequence of two strings.",
        arguments: &[
            key("key1", 0),
            key("key2", 0),
            word("len", "LEN").optional(),
            word("idx", "IDX").optional(),
            integer("min-match-len").after("MINMATCHLEN").optional(),
            word("withmatchlen", "WITHMATCHLEN").optional(),
        ],
        run: Run::Slot(lcs::lcs),
        ..STRING
    },
    Spec {
        name: "mget",
        arity: -2,
        flags: READ_FAST,
        keys: &[keys(1, -1, 1, &["RO", "access"])],
        complexity: "O(N), N being the number of keys",
        summary: "Answers with several strings.",
        tips: &["request_policy:multi_shard"],
        arguments: &[KEYS],
        run: Run::Slot(read::mget),
        ..STRING
    },
    Spec {
        name: "mset",
        arity: -3,
        flags: GROW,
        keys: &[keys(1, -1, 2, &["OW", "update"])],
        since: "1.0.1",
        complexity: "O(N), N being the number of keys",
        summary: "Sets several strings at once.",
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        arguments: PAIRS,
        run: Run::Slot(write::mset),
        ..STRING
    },
    Spec {
        name: "msetnx",
        arity: -3,
        flags: GROW,
        keys: &[keys(1, -1, 2, &["OW", "insert"])],
        since: "1.0.1",
        complexity: "O(N), N being the number of keys",
        summary: "Sets several strings at once, if none of the keys is there.",
        arguments: PAIRS,
        run: Run::Slot(write::msetnx),
        ..STRING
    },
    Spec {
        name: "psetex",
        arity: 4,
        flags: GROW,
        keys: OVERWRITE,
        since: "2.6.0",
        summary: "Sets a string that expires after some milliseconds.",
        arguments: &[KEY, integer("milliseconds"), text("value")],
        deprecated: Some(Deprecated { since: "2.6.12", by: "`SET` with the `PX` option" }),
        run: Run::Slot(write::psetex),
        ..STRING
    },
    Spec {
        name: "set",
        arity: -3,
        flags: GROW,
        keys: &[KeySpec {
            notes: "RW and ACCESS due to the optional `GET` argument",
            ..one_key(1, &["RW", "access", "update", "variable_flags"])
        }],
        summary: "Sets a string, whatever the key held before.",
        arguments: &[
            KEY,
            text("value"),
            one_of("condition", &[word("nx", "NX"), word("xx", "XX")]).optional(),
            word("get", "GET").optional(),
            one_of("expiration", SET_EXPIRATION).optional(),
        ],
        run: Run::Slot(write::set),
        ..STRING
    },
    Spec {
        name: "setex",
        arity: 4,
        flags: GROW,
        keys: OVERWRITE,
        since: "2.0.0",
        summary: "Sets a string that expires after some seconds.",
        arguments: &[KEY, integer("seconds"), text("value")],
        deprecated: Some(Deprecated { since: "2.6.12", by: "`SET` with the `EX` option" }),
        run: Run::Slot(write::setex),
        ..STRING
    },
    Spec {
        name: "setnx",
        arity: 3,
        flags: GROW_FAST,
        keys: INSERT,
        summary: "Sets a string if the key is not there.",
        arguments: &[KEY, text("value")],
        deprecated: Some(Deprecated { since: "2.6.12", by: "`SET` with the `NX` option" }),
        run: Run::Slot(write::setnx),
        ..STRING
    },
    Spec {
        name: "setrange",
        arity: 4,
        flags: GROW,
        keys: UPDATE,
        since: "2.2.0",
        complexity: "O(M), M being the length of the value; O(1) without counting the copy",
        summary: "Overwrites a part of a string, filling up with zero bytes.",
        arguments: &[KEY, integer("offset"), text("value")],
        run: Run::Slot(edit::setrange),
        ..STRING
    },
    Spec {
        name: "strlen",
        arity: 2,
        flags: READ_FAST,
        keys: &[one_key(1, &["RO"])],
        since: "2.2.0",
        summary: "Answers with the length of a string.",
        run: Run::Slot(read::strlen),
        ..STRING
    },
    Spec {
        name: "substr",
        arity: 4,
        flags: Flags::READONLY,
        keys: READ_ONE,
        complexity: "O(N), N being the length of the answer",
        summary: "Answers with a part of a string.",
        arguments: RANGE,
        deprecated: Some(Deprecated { since: "2.0.0", by: "`GETRANGE`" }),
        run: Run::Slot(read::getrange),
        ..STRING
    },
];

const MOMENTS: [Argument; 4] = [
    integer("seconds").after("EX"),
    integer("milliseconds").after("PX"),
    moment("unix-time-seconds").after("EXAT"),
    moment("unix-time-milliseconds").after("PXAT"),
];
const SET_EXPIRATION: &[Argument] =
    &[MOMENTS[0], MOMENTS[1], MOMENTS[2], MOMENTS[3], word("keepttl", "KEEPTTL")];
const GETEX_EXPIRATION: &[Argument] =
    &[MOMENTS[0], MOMENTS[1], MOMENTS[2], MOMENTS[3], word("persist", "PERSIST")];

//! The rows of CLUSTER. Flags are Redis's, but that our cluster core answers during a full sync.

use super::{cluster, count_keys, get_keys, keyslot};
use crate::command::arguments::{block, integer, one_of, text, word};
use crate::command::spec::{Argument, Deprecated, Flags, Group, Run, Spec};

const OPEN: Flags = Flags::STALE.with(Flags::BY_CORE).with(Flags::FULL_SYNC);
const ADMIN: Flags = OPEN.with(Flags::ADMIN);
const CHANGES: Flags = ADMIN.with(Flags::NO_ASYNC_LOADING);

const CLUSTER: Spec = Spec { group: Group::Cluster, since: "3.0.0", ..Spec::BASE };
const PER_SLOT: &str = "O(N), N being the number of slots";
const PER_NODE: &str = "O(N), N being the number of nodes";
const VARIES: &[&str] = &["nondeterministic_output"];

const NODE: &[Argument] = &[text("node-id")];
const SLOTS: &[Argument] = &[integer("slot").multiple()];
const RANGES: &[Argument] = &[block("range", &[integer("start-slot"), integer("end-slot")]).multiple()];
const SETSLOT: &[Argument] = &[
    integer("slot"),
    one_of(
        "subcommand",
        &[
            text("importing").after("IMPORTING"),
            text("migrating").after("MIGRATING"),
            text("node").after("NODE"),
            word("stable", "STABLE"),
        ],
    ),
];

/// A subcommand that the cluster core answers.
const fn core(name: &'static str, arity: i32, flags: Flags, summary: &'static str) -> Spec {
    Spec { name, arity, flags, summary, run: Run::Session(cluster), ..CLUSTER }
}

/// This directory's part of the table.
pub const TABLE: &[Spec] = &[Spec {
    name: "cluster",
    arity: -2,
    complexity: "Depends on the subcommand.",
    summary: "The cluster, and this node's part in it.",
    subcommands: SUBCOMMANDS,
    ..CLUSTER
}];

const SUBCOMMANDS: &[Spec] = &[
    Spec {
        complexity: PER_SLOT,
        arguments: SLOTS,
        ..core("cluster|addslots", -3, CHANGES, "Gives slots without owner to this node.")
    },
    Spec {
        complexity: PER_SLOT,
        since: "7.0.0",
        arguments: RANGES,
        ..core("cluster|addslotsrange", -4, CHANGES, "Gives ranges of slots without owner to this node.")
    },
    Spec { tips: VARIES, ..core("cluster|bumpepoch", 2, CHANGES, "Gives this node the highest epoch.") },
    Spec {
        complexity: "O(N), N being the number of reports",
        tips: VARIES,
        arguments: NODE,
        ..core("cluster|count-failure-reports", 3, ADMIN, "Counts the masters that suspect a node.")
    },
    Spec {
        name: "cluster|countkeysinslot",
        arity: 3,
        flags: Flags::STALE,
        summary: "Counts the keys of a slot.",
        arguments: &[integer("slot")],
        run: Run::Session(count_keys),
        ..CLUSTER
    },
    Spec {
        complexity: PER_SLOT,
        arguments: SLOTS,
        ..core("cluster|delslots", -3, CHANGES, "Forgets who owns slots.")
    },
    Spec {
        complexity: PER_SLOT,
        since: "7.0.0",
        arguments: RANGES,
        ..core("cluster|delslotsrange", -4, CHANGES, "Forgets who owns ranges of slots.")
    },
    Spec {
        arguments: &[one_of("options", &[word("force", "FORCE"), word("takeover", "TAKEOVER")]).optional()],
        ..core("cluster|failover", -2, CHANGES, "Lets this replica take over from its master.")
    },
    core("cluster|flushslots", 2, CHANGES, "Takes every slot from this node."),
    Spec { arguments: NODE, ..core("cluster|forget", 3, CHANGES, "Removes a node from the cluster.") },
    Spec {
        name: "cluster|getkeysinslot",
        arity: 4,
        flags: Flags::STALE,
        complexity: "O(N), N being the number of keys asked for",
        summary: "Names some keys of a slot.",
        tips: VARIES,
        arguments: &[integer("slot"), integer("count")],
        run: Run::Node(get_keys),
        ..CLUSTER
    },
    Spec {
        since: "5.0.0",
        ..core("cluster|help", 2, OPEN.with(Flags::LOADING), "Answers with a list of the subcommands.")
    },
    Spec { tips: VARIES, ..core("cluster|info", 2, OPEN, "Answers with the state of the cluster.") },
    Spec {
        name: "cluster|keyslot",
        arity: 3,
        flags: Flags::STALE,
        complexity: "O(N), N being the length of the key",
        summary: "Answers with the slot of a key.",
        arguments: &[text("key")],
        run: Run::Session(keyslot),
        ..CLUSTER
    },
    Spec {
        complexity: PER_NODE,
        since: "7.0.0",
        tips: VARIES,
        ..core("cluster|links", 2, OPEN, "Answers with the connections to other nodes.")
    },
    Spec {
        arguments: &[text("ip"), integer("port"), integer("cluster-bus-port").optional()],
        ..core("cluster|meet", -4, CHANGES, "Introduces this node to another.")
    },
    core("cluster|myid", 2, OPEN, "Answers with the id of this node."),
    Spec {
        since: "7.2.0",
        tips: VARIES,
        ..core("cluster|myshardid", 2, OPEN, "Answers with the id of this node's shard.")
    },
    Spec {
        complexity: PER_NODE,
        tips: VARIES,
        ..core("cluster|nodes", 2, OPEN, "Answers with the nodes, their states and their slots.")
    },
    Spec {
        since: "7.2.0",
        ..core("cluster|reopen", 2, CHANGES, "Lets a master serve that came back without its data.")
    },
    Spec {
        complexity: PER_NODE,
        since: "5.0.0",
        tips: VARIES,
        arguments: NODE,
        ..core("cluster|replicas", 3, ADMIN, "Answers with the replicas of a master.")
    },
    Spec {
        arguments: NODE,
        ..core("cluster|replicate", 3, CHANGES, "Makes this node a replica of a master.")
    },
    Spec {
        complexity: PER_NODE,
        arguments: &[one_of("reset-type", &[word("hard", "HARD"), word("soft", "SOFT")]).optional()],
        ..core("cluster|reset", -2, ADMIN.with(Flags::NOSCRIPT), "Takes this node out of the cluster.")
    },
    core("cluster|saveconfig", 2, CHANGES, "Writes nodes.conf."),
    Spec {
        arguments: &[integer("config-epoch")],
        ..core("cluster|set-config-epoch", 3, CHANGES, "Sets the epoch of a new node.")
    },
    Spec {
        arguments: SETSLOT,
        ..core("cluster|setslot", -4, CHANGES, "Says who owns a slot or that it is moving.")
    },
    Spec {
        complexity: PER_NODE,
        since: "7.0.0",
        tips: VARIES,
        ..core("cluster|shards", 2, OPEN, "Answers with the shards, their slots and their nodes.")
    },
    Spec {
        complexity: PER_NODE,
        tips: VARIES,
        arguments: NODE,
        deprecated: Some(Deprecated { since: "5.0.0", by: "`CLUSTER REPLICAS`" }),
        ..core("cluster|slaves", 3, ADMIN, "Answers with the replicas of a master.")
    },
    Spec {
        complexity: PER_NODE,
        tips: VARIES,
        deprecated: Some(Deprecated { since: "7.0.0", by: "`CLUSTER SHARDS`" }),
        ..core("cluster|slots", 2, OPEN, "Answers with ranges of slots and their nodes.")
    },
];

//! CLUSTER and WAIT. What is about keys is answered here, everything else by the cluster core.

use super::call::{NodeCall, SessionCall};
use super::connection::cluster_only;
use super::spec::{Flags, Group, Run, Spec};
use super::{CommandError, CommandResult};
use crate::keyspace::Entry;
use crate::outcome::{Deferred, Outcome};
use node_server_protocol::resp::request::parse_number;
use node_server_protocol::{Slot, key_slot};

const CLUSTER: Spec = Spec { group: Group::Cluster, since: "3.0.0", ..Spec::BASE };
/// For the core.
const CORE: Spec = Spec { arity: -2, flags: ADMIN, run: Run::Session(cluster), ..CLUSTER };
const OPEN: Spec = Spec { arity: 2, flags: Flags::LOADING.with(Flags::STALE).with(Flags::NO_MULTI), ..CORE };
const ADMIN: Flags =
    Flags::ADMIN.with(Flags::LOADING).with(Flags::STALE).with(Flags::NO_ASYNC_LOADING).with(Flags::NO_MULTI);

macro_rules! core {
    ($base:ident, $name:literal, $arity:literal, $since:literal, $complexity:literal, $summary:literal) => {
        Spec {
            name: $name,
            arity: $arity,
            since: $since,
            complexity: $complexity,
            summary: $summary,
            ..$base
        }
    };
}

/// This file's part of the table.
pub const TABLE: &[Spec] = &[
    Spec {
        name: "cluster",
        arity: -2,
        complexity: "Depends on subcommand.",
        summary: "A container for Redis Cluster commands.",
        subcommands: SUBCOMMANDS,
        ..CLUSTER
    },
    Spec {
        name: "wait",
        arity: 3,
        flags: Flags::NOSCRIPT.with(Flags::BLOCKING),
        group: Group::Generic,
        since: "3.0.0",
        categories: &["connection"],
        summary: "Blocks until the asynchronous replication of all preceding write commands sent by the connection is completed.",
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        run: Run::Session(wait),
        ..Spec::BASE
    },
];

const SUBCOMMANDS: &[Spec] = &[
    core!(
        CORE,
        "cluster|addslots",
        -3,
        "3.0.0",
        "O(N) where N is the total number of hash slot arguments",
        "Assigns new hash slots to a node."
    ),
    core!(
        CORE,
        "cluster|addslotsrange",
        -4,
        "7.0.0",
        "O(N) where N is the total number of the slots between the start slot and end slot arguments.",
        "Assigns new hash slot ranges to a node."
    ),
    core!(CORE, "cluster|bumpepoch", 2, "3.0.0", "O(1)", "Advances the cluster config epoch."),
    core!(
        CORE,
        "cluster|count-failure-reports",
        3,
        "3.0.0",
        "O(N) where N is the number of failure reports",
        "Returns the number of active failure reports active for a node."
    ),
    Spec {
        name: "cluster|countkeysinslot",
        arity: 3,
        flags: Flags::STALE,
        summary: "Returns the number of keys in a hash slot.",
        run: Run::Session(count_keys),
        ..CLUSTER
    },
    core!(
        CORE,
        "cluster|delslots",
        -3,
        "3.0.0",
        "O(N) where N is the total number of hash slot arguments",
        "Sets hash slots as unbound for a node."
    ),
    core!(
        CORE,
        "cluster|delslotsrange",
        -4,
        "7.0.0",
        "O(N) where N is the total number of the slots between the start slot and end slot arguments.",
        "Sets hash slot ranges as unbound for a node."
    ),
    core!(
        CORE,
        "cluster|failover",
        -2,
        "3.0.0",
        "O(1)",
        "Forces a replica to perform a manual failover of its master."
    ),
    core!(CORE, "cluster|flushslots", 2, "3.0.0", "O(1)", "Deletes all slots information from a node."),
    core!(CORE, "cluster|forget", 3, "3.0.0", "O(1)", "Removes a node from the nodes table."),
    Spec {
        name: "cluster|getkeysinslot",
        arity: 4,
        flags: Flags::STALE,
        complexity: "O(N) where N is the number of requested keys",
        summary: "Returns the key names in a hash slot.",
        tips: &["nondeterministic_output"],
        run: Run::Node(get_keys),
        ..CLUSTER
    },
    core!(OPEN, "cluster|help", 2, "5.0.0", "O(1)", "Returns helpful text about the different subcommands."),
    core!(OPEN, "cluster|info", 2, "3.0.0", "O(1)", "Returns information about the state of a node."),
    Spec {
        name: "cluster|keyslot",
        arity: 3,
        flags: Flags::LOADING.with(Flags::STALE),
        complexity: "O(N) where N is the number of bytes in the key",
        summary: "Returns the hash slot for a key.",
        run: Run::Session(keyslot),
        ..CLUSTER
    },
    core!(
        OPEN,
        "cluster|links",
        2,
        "7.0.0",
        "O(N) where N is the total number of Cluster nodes",
        "Returns a list of all TCP links to and from peer nodes."
    ),
    core!(CORE, "cluster|meet", -4, "3.0.0", "O(1)", "Forces a node to handshake with another node."),
    core!(OPEN, "cluster|myid", 2, "3.0.0", "O(1)", "Returns the ID of a node."),
    core!(OPEN, "cluster|myshardid", 2, "7.2.0", "O(1)", "Returns the shard ID of a node."),
    core!(
        OPEN,
        "cluster|nodes",
        2,
        "3.0.0",
        "O(N) where N is the total number of Cluster nodes",
        "Returns the cluster configuration for a node."
    ),
    core!(
        CORE,
        "cluster|reopen",
        2,
        "7.2.0",
        "O(1)",
        "Reopens a master that started without the data it owned slots for."
    ),
    core!(
        CORE,
        "cluster|replicas",
        3,
        "5.0.0",
        "O(N) where N is the number of replicas.",
        "Lists the replica nodes of a master node."
    ),
    core!(CORE, "cluster|replicate", 3, "3.0.0", "O(1)", "Configure a node as replica of a master node."),
    core!(
        CORE,
        "cluster|reset",
        -2,
        "3.0.0",
        "O(N) where N is the number of known nodes. The command may execute a FLUSHALL as a side effect.",
        "Resets a node."
    ),
    core!(
        CORE,
        "cluster|saveconfig",
        2,
        "3.0.0",
        "O(1)",
        "Forces a node to save the cluster configuration to disk."
    ),
    core!(
        CORE,
        "cluster|set-config-epoch",
        3,
        "3.0.0",
        "O(1)",
        "Sets the configuration epoch for a new node."
    ),
    core!(CORE, "cluster|setslot", -4, "3.0.0", "O(1)", "Binds a hash slot to a node."),
    core!(
        OPEN,
        "cluster|shards",
        2,
        "7.0.0",
        "O(N) where N is the total number of cluster nodes",
        "Returns the mapping of cluster slots to shards."
    ),
    core!(
        CORE,
        "cluster|slaves",
        3,
        "3.0.0",
        "O(N) where N is the number of replicas.",
        "Lists the replica nodes of a master node."
    ),
    core!(
        OPEN,
        "cluster|slots",
        2,
        "3.0.0",
        "O(N) where N is the total number of Cluster nodes",
        "Returns the mapping of cluster slots to nodes."
    ),
];

fn cluster(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    cluster_only(call.engine)?;
    Ok(Outcome::Defer(Deferred::Cluster))
}

fn keyslot(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    cluster_only(call.engine)?;
    call.reply.integer(i64::from(key_slot(call.args[2]).number()));
    Ok(Outcome::Done)
}

fn slot_argument(text: &[u8]) -> CommandResult<Slot> {
    let number = parse_number(text).ok_or(CommandError::NotInteger)?;
    let slot = u16::try_from(number).ok().and_then(Slot::new);
    slot.ok_or(CommandError::text("ERR Invalid slot"))
}

fn count_keys(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    cluster_only(call.engine)?;
    let slot = slot_argument(call.args[2])?;
    call.reply.integer(i64::try_from(call.engine.keyspace.slot_len(slot)).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

fn get_keys(call: &mut NodeCall<'_, '_>) -> CommandResult {
    cluster_only(call.engine)?;
    let number = |at: usize| parse_number(call.args[at]).ok_or(CommandError::NotInteger);
    let slot = u16::try_from(number(2)?).ok().and_then(Slot::new);
    let max = usize::try_from(number(3)?).ok();
    let (Some(slot), Some(max)) = (slot, max) else {
        return Err(CommandError::text("ERR Invalid slot or number of keys"));
    };
    let keys = call.with_slot(slot, |keys| {
        keys.iter_all().take(max).map(Entry::key).map(<[u8]>::to_vec).collect::<Vec<_>>()
    })?;
    call.reply.array(keys.len());
    keys.iter().for_each(|key| call.reply.bulk(key));
    Ok(())
}

fn wait(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    if call.engine.is_replica() {
        return Err(CommandError::text(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.",
        ));
    }
    let replicas = parse_number(call.args[1]).ok_or(CommandError::NotInteger)?;
    let timeout = parse_number(call.args[2])
        .ok_or(CommandError::text("ERR timeout is not an integer or out of range"))?;
    let timeout = u64::try_from(timeout).map_err(|_| CommandError::text("ERR timeout is negative"))?;
    let replicas = usize::try_from(replicas).unwrap_or(0);
    let offset = call.session.last_write;
    let now_there = call.engine.acks.count(offset);
    if now_there >= replicas || call.in_exec {
        call.reply.integer(i64::try_from(now_there).unwrap_or(i64::MAX));
        return Ok(Outcome::Done);
    }
    let deadline = (timeout > 0).then(|| call.now.after(timeout));
    Ok(Outcome::Defer(Deferred::Wait { replicas, offset, deadline }))
}

//! CLUSTER HELP: our own words; Redis's form (simple strings, the first and last line alike).

use node_server_protocol::resp::ReplyWriter;

const HELP: &[(&str, &str)] = &[
    ("ADDSLOTS <slot> [<slot> ...]", "This node owns these slots, which nobody may own yet."),
    ("ADDSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]", "ADDSLOTS for ranges."),
    ("BUMPEPOCH", "Give this node a new config epoch unless it has the highest."),
    ("COUNT-FAILURE-REPORTS <node-id>", "How many masters report the node as failing."),
    ("COUNTKEYSINSLOT <slot>", "How many keys this node has in the slot."),
    ("DELSLOTS <slot> [<slot> ...]", "Nobody owns these slots, as far as this node knows."),
    ("DELSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]", "DELSLOTS for ranges."),
    ("FAILOVER [FORCE|TAKEOVER]", "This replica takes its master's place."),
    ("FLUSHSLOTS", "This node, which must be empty, gives up its slots."),
    ("FORGET <node-id>", "Remove a node from this node's view."),
    ("GETKEYSINSLOT <slot> <count>", "At most so many keys of the slot."),
    ("INFO", "How the cluster is, seen from here."),
    ("KEYSLOT <key>", "The slot of a key."),
    ("LINKS", "The connections to and from other nodes."),
    ("MEET <ip> <port> [<bus-port>]", "Get to know another node and, through it, its cluster."),
    ("MYID", "This node's id."),
    ("MYSHARDID", "This node's shard's id."),
    (
        "NODES",
        "Every node: <id> <ip:port@bus-port> <flags> <master> <pings> <pongs> <epoch> <link> <slot> ...",
    ),
    ("REOPEN", "A master that started without its data serves again without it."),
    ("REPLICAS <node-id>", "The replicas of a master."),
    ("REPLICATE <node-id>", "This node becomes a replica of that master."),
    ("RESET [HARD|SOFT]", "Leave the cluster; HARD: with a new id and epoch 0."),
    ("SAVECONFIG", "Write nodes.conf."),
    ("SET-CONFIG-EPOCH <epoch>", "The config epoch of a node that knows no other."),
    ("SETSLOT <slot> (IMPORTING <node-id>|MIGRATING <node-id>|STABLE|NODE <node-id>)", "Move a slot."),
    ("SHARDS", "Shards with their slots and nodes."),
    ("SLOTS", "Slot ranges with their nodes."),
];

pub(super) fn help_reply(reply: &mut ReplyWriter<'_>) {
    reply.array(HELP.len() * 2 + 3);
    reply.simple("CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    for (usage, meaning) in HELP {
        reply.simple(usage);
        reply.simple(&format!("    {meaning}"));
    }
    reply.simple("HELP");
    reply.simple("    Print this help.");
}

//! CLUSTER commands: texts and forms as redis-server 7.0.15 gave them.
#![allow(clippy::unwrap_used, reason = "failures panic")]

mod net;

use net::{Net, id_of};
use node_server_cluster::command::{KeysQuery, Parsed, parse};
use node_server_cluster::{Asker, DatasetInfo, EndpointType, Input, Token};
use node_server_protocol::resp::Protocol;

const X: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn error_of(line: &str) -> String {
    let args: Vec<&str> = std::iter::once("cluster").chain(line.split_whitespace()).collect();
    parse(&args).map_or_else(|e| e.to_string(), |parsed| format!("{parsed:?}"))
}

#[test]
fn errors_of_arguments() {
    let cases = [
        ("", "ERR wrong number of arguments for 'cluster' command"),
        ("foo", "ERR unknown subcommand 'foo'. Try CLUSTER HELP."),
        ("MEET", "ERR wrong number of arguments for 'cluster|meet' command"),
        ("meet 1 2", "ERR Invalid node address specified: 1:2"),
        ("meet 1.2.3.4 x", "ERR Invalid TCP base port specified: x"),
        ("meet 1.2.3.4 70000", "ERR Invalid node address specified: 1.2.3.4:70000"),
        ("meet 1.2.3.4 60000", "ERR Invalid node address specified: 1.2.3.4:60000"),
        ("meet 1.2.3.4 5 x", "ERR Invalid TCP bus port specified: x"),
        ("meet host 6379", "ERR Invalid node address specified: host:6379"),
        ("forget", "ERR wrong number of arguments for 'cluster|forget' command"),
        ("nodes x", "ERR wrong number of arguments for 'cluster|nodes' command"),
        ("addslots x", "ERR Invalid or out of range slot"),
        ("addslots 16384", "ERR Invalid or out of range slot"),
        ("addslotsrange 1", "ERR wrong number of arguments for 'cluster|addslotsrange' command"),
        ("addslotsrange 1 2 3", "ERR wrong number of arguments for 'cluster|addslotsrange' command"),
        ("addslotsrange 5 3", "ERR start slot number 5 is greater than end slot number 3"),
        (
            "setslot 1 migrating",
            "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP",
        ),
        ("setslot 1", "ERR wrong number of arguments for 'cluster|setslot' command"),
        ("setslot x stable", "ERR Invalid or out of range slot"),
        ("set-config-epoch x", "ERR value is not an integer or out of range"),
        ("set-config-epoch -1", "ERR Invalid config epoch specified: -1"),
        ("failover x", "ERR syntax error"),
        (
            "failover force x",
            "ERR unknown subcommand or wrong number of arguments for 'failover'. Try CLUSTER HELP.",
        ),
        ("reset x", "ERR syntax error"),
        ("countkeysinslot x", "ERR value is not an integer or out of range"),
        ("countkeysinslot 99999", "ERR Invalid slot"),
        ("getkeysinslot 99999 1", "ERR Invalid slot or number of keys"),
        ("getkeysinslot 1 -1", "ERR Invalid slot or number of keys"),
        ("migrateslots", "ERR unknown subcommand 'migrateslots'. Try CLUSTER HELP."),
    ];
    for (line, text) in cases {
        assert_eq!(error_of(line), text, "{line}");
    }
    assert_eq!(parse(&["cluster", "KEYSLOT", "a"]), Ok(Parsed::Keys(KeysQuery::KeySlot(b"a".to_vec()))));
    assert_eq!(parse::subcommands().count(), 29);
}

#[test]
fn errors_of_a_lone_node() {
    let mut net = Net::new(1);
    let me = id_of(0).to_string();
    let script = [
        (format!("forget {X}"), format!("-ERR Unknown node {X}")),
        (format!("forget {me}"), "-ERR I tried hard but I can't forget myself...".into()),
        ("addslots 1 1".into(), "-ERR Slot 1 specified multiple times".into()),
        ("delslots 5".into(), "-ERR Slot 5 is already unassigned".into()),
        ("addslots 1".into(), "+OK".into()),
        ("addslots 1".into(), "-ERR Slot 1 is already busy".into()),
        ("delslotsrange 1 3".into(), "-ERR Slot 2 is already unassigned".into()),
        (format!("setslot 1 migrating {X}"), format!("-ERR I don't know about node {X}")),
        (format!("setslot 7 migrating {X}"), "-ERR I'm not the owner of hash slot 7".into()),
        (format!("setslot 1 importing {X}"), "-ERR I'm already the owner of hash slot 1".into()),
        (format!("setslot 7 importing {X}"), format!("-ERR I don't know about node {X}")),
        (format!("setslot 1 node {X}"), format!("-ERR Unknown node {X}")),
        ("bumpepoch".into(), "+BUMPED 1".into()),
        ("bumpepoch".into(), "+STILL 1".into()),
        ("set-config-epoch 5".into(), "-ERR Node config epoch is already non-zero".into()),
        (format!("replicate {X}"), format!("-ERR Unknown node {X}")),
        (format!("replicate {me}"), "-ERR Can't replicate myself".into()),
        (format!("count-failure-reports {me}"), ":0".into()),
        ("failover".into(), "-ERR You should send CLUSTER FAILOVER to a replica".into()),
        ("saveconfig".into(), "+OK".into()),
        ("flushslots".into(), "+OK".into()),
        ("reopen".into(), "+OK".into()),
        ("myid".into(), format!("$40\r\n{me}")),
    ];
    for (line, reply) in script {
        assert_eq!(net.reply(0, &line), format!("{reply}\r\n"), "{line}");
    }
    net.peers[0].keys = 1;
    let full = net.reply(0, "flushslots");
    assert_eq!(full, "-ERR DB must be empty to perform CLUSTER FLUSHSLOTS.\r\n");
    let full = net.reply(0, "reset");
    assert_eq!(full, "-ERR CLUSTER RESET can't be called with master nodes containing keys\r\n");
}

#[test]
fn errors_in_a_cluster() {
    let mut net = Net::three_masters();
    let (master, replica) = (id_of(1), id_of(3));
    let script = [
        (0, format!("setslot 0 migrating {replica}"), "-ERR Target node is not a master"),
        (0, format!("setslot 6000 importing {replica}"), "-ERR Target node is not a master"),
        (
            0,
            format!("replicate {master}"),
            "-ERR To set a master the node must be empty and without assigned slots.",
        ),
        (
            0,
            "set-config-epoch 4".into(),
            "-ERR The user can assign a config epoch only when the node does not know any other node.",
        ),
        (3, format!("forget {}", id_of(0)), "-ERR Can't forget my master!"),
        (3, "setslot 0 stable".into(), "-ERR Please use SETSLOT only with masters."),
        (4, format!("replicate {replica}"), "-ERR I can only replicate a master, not a replica."),
        (3, format!("replicas {}", id_of(4)), "-ERR The specified node is not a master"),
    ];
    for (node, line, reply) in script {
        assert_eq!(net.reply(node, &line), format!("{reply}\r\n"), "{line}");
    }
    net.kill(0);
    net.run(6000);
    // Taken over by now; its replica is a master.
    assert_eq!(net.reply(3, "failover"), "-ERR You should send CLUSTER FAILOVER to a replica\r\n");
}

#[test]
fn info_has_the_fields_of_redis() {
    let mut net = Net::three_masters();
    let info = net.reply(0, "INFO");
    let names: Vec<&str> = info.lines().skip(1).filter_map(|l| l.split_once(':')).map(|(n, _)| n).collect();
    assert_eq!(
        names[..9],
        [
            "cluster_state",
            "cluster_slots_assigned",
            "cluster_slots_ok",
            "cluster_slots_pfail",
            "cluster_slots_fail",
            "cluster_known_nodes",
            "cluster_size",
            "cluster_current_epoch",
            "cluster_my_epoch"
        ]
    );
    assert!(names.contains(&"cluster_stats_messages_ping_sent"));
    assert!(names.contains(&"cluster_stats_messages_received"));
    assert_eq!(names[names.len() - 4], "total_cluster_links_buffer_limit_exceeded");
    assert!(info.ends_with("cluster_unreachable_masters:\r\ncluster_quarantined_slots:0\r\ncluster_quarantined_keys:0\r\n\r\n"), "{info}");
    assert!(info.contains("cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\n"));
    assert!(info.contains("cluster_known_nodes:6\r\ncluster_size:3\r\n"));
}

fn in_resp3(net: &mut Net, node: usize, line: &str) -> String {
    let args: Vec<&str> = std::iter::once("cluster").chain(line.split(' ')).collect();
    let Ok(Parsed::Core(command)) = parse(&args) else { panic!("{line}") };
    let token = Token(1 << 40);
    let keys = DatasetInfo::default();
    let asker = Asker { protocol: Protocol::Resp3, ..Asker::default() };
    net.input(node, Input::Command { token, command, asker, keys });
    net.replies[&token.0].clone()
}

#[test]
fn slots_with_and_without_host_names() {
    let mut net = Net::with_masters(3, 0);
    net.peers[0].core.config_mut().announce_hostname = Some("h1.example".into());
    net.run(7000);
    let id = id_of(0);
    let first = format!(
        "*3\r\n*3\r\n:0\r\n:5460\r\n*4\r\n$8\r\n10.0.0.1\r\n:6379\r\n$40\r\n{id}\r\n*2\r\n$8\r\nhostname\r\n$10\r\nh1.example\r\n"
    );
    assert!(net.reply(1, "SLOTS").starts_with(&first), "{}", net.reply(1, "SLOTS"));
    let map = "%1\r\n$8\r\nhostname\r\n$10\r\nh1.example\r\n";
    let reply = in_resp3(&mut net, 1, "SLOTS");
    assert!(reply.contains(map) && reply.contains("%0\r\n"), "{reply}");
    net.peers[1].core.config_mut().endpoint_type = EndpointType::Hostname;
    let reply = net.reply(1, "SLOTS");
    assert!(reply.contains("*4\r\n$10\r\nh1.example\r\n:6379\r\n"), "{reply}");
    assert!(
        reply.contains("$1\r\n?\r\n") && reply.contains("*2\r\n$2\r\nip\r\n$8\r\n10.0.0.1\r\n"),
        "{reply}"
    );
    net.peers[1].core.config_mut().endpoint_type = EndpointType::Unknown;
    assert!(net.reply(1, "SLOTS").contains("*4\r\n$-1\r\n:6379\r\n"));
}

#[test]
fn shards_and_links() {
    let mut net = Net::three_masters();
    let reply = net.reply(0, "SHARDS");
    let first = format!(
        "*3\r\n*4\r\n$5\r\nslots\r\n*2\r\n:0\r\n:5460\r\n$5\r\nnodes\r\n*2\r\n*14\r\n$2\r\nid\r\n$40\r\n{}\r\n$4\r\nport\r\n:6379\r\n$2\r\nip\r\n$8\r\n10.0.0.1\r\n$8\r\nendpoint\r\n$8\r\n10.0.0.1\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$18\r\nreplication-offset\r\n:",
        id_of(0)
    );
    assert!(reply.starts_with(&first), "{reply}");
    assert!(
        reply.contains("$4\r\nrole\r\n$7\r\nreplica\r\n")
            && reply.contains("$6\r\nhealth\r\n$6\r\nonline\r\n")
    );
    let links = in_resp3(&mut net, 0, "LINKS");
    assert!(
        links.starts_with("*10\r\n%6\r\n$9\r\ndirection\r\n$2\r\nto\r\n$4\r\nnode\r\n$40\r\n"),
        "{links}"
    );
    assert!(links.contains("$9\r\ndirection\r\n$4\r\nfrom\r\n"));
    assert!(in_resp3(&mut net, 0, "NODES").starts_with('='));
    assert!(
        net.reply(0, "HELP")
            .contains("+CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n")
    );
}

#[test]
fn replicas_as_lines() {
    let mut net = Net::three_masters();
    let reply = net.reply(0, &format!("REPLICAS {}", id_of(1)));
    let start = format!("{} 10.0.0.5:6379@16379 slave {} 0 ", id_of(4), id_of(1));
    assert!(
        reply.starts_with("*1\r\n$") && reply.contains(&start) && reply.ends_with(" 2 connected\r\n"),
        "{reply}"
    );
}

use super::*;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

const A: &str = "07c37dfeb235213a872192d90877d0cd55635b91";
const B: &str = "e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca";

fn line(text: &str) -> NodeLine {
    let node: NodeLine = text.parse().unwrap();
    assert_eq!(node.to_string(), text, "written as it was read");
    node
}

fn reason(text: &str) -> String {
    text.parse::<NodeLine>().unwrap_err().reason
}

#[test]
fn the_tutorial_line() {
    let node = line(&format!("{A} 127.0.0.1:7007@17007 myself,master - 0 1426238317239 0 connected"));
    assert_eq!(node.id.to_string(), A);
    assert_eq!(node.address.client(), "127.0.0.1:7007".parse().unwrap());
    assert_eq!(node.address.bus_port, 17007);
    assert!(node.is_myself() && node.connected && node.slots.is_empty());
    assert_eq!(node.pong_received, Millis(1_426_238_317_239));
    assert_eq!((node.master, node.config_epoch), (None, Epoch(0)));
}

#[test]
fn replicas_failures_and_host_names() {
    let node = line(&format!("{A} 10.0.0.7:7001@17001,node-1.example slave,fail {B} 5 9 3 disconnected"));
    assert_eq!(node.hostname, "node-1.example");
    assert_eq!(node.master.unwrap().to_string(), B);
    assert_eq!(node.flags, NodeFlags::REPLICA | NodeFlags::FAIL);
    assert!(!node.connected && !node.is_myself());
    assert_eq!(line(&format!("{A} :0@0 noflags - 0 0 0 connected")).flags, NodeFlags::empty());
    let noaddr = line(&format!("{A} :0@0 master,fail?,noaddr - 0 0 0 disconnected"));
    assert_eq!(noaddr.flags, NodeFlags::MASTER | NodeFlags::PFAIL | NodeFlags::NOADDR);
    assert!(!noaddr.address.has_ip());
}

#[test]
fn slots_and_open_slots() {
    let text =
        format!("{A} 127.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-5460 5500 [93->-{B}] [94-<-{B}]");
    let node = line(&text);
    assert_eq!(node.slots.len(), 5462);
    let target = B.parse().unwrap();
    assert_eq!(node.migrating, [(Slot::new(93).unwrap(), target)]);
    assert_eq!(node.importing, [(Slot::new(94).unwrap(), target)]);
}

#[test]
fn auxiliary_fields_of_nodes_conf() {
    let text =
        format!("{A} 127.0.0.1:7001@17001,,shard-id={B},tls-port=0 myself,master - 0 0 1 connected 0-16383");
    let node = line(&text);
    assert_eq!(node.hostname, "");
    assert_eq!(node.shard_id(), Some(B));
    assert_eq!(node.aux["tls-port"], "0");
    let named =
        line(&format!("{A} 127.0.0.1:7001@17001,h.example,nodename=,shard-id={B} master - 0 0 1 connected"));
    assert_eq!((named.hostname.as_str(), named.aux["nodename"].as_str()), ("h.example", ""));
}

#[test]
fn ipv6_and_old_addresses() {
    let node = line(&format!("{A} 2001:db8::1:7001@17001 master - 0 0 1 connected"));
    assert_eq!(node.address.client(), "[2001:db8::1]:7001".parse().unwrap());
    let old: NodeLine = format!("{A} 10.0.0.1:7001 master - 0 0 1 connected").parse().unwrap();
    assert_eq!(old.address.bus_port, 17001);
}

#[test]
fn reasons() {
    let rest = "master - 0 0 1 connected";
    for (text, expected) in [
        ("", "no node id"),
        (A, "no address"),
        (&format!("{A} 10.0.0.1 {rest}"), "address without a port: \"10.0.0.1\""),
        (&format!("{A} host:7001@17001 {rest}"), "not an IP address: \"host\""),
        (&format!("{A} 10.0.0.1:70000@1 {rest}"), "not a port: \"70000\""),
        (&format!("{A} 10.0.0.1:60000 {rest}"), "no bus port fits port 60000"),
        (&format!("{A} :1@2,,a {rest}"), "auxiliary field without \"=\": \"a\""),
        (&format!("{A} :1@2,,a=1,a=2 {rest}"), "auxiliary field a given twice"),
        (&format!("{A} :1@2 boss - 0 0 1 connected"), "unknown flag \"boss\""),
        (&format!("{A} :1@2 master - x 0 1 connected"), "ping-sent is not a number: \"x\""),
        (&format!("{A} :1@2 master - 0 0 1 up"), "link state is neither connected nor disconnected: \"up\""),
        (
            &format!("{A} :1@2 {rest} [1->-x]"),
            "not an open slot such as [93->-<id>] or [93-<-<id>]: \"[1->-x]\"",
        ),
        (
            &format!("{A} :1@2 {rest} 16384"),
            "not a slot range (two numbers from 0 to 16383 as in \"0-5460\"): \"16384\"",
        ),
    ] {
        assert_eq!(reason(text), expected);
    }
}

#[test]
fn whole_replies() {
    let text = format!("{A} :1@2 master - 0 0 1 connected\n\n{B} :1@2 master - 0 0 1 connected 7\r\n");
    assert_eq!(parse_nodes(&text).unwrap().len(), 2);
    let error = parse_nodes(&format!("{A} :1@2 master - 0 0 1 connected\nnonsense\n")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2: bad CLUSTER NODES line: not a node id (40 lower-case hex digits): \"nonsense\": \"nonsense\""
    );
}

fn node_id() -> impl Strategy<Value = NodeId> {
    any::<[u8; 20]>().prop_map(NodeId::from_bytes)
}

fn open_slots() -> impl Strategy<Value = Vec<(Slot, NodeId)>> {
    vec(((0..16_384u16).prop_map(|n| Slot::new(n).unwrap()), node_id()), 0..3)
}

fn node_line() -> impl Strategy<Value = NodeLine> {
    let flags = proptest::sample::subsequence(FLAG_WORDS.to_vec(), 0..=FLAG_WORDS.len());
    let names = ("[a-z.-]{0,9}", btree_map("[a-z-]{1,9}", "[a-z0-9.:-]{0,9}", 0..3));
    let ids = (node_id(), proptest::option::of(node_id()));
    let address = (any::<IpAddr>(), any::<u16>(), any::<u16>());
    let slots = vec((0..16_384u16).prop_map(|n| Slot::new(n).unwrap()), 0..20);
    (ids, address, names, flags, any::<[u64; 3]>(), any::<bool>(), (slots, open_slots(), open_slots()))
        .prop_map(
            |((id, master), (ip, port, bus_port), (hostname, aux), flags, numbers, connected, slots)| {
                NodeLine {
                    id,
                    // Only one way of not knowing an address can be written.
                    address: if ip.is_unspecified() {
                        Address::unknown(port, bus_port)
                    } else {
                        Address { ip, port, bus_port }
                    },
                    hostname,
                    aux,
                    flags: flags.into_iter().fold(NodeFlags::empty(), |all, (flag, _)| all | flag),
                    master,
                    ping_sent: Millis(numbers[0]),
                    pong_received: Millis(numbers[1]),
                    config_epoch: Epoch(numbers[2]),
                    connected,
                    slots: slots.0.into_iter().collect(),
                    migrating: slots.1,
                    importing: slots.2,
                }
            },
        )
}

proptest! {
    #[test]
    fn round_trip(node in node_line()) {
        prop_assert_eq!(node.to_string().parse::<NodeLine>(), Ok(node));
    }

    #[test]
    fn any_text(text in ".{0,200}") {
        let _ = parse_nodes(&text);
    }

    /// Text that is nearly a line.
    #[test]
    fn any_change(node in node_line(), at in any::<prop::sample::Index>(), to: char) {
        let mut chars: Vec<char> = node.to_string().chars().collect();
        let i = at.index(chars.len());
        chars[i] = to;
        let _ = parse_nodes(&chars.into_iter().collect::<String>());
    }
}

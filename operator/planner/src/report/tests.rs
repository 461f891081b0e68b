use super::*;
use node_server_protocol::NodeId;

const A: &str = "07c37dfeb235213a872192d90877d0cd55635b91";
const B: &str = "67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1";
const INFO: &str = "cluster_state:ok\r\ncluster_current_epoch:6\r\ncluster_my_epoch:1\r\n";
const MASTER: &str = "# Replication\r\nrole:master\r\nmaster_repl_offset:70\r\n";

fn replies<'a>(nodes: &'a str, replication: &'a str, counts: &'a BTreeMap<Slot, u64>) -> Replies<'a> {
    Replies { nodes, cluster_info: INFO, replication, keys: Some(3), reopen: false, counts }
}

#[test]
fn a_masters_replies() {
    let nodes = format!(
        "{A} 127.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-2 7 [1->-{B}]\n\
         {B} 127.0.0.1:7002@17002 master,fail? - 0 0 2 disconnected 3-6\n"
    );
    let counts = BTreeMap::from([(Slot::new(1).unwrap(), 3)]);
    let replies = replies(&nodes, MASTER, &counts);
    assert_eq!(replies.slots_to_count().unwrap().to_string(), "1");
    let report = NodeReport::parse(&replies).unwrap();
    assert_eq!((report.id.to_string().as_str(), report.role), (A, Role::Master));
    assert_eq!((report.current_epoch, report.config_epoch, report.cluster_ok), (Epoch(6), Epoch(1), true));
    assert_eq!(report.replication, Replication { offset: 70, link: ReplicaLink::NotReplica, down_s: None });
    assert_eq!(report.own_slots().to_string(), "0-2,7");
    let b: NodeId = B.parse().unwrap();
    assert_eq!(report.open_slots[0].state, OpenState::MigratingTo(b));
    assert_eq!(report.open_slots[0].keys, Fact::Known(3));
    assert!(report.line(b).unwrap().flags.pfail && !report.line(b).unwrap().connected);
    assert_eq!(report.stray_keys, Fact::Unknown(Why::NotAsked));
}

#[test]
fn a_replicas_link() {
    let nodes = format!("{A} 127.0.0.1:7001@17001 myself,slave {B} 0 0 1 connected\n");
    let counts = BTreeMap::new();
    let link = |text: &str| NodeReport::parse(&replies(&nodes, text, &counts)).unwrap().replication;
    let up =
        link("role:slave\r\nmaster_link_status:up\r\nmaster_sync_in_progress:0\r\nslave_repl_offset:9\r\n");
    assert_eq!(up, Replication { offset: 9, link: ReplicaLink::Up, down_s: None });
    let syncing = link("master_link_status:down\r\nmaster_sync_in_progress:1\r\nslave_repl_offset:0\r\n");
    assert_eq!(syncing.link, ReplicaLink::Syncing);
    assert_eq!(link("master_link_status:down\r\nslave_repl_offset:-1\r\n").offset, 0);
    let down = |since: &str| {
        link(&format!("master_link_status:down\r\nmaster_link_down_since_seconds:{since}\r\n")).link
    };
    assert_eq!(
        (down("-1"), down("0"), down("7")),
        (ReplicaLink::NeverUp, ReplicaLink::Down, ReplicaLink::Down)
    );
    let broken_off = link(
        "master_link_status:down\r\nmaster_sync_in_progress:0\r\nslave_repl_offset:9\r\n\
         master_sync_unfinished:1\r\nmaster_link_down_since_seconds:7\r\n",
    );
    assert_eq!(broken_off, Replication { offset: 9, link: ReplicaLink::NeverUp, down_s: Some(7) });
}

#[test]
fn masters_out_of_reach() {
    let nodes = format!("{A} 127.0.0.1:7001@17001 myself,slave {B} 0 0 1 connected\n");
    let counts = BTreeMap::new();
    let read = |more: &str| {
        let info = format!("{INFO}{more}\r\n");
        NodeReport::parse(&Replies { cluster_info: &info, ..replies(&nodes, MASTER, &counts) })
    };
    assert_eq!(read("").unwrap().unreachable, None);
    assert!(!read("").unwrap().no_copy && read("cluster_no_copy:1").unwrap().no_copy);
    assert_eq!(read("cluster_unreachable_masters:").unwrap().unreachable, Some(Vec::new()));
    let told = |id: &str, served_s| Unreachable { id: id.parse().unwrap(), served_s };
    let both = read(&format!("cluster_unreachable_masters:{A}=12,{B}=-1")).unwrap().unreachable;
    assert_eq!(both, Some(vec![told(A, Some(12)), told(B, None)]));
    for bad in ["x", "x=1", &format!("{A}=x"), &format!("{A}=-2")] {
        let error = read(&format!("cluster_unreachable_masters:{bad}")).unwrap_err();
        assert_eq!(error, BadReplies::Unreachable(bad.to_owned()));
    }
}

#[test]
fn keys_without_slots_are_counted_everywhere() {
    let nodes = format!("{A} :7001@17001 myself,master - 0 0 0 connected\n");
    let mut counts: BTreeMap<Slot, u64> = BTreeMap::new();
    assert_eq!(replies(&nodes, MASTER, &counts).slots_to_count().unwrap().len(), 16384);
    counts.extend(Slot::all().map(|s| (s, u64::from(s.number() == 5))));
    let report = NodeReport::parse(&replies(&nodes, MASTER, &counts)).unwrap();
    assert_eq!(report.stray_keys, Fact::Known(vec![SlotKeys { slot: Slot::new(5).unwrap(), keys: 1 }]));
}

#[test]
fn the_keys_of_lost_slots_are_counted_and_a_list_that_cannot_be_read_is_no_report() {
    let nodes = format!("{A} :7001@17001 myself,master - 0 0 1 connected 0-4\n");
    let counts = BTreeMap::from([(Slot::new(5).unwrap(), 2), (Slot::new(6).unwrap(), 0)]);
    let info = format!("{INFO}cluster_lost_slots:5-6\r\n");
    let said = Replies { cluster_info: &info, ..replies(&nodes, MASTER, &counts) };
    assert_eq!(said.slots_to_count().unwrap().to_string(), "5-6");
    let strays = NodeReport::parse(&said).unwrap().stray_keys;
    assert_eq!(strays, Fact::Known(vec![SlotKeys { slot: Slot::new(5).unwrap(), keys: 2 }]));
    let info = format!("{INFO}cluster_lost_slots:5,x\r\n");
    let odd = Replies { cluster_info: &info, ..said };
    assert_eq!(odd.slots_to_count(), Err(BadReplies::LostSlots("5,x".into())));
    assert!(NodeReport::parse(&odd).is_err());
}

#[test]
fn what_is_no_report_is_an_error() {
    let counts = BTreeMap::new();
    let bad = |nodes: &str, text: &str| NodeReport::parse(&replies(nodes, text, &counts)).unwrap_err();
    assert!(matches!(bad("rubbish", MASTER), BadReplies::Nodes(_)));
    assert_eq!(bad("", MASTER), BadReplies::NoMyself);
    let nodes = format!("{A} 127.0.0.1:7001@17001 myself,master - 0 0 1 connected\n");
    assert!(matches!(bad(&nodes, "role:master"), BadReplies::Field { field: "master_repl_offset", .. }));
}

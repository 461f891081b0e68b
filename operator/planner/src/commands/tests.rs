use super::*;
use crate::member::MemberId;
use crate::observed::Proof;
use node_server_protocol::Epoch;

fn node(n: u8) -> NodeRef {
    let port = 7000 + u16::from(n);
    let address = Address { ip: [127, 0, 0, 1].into(), port, bus_port: port + 10_000 };
    NodeRef { member: MemberId::new(u16::from(n), 0), id: NodeId::from_bytes([n; 20]), address }
}

fn slots(numbers: &[u16]) -> SlotSet {
    numbers.iter().filter_map(|n| Slot::new(*n)).collect()
}

/// `port: words` per command, one string per phase.
fn told(step: &Step) -> Vec<String> {
    let line = |c: &NodeCommand| format!("{}: {}", c.to.address.port, c.args.join(" "));
    let phase = |phase: Phase| match phase {
        Phase::Send { commands, errors: Errors::Stop } => {
            commands.iter().map(line).collect::<Vec<_>>().join("; ")
        }
        Phase::Send { commands, errors: Errors::Ignore } => {
            format!("try {}", commands.iter().map(line).collect::<Vec<_>>().join("; "))
        }
        Phase::MoveKeys { source, target, slots, replace } => {
            format!("keys of {slots} {} to {} replace {replace}", source.address.port, target.address.port)
        }
        Phase::Platform => "platform".into(),
        Phase::Report => "report".into(),
    };
    step.commands().into_iter().map(phase).collect()
}

fn id(n: u8) -> String {
    node(n).id.to_string()
}

#[test]
fn a_move_is_target_then_source_then_the_others() {
    let step = Step::MigrateSlots {
        slots: slots(&[5, 6]),
        source: node(1),
        target: node(2),
        kind: MoveKind::Handover,
        others: vec![node(3)],
    };
    let (one, two) = (id(1), id(2));
    assert_eq!(
        told(&step),
        [
            format!("7002: CLUSTER SETSLOT 5 IMPORTING {one}; 7002: CLUSTER SETSLOT 6 IMPORTING {one}"),
            format!("7001: CLUSTER SETSLOT 5 MIGRATING {two}; 7001: CLUSTER SETSLOT 6 MIGRATING {two}"),
            "keys of 5-6 7001 to 7002 replace true".into(),
            format!("7002: CLUSTER SETSLOT 5 NODE {two}; 7002: CLUSTER SETSLOT 6 NODE {two}"),
            format!("try 7001: CLUSTER SETSLOT 5 NODE {two}; 7001: CLUSTER SETSLOT 6 NODE {two}"),
            format!("try 7003: CLUSTER SETSLOT 5 NODE {two}; 7003: CLUSTER SETSLOT 6 NODE {two}"),
        ]
    );
}

#[test]
fn a_merge_never_overwrites_the_owners_keys() {
    let kind = MoveKind::Merge { claimed: true };
    let step =
        Step::MigrateSlots { slots: slots(&[5]), source: node(1), target: node(2), kind, others: vec![] };
    let told = told(&step);
    assert_eq!(told[0], format!("7001: CLUSTER SETSLOT 5 MIGRATING {}", id(2)));
    assert_eq!(told[1], "keys of 5 7001 to 7002 replace false");
    assert_eq!(told[2], format!("7001: CLUSTER SETSLOT 5 NODE {}", id(2)));
    assert!(
        !told.iter().any(|line| line.contains("STABLE")),
        "a source without any slot left refuses it: {told:?}"
    );
}

#[test]
fn short_steps() {
    let meet = Step::Meet { at: node(1), peer: node(2) };
    assert_eq!(told(&meet), ["7001: CLUSTER MEET 127.0.0.1 7002"]);
    let mut odd = node(2);
    odd.address.bus_port = 9;
    assert_eq!(told(&Step::Meet { at: node(1), peer: odd }), ["7001: CLUSTER MEET 127.0.0.1 7002 9"]);
    let assign = Step::AssignSlots { owner: node(1), slots: slots(&[1, 2, 9]), mistaken: false };
    assert_eq!(told(&assign), ["7001: CLUSTER ADDSLOTSRANGE 1 2 9 9"]);
    let epoch = Step::SetConfigEpoch { node: node(1), epoch: Epoch(3) };
    assert_eq!(told(&epoch), ["7001: CLUSTER SET-CONFIG-EPOCH 3"]);
    let mode = FailoverMode::Takeover(Proof::Terminated);
    let failover = Step::Failover { replica: node(2), master: node(1).id, mode };
    assert_eq!(told(&failover), ["7002: CLUSTER FAILOVER TAKEOVER"]);
    let forget = Step::Forget { id: node(1).id, member: None, at: vec![node(2)] };
    assert_eq!(told(&forget), [format!("try 7002: CLUSTER FORGET {}", id(1))]);
    assert_eq!(told(&Step::EnsureMember { member: MemberId::new(0, 0) }), ["platform"]);
}

#[test]
fn key_commands() {
    let args = migrate(node(2).address, &[b"a".to_vec()], true);
    let text: Vec<_> = args.iter().map(|a| String::from_utf8_lossy(a)).collect();
    assert_eq!(text.join(" "), "MIGRATE 127.0.0.1 7002  0 5000 REPLACE KEYS a");
    assert_eq!(get_keys(Slot::FIRST)[2], b"0");
}

use super::*;
use node_server_protocol::{Address, NodeId};
use operator_planner::NodeRef;

fn node(ordinal: u16) -> NodeRef {
    let id = NodeId::from_bytes([ordinal as u8; 20]);
    NodeRef { member: MemberId::new(3, ordinal), id, address: Address::unknown(6379, 16_379) }
}

fn replicate(replica: u16, master: u16) -> Step {
    Step::Replicate { replica: node(replica), master: node(master) }
}

/// A new shard's first members were each made the other's replica: a look chose one master, the next look the other, while
/// the first command was on its way.
#[tokio::test]
async fn nobody_is_to_follow_who_is_being_told_to_follow() {
    let mut executor = Executor::new(Connections::default());
    let running = |step: Step| (claim(&step).unwrap(), Running { step, called_off: Arc::default() });
    assert!(!executor.is_in_the_way(&claim(&replicate(1, 0)).unwrap(), &replicate(1, 0)));
    let (claimed, first) = running(replicate(1, 0));
    executor.running.insert(claimed, first);
    let waits = |step: &Step| executor.is_in_the_way(&claim(step).unwrap(), step);
    assert!(waits(&replicate(0, 1)), "the other way round");
    assert!(waits(&replicate(2, 1)), "of one who is about to be a replica");
    assert!(waits(&replicate(0, 2)), "one who is about to be followed");
    assert!(!waits(&replicate(2, 0)), "another of the same master");
    let (claimed, reset) = running(Step::Reset { node: node(5) });
    executor.running.insert(claimed, reset);
    let waits = |step: &Step| executor.is_in_the_way(&claim(step).unwrap(), step);
    assert!(waits(&replicate(6, 5)));
}

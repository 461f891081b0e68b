//! A replica that was started again has what its own file had. While its master's data waits on a volume, the replica must
//! not take over by force: what the master acknowledged in the meantime would be lost.

use crate::model::{Model, desired, spec};
use operator_planner::observed::{NodeReport, Proof, ReplicaLink};
use operator_planner::{
    Desired, Distribution, Fact, Life, Member, MemberId, Observed, Step, Unsafe, Why, plan,
};

const MASTER: MemberId = MemberId::new(0, 0);
const REPLICA: MemberId = MemberId::new(0, 1);

/// A cluster of three whose first master has been killed and whose replica was started again after its last contact.
fn both_restarted() -> Observed {
    let mut model = Model::formed(&desired(3, 1));
    model.kill(MASTER, true);
    let mut observed = model.observe();
    member(&mut observed, MASTER).on_volume = true;
    report(&mut observed, REPLICA).replication.link = ReplicaLink::NeverUp;
    observed
}

fn member(observed: &mut Observed, which: MemberId) -> &mut Member {
    match &mut observed.members {
        Fact::Known(members) => members.get_mut(&which).unwrap(),
        Fact::Unknown(why) => panic!("{why}"),
    }
}

fn report(observed: &mut Observed, which: MemberId) -> &mut NodeReport {
    match &mut member(observed, which).node {
        Fact::Known(report) => report,
        Fact::Unknown(why) => panic!("{why}"),
    }
}

fn promoted(desired: &Desired, observed: &Observed) -> Option<MemberId> {
    plan(desired, observed).steps.iter().find_map(|p| match &p.step {
        Step::Failover { replica, .. } => Some(replica.member),
        _ => None,
    })
}

fn refuses(desired: &Desired, observed: &Observed) -> bool {
    let older = |u: &Unsafe| matches!(u, Unsafe::OlderCopy { shard: 0, replica: REPLICA, .. });
    plan(desired, observed).unsafe_.iter().any(older)
}

#[test]
fn an_older_copy_waits_for_the_master_s_volume() {
    let (keep, observed) = (desired(3, 1), both_restarted());
    assert_eq!(promoted(&keep, &observed), None);
    assert!(refuses(&keep, &observed));
}

#[test]
fn a_copy_that_was_in_sync_takes_over() {
    let mut observed = both_restarted();
    report(&mut observed, REPLICA).replication.link = ReplicaLink::Down;
    assert_eq!(promoted(&desired(3, 1), &observed), Some(REPLICA));
}

#[test]
fn an_older_copy_is_better_than_none() {
    let keep = desired(3, 1);
    // In memory: what the master had died with it.
    let mut in_memory = both_restarted();
    member(&mut in_memory, MASTER).on_volume = false;
    assert_eq!(promoted(&keep, &in_memory), Some(REPLICA));
    // Its machine was given up.
    let mut given_up = both_restarted();
    member(&mut given_up, MASTER).life = Life::Terminated(Proof::Administrator);
    assert_eq!(promoted(&keep, &given_up), Some(REPLICA));
    // The user allows it.
    let allowed = spec(3, 1, Distribution::Balanced, true);
    assert_eq!(promoted(&allowed, &both_restarted()), Some(REPLICA));
}

/// Both pods of a shard were deleted at once; the replica was back before its master's new process listened, and its word
/// that the link is down was taken for the proof of a death.
#[test]
fn a_refused_connection_and_a_replica_that_never_had_a_link_prove_nothing() {
    let mut observed = both_restarted();
    let master = member(&mut observed, MASTER);
    (master.life, master.node, master.on_volume) = (Life::Running, Fact::Unknown(Why::Refused), false);
    assert_eq!(promoted(&desired(3, 1), &observed), None);
    report(&mut observed, REPLICA).replication.link = ReplicaLink::Down;
    assert_eq!(promoted(&desired(3, 1), &observed), Some(REPLICA));
}

/// A master that was told to end refuses connections before its platform says that it ended in order.
#[test]
fn a_refused_connection_of_one_that_is_leaving_proves_nothing() {
    let mut observed = both_restarted();
    report(&mut observed, REPLICA).replication.link = ReplicaLink::Down;
    let master = member(&mut observed, MASTER);
    (master.life, master.node, master.leaving) = (Life::Running, Fact::Unknown(Why::Refused), true);
    assert_eq!(promoted(&desired(3, 1), &observed), None);
}

/// An offset read from a file may be of another log than the one that was followed.
#[test]
fn a_replica_that_followed_comes_before_one_with_a_higher_offset_of_its_file() {
    let mut model = Model::formed(&desired(3, 2));
    model.kill(MASTER, true);
    let mut observed = model.observe();
    let restarted = report(&mut observed, REPLICA);
    restarted.replication.link = ReplicaLink::NeverUp;
    restarted.replication.offset += 1000;
    assert_eq!(promoted(&desired(3, 2), &observed), Some(MemberId::new(0, 2)));
}

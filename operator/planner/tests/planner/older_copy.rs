//! A replica that was started again has what its own file had. While its master's data waits on a volume, the replica must
//! not take over by force: what the master acknowledged in the meantime would be lost.

use crate::model::{Model, desired, spec};
use operator_planner::observed::{NodeReport, Proof, ReplicaLink, Unreachable};
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

/// The link of the replica has been down for `down_s` seconds; it last heard of its master `served_s` seconds ago that it
/// serves, and a node of another shard heard it a second later.
fn apart(observed: &mut Observed, down_s: u64, served_s: u64) {
    let master = member(observed, MASTER).last_id.unwrap();
    for (which, served_s) in [(REPLICA, served_s + 1), (MemberId::new(1, 0), served_s)] {
        let told = Unreachable { id: master, served_s: Some(served_s) };
        report(observed, which).unreachable = Some(vec![told]);
    }
    let replica = report(observed, REPLICA);
    (replica.replication.link, replica.replication.down_s) = (ReplicaLink::Down, Some(down_s));
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

/// A replica had lost its link while its master went on for an hour. Its data was taken for as good as that of one whose
/// link the master's end had broken.
#[test]
fn a_replica_that_was_without_its_master_for_long_waits_for_its_volume() {
    let (keep, mut observed) = (desired(3, 1), both_restarted());
    apart(&mut observed, 3600, 2);
    assert_eq!(promoted(&keep, &observed), None);
    assert!(refuses(&keep, &observed));
    // Refused connections prove no more.
    let master = member(&mut observed, MASTER);
    (master.life, master.node) = (Life::Running, Fact::Unknown(Why::Refused));
    assert_eq!(promoted(&keep, &observed), None);
    assert!(refuses(&keep, &observed));
    // As with any older copy.
    assert_eq!(promoted(&spec(3, 1, Distribution::Balanced, true), &observed), Some(REPLICA));
    member(&mut observed, MASTER).on_volume = false;
    assert_eq!(promoted(&keep, &observed), Some(REPLICA));
}

/// The time since the master's end does not count, however long the platform starts it again in vain and however long the
/// operator was away: it has served nothing since.
#[test]
fn a_link_that_its_master_s_end_broke_may_have_been_down_for_long() {
    for (down_s, served_s) in [(0, 0), (3600, 3600), (3605, 3600), (3600, 3700)] {
        let mut observed = both_restarted();
        apart(&mut observed, down_s, served_s);
        assert_eq!(promoted(&desired(3, 1), &observed), Some(REPLICA), "{down_s} {served_s}");
    }
    // Nobody has noticed yet that it is out of reach: it served until now.
    let mut observed = both_restarted();
    apart(&mut observed, 7, 0);
    for which in [REPLICA, MemberId::new(1, 0)] {
        report(&mut observed, which).unreachable = Some(Vec::new());
    }
    assert_eq!(promoted(&desired(3, 1), &observed), None);
    // Nodes that do not say such things are taken as they were.
    apart(&mut observed, 3600, 2);
    report(&mut observed, REPLICA).unreachable = None;
    assert_eq!(promoted(&desired(3, 1), &observed), Some(REPLICA));
}

/// A master in memory that has come back without its data, and a node that was only told to follow it: it has the end of a
/// log of its own, and no key, those of another shard, or its former master's.
#[test]
fn who_was_only_told_to_follow_is_no_copy() {
    let closed = || {
        let mut model = Model::formed(&desired(3, 1));
        model.kill(MASTER, false);
        model.restart(MASTER);
        assert!(model.node(MASTER).closed_empty);
        model
    };
    let keep = desired(3, 1);
    let mut drained = closed().observe();
    let replica = report(&mut drained, REPLICA);
    (replica.replication.link, replica.keys) = (ReplicaLink::NeverUp, Fact::Known(0));
    assert_eq!(promoted(&keep, &drained), None);
    let lost = |u: &Unsafe| matches!(u, Unsafe::DataLoss { shard: 0, .. });
    assert!(plan(&keep, &drained).unsafe_.iter().any(lost));
    // What its own file had is a copy.
    report(&mut drained, REPLICA).keys = Fact::Known(5);
    assert_eq!(promoted(&keep, &drained), Some(REPLICA));
    report(&mut drained, REPLICA).no_copy = true;
    assert_eq!(promoted(&keep, &drained), None);
    assert!(plan(&keep, &drained).unsafe_.iter().any(lost), "nothing is waited for that nobody has");

    let mut model = closed();
    let (master, other) = (model.node(MASTER).id, MemberId::new(1, 1));
    model.kill(REPLICA, true);
    model.node_mut(other).follow(master);
    let mut observed = model.observe();
    assert_eq!(promoted(&keep, &observed), Some(other), "it has followed");
    report(&mut observed, other).replication.link = ReplicaLink::NeverUp;
    assert_eq!(promoted(&keep, &observed), None);
}

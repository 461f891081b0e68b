//! A takeover goes past the vote, so it is for clusters in which no vote can succeed. Masters that do not answer the operator
//! may be there for each other.

use crate::model::{Model, desired};
use node_server_protocol::Slot;
use operator_planner::observed::{Proof, Why};
use operator_planner::{
    Desired, Fact, FailoverMode, Life, Member, MemberId, Observed, Step, Unsafe, Waiting, plan,
};

const MASTER: MemberId = MemberId::new(0, 0);
const REPLICA: MemberId = MemberId::new(0, 1);

/// A cluster of three whose first master has been killed, and what became of the two others.
fn killed(others: impl Fn(&mut Member)) -> Observed {
    let mut model = Model::formed(&desired(3, 1));
    model.kill(MASTER, true);
    let mut observed = model.observe();
    let Fact::Known(members) = &mut observed.members else { panic!("the platform answers") };
    for shard in [1, 2] {
        others(members.get_mut(&MemberId::new(shard, 0)).unwrap());
    }
    observed
}

fn is_silent(member: &mut Member) {
    member.last_id = member.last_id.or_else(|| member.node.known().map(|report| report.id));
    member.node = Fact::Unknown(Why::TimedOut);
}

fn modes(keep: &Desired, observed: &Observed) -> Vec<(MemberId, FailoverMode)> {
    let steps = plan(keep, observed).steps;
    let failovers = steps.iter().filter_map(|planned| match &planned.step {
        Step::Failover { replica, mode, .. } => Some((replica.member, *mode)),
        _ => None,
    });
    failovers.collect()
}

/// Found by the simulation: the operator was cut off from two masters of three, and let a replica that they had been told to
/// forget take over from the third, which came back. Both served.
#[test]
fn masters_that_do_not_answer_may_vote() {
    let (keep, forced) = (desired(3, 1), [(REPLICA, FailoverMode::Forced(Proof::Terminated))]);
    assert_eq!(modes(&keep, &killed(|_| ())), forced);
    assert_eq!(modes(&keep, &killed(is_silent)), forced);
}

#[test]
fn dead_masters_do_not_vote() {
    let observed = killed(|member| {
        is_silent(member);
        member.life = Life::Terminated(Proof::Terminated);
    });
    let modes = modes(&desired(3, 1), &observed);
    assert!(modes.contains(&(REPLICA, FailoverMode::Takeover(Proof::Terminated))), "{modes:?}");
}

/// Half of the masters elect nobody, and a refused connection is not enough to do without them.
#[test]
fn one_of_two_masters_elects_nobody() {
    let keep = desired(2, 1);
    let mut model = Model::formed(&keep);
    model.kill(MASTER, true);
    let mut observed = model.observe();
    assert_eq!(modes(&keep, &observed), [(REPLICA, FailoverMode::Takeover(Proof::Terminated))]);
    let Fact::Known(members) = &mut observed.members else { panic!("the platform answers") };
    let master = members.get_mut(&MASTER).unwrap();
    (master.life, master.node) = (Life::Running, Fact::Unknown(Why::Refused));
    assert_eq!(modes(&keep, &observed), []);
    let refused = |u: &Unsafe| matches!(u, Unsafe::TakeoverNotProven { shard: 0, .. });
    assert!(plan(&keep, &observed).unsafe_.iter().any(refused));
}

/// Its own cluster has forgotten the replica, since it was about to go: it is introduced again before anything else.
#[test]
fn a_forgotten_replica_of_a_dead_master_is_brought_in() {
    let mut observed = killed(|_| ());
    let Fact::Known(members) = &mut observed.members else { panic!("the platform answers") };
    let forgotten = members[&REPLICA].node.known().unwrap().id;
    for member in members.values_mut() {
        if let Fact::Known(report) = &mut member.node
            && report.id != forgotten
        {
            report.view.retain(|line| line.id != forgotten);
        }
    }
    assert_eq!(modes(&desired(3, 1), &observed), []);
    let steps = plan(&desired(3, 0), &observed).steps;
    let met = |n: u16| {
        let by = MemberId::new(n, 0);
        steps
            .iter()
            .any(|p| matches!(&p.step, Step::Meet { at, peer } if (at.member, peer.member) == (by, REPLICA)))
    };
    assert!(met(1) && met(2), "{steps:?}");
}

/// Found by the simulation: a replica that was cut off while a slot moved took over without a vote, and claimed the slot with a
/// new epoch; who had its keys deleted them.
#[test]
fn who_has_not_heard_of_a_move_does_not_take_over_without_a_vote() {
    let keep = desired(2, 1);
    let (taker, moved) = (MemberId::new(1, 0), Slot::FIRST);
    let mut model = Model::formed(&keep);
    let id = model.node(taker).id;
    let hear = |model: &mut Model, member: MemberId| {
        let node = model.node_mut(member);
        node.set_owner(moved, id);
        node.view.get_mut(&id).unwrap().epoch = 50;
    };
    for member in [MASTER, taker, MemberId::new(1, 1)] {
        hear(&mut model, member);
    }
    let observed = |model: &Model| {
        let mut observed = model.observe();
        let Fact::Known(members) = &mut observed.members else { panic!("the platform answers") };
        is_silent(members.get_mut(&taker).unwrap());
        let master = members.get_mut(&MASTER).unwrap();
        is_silent(master);
        master.life = Life::Terminated(Proof::Terminated);
        observed
    };
    let skewed = observed(&model);
    assert_eq!(modes(&keep, &skewed), []);
    let slots = std::iter::once(moved).collect();
    assert!(plan(&keep, &skewed).waiting.contains(&Waiting::ViewsAgree { slots }));
    hear(&mut model, REPLICA);
    let takes_over = [(REPLICA, FailoverMode::Takeover(Proof::Terminated))];
    assert_eq!(modes(&keep, &observed(&model)), takes_over);
}

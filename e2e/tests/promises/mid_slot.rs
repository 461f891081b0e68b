//! A master is killed while a slot is half moved: open on both sides, keys on both sides, the operator frozen in the
//! middle of it. One owner at the end; the killed master's own last writes may be lost, no key that was there before,
//! crossed or not, and no write that another master acknowledged.

use crate::scene::{FOUR, Scene, THREE, assert_owned};
use e2e::answers::count;
use e2e::observation::CONVERGE_LIMIT;
use e2e::writer::{Keys, Loss};
use e2e::{Declared, wait};
use node_server_protocol::{Slot, SlotSet, key_slot};
use operator_planner::MemberId;
use rustix::process::Signal;
use tokio::task::block_in_place;

/// Keys of the slot: it takes a while to move.
const KEYS: u64 = 60_000;
/// A machine that is very busy may miss the moment.
const ATTEMPTS: usize = 5;
/// The fourth shard's first master.
const TARGET: MemberId = MemberId::new(3, 0);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Victim {
    Source,
    Target,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_source_is_killed() {
    kill(Victim::Source).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_target_is_killed() {
    kill(Victim::Target).await;
}

async fn kill(victim: Victim) {
    let (tag, slot) = shared_tag();
    let keys = vec![Keys::spread(10_000, 100), Keys::tagged(&tag, KEYS, 100)];
    let cluster = Declared::with_spec("masters: 3, replicasPerMaster: 1").unwrap();
    let scene = Scene::new(cluster, &THREE, Loss::Suffix, keys).await;
    let source = freeze_within(&scene, slot).await;
    let victim = if victim == Victim::Source { source } else { TARGET };
    let address = scene.cluster.place(victim).unwrap().address().to_string();
    scene.cluster.signal_member(victim, Signal::KILL).unwrap();
    scene.cluster.signal_operator(Signal::CONT).unwrap();
    scene.converged().await;
    assert_owned(&scene.cluster, &FOUR);
    let report = scene.finish().await;
    assert!(report.lost_writes.iter().all(|lost| lost.master == address), "killed: {address}\n{report}");
}

/// A hash tag of keys that the writer changes together, in a slot that the fourth master gets.
fn shared_tag() -> (String, Slot) {
    let goes: Vec<SlotSet> = [0..1365, 5461..6827, 10_923..12_288]
        .map(|range: std::ops::Range<u16>| range.filter_map(Slot::new).collect())
        .into();
    let tags =
        (0..8).flat_map(|connection| (40..72).step_by(4).map(move |n| format!("checked:{connection}:g{n}")));
    let slot = |tag: &String| key_slot(tag.as_bytes());
    let tag = { tags }.find(|tag| goes.iter().any(|set| set.contains(slot(tag)))).unwrap();
    let slot = slot(&tag);
    (tag, slot)
}

/// Declares a fourth master and freezes the operator when the slot is half moved. Gives the source.
async fn freeze_within(scene: &Scene, slot: Slot) -> MemberId {
    for _ in 0..ATTEMPTS {
        let source = block_in_place(|| owner(scene, slot));
        scene.cluster.declare("masters: 4, replicasPerMaster: 1").unwrap();
        if block_in_place(|| freeze(scene, slot, source)) {
            return source;
        }
        scene.cluster.signal_operator(Signal::CONT).unwrap();
        scene.converged().await;
        scene.follow("masters: 3, replicasPerMaster: 1", &THREE).await;
    }
    panic!("the slot was never caught half moved\n{}", scene.cluster.said_tail());
}

fn owner(scene: &Scene, slot: Slot) -> MemberId {
    let members = scene.cluster.places().unwrap();
    let owns = |m: &&MemberId| scene.cluster.report(**m).is_ok_and(|r| r.own_slots().contains(slot));
    *members.keys().find(owns).unwrap()
}

/// Whether the operator was frozen while both sides had keys of the open slot.
fn freeze(scene: &Scene, slot: Slot, source: MemberId) -> bool {
    wait::until("keys of the slot cross", CONVERGE_LIMIT, || keys(scene, TARGET, slot) > 0).unwrap();
    scene.cluster.signal_operator(Signal::STOP).unwrap();
    let open = |member| {
        let report = scene.cluster.report(member).unwrap();
        report.open_slots.iter().any(|open| open.slot == slot)
    };
    let (left, crossed) = (keys(scene, source, slot), keys(scene, TARGET, slot));
    println!("frozen: slot {slot} has {left} keys at {source} and {crossed} at {TARGET}");
    open(source) && open(TARGET) && left > 0 && crossed > 0
}

/// Keys of the slot at a member; none while it does not answer.
fn keys(scene: &Scene, member: MemberId, slot: Slot) -> u64 {
    let slots: SlotSet = std::iter::once(slot).collect();
    let place = scene.cluster.place(member).and_then(|place| place.client());
    place.and_then(|mut client| count(&mut client, &slots)).map_or(0, |counts| counts[&slot])
}

//! The operator is killed at ten random points of a reshard, and another one is started each time. It goes on from what
//! the nodes say: nothing is lost, nothing fails, and in the end everything is as declared.

use crate::scene::{FOUR, Scene, THREE, assert_owned};
use e2e::observation::CONVERGE_LIMIT;
use e2e::writer::Keys;
use e2e::{cluster, wait};
use operator_planner::MemberId;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::block_in_place;

const KILLS: usize = 10;
/// Attempts at that: one that comes when the last slot has just moved does not count.
const ATTEMPTS: usize = 40;
/// Slots that the fourth master gets and gives back.
const MOVED: usize = 4096;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_times_in_a_reshard() {
    let mut random = Random::new();
    let mut scene = Scene::three(vec![Keys::spread(100_000, 100)]).await;
    let mut reshard = Reshard { masters: 3 };
    let (mut kills, mut with_open_slots) = (0, 0);
    for _ in 0..ATTEMPTS {
        if reshard.moved(&scene) == MOVED {
            scene.converged().await;
            reshard.turn(&scene);
        }
        let killed = block_in_place(|| reshard.kill_within(&mut scene, &mut random));
        scene.cluster.start_operator().unwrap();
        kills += usize::from(killed.is_some());
        with_open_slots += usize::from(killed.is_some_and(|open| open > 0));
        if kills == KILLS {
            break;
        }
    }
    assert_eq!(kills, KILLS, "{}", scene.cluster.said_tail());
    assert!(with_open_slots > 0, "no kill came while slots were open");
    scene.converged().await;
    assert_owned(&scene.cluster, if reshard.masters == 4 { &FOUR } else { &THREE });
    scene.follow("masters: 3, replicasPerMaster: 1", &THREE).await;
    scene.finish_spotless().await;
}

/// The declaration that is being followed.
struct Reshard {
    masters: u16,
}

impl Reshard {
    /// Declares the other number of masters.
    fn turn(&mut self, scene: &Scene) {
        self.masters = 7 - self.masters;
        scene.cluster.declare(&format!("masters: {}, replicasPerMaster: 1", self.masters)).unwrap();
    }

    /// How many of the slots are where they shall be, as the first shard's first node sees it.
    fn moved(&self, scene: &Scene) -> usize {
        let place = scene.cluster.place(MemberId::new(0, 0)).unwrap();
        let lines = place.client().and_then(|mut client| cluster::view(&mut client)).unwrap();
        let counts: Vec<usize> = lines.iter().map(|l| l.slots.len()).filter(|n| *n > 0).collect();
        // The fourth master has what the three others have not: 4096 each at one end, 5461 or 5462 each at the other.
        let away = counts.iter().map(|n| n.saturating_sub(MOVED)).sum::<usize>();
        if self.masters == 4 { MOVED - away } else { away }
    }

    /// Kills the operator when a random part of the slots that are left has moved, and a random bit of time later. Gives
    /// the number of open slots then; `None` when the reshard was over.
    fn kill_within(&self, scene: &mut Scene, random: &mut Random) -> Option<usize> {
        let from = self.moved(scene);
        let point = from + random.below((MOVED - from) as u64) as usize;
        wait::until(&format!("{point} slots have moved"), CONVERGE_LIMIT, || self.moved(scene) >= point)
            .unwrap_or_else(|error| panic!("{error}\n{}", scene.cluster.said_tail()));
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        scene.cluster.kill_operator().unwrap();
        let (moved, open) = (self.moved(scene), open_slots(scene));
        println!("operator killed with {moved} of {MOVED} slots moved (aimed at {point}), {open} open");
        (moved < MOVED).then_some(open)
    }
}

fn open_slots(scene: &Scene) -> usize {
    let members = scene.cluster.places().unwrap();
    let reports = members.keys().filter_map(|member| scene.cluster.report(*member).ok());
    reports.filter(|r| r.role.is_master()).map(|r| r.open_slots.len()).sum()
}

/// SplitMix64 with a printed seed.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let given = std::env::var("PROMISES_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = given.unwrap_or_else(now);
        println!("seed: PROMISES_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

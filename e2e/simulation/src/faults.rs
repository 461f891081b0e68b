//! What goes wrong in a run, and when: chosen from the seed before the run begins.

use crate::rng::Rng;

/// At least this many faults in every run (proof.md).
pub const FAULTS_MIN: usize = 20;
/// The time in which they begin, in milliseconds.
pub const FAULT_WINDOW_MS: u64 = 60_000;
/// The longest that one lasts.
const DURATION_MAX_MS: u64 = 6_000;

/// One thing that goes wrong. Nodes are drawn by `salt` from those that exist when it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every frame takes up to this many milliseconds.
    Delay { max_ms: u64 },
    /// This many frames in a hundred are lost.
    Loss { percent: u64 },
    /// This many frames in a hundred arrive twice.
    Duplication { percent: u64 },
    /// Nothing from one node reaches another.
    OneWayCut,
    /// Some nodes are cut off from the others; the operator is on either side.
    Partition,
    /// A node's process stands still and then goes on.
    Pause,
    /// A node's process dies; what was not synced and all keys are gone. It is restarted by the platform.
    Crash { new_address: bool },
    /// A node's clock jumps and runs fast or slow.
    ClockDrift { jump_ms: u64, percent_fast: u64 },
    /// The operator is killed and starts again.
    OperatorRestart,
    /// The user changes the spec.
    SpecEdit,
}

/// A fault with its time.
#[derive(Clone, Copy, Debug)]
pub struct Scheduled {
    /// When it begins, in milliseconds of the run.
    pub at: u64,
    /// How long it lasts; crashes and edits use it as the time until the restart or not at all.
    pub lasts_ms: u64,
    /// What happens.
    pub fault: Fault,
    /// Draws the victims.
    pub salt: u64,
}

/// The faults of one run in the order of their times.
#[must_use]
pub fn schedule(rng: &mut Rng, begin: u64) -> Vec<Scheduled> {
    let count = FAULTS_MIN + rng.below(10) as usize;
    let mut faults: Vec<Scheduled> = (0..count)
        .map(|_| Scheduled {
            at: begin + rng.below(FAULT_WINDOW_MS),
            lasts_ms: rng.between(200, DURATION_MAX_MS),
            fault: draw(rng),
            salt: rng.word(),
        })
        .collect();
    faults.sort_by_key(|f| f.at);
    faults
}

fn draw(rng: &mut Rng) -> Fault {
    match rng.below(100) {
        0..12 => Fault::Delay { max_ms: rng.between(20, 400) },
        12..22 => Fault::Loss { percent: rng.between(1, 30) },
        22..28 => Fault::Duplication { percent: rng.between(1, 30) },
        28..40 => Fault::OneWayCut,
        40..54 => Fault::Partition,
        54..66 => Fault::Pause,
        66..84 => Fault::Crash { new_address: rng.percent(30) },
        84..88 => Fault::OperatorRestart,
        88..92 => Fault::ClockDrift { jump_ms: rng.below(2_000), percent_fast: rng.between(90, 110) },
        _ => Fault::SpecEdit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_its_schedule_and_enough_of_it() {
        for seed in 0..50 {
            let one = schedule(&mut Rng::new(seed), 1_000);
            let again = schedule(&mut Rng::new(seed), 1_000);
            assert!(one.len() >= FAULTS_MIN);
            assert!(one.windows(2).all(|w| w[0].at <= w[1].at));
            assert_eq!(format!("{one:?}"), format!("{again:?}"));
        }
    }
}

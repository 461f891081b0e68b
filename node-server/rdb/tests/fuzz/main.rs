//! Changes good bytes at random, with a seeded generator, for `FUZZ_SECONDS` (1) per decoder, as many decoders at once as
//! there are cores: nothing may panic, and what is taken in spite of the change must be written and read again as the
//! same. `FUZZ_SEED` makes another run of it, `FUZZ_TARGET` one of the decoders with this in their names alone. A failure
//! prints the bytes. `cargo test --profile fuzz` is fast and checks overflows.
#![allow(clippy::disallowed_methods, reason = "how long it runs is said in seconds")]

#[path = "../common/mod.rs"]
mod common;

mod append_only;
mod container;
mod manifest;
mod values;

use common::mutate::{Random, from_environment, seeds};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Runs without anything that is taken, after which the changes are known to be useless.
const BARREN_MAX: u64 = 1_000_000;

/// Makes changed bytes.
type Make<'s> = Box<dyn Fn(&mut Random) -> Vec<u8> + Sync + 's>;

/// A decoder.
struct Target<'s> {
    name: String,
    make: Make<'s>,
    /// Whether they are taken. What must hold is asserted.
    check: fn(&[u8]) -> bool,
}

impl Target<'_> {
    fn run(&self, seed: u64, time: Duration) {
        let mut random = Random(seed);
        let end = Instant::now() + time;
        let (mut runs, mut taken) = (0_u64, 0_u64);
        while Instant::now() < end || taken == 0 {
            let bytes = (self.make)(&mut random);
            runs += 1;
            let checked = catch_unwind(AssertUnwindSafe(|| (self.check)(&bytes)));
            let hex = || bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let Ok(is_taken) = checked else { panic!("{}: {}", self.name, hex()) };
            taken += u64::from(is_taken);
            assert!(taken > 0 || runs < BARREN_MAX, "{}: nothing is ever taken", self.name);
        }
        eprintln!("{}: {runs} runs, {taken} taken", self.name);
    }
}

#[test]
fn changed_bytes() {
    let time = Duration::from_secs(from_environment("FUZZ_SECONDS", 1));
    let seed = from_environment("FUZZ_SEED", 0x5107_5eed);
    let seeds = seeds();
    let mut targets = values::targets(&seeds);
    targets.extend([append_only::target(), manifest::target(), container::target(&seeds)]);
    let only = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(target) = targets.get(n) else { return };
            if !target.name.contains(&only) {
                continue;
            }
            // Each has its own numbers, so that who runs beside it does not matter.
            target.run((seed.wrapping_add(n as u64) << 1) | 1, time);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
}

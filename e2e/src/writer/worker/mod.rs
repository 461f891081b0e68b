//! One connection: picks commands, sends them, and writes down what became of them.

mod effect;
mod reads;
mod writes;

pub(super) use reads::state;

use super::history::{Mastership, State};
use super::report::Tally;
use super::router::{Outcome, Router};
use super::shared::Shared;
use effect::{Effect, Kind, Write, effects};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Pause after a failure, so that a dead master is not asked in a busy loop.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);
/// PEXPIRE's longest time to live in milliseconds.
const TTL_MAX: u64 = 300;

pub(super) struct Worker {
    id: usize,
    shared: Arc<Shared>,
    router: Router,
    random: Random,
    seq: u64,
    tally: Tally,
}

impl Worker {
    pub(super) fn new(id: usize, shared: Arc<Shared>, router: Router) -> Self {
        let random = Random(shared.options.seed.wrapping_add(id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { id, shared, router, random, seq: 0, tally: Tally::default() }
    }

    /// Sends commands until the writer is stopped.
    pub(super) async fn run(mut self) -> Tally {
        let per_second =
            self.shared.options.operations_per_second / self.shared.options.connections.max(1) as u64;
        let mut pace = interval(Duration::from_micros(1_000_000 / per_second.max(1)));
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while !self.shared.is_stopped() {
            pace.tick().await;
            self.step().await;
        }
        self.tally.redirections = self.router.counts.clone();
        self.tally
    }

    async fn step(&mut self) {
        let pick = self.random.next();
        match self.random.next() % 100 {
            0..30 => self.change_single(pick, Kind::Set).await,
            30..37 => self.change_single(pick, Kind::Delete).await,
            37..41 => self.change_single(pick, Kind::Expire(1 + pick % TTL_MAX)).await,
            41..56 => self.increment(pick).await,
            56..61 => self.increment_shared(pick).await,
            61..69 => self.set_group(pick).await,
            69..77 => self.transact(pick).await,
            77..85 => self.read_group(pick).await,
            85..95 => {
                let key = self.shared.ledger(self.id).single(pick);
                self.read(self.id, key).await;
            }
            _ => self.read_other(pick).await,
        }
    }

    async fn write(&mut self, write: Write) {
        let (name, floors): (String, Vec<u64>) = {
            let now = self.shared.now();
            let mut ledger = self.shared.ledger(self.id);
            let name = ledger.key(write.keys[0].0).name.clone();
            let mut begin = |(key, state): &(usize, State)| {
                let history = &mut ledger.key_mut(*key).history;
                let floor = history.floor(now);
                history.begin(write.seq, *state);
                floor
            };
            (name, write.keys.iter().map(&mut begin).collect())
        };
        self.tally.operations += 1;
        match self.router.run(&write.request).await {
            Outcome::Done { replies, by } => match effects(&write, &name, &replies) {
                Some(effects) => self.settle(&write, effects, &floors, &by),
                None => self.unknown(&write, "unexpected reply").await,
            },
            Outcome::Refused(error) => self.failed(&error).await,
            Outcome::NotSent(what) => {
                self.withdraw(&write);
                self.failed(what).await;
            }
            Outcome::Unknown(what) => self.unknown(&write, what).await,
        }
    }

    fn settle(&mut self, write: &Write, effects: Vec<Effect>, floors: &[u64], by: &Arc<Mastership>) {
        let now = self.shared.now();
        let gone_by = match write.kind {
            Kind::Expire(ttl) => Some(now + ttl + self.shared.options.expiry_slack_ms),
            _ => None,
        };
        let mut ledger = self.shared.ledger(self.id);
        for (((index, _), effect), floor) in write.keys.iter().zip(effects).zip(floors) {
            let key = ledger.key_mut(*index);
            if let Some(before) = effect.before {
                let seen = key.history.observe(before, *floor, write.seq);
                self.shared.judge(&key.name, &seen, &format!("{:?} of", write.kind));
            }
            match effect.after {
                Some(after) => {
                    key.history.acknowledge(write.seq, after, by, now, gone_by.unwrap_or(now));
                    key.expires = gone_by;
                }
                None => key.history.withdraw(write.seq),
            }
        }
        ledger.count(by, now);
        self.tally.acknowledged += 1;
        self.shared.succeeded(write.request.slot);
    }

    fn withdraw(&self, write: &Write) {
        let mut ledger = self.shared.ledger(self.id);
        for (key, _) in &write.keys {
            ledger.key_mut(*key).history.withdraw(write.seq);
        }
    }

    async fn unknown(&mut self, write: &Write, what: &str) {
        let keys: Vec<usize> = write.keys.iter().map(|(key, _)| *key).collect();
        self.shared.ledger(self.id).give_up(&keys);
        self.tally.unknown += 1;
        self.failed(what).await;
    }

    /// Counts a failure by the error's first word, or by what happened.
    async fn failed(&mut self, what: &str) {
        let coded = what.split(' ').next().filter(|word| word.bytes().all(|b| b.is_ascii_uppercase()));
        *self.tally.failures.entry(coded.unwrap_or(what).to_owned()).or_default() += 1;
        sleep(FAILURE_PAUSE).await;
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

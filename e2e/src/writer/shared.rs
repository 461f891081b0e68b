//! What all connections of a writer share.

use super::Options;
use super::history::Seen;
use super::ledger::Ledger;
use super::report::Loss;
use super::slot_map::SlotMap;
use node_server_protocol::Slot;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Violations that are kept word for word; all are counted.
const VIOLATIONS_KEPT: usize = 50;
/// Counters that all connections increment.
const SHARED_COUNTERS: usize = 4;

pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) ledgers: Vec<Mutex<Ledger>>,
    pub(super) counters: Vec<Mutex<SharedCounter>>,
    violations: Mutex<Violations>,
    gaps: Mutex<Gaps>,
    pub(super) started: Instant,
    stopped: AtomicBool,
    halted: Notify,
    pub(super) acknowledged: AtomicU64,
}

#[derive(Default)]
struct Violations {
    count: u64,
    kept: Vec<String>,
}

/// A counter with many writers: nobody knows its exact value, only bounds.
pub(super) struct SharedCounter {
    pub(super) name: String,
    pub(super) attempted: u64,
    pub(super) acknowledged: u64,
    /// The highest value that was acknowledged and not lost.
    pub(super) floor: u64,
}

/// Since when the slots of each owner (at the start) have seen no successful write.
struct Gaps {
    map: SlotMap,
    owners: Vec<Gap>,
}

#[derive(Clone, Copy, Default)]
struct Gap {
    last: u64,
    longest: u64,
    /// The longest since somebody asked.
    recent: u64,
}

impl Shared {
    pub(super) fn new(options: Options, map: SlotMap) -> Self {
        let name = &options.prefix;
        let ledger = |i| Mutex::new(Ledger::new(format!("{name}:{i}")));
        let ledgers = (0..options.connections).map(ledger).collect();
        let counters =
            (0..SHARED_COUNTERS).map(|i| Mutex::new(SharedCounter::new(format!("{name}:shared{i}"))));
        let owners = vec![Gap::default(); map.nodes().len()];
        Self {
            counters: counters.collect(),
            ledgers,
            violations: Mutex::default(),
            gaps: Mutex::new(Gaps { map, owners }),
            started: Instant::now(),
            stopped: AtomicBool::new(false),
            halted: Notify::new(),
            acknowledged: AtomicU64::new(0),
            options,
        }
    }

    /// Milliseconds of the run.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Stops, and what waits for a reply stops waiting.
    pub(super) fn halt(&self) {
        self.stop();
        self.halted.notify_waiters();
    }

    /// Ends with the next [`Self::halt`] from now on.
    pub(super) fn halted(&self) -> Notified<'_> {
        self.halted.notified()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn ledger(&self, i: usize) -> MutexGuard<'_, Ledger> {
        lock(&self.ledgers[i])
    }

    pub(super) fn violation(&self, text: String) {
        let mut violations = lock(&self.violations);
        violations.count += 1;
        if violations.kept.len() < VIOLATIONS_KEPT {
            violations.kept.push(text);
        }
    }

    pub(super) fn violations(&self) -> (u64, Vec<String>) {
        let violations = lock(&self.violations);
        (violations.count, violations.kept.clone())
    }

    /// Judges what was read of a key. A loss is a violation unless the run is one that may lose a suffix.
    pub(super) fn judge(&self, key: &str, seen: &Seen, what: &str) {
        let text = match seen {
            Seen::Fine => return,
            Seen::Backwards { .. } if self.options.loss == Loss::Suffix => return,
            Seen::Backwards { found, floor, lost } => {
                format!(
                    "{what} {key}: shows attempt {found}, must show {floor} or later ({lost} acknowledged lost)"
                )
            }
            Seen::CameBack { found } => {
                format!("{what} {key}: shows attempt {found}, which an earlier read had found missing")
            }
            Seen::Foreign => format!("{what} {key}: holds what nobody has written"),
        };
        self.violation(text);
    }

    /// A write to the slot succeeded.
    pub(super) fn succeeded(&self, slot: Slot) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        let now = self.now();
        let mut gaps = lock(&self.gaps);
        if let Some(owner) = gaps.map.owner_index(slot) {
            gaps.owners[owner].close(now);
        }
    }

    /// The longest time in milliseconds without a successful write to the slots of any owner, since this was last asked.
    /// A gap that has not ended yet counts up to now, and goes on.
    pub(super) fn take_recent_gap(&self) -> u64 {
        let now = self.now();
        let mut gaps = lock(&self.gaps);
        let Gaps { map, owners } = &mut *gaps;
        let owns = |i| Slot::all().any(|slot| map.owner_index(slot) == Some(i));
        let take = |gap: &mut Gap| std::mem::take(&mut gap.recent).max(now.saturating_sub(gap.last));
        owners.iter_mut().enumerate().filter(|(i, _)| owns(*i)).map(|(_, gap)| take(gap)).max().unwrap_or(0)
    }

    /// The longest time in milliseconds without a successful write, per owner at the start.
    pub(super) fn close_gaps(&self) -> BTreeMap<String, u64> {
        let now = self.now();
        let mut gaps = lock(&self.gaps);
        let owns = |i| Slot::all().any(|slot| gaps.map.owner_index(slot) == Some(i));
        let masters: Vec<usize> = (0..gaps.owners.len()).filter(|i| owns(*i)).collect();
        let named = |i: usize| {
            gaps.owners[i].close(now);
            (gaps.map.nodes()[i].clone(), gaps.owners[i].longest)
        };
        masters.into_iter().map(named).collect()
    }
}

impl Gap {
    fn close(&mut self, now: u64) {
        let gap = now.saturating_sub(self.last);
        self.longest = self.longest.max(gap);
        self.recent = self.recent.max(gap);
        self.last = now;
    }
}

impl SharedCounter {
    fn new(name: String) -> Self {
        Self { name, attempted: 0, acknowledged: 0, floor: 0 }
    }

    /// An INCR begins; gives the floor that its reply must be above.
    pub(super) fn begin(&mut self) -> u64 {
        self.attempted += 1;
        self.floor
    }

    /// INCR answered `value`. An error says what is wrong with it.
    pub(super) fn acknowledge(&mut self, value: u64, floor_before: u64) -> Result<(), String> {
        self.acknowledged += 1;
        if value > self.attempted {
            return Err(format!("INCR gave {value} after {} attempts", self.attempted));
        }
        if value > floor_before {
            self.floor = self.floor.max(value);
            return Ok(());
        }
        self.floor = value;
        Err(format!("INCR gave {value} although it had been {floor_before}"))
    }

    /// How many increments are lost at least, with that value at the end.
    pub(super) const fn lost(&self, value: u64) -> u64 {
        self.acknowledged.saturating_sub(value)
    }

    /// The value at the end. An error says what is wrong with it.
    pub(super) fn end(&self, value: u64) -> Result<(), String> {
        if value > self.attempted {
            return Err(format!("is {value} at the end after {} attempts", self.attempted));
        }
        let needed = self.floor.max(self.acknowledged);
        if value >= needed {
            return Ok(());
        }
        Err(format!("is {value} at the end, {needed} were acknowledged"))
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::SharedCounter;

    /// Replies of the new master come in any order.
    #[test]
    fn what_a_shared_counter_has_lost_is_counted_once() {
        let mut counter = SharedCounter::new("shared".into());
        for value in 1..=12 {
            let floor = counter.begin();
            counter.acknowledge(value, floor).unwrap();
        }
        let floors = [counter.begin(), counter.begin()];
        for (value, floor) in [(10, floors[1]), (9, floors[0])] {
            counter.acknowledge(value, floor).unwrap_err();
        }
        assert_eq!(counter.lost(10), 4);
        assert!(counter.end(10).unwrap_err().contains("14 were acknowledged"));
        assert!(counter.end(15).unwrap_err().contains("attempts"));
    }
}

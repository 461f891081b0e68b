//! Random schedules of one key, its owner and three readers, over a correct server that fails over and loses a suffix: every
//! reply may be looked at much later than it was given. No schedule may look like a broken promise, and nothing may be
//! counted as lost that is not.

use super::*;
use crate::random::Random;
use std::collections::BTreeSet;

const SEEDS: u64 = 20_000;
const STEPS: usize = 60;
const READERS: usize = 3;
const FAILOVERS_MAX: usize = 2;

/// What the owner has under way.
struct Write {
    seq: u64,
    basis: Basis,
    change: Change,
    /// What was there before and after, once the server has done it.
    done: Option<(State, State)>,
    by: Arc<Mastership>,
}

#[derive(Clone, Copy)]
enum Change {
    Set,
    /// SET with GET.
    Swap,
    Delete,
    Increment,
}

/// What a reader has under way.
struct Read {
    basis: Basis,
    answer: Option<State>,
}

struct Walk {
    random: Random,
    history: History,
    is_counter: bool,
    /// States since the last failover, the first of them what the master began with; with the write that made each.
    log: Vec<(State, Option<u64>)>,
    write: Option<Write>,
    reads: [Option<Read>; READERS],
    seq: u64,
    failovers: usize,
    /// Writes that a failover has taken away.
    truly_lost: BTreeSet<u64>,
    given_up: bool,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let is_counter = random.below(2) == 0;
        let first = if is_counter { State::Number(0) } else { State::Absent };
        Self {
            random,
            history: History::new(first),
            is_counter,
            log: vec![(first, None)],
            write: None,
            reads: [const { None }; READERS],
            seq: 0,
            failovers: 0,
            truly_lost: BTreeSet::new(),
            given_up: false,
        }
    }

    fn state(&self) -> State {
        self.log[self.log.len() - 1].0
    }

    fn step(&mut self) -> Result<(), String> {
        match self.random.below(20) {
            0..6 => self.owner(),
            6..19 => self.reader(),
            _ => {
                self.fail_over();
                Ok(())
            }
        }
    }

    fn owner(&mut self) -> Result<(), String> {
        match self.write.take() {
            None => self.begin(),
            Some(mut write) if write.done.is_none() => {
                self.execute(&mut write);
                self.write = Some(write);
            }
            Some(write) => return self.settle(&write),
        }
        Ok(())
    }

    fn begin(&mut self) {
        if self.given_up {
            return;
        }
        let change = match (self.is_counter, self.random.below(4)) {
            (true, _) => Change::Increment,
            (false, 0) => Change::Delete,
            (false, 1) => Change::Swap,
            (false, _) => Change::Set,
        };
        self.seq += 1;
        let basis = self.history.basis(u64::MAX);
        let after = match (change, self.history.expected()) {
            (Change::Increment, State::Number(n)) => State::Number(n + 1),
            (Change::Delete, _) => State::Absent,
            _ => State::Text(self.seq),
        };
        self.history.begin(self.seq, after);
        let by = Arc::new(Mastership { node: "node".into(), replid: self.failovers.to_string() });
        self.write = Some(Write { seq: self.seq, basis, change, done: None, by });
    }

    fn execute(&mut self, write: &mut Write) {
        let before = self.state();
        let after = match (write.change, before) {
            (Change::Increment, State::Number(n)) => State::Number(n + 1),
            (Change::Delete, _) => State::Absent,
            _ => State::Text(write.seq),
        };
        write.done = Some((before, after));
        self.log.push((after, Some(write.seq)));
    }

    fn settle(&mut self, write: &Write) -> Result<(), String> {
        let Some((before, after)) = write.done else { return Ok(()) };
        if matches!(write.change, Change::Increment | Change::Swap) {
            let seen = self.history.observe(before, write.basis, write.seq);
            self.judge(&seen)?;
        }
        self.history.acknowledge(write.seq, after, &write.by, write.seq, write.seq);
        Ok(())
    }

    fn reader(&mut self) -> Result<(), String> {
        let i = self.random.below(READERS as u64) as usize;
        match self.reads[i].take() {
            None => self.reads[i] = Some(Read { basis: self.history.basis(u64::MAX), answer: None }),
            Some(Read { basis, answer: None }) => {
                self.reads[i] = Some(Read { basis, answer: Some(self.state()) });
            }
            Some(Read { basis, answer: Some(state) }) => {
                let seen = self.history.observe(state, basis, u64::MAX);
                self.judge(&seen)?;
            }
        }
        Ok(())
    }

    fn judge(&self, seen: &Seen) -> Result<(), String> {
        match seen {
            Seen::Fine => Ok(()),
            Seen::Backwards { .. } if self.failovers > 0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    /// The new master has a prefix. A reply under way comes, or never.
    fn fail_over(&mut self) {
        if self.failovers == FAILOVERS_MAX {
            return;
        }
        self.failovers += 1;
        let kept = 1 + self.random.below(self.log.len() as u64) as usize;
        self.truly_lost.extend(self.log.drain(kept..).filter_map(|(_, seq)| seq));
        if self.write.as_ref().is_some_and(|write| write.done.is_some()) && self.random.below(2) == 0 {
            self.write = None;
            self.given_up = true;
        }
    }

    fn end(mut self) -> Result<(), String> {
        while self.write.is_some() {
            self.owner()?;
        }
        let seen = self.history.observe(self.state(), self.history.basis(u64::MAX), u64::MAX);
        self.judge(&seen)?;
        let wrong: Vec<u64> =
            self.history.lost().map(|p| p.seq).filter(|seq| !self.truly_lost.contains(seq)).collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("counted as lost: {wrong:?}")) }
    }
}

#[test]
fn no_schedule_looks_like_a_broken_promise() {
    for seed in 0..SEEDS {
        let mut walk = Walk::new(seed);
        let walked = (0..STEPS).try_for_each(|_| walk.step()).and_then(|()| walk.end());
        assert_eq!(walked, Ok(()), "seed {seed}");
    }
}

//! All attempts to write one key, and what reads of it prove.
//!
//! A key has one writer, which has one command under way at a time and never touches a key again whose last outcome
//! is unknown. So the attempts are in the order in which a correct server applies them, and every state that is read
//! can be given to one attempt. The *floor* is the newest attempt that a read must show: acknowledged, or already
//! seen. Reading an older one is a lost write, a resurrected key or a stale read. Attempts that were found missing are
//! *lost*: no read that begins later may show them.

use std::collections::VecDeque;
use std::sync::Arc;

/// Attempts kept per key; what is older counts as never written.
const KEPT: usize = 100_000;

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// The text of the write with that number.
    Text(u64),
    /// A counter's value; a counter that is absent is 0.
    Number(u64),
}

/// One stretch of one node being a master: INFO's `master_replid` is new after every promotion and restart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mastership {
    /// The node's address.
    pub node: String,
    /// `master_replid`.
    pub replid: String,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Under way, or never answered, or refused: a later read may show it and need not.
    Open,
    /// Promised from the moment `effective` on.
    Acknowledged,
    /// Found missing, as the loss of that number; an attempt that was under way if it had counted on one found missing.
    Lost(u64),
}

#[derive(Clone, Debug)]
struct Attempt {
    seq: u64,
    state: State,
    outcome: Outcome,
    /// When the client may rely on it, in milliseconds of the run; later than the reply only for PEXPIRE.
    effective: u64,
    acknowledged_at: u64,
    by: Option<Arc<Mastership>>,
}

/// An acknowledged attempt that counts for the loss of a master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Its number among the writes of its connection.
    pub seq: u64,
    /// Who acknowledged it.
    pub by: Arc<Mastership>,
    /// When, in milliseconds of the run.
    pub at: u64,
}

/// What a read is held to, taken when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Basis {
    /// The attempt that it must show, or a newer one.
    pub floor: u64,
    /// How many losses had been noticed. What is found missing later may have been there yet.
    losses: u64,
}

/// What a read shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The floor or something newer, or what was found missing only after the read had begun.
    Fine,
    /// Attempt `found`, although attempt `floor` was acknowledged or seen. Acknowledged ones between are lost.
    Backwards {
        /// The attempt that is there.
        found: u64,
        /// The attempt that had to be there.
        floor: u64,
        /// How many acknowledged attempts are lost by this.
        lost: usize,
    },
    /// Attempt `found`, which had been found missing before.
    CameBack {
        /// The attempt that is there.
        found: u64,
    },
    /// Nothing that was ever written to the key.
    Foreign,
}

/// The attempts on one key, oldest first.
#[derive(Clone, Debug)]
pub struct History {
    attempts: VecDeque<Attempt>,
    /// The newest attempt that a read has proven: nothing older may show.
    observed: u64,
    /// The attempt that the last read was given to that taught something.
    last: u64,
    losses: u64,
}

impl History {
    /// A key that nobody has written: attempt 0.
    #[must_use]
    pub fn new(state: State) -> Self {
        let first = Attempt { outcome: Outcome::Acknowledged, ..Attempt::open(0, state) };
        Self { attempts: VecDeque::from([first]), observed: 0, last: 0, losses: 0 }
    }

    /// An attempt is about to be sent. Numbers grow.
    pub fn begin(&mut self, seq: u64, state: State) {
        if self.attempts.len() >= KEPT {
            self.attempts.pop_front();
        }
        self.attempts.push_back(Attempt::open(seq, state));
    }

    /// The attempt was acknowledged at `now`, and reads must show it from `effective` on.
    pub fn acknowledge(&mut self, seq: u64, state: State, by: &Arc<Mastership>, now: u64, effective: u64) {
        if let Some(attempt) = self.attempts.iter_mut().rev().find(|a| a.seq == seq) {
            attempt.state = state;
            attempt.outcome = Outcome::Acknowledged;
            attempt.effective = effective;
            attempt.acknowledged_at = now;
            attempt.by = Some(Arc::clone(by));
        }
    }

    /// The attempt was never sent, or had nothing to do.
    pub fn withdraw(&mut self, seq: u64) {
        self.attempts.retain(|attempt| attempt.seq != seq);
    }

    /// What a read that begins now must show.
    #[must_use]
    pub fn basis(&self, now: u64) -> Basis {
        let promised = |a: &&Attempt| a.outcome == Outcome::Acknowledged && a.effective <= now;
        let floor = self.attempts.iter().rev().find(promised).map_or(0, |a| a.seq).max(self.observed);
        Basis { floor, losses: self.losses }
    }

    /// What the writer takes the key to hold.
    #[must_use]
    pub fn expected(&self) -> State {
        let known = |a: &&Attempt| a.outcome == Outcome::Acknowledged || a.seq == self.observed;
        self.attempts.iter().rev().find(known).map_or(State::Absent, |a| a.state)
    }

    /// A read showed `state`; `basis` is of when it began. Attempts from `below` on had not been sent. Of several that it may
    /// have shown (a key can be absent more than once, a counter counts again after a loss) it is taken for the oldest:
    /// others may have begun, or come into effect, since it was answered. One that is lost is the last to be thought of,
    /// unless the loss was noticed since the read began: then nothing is learned.
    pub fn observe(&mut self, state: State, basis: Basis, below: u64) -> Seen {
        let floor = basis.floor;
        let shows = |a: &&Attempt| a.seq < below && a.state == state;
        let gone_since = |a: &Attempt| matches!(a.outcome, Outcome::Lost(loss) if loss > basis.losses);
        if self.attempts.iter().any(|a| shows(&a) && gone_since(a)) {
            return Seen::Fine;
        }
        let standing = |a: &&Attempt| shows(a) && !matches!(a.outcome, Outcome::Lost(_));
        let found = self.attempts.iter().filter(standing).find(|a| a.seq >= floor);
        let found = found.or_else(|| self.attempts.iter().rev().find(standing));
        let Some(found) = found.or_else(|| self.attempts.iter().rev().find(shows)) else {
            return Seen::Foreign;
        };
        // What tells itself apart: an attempt under way may be one that the read did not see, but for a text.
        let proven = matches!(state, State::Text(_)) || found.is_settled();
        let (found, is_lost) = (found.seq, matches!(found.outcome, Outcome::Lost(_)));
        if is_lost {
            let counts = self.may_count_to(state, basis);
            return if counts { Seen::Fine } else { Seen::CameBack { found } };
        }
        self.last = found;
        if found >= floor {
            if proven {
                self.observed = self.observed.max(found);
            }
            return Seen::Fine;
        }
        let lost = self.lose(found, floor);
        let known = lost == 0 && basis.losses < self.losses;
        if !known {
            self.losses += 1;
            self.observed = found;
            self.count_on(state);
        }
        Seen::Backwards { found, floor, lost }
    }

    /// A loss may be deeper than anybody has noticed yet: a counter may count again up to where its owner takes it to be, or
    /// took it to be when the read began, and one more where an increment is under way.
    fn may_count_to(&self, state: State, basis: Basis) -> bool {
        let (State::Number(number), State::Number(expected)) = (state, self.expected()) else { return false };
        number <= expected + u64::from(self.is_under_way()) || self.losses > basis.losses
    }

    /// Whether the last attempt has no outcome, or an unknown one.
    fn is_under_way(&self) -> bool {
        self.attempts.back().is_some_and(|a| a.outcome == Outcome::Open)
    }

    /// Whether the last read was given to the last attempt.
    #[must_use]
    pub fn shows_newest(&self) -> bool {
        self.attempts.back().is_some_and(|a| a.seq == self.last)
    }

    /// Marks what was acknowledged after `found` up to `floor` as lost.
    fn lose(&mut self, found: u64, floor: u64) -> usize {
        let loss = Outcome::Lost(self.losses + 1);
        let missing =
            |a: &&mut Attempt| a.outcome == Outcome::Acknowledged && a.seq > found && a.seq <= floor;
        self.attempts.iter_mut().filter(missing).map(|a| a.outcome = loss).count()
    }

    /// The key went back to `state`. An increment that is under way makes that one more, if it is still to come.
    fn count_on(&mut self, state: State) {
        let loss = Outcome::Lost(self.losses);
        let (State::Number(number), Some(last)) = (state, self.attempts.back_mut()) else { return };
        if last.outcome == Outcome::Open {
            last.outcome = loss;
            let again = Attempt::open(last.seq, State::Number(number + 1));
            self.attempts.push_back(again);
        }
    }

    /// Acknowledged attempts that were found missing.
    pub fn lost(&self) -> impl Iterator<Item = Promise> + '_ {
        self.attempts.iter().filter(|a| matches!(a.outcome, Outcome::Lost(_))).filter_map(Attempt::promise)
    }

    /// Those of them that the last loss took.
    pub fn lost_last(&self) -> impl Iterator<Item = Promise> + '_ {
        let loss = Outcome::Lost(self.losses);
        self.attempts.iter().filter(move |a| a.outcome == loss).filter_map(Attempt::promise)
    }

    /// The attempt that was last seen, if it was acknowledged. A key that is absent proves nothing: a deletion that was
    /// kept looks like a key that was lost; nor does a counter that an increment of unknown outcome may have brought there.
    #[must_use]
    pub fn survivor(&self) -> Option<Promise> {
        let attempt = self.attempts.iter().rev().find(|a| a.seq == self.last)?;
        let is_number = matches!(attempt.state, State::Number(_));
        if attempt.state == State::Absent || (is_number && self.is_under_way()) {
            return None;
        }
        attempt.promise().filter(|_| attempt.outcome == Outcome::Acknowledged)
    }
}

impl Attempt {
    const fn open(seq: u64, state: State) -> Self {
        Self { seq, state, outcome: Outcome::Open, effective: 0, acknowledged_at: 0, by: None }
    }

    /// Acknowledged, and in effect since then.
    fn is_settled(&self) -> bool {
        self.outcome == Outcome::Acknowledged && self.effective <= self.acknowledged_at
    }

    fn promise(&self) -> Option<Promise> {
        Some(Promise { seq: self.seq, by: Arc::clone(self.by.as_ref()?), at: self.acknowledged_at })
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walks;

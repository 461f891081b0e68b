//! The seeded network: byte-stream connections that carry whole frames, with delay, loss, duplication and cuts.
//!
//! A frame is lost or doubled as a whole: real connections would rather stall or break, so this is harder on the
//! protocol than TCP is.

use crate::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// A party on the network: a node by index, or the world outside (operator and clients).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// Node number.
    Node(usize),
    /// The operator.
    Operator,
    /// The clients.
    Client,
}

/// What the network does to a frame at present.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Least one-way delay in milliseconds.
    pub delay_min_ms: u64,
    /// Greatest one-way delay in milliseconds.
    pub delay_max_ms: u64,
    /// Frames lost per hundred.
    pub loss_percent: u64,
    /// Frames delivered twice per hundred.
    pub duplicate_percent: u64,
}

impl Weather {
    /// A quiet local network.
    pub const FAIR: Self = Self { delay_min_ms: 0, delay_max_ms: 3, loss_percent: 0, duplicate_percent: 0 };
}

/// Cuts and weather.
pub struct Network {
    /// The present weather.
    pub weather: Weather,
    /// From whom to whom nothing arrives.
    cuts: BTreeSet<(Party, Party)>,
    /// When a cut was mended.
    mended: BTreeMap<(Party, Party), u64>,
    /// When the last frame of a stream arrives: a stream keeps its order.
    stream_tail: BTreeMap<(u64, bool), u64>,
    rng: Rng,
}

/// When the copies of a frame arrive; none when it is lost.
pub type Arrivals = Vec<u64>;

impl Network {
    /// Fair weather, no cuts.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self {
            weather: Weather::FAIR,
            cuts: BTreeSet::new(),
            mended: BTreeMap::new(),
            stream_tail: BTreeMap::new(),
            rng,
        }
    }

    /// Nothing from `from` reaches `to` any more.
    pub fn cut(&mut self, from: Party, to: Party) {
        self.cuts.insert((from, to));
    }

    /// A cut is over.
    pub fn mend(&mut self, from: Party, to: Party, now: u64) {
        if self.cuts.remove(&(from, to)) {
            self.mended.insert((from, to), now);
        }
    }

    /// No cuts and fair weather again.
    pub fn heal(&mut self, now: u64) {
        for cut in std::mem::take(&mut self.cuts) {
            self.mended.insert(cut, now);
        }
        self.weather = Weather::FAIR;
    }

    /// Whether both have reached each other since `since`, in fair weather now.
    #[must_use]
    pub fn together_since(&self, a: Party, b: Party, since: u64) -> bool {
        let fair = |cut: (Party, Party)| {
            !self.cuts.contains(&cut) && self.mended.get(&cut).is_none_or(|t| *t < since)
        };
        fair((a, b)) && fair((b, a))
    }

    /// Whether a frame from `from` can reach `to` now.
    #[must_use]
    pub fn reaches(&self, from: Party, to: Party) -> bool {
        !self.cuts.contains(&(from, to))
    }

    /// A one-way delay under the present weather.
    pub fn delay(&mut self) -> u64 {
        self.rng.between(self.weather.delay_min_ms, self.weather.delay_max_ms)
    }

    /// When a frame sent now on a stream (connection and direction) arrives, in the stream's order.
    pub fn send(&mut self, now: u64, from: Party, to: Party, stream: (u64, bool)) -> Arrivals {
        if !self.reaches(from, to) || self.rng.percent(self.weather.loss_percent) {
            return Vec::new();
        }
        let copies = 1 + usize::from(self.rng.percent(self.weather.duplicate_percent));
        let mut arrivals = Vec::with_capacity(copies);
        for _ in 0..copies {
            let delay = self.delay();
            let tail = self.stream_tail.entry(stream).or_default();
            *tail = (*tail).max(now + delay);
            arrivals.push(*tail);
        }
        arrivals
    }

    /// A message outside the streams (client or operator to node and back): arrives once or not at all.
    pub fn datagram(&mut self, now: u64, from: Party, to: Party) -> Option<u64> {
        let lost = !self.reaches(from, to) || self.rng.percent(self.weather.loss_percent);
        (!lost).then(|| now + self.delay())
    }

    /// When the last frame of a stream arrives that is under way.
    #[must_use]
    pub fn stream_tail(&self, connection: u64, from_initiator: bool) -> u64 {
        self.stream_tail.get(&(connection, from_initiator)).copied().unwrap_or(0)
    }

    /// The stream is over.
    pub fn forget_stream(&mut self, connection: u64) {
        self.stream_tail.remove(&(connection, false));
        self.stream_tail.remove(&(connection, true));
    }
}

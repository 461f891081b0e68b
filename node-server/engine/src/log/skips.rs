//! Which records of the log concern no key (PING, REPLCONF GETACK, CLUSTER SETSLOT): the append-only file skips them.

use std::collections::VecDeque;

/// Stretches of the log, in order. There are at most as many as such records in the backlog.
#[derive(Debug, Default)]
pub(super) struct Skips(VecDeque<(u64, u64)>);

impl Skips {
    /// One of `len` bytes begins at `start`, the end of the log.
    pub(super) fn add(&mut self, start: u64, len: usize) {
        let end = start + len as u64;
        match self.0.back_mut() {
            Some((_, last)) if *last == start => *last = end,
            _ => self.0.push_back((start, end)),
        }
    }

    /// What is before `start` has gone.
    pub(super) fn trim(&mut self, start: u64) {
        while self.0.front().is_some_and(|(_, end)| *end <= start) {
            self.0.pop_front();
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Those that touch `from..to`.
    pub(super) fn between(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> {
        let first = self.0.partition_point(|(_, end)| *end <= from);
        self.0.range(first..).copied().take_while(move |(start, _)| *start < to)
    }
}

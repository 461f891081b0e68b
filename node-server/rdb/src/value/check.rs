//! What must hold of every value, wherever it came from. The same rules refuse bytes that are read and values that
//! are to be written.

use super::{Group, Stream, StreamId, Value};
use std::collections::HashSet;

/// What is wrong with a value.
type Problem = &'static str;

impl Value {
    /// No member or field twice; streams in order.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        match self {
            Self::String(_) | Self::List(_) => Ok(()),
            Self::Set(members) => unique(members.iter().map(Vec::as_slice), "a member is there twice"),
            Self::SortedSet(members) => {
                if members.iter().any(|scored| scored.score.is_nan()) {
                    return Err("a score is not a number");
                }
                unique(members.iter().map(|scored| scored.member.as_slice()), "a member is there twice")
            }
            Self::Hash(fields) => {
                unique(fields.iter().map(|field| field.name.as_slice()), "a field is there twice")
            }
            Self::Stream(stream) => stream.check(),
        }
    }
}

impl Stream {
    /// Entries ascend and none is behind the last identifier; groups are consistent.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        ascending(self.entries.iter().map(|entry| entry.id), "entries are not in order")?;
        if self.entries.last().is_some_and(|last| last.id > self.last_id) {
            return Err("an entry is behind the last identifier");
        }
        unique(self.groups.iter().map(|group| group.name.as_slice()), "a consumer group is there twice")?;
        self.groups.iter().try_for_each(Group::check)
    }
}

impl Group {
    /// Each pending entry belongs to exactly one consumer.
    fn check(&self) -> Result<(), Problem> {
        ascending(self.pending.iter().map(|pending| pending.id), "pending entries are not in order")?;
        unique(self.consumers.iter().map(|consumer| consumer.name.as_slice()), "a consumer is there twice")?;
        let mut owned = vec![false; self.pending.len()];
        for consumer in &self.consumers {
            ascending(consumer.pending.iter().copied(), "a consumer's pending entries are not in order")?;
            for id in &consumer.pending {
                let place = self.pending.binary_search_by_key(id, |pending| pending.id);
                let place = place.map_err(|_| "a consumer's pending entry is not its group's")?;
                match owned.get_mut(place) {
                    Some(taken) if !*taken => *taken = true,
                    _ => return Err("an entry is pending for two consumers"),
                }
            }
        }
        if owned.iter().all(|taken| *taken) { Ok(()) } else { Err("a pending entry has no consumer") }
    }
}

fn ascending(ids: impl Iterator<Item = StreamId>, problem: Problem) -> Result<(), Problem> {
    if ids.is_sorted_by(|before, after| before < after) { Ok(()) } else { Err(problem) }
}

fn unique<'v>(names: impl ExactSizeIterator<Item = &'v [u8]>, problem: Problem) -> Result<(), Problem> {
    let mut seen = HashSet::with_capacity(names.len());
    for name in names {
        if !seen.insert(name) {
            return Err(problem);
        }
    }
    Ok(())
}

//! Streams: nodes of entries, totals, groups with what is pending, consumers with what is pending for each. Layout:
//! reference/persistence §3.1, VK:rdb.c:rdbLoadObject; type 15 has no totals beyond the length, 19 adds them, 21 adds when a consumer was
//! last active.

use super::room;
use super::stream_node::read_node;
use crate::encoding::Input;
use crate::value::{Consumer, Group, Pending, Stream, StreamId};
use crate::{RdbError, Value, types};

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum Stage {
    NodeCount,
    Node { left: u64 },
    Totals,
    Group { left: u64 },
    Pending { left: u64 },
    ConsumerCount,
    Consumer { left: u64 },
    ConsumerPending { left: u64 },
}

/// A stream of which a part has been read.
#[derive(Debug)]
pub(crate) struct StreamBuilding {
    version: u8,
    stage: Stage,
    /// Groups behind the one that is being read.
    groups_left: u64,
    /// Consumers behind the one that is being read.
    consumers_left: u64,
    stream: Stream,
}

impl StreamBuilding {
    pub(crate) fn new(kind: u8) -> Option<Self> {
        let version = match kind {
            types::STREAM_LISTPACKS => 1,
            types::STREAM_LISTPACKS_2 => 2,
            types::STREAM_LISTPACKS_3 => 3,
            _ => return None,
        };
        let stream = Stream::default();
        Some(Self { version, stage: Stage::NodeCount, groups_left: 0, consumers_left: 0, stream })
    }

    /// One piece; the value with the last.
    pub(crate) fn step(&mut self, input: &mut Input<'_>) -> Result<Option<Value>, RdbError> {
        self.stage = match self.stage {
            Stage::NodeCount => Stage::Node { left: input.number("the length of a stream")? },
            Stage::Node { left: 0 } => Stage::Totals,
            Stage::Node { left } => {
                read_node(input, &mut self.stream.entries)?;
                Stage::Node { left: left - 1 }
            }
            Stage::Totals => Stage::Group { left: self.totals(input)? },
            Stage::Group { left: 0 } => {
                return Ok(Some(Value::Stream(Box::new(std::mem::take(&mut self.stream)))));
            }
            Stage::Group { left } => {
                self.groups_left = left - 1;
                Stage::Pending { left: self.group(input)? }
            }
            Stage::Pending { left: 0 } => Stage::ConsumerCount,
            Stage::Pending { left } => {
                self.pending(input)?;
                Stage::Pending { left: left - 1 }
            }
            Stage::ConsumerCount => Stage::Consumer { left: input.number("the consumers of a group")? },
            Stage::Consumer { left: 0 } => Stage::Group { left: self.groups_left },
            Stage::Consumer { left } => {
                self.consumers_left = left - 1;
                Stage::ConsumerPending { left: self.consumer(input)? }
            }
            Stage::ConsumerPending { left: 0 } => Stage::Consumer { left: self.consumers_left },
            Stage::ConsumerPending { left } => {
                self.consumer_pending(input)?;
                Stage::ConsumerPending { left: left - 1 }
            }
        };
        Ok(None)
    }

    /// What is said of the stream as a whole; returns how many groups follow.
    fn totals(&mut self, input: &mut Input<'_>) -> Result<u64, RdbError> {
        let what = "the totals of a stream";
        let length = input.number(what)?;
        let last_id = read_id(input, what)?;
        let (max_deleted_id, entries_added) = match self.version {
            // What Redis takes when it loads such a stream.
            1 => (StreamId::default(), length),
            _ => {
                // The first identifier follows from the entries. Redis 7.0 makes it the greatest of all for a stream
                // of Redis 6 without entries, and writes that.
                read_id(input, what)?;
                (read_id(input, what)?, input.number(what)?)
            }
        };
        let groups = input.number("the groups of a stream")?;
        if length != self.stream.entries.len() as u64 {
            return Err(RdbError::Value { kind: "stream", problem: "its length is not that of its entries" });
        }
        let stream = &mut self.stream;
        stream.last_id = last_id;
        stream.first_id = stream.first_entry_id();
        (stream.max_deleted_id, stream.entries_added) = (max_deleted_id, entries_added);
        Ok(groups)
    }

    /// Name and position; returns how many entries are pending.
    fn group(&mut self, input: &mut Input<'_>) -> Result<u64, RdbError> {
        let what = "a consumer group";
        let name = input.raw_string(what)?;
        let last_id = read_id(input, what)?;
        let entries_read = match self.version {
            1 => self.stream.estimate_read(last_id),
            // −1 is written as the greatest number.
            _ => Some(input.number(what)?).filter(|read| *read <= i64::MAX as u64),
        };
        let count = input.number("the pending entries of a group")?;
        let left = input.rest().len();
        let pending = room(usize::try_from(count).unwrap_or(usize::MAX), left, 25);
        let name = name.decode()?;
        self.stream.groups.push(Group { name, last_id, entries_read, pending, consumers: Vec::new() });
        Ok(count)
    }

    fn pending(&mut self, input: &mut Input<'_>) -> Result<(), RdbError> {
        let what = "a pending entry";
        let id = StreamId::from_bytes(input.array(what)?);
        let (delivered_at, deliveries) = (input.millis(what)?, input.number(what)?);
        if let Some(group) = self.stream.groups.last_mut() {
            group.pending.push(Pending { id, delivered_at, deliveries });
        }
        Ok(())
    }

    /// Name and times; returns how many entries are pending for it.
    fn consumer(&mut self, input: &mut Input<'_>) -> Result<u64, RdbError> {
        let what = "a consumer";
        let name = input.raw_string(what)?;
        let seen_at = input.millis_or_none(what)?;
        let active_at = if self.version == 3 { input.millis_or_none(what)? } else { seen_at };
        let count = input.number("the pending entries of a consumer")?;
        let left = input.rest().len();
        let pending = room(usize::try_from(count).unwrap_or(usize::MAX), left, 16);
        let name = name.decode()?;
        if let Some(group) = self.stream.groups.last_mut() {
            group.consumers.push(Consumer { name, seen_at: seen_at.unwrap_or(0), active_at, pending });
        }
        Ok(count)
    }

    fn consumer_pending(&mut self, input: &mut Input<'_>) -> Result<(), RdbError> {
        let id = StreamId::from_bytes(input.array("a pending entry")?);
        let group = self.stream.groups.last_mut();
        if let Some(consumer) = group.and_then(|group| group.consumers.last_mut()) {
            consumer.pending.push(id);
        }
        Ok(())
    }
}

impl Stream {
    /// How many entries a group at `id` has been given, for a stream that knows no deletions, as Redis 7 estimates it
    /// when it loads a stream of Redis 6: known at both ends, unknown (`None`) between them.
    fn estimate_read(&self, id: StreamId) -> Option<u64> {
        let length = self.entries.len() as u64;
        if self.entries_added == 0 {
            Some(0)
        } else if id == self.last_id || (length == 0 && id < self.last_id) {
            Some(self.entries_added)
        } else if id > self.last_id || id > self.first_id {
            None
        } else {
            Some(self.entries_added - length + u64::from(id == self.first_id))
        }
    }
}

fn read_id(input: &mut Input<'_>, what: &'static str) -> Result<StreamId, RdbError> {
    Ok(StreamId { ms: input.number(what)?, seq: input.number(what)? })
}

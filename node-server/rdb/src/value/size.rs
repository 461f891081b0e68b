//! How much memory a value takes.

use super::{Consumer, Entry, Field, Group, Pending, Scored, Stream, StreamId, Value};

impl Value {
    /// Bytes on the heap, without what the allocator adds.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::String(bytes) => bytes.capacity(),
            Self::List(items) | Self::Set(items) => vec_bytes(items, Vec::capacity),
            Self::SortedSet(members) => vec_bytes(members, |scored: &Scored| scored.member.capacity()),
            Self::Hash(fields) => {
                vec_bytes(fields, |field: &Field| field.name.capacity() + field.value.capacity())
            }
            Self::Stream(stream) => size_of::<Stream>() + stream_bytes(stream),
        }
    }
}

/// The vector's own memory and what its elements have elsewhere.
fn vec_bytes<T>(vec: &Vec<T>, of_element: impl Fn(&T) -> usize) -> usize {
    vec.capacity() * size_of::<T>() + vec.iter().map(of_element).sum::<usize>()
}

fn stream_bytes(stream: &Stream) -> usize {
    vec_bytes(&stream.entries, entry_bytes) + vec_bytes(&stream.groups, group_bytes)
}

fn entry_bytes(entry: &Entry) -> usize {
    vec_bytes(&entry.fields, |(name, value)| name.capacity() + value.capacity())
}

fn group_bytes(group: &Group) -> usize {
    let pending = group.pending.capacity() * size_of::<Pending>();
    group.name.capacity() + pending + vec_bytes(&group.consumers, consumer_bytes)
}

fn consumer_bytes(consumer: &Consumer) -> usize {
    consumer.name.capacity() + consumer.pending.capacity() * size_of::<StreamId>()
}

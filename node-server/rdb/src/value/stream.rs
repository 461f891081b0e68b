//! Streams: entries, consumer groups, and what these have been given and not yet acknowledged.

/// The name of an entry: a time and a number within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Unix milliseconds, as a rule; a client may choose others.
    pub ms: u64,
    /// The number among those of the same millisecond.
    pub seq: u64,
}

impl StreamId {
    /// Sixteen bytes that sort as identifiers do.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.ms) << 64 | u128::from(self.seq)).to_be_bytes()
    }

    /// What [`StreamId::to_bytes`] made.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_be_bytes(bytes);
        Self { ms: (both >> 64) as u64, seq: both as u64 }
    }
}

/// A stream. What is read is in order and its groups are consistent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// The entries that have not been deleted, ascending.
    pub entries: Vec<Entry>,
    /// The greatest identifier ever given, also when that entry is deleted.
    pub last_id: StreamId,
    /// The identifier of the first entry; 0-0 without entries. What is read and written is what the entries say.
    pub first_id: StreamId,
    /// The greatest identifier that was deleted from the middle or the end; 0-0 if none.
    pub max_deleted_id: StreamId,
    /// How many entries were ever added.
    pub entries_added: u64,
    /// Its consumer groups.
    pub groups: Vec<Group>,
}

impl Stream {
    /// The identifier of the first entry; 0-0 without entries.
    #[must_use]
    pub fn first_entry_id(&self) -> StreamId {
        self.entries.first().map(|entry| entry.id).unwrap_or_default()
    }
}

/// An entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its identifier.
    pub id: StreamId,
    /// Names and values, as they were added: a name may be there twice.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A consumer group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: Vec<u8>,
    /// The last entry that it was given.
    pub last_id: StreamId,
    /// How many entries it was given; `None` when that cannot be known (Redis's −1).
    pub entries_read: Option<u64>,
    /// What was given and not acknowledged, ascending. Each is pending for exactly one consumer.
    pub pending: Vec<Pending>,
    /// Its consumers.
    pub consumers: Vec<Consumer>,
}

/// An entry that was delivered to a consumer and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The entry; it may have been deleted meanwhile.
    pub id: StreamId,
    /// When it was last delivered, in Unix milliseconds.
    pub delivered_at: u64,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// A consumer of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consumer {
    /// Its name.
    pub name: Vec<u8>,
    /// When it last tried to read or claim, in Unix milliseconds.
    pub seen_at: u64,
    /// When it last succeeded, in Unix milliseconds; `None` for never. Before RDB version 11 this is not kept: what
    /// is read from there is `seen_at`, as Redis 7.2 does.
    pub active_at: Option<u64>,
    /// What is pending for it, ascending; each is in its group's list too.
    pub pending: Vec<StreamId>,
}

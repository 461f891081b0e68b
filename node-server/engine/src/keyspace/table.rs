//! The keys of one slot: an open-addressing table with linear probing, of one word for each key.
//!
//! Its order is that of the hashes: the home of a key is its hash, scaled down to the number of positions. So the
//! number of positions need not be a power of two (they are what fills an allocator's size classes, which keeps seven
//! to eight of ten in use), and a scan's cursor is a hash: whatever has a smaller one has been visited, however the
//! table has grown or shrunk meanwhile.
//!
//! The word has the upper bits of the hash (see `thin`). They are enough to say where a key belongs as long as there
//! are no more positions than [`TAGGED_MAX`]; a larger table asks for the hash of a key when it has to move it.

use super::hash::HashKeys;
use super::thin::{self, Entry, size_class};
use super::value::{Content, Value};
use node_server_protocol::Millis;

/// Positions of the smallest table.
const CAPACITY_MIN: usize = 2;
/// Most keys per position: more makes the way to a free position long.
const LOAD: (usize, usize) = (7, 8);
/// A table shrinks when it would be filled this little.
const LOAD_MIN: (usize, usize) = (1, 4);
/// Most positions of a table whose keys' places are known by their tags. With more of them keys of one tag, which
/// nothing tells apart but their names, would crowd.
const TAGGED_MAX: usize = if cfg!(test) { 64 } else { 16 * 1024 };
/// So many positions ahead of the one that is read, entries are prefetched: about as many as a core fetches at once.
const AHEAD: usize = 8;
/// Bits of a hash that are not in its tag.
const BELOW_TAG: u32 = 48;
/// Bits of a hash that are not in a scan's cursor.
const BELOW_CURSOR: u32 = 16;

/// The keys of one slot.
#[derive(Debug, Default)]
pub struct Table {
    positions: Box<[Option<Entry>]>,
    len: usize,
    bytes: usize,
    timed: Option<Box<Timed>>,
}

/// What a table with no expiry has no need of.
#[derive(Debug, Default)]
struct Timed {
    volatile: usize,
    /// Hashes of which a field expires.
    expiring_hashes: usize,
    /// No key expires before this; it may be too early, never too late.
    soonest: u64,
}

/// The part of a hash that a word has.
const fn tag(hash: u64) -> u16 {
    (hash >> BELOW_TAG) as u16
}

/// The part of a hash that says where a key belongs among `capacity`: that which a tag has, or else a cursor.
const fn placing(hash: u64, capacity: usize) -> u64 {
    let ignored = if capacity <= TAGGED_MAX { BELOW_TAG } else { BELOW_CURSOR };
    hash >> ignored << ignored
}

/// The place of a hash among `capacity`.
const fn home(hash: u64, capacity: usize) -> usize {
    ((placing(hash, capacity) as u128 * capacity as u128) >> u64::BITS) as usize
}

/// Most keys in so many positions; one is always free.
const fn most(capacity: usize) -> usize {
    capacity * LOAD.0 / LOAD.1
}

/// The next larger number of positions.
const fn larger(capacity: usize) -> usize {
    if capacity < CAPACITY_MIN {
        return CAPACITY_MIN;
    }
    // Large tables ask for hashes when they grow, so they do it seldom.
    if capacity >= TAGGED_MAX { capacity * 2 } else { size_class(capacity * WORD + 1) / WORD }
}

/// Bytes of a position.
const WORD: usize = size_of::<Option<Entry>>();

impl Table {
    /// How many keys.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many keys expire.
    #[must_use]
    pub fn volatile(&self) -> usize {
        self.timed.as_ref().map_or(0, |t| t.volatile)
    }

    /// How many are hashes of which a field expires.
    #[must_use]
    pub fn expiring_hashes(&self) -> usize {
        self.timed.as_ref().map_or(0, |t| t.expiring_hashes)
    }

    /// No key expires before this; `None` when none does.
    #[must_use]
    pub fn soonest(&self) -> Option<u64> {
        self.timed.as_ref().filter(|t| t.volatile > 0).map(|t| t.soonest)
    }

    /// An estimate of the memory taken.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes + self.positions.len() * WORD
    }

    #[cfg(test)]
    pub(super) fn entry_bytes(&self) -> usize {
        self.bytes
    }

    /// Where a key is.
    pub(crate) fn position(&self, hash: u64, key: &[u8]) -> Option<usize> {
        if self.len == 0 {
            return None;
        }
        let tag = tag(hash);
        let mut at = home(hash, self.positions.len());
        loop {
            let entry = self.positions[at].as_ref()?;
            if entry.tag() == tag && entry.key() == key {
                return Some(at);
            }
            at = self.after(at);
        }
    }

    const fn after(&self, at: usize) -> usize {
        if at + 1 == self.positions.len() { 0 } else { at + 1 }
    }

    /// The entry of a key, expired or not.
    #[must_use]
    pub fn get(&self, hash: u64, key: &[u8]) -> Option<&Entry> {
        self.positions[self.position(hash, key)?].as_ref()
    }

    /// The entry at a position that [`Table::position`] has given.
    pub(crate) fn at(&self, position: usize) -> &Entry {
        self.positions[position].as_ref().expect("the position of an entry")
    }

    fn at_mut(&mut self, position: usize) -> &mut Entry {
        self.positions[position].as_mut().expect("the position of an entry")
    }

    /// Notes when the key at a position was last used, in seconds.
    pub(crate) fn touch_at(&mut self, position: usize, used_s: u32) {
        self.at_mut(position).touch(used_s);
    }

    /// Lets `change` have the value of the key at a position; keeps the books.
    pub(crate) fn update_at<R>(&mut self, position: usize, change: impl FnOnce(&mut Value) -> R) -> R {
        self.change(position, |entry| match entry.boxed_mut() {
            Some(value) => change(value),
            None => {
                let mut value = entry.value().to_owned();
                let result = change(&mut value);
                entry.set_value(value.into());
                result
            }
        })
    }

    fn change<R>(&mut self, position: usize, change: impl FnOnce(&mut Entry) -> R) -> R {
        let entry = self.at_mut(position);
        let before = (entry.bytes(), entry.value().has_field_expiry());
        let result = change(entry);
        let after = (entry.bytes(), entry.value().has_field_expiry());
        self.bytes = self.bytes + after.0 - before.0;
        if before.1 != after.1 {
            let expiring = &mut self.timed().expiring_hashes;
            *expiring = *expiring + usize::from(after.1) - usize::from(before.1);
        }
        result
    }

    fn timed(&mut self) -> &mut Timed {
        self.timed.get_or_insert_default()
    }

    /// Sets the key at a position to a value with an expiry.
    pub(crate) fn replace_at(
        &mut self,
        position: usize,
        content: Content<'_>,
        expire_at: Option<Millis>,
        used_s: u32,
    ) {
        self.change(position, |entry| {
            entry.touch(used_s);
            entry.set_value(content);
        });
        self.set_expiry_at(position, expire_at);
    }

    /// Adds a key that is not there.
    pub(crate) fn insert_new(
        &mut self,
        hasher: &impl HashKeys,
        (hash, key): (u64, &[u8]),
        content: Content<'_>,
        expire_at: Option<Millis>,
        used_s: u32,
    ) {
        if self.len + 1 > most(self.positions.len()) {
            self.resize(hasher, larger(self.positions.len()));
        }
        // With its expiry from the beginning, so that it need not move for it.
        let expire_at = expire_at.map_or(0, |at| at.0.max(1));
        let entry = Entry::new(tag(hash), key, content, expire_at, used_s);
        self.bytes += entry.bytes();
        if entry.value().has_field_expiry() {
            self.timed().expiring_hashes += 1;
        }
        if expire_at > 0 {
            self.book_expiry(expire_at);
        }
        self.len += 1;
        self.put(hash, entry);
    }

    /// Sets a key, with `expire_at`; returns whether it was new.
    pub fn insert(
        &mut self,
        hasher: &impl HashKeys,
        key: &[u8],
        content: Content<'_>,
        expire_at: Option<Millis>,
        used_s: u32,
    ) -> bool {
        let hash = hasher.hash(key);
        match self.position(hash, key) {
            Some(position) => self.replace_at(position, content, expire_at, used_s),
            None => {
                self.insert_new(hasher, (hash, key), content, expire_at, used_s);
                return true;
            }
        }
        false
    }

    /// Sets or clears the expiry of the key at a position.
    pub(crate) fn set_expiry_at(&mut self, position: usize, expire_at: Option<Millis>) {
        let entry = self.at_mut(position);
        let before = entry.expire_at().is_some();
        if !before && expire_at.is_none() {
            return;
        }
        let bytes = entry.bytes();
        entry.set_expire_at(expire_at);
        let (after, expires) = (entry.bytes(), entry.expire_at());
        self.bytes = self.bytes + after - bytes;
        if before {
            self.timed().volatile -= 1;
        }
        if let Some(at) = expires {
            self.book_expiry(at.0);
        }
    }

    fn book_expiry(&mut self, at: u64) {
        let timed = self.timed();
        timed.soonest = if timed.volatile == 0 { at } else { timed.soonest.min(at) };
        timed.volatile += 1;
    }

    /// The entry that stands at `position` modulo the table's size, or the next one behind it.
    #[must_use]
    pub fn near(&self, position: usize) -> Option<&Entry> {
        if self.len == 0 {
            return None;
        }
        let start = position % self.positions.len();
        self.positions[start..].iter().chain(&self.positions[..start]).find_map(Option::as_ref)
    }

    /// Takes out the key at a position.
    pub(crate) fn remove_at(&mut self, hasher: &impl HashKeys, position: usize) -> Option<Entry> {
        let removed = self.positions[position].take()?;
        self.len -= 1;
        self.bytes -= removed.bytes();
        if removed.expire_at().is_some() {
            self.timed().volatile -= 1;
        }
        if removed.value().has_field_expiry() {
            self.timed().expiring_hashes -= 1;
        }
        self.close_hole(hasher, position);
        self.shrink(hasher);
        Some(removed)
    }

    /// Entries behind a hole that would not be found any more move up.
    fn close_hole(&mut self, hasher: &impl HashKeys, mut hole: usize) {
        let capacity = self.positions.len();
        let distance = |from: usize, to: usize| if to >= from { to - from } else { to + capacity - from };
        let mut at = self.after(hole);
        while let Some(entry) = &self.positions[at] {
            let reachable = distance(self.home_of(hasher, entry), at) < distance(hole, at);
            if !reachable {
                self.positions[hole] = self.positions[at].take();
                hole = at;
            }
            at = self.after(at);
        }
    }

    /// The hash of an entry, as far as a table of this size uses it.
    fn hash_of(hasher: &impl HashKeys, entry: &Entry, capacity: usize) -> u64 {
        if capacity <= TAGGED_MAX { u64::from(entry.tag()) << BELOW_TAG } else { hasher.hash(entry.key()) }
    }

    fn home_of(&self, hasher: &impl HashKeys, entry: &Entry) -> usize {
        let capacity = self.positions.len();
        home(Self::hash_of(hasher, entry, capacity), capacity)
    }

    /// Every entry, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.positions.iter().take(AHEAD).flatten().for_each(Entry::prefetch);
        self.positions.iter().enumerate().filter_map(|(at, position)| {
            if let Some(Some(ahead)) = self.positions.get(at + AHEAD) {
                ahead.prefetch();
            }
            position.as_ref()
        })
    }

    /// Removes everything and hands it over, so that freeing it can happen elsewhere.
    #[must_use]
    pub fn take_all(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Visits some entries and returns the next cursor, which is below 2^48; 0 begins, and 0 is the end.
    pub fn scan(&self, hasher: &impl HashKeys, cursor: u64, mut visit: impl FnMut(&Entry)) -> u64 {
        let capacity = self.positions.len();
        if self.len == 0 || cursor >> (u64::BITS - BELOW_CURSOR) != 0 {
            return 0;
        }
        let first = placing(cursor << BELOW_CURSOR, capacity);
        let place = home(first, capacity);
        let mut at = place;
        while let Some(entry) = &self.positions[at] {
            let hash = Self::hash_of(hasher, entry, capacity);
            // Those before the cursor were visited when the table was smaller or larger.
            if home(hash, capacity) == place && hash >= first {
                visit(entry);
            }
            at = self.after(at);
            if at == place {
                break;
            }
        }
        next_cursor(place, capacity)
    }

    /// Keys that have expired, at most `max`; moves the lower bound of the next expiry on when it has seen all.
    pub fn expired(&mut self, now: Millis, max: usize) -> Vec<Box<[u8]>> {
        if self.soonest().is_none_or(|soonest| soonest > now.0) {
            return Vec::new();
        }
        let mut keys = Vec::new();
        let mut soonest = u64::MAX;
        for entry in self.iter() {
            let Some(at) = entry.expire_at() else { continue };
            if at > now {
                soonest = soonest.min(at.0);
            } else if keys.len() < max {
                keys.push(entry.key().into());
            } else {
                // There are more: the bound stays where it is.
                return keys;
            }
        }
        self.timed().soonest = soonest;
        keys
    }

    /// A key whose time has passed was left: the next [`Table::expired`] finds it again.
    pub(crate) fn look_again(&mut self, now: Millis) {
        let timed = self.timed();
        timed.soonest = timed.soonest.min(now.0);
    }

    /// Where a key's position will be looked for, as an address to prefetch: of the first position, and how many there
    /// are. Zero for a table that is empty or too large for its homes to be known by tags.
    pub(super) fn hint(&self) -> u64 {
        let capacity = self.positions.len();
        if capacity == 0 || capacity > TAGGED_MAX {
            return 0;
        }
        self.positions.as_ptr().addr() as u64 | (capacity as u64) << BELOW_TAG
    }

    /// Prefetches where a key's position will be looked for, by an earlier [`Table::hint`].
    pub(super) fn prefetch_position(hint: u64, hash: u64) {
        let (address, capacity) = (hint & ((1 << BELOW_TAG) - 1), (hint >> BELOW_TAG) as usize);
        if capacity > 0 {
            thin::prefetch(address as usize + home(hash, capacity) * WORD);
        }
    }

    /// Prefetches the entry that has the tag of a hash.
    pub(super) fn prefetch_entry(&self, hash: u64) {
        if self.len == 0 {
            return;
        }
        let tag = tag(hash);
        let mut at = home(hash, self.positions.len());
        while let Some(entry) = &self.positions[at] {
            if entry.tag() == tag {
                entry.prefetch();
                return;
            }
            at = self.after(at);
        }
    }

    fn put(&mut self, hash: u64, entry: Entry) {
        let mut at = home(hash, self.positions.len());
        while self.positions[at].is_some() {
            at = self.after(at);
        }
        self.positions[at] = Some(entry);
    }

    fn shrink(&mut self, hasher: &impl HashKeys) {
        let capacity = self.positions.len();
        if self.len == 0 {
            self.positions = Box::default();
            self.timed = None;
        } else if capacity > 4 * CAPACITY_MIN && self.len * LOAD_MIN.1 < capacity * LOAD_MIN.0 {
            // To one that is half full.
            self.resize(hasher, size_class(capacity / 2 * WORD) / WORD);
        }
    }

    fn resize(&mut self, hasher: &impl HashKeys, capacity: usize) {
        let empty = std::iter::repeat_with(|| None).take(capacity).collect();
        let mut old = std::mem::replace(&mut self.positions, empty);
        for at in 0..old.len() {
            if capacity > TAGGED_MAX
                && let Some(Some(ahead)) = old.get(at + AHEAD)
            {
                ahead.prefetch();
            }
            if let Some(entry) = old[at].take() {
                let hash = Self::hash_of(hasher, &entry, capacity);
                self.put(hash, entry);
            }
        }
    }
}

/// The first cursor behind a position's hashes.
const fn next_cursor(place: usize, capacity: usize) -> u64 {
    if place + 1 >= capacity {
        return 0;
    }
    // The least hash with the next home, and the least not below it that places a key.
    let least = ((place as u128 + 1) << u64::BITS).div_ceil(capacity as u128) as u64;
    let cut = placing(least, capacity);
    let unit = 1 << if capacity <= TAGGED_MAX { BELOW_TAG } else { BELOW_CURSOR };
    (if cut == least { least } else { cut + unit }) >> BELOW_CURSOR
}

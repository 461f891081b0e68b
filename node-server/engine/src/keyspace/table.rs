//! The keys of one slot: an open-addressing table of boxed entries with linear probing.
//!
//! It is small (most slots hold tens of keys), grows at once, and its scan cursor survives growing and shrinking: the
//! cursor counts home positions with the highest bit first, as Redis's dictScan does.

use super::value::Value;
use node_server_protocol::Millis;

/// One key.
#[derive(Clone, Debug)]
pub struct Entry {
    hash: u64,
    key: Box<[u8]>,
    /// What it holds.
    pub value: Value,
    expire_at: u64,
    /// When it was last used, in seconds.
    pub used_s: u32,
}

/// No expiry.
const NEVER: u64 = 0;
/// Positions of the smallest table.
const CAPACITY_MIN: usize = 4;
/// Positions per key above which the table grows: load at most 3/4.
const LOAD: (usize, usize) = (3, 4);

impl Entry {
    /// Its name.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// When it expires.
    #[must_use]
    pub const fn expire_at(&self) -> Option<Millis> {
        if self.expire_at == NEVER { None } else { Some(Millis(self.expire_at)) }
    }

    /// Whether its time has passed.
    #[must_use]
    pub const fn is_expired(&self, now: Millis) -> bool {
        self.expire_at != NEVER && self.expire_at <= now.0
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + size_of::<usize>() + self.key.len() + self.value.heap_bytes()
    }
}

/// The keys of one slot.
#[derive(Debug, Default)]
pub struct Table {
    positions: Vec<Option<Box<Entry>>>,
    len: usize,
    volatile: usize,
    /// Hashes of which a field expires.
    expiring_hashes: usize,
    /// No key expires before this; it may be too early, never too late.
    soonest: u64,
    bytes: usize,
}

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
    pub const fn volatile(&self) -> usize {
        self.volatile
    }

    /// How many are hashes of which a field expires.
    #[must_use]
    pub const fn expiring_hashes(&self) -> usize {
        self.expiring_hashes
    }

    /// An estimate of the memory taken.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes + self.positions.capacity() * size_of::<usize>()
    }

    fn mask(&self) -> usize {
        self.positions.len() - 1
    }

    /// Where a key is.
    pub(crate) fn position(&self, hash: u64, key: &[u8]) -> Option<usize> {
        if self.len == 0 {
            return None;
        }
        let mut at = hash as usize & self.mask();
        loop {
            let entry = self.positions[at].as_ref()?;
            if entry.hash == hash && *entry.key == *key {
                return Some(at);
            }
            at = (at + 1) & self.mask();
        }
    }

    /// The entry of a key, expired or not.
    #[must_use]
    pub fn get(&self, hash: u64, key: &[u8]) -> Option<&Entry> {
        self.positions[self.position(hash, key)?].as_deref()
    }

    /// The entry at a position that [`Table::position`] has given.
    pub(crate) fn at(&self, position: usize) -> &Entry {
        self.positions[position].as_deref().expect("the position of an entry")
    }

    /// Notes when the key at a position was last used, in seconds.
    pub(crate) fn touch_at(&mut self, position: usize, used_s: u32) {
        if let Some(entry) = self.positions[position].as_mut()
            && entry.used_s != used_s
        {
            entry.used_s = used_s;
        }
    }

    /// Lets `change` have the entry; keeps the books.
    pub fn update<R>(&mut self, hash: u64, key: &[u8], change: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        let at = self.position(hash, key)?;
        let entry = self.positions[at].as_mut()?;
        let before = (entry.bytes(), entry.value.has_field_expiry());
        let result = change(entry);
        self.bytes = (self.bytes + entry.bytes()).saturating_sub(before.0);
        self.expiring_hashes += usize::from(entry.value.has_field_expiry());
        self.expiring_hashes -= usize::from(before.1);
        Some(result)
    }

    /// Sets a key, with `expire_at`; returns whether it was new.
    pub fn insert(
        &mut self,
        hash: u64,
        key: &[u8],
        value: Value,
        expire_at: Option<Millis>,
        used_s: u32,
    ) -> bool {
        let mut value = Some(value);
        self.update(hash, key, |entry| {
            entry.value = value.take().unwrap_or_else(|| unreachable!("taken once"));
            entry.used_s = used_s;
        });
        let Some(value) = value else {
            self.set_expiry(hash, key, expire_at);
            return false;
        };
        self.grow();
        let entry = Box::new(Entry { hash, key: key.into(), value, expire_at: NEVER, used_s });
        self.bytes += entry.bytes();
        self.expiring_hashes += usize::from(entry.value.has_field_expiry());
        self.len += 1;
        let at = self.free_position(hash);
        self.positions[at] = Some(entry);
        self.set_expiry(hash, key, expire_at);
        true
    }

    /// Sets or clears a key's expiry; false when there is no such key.
    pub fn set_expiry(&mut self, hash: u64, key: &[u8], expire_at: Option<Millis>) -> bool {
        let Some(at) = self.position(hash, key) else { return false };
        let Some(entry) = self.positions[at].as_mut() else { return false };
        self.volatile -= usize::from(entry.expire_at != NEVER);
        // A moment of zero is long past; one would mean "never".
        entry.expire_at = expire_at.map_or(NEVER, |at| at.0.max(1));
        if entry.expire_at != NEVER {
            self.soonest =
                if self.volatile == 0 { entry.expire_at } else { self.soonest.min(entry.expire_at) };
            self.volatile += 1;
        }
        true
    }

    /// No key expires before this; `None` when none does.
    #[must_use]
    pub const fn soonest(&self) -> Option<u64> {
        if self.volatile == 0 { None } else { Some(self.soonest) }
    }

    /// The entry that stands at `position` modulo the table's size, or the next one behind it.
    #[must_use]
    pub fn near(&self, position: usize) -> Option<&Entry> {
        if self.len == 0 {
            return None;
        }
        let start = position & self.mask();
        self.positions[start..].iter().chain(&self.positions[..start]).find_map(|p| p.as_deref())
    }

    /// Takes a key out.
    pub fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Box<Entry>> {
        let mut hole = self.position(hash, key)?;
        let removed = self.positions[hole].take()?;
        self.len -= 1;
        self.volatile -= usize::from(removed.expire_at != NEVER);
        self.bytes = self.bytes.saturating_sub(removed.bytes());
        self.expiring_hashes -= usize::from(removed.value.has_field_expiry());
        // Entries behind the hole that would not be found any more move up.
        let mut at = hole;
        loop {
            at = (at + 1) & self.mask();
            let Some(entry) = &self.positions[at] else { break };
            let home = entry.hash as usize & self.mask();
            let reachable = (at.wrapping_sub(home) & self.mask()) < (at.wrapping_sub(hole) & self.mask());
            if !reachable {
                self.positions[hole] = self.positions[at].take();
                hole = at;
            }
        }
        self.shrink();
        Some(removed)
    }

    /// Every entry, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.positions.iter().filter_map(|p| p.as_deref())
    }

    /// Removes everything and hands it over, so that freeing it can happen elsewhere.
    #[must_use]
    pub fn take_all(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Visits the entries whose home is at the cursor and returns the next cursor; 0 begins, and 0 is the end.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(&Entry)) -> u64 {
        if self.positions.is_empty() {
            return 0;
        }
        let mask = self.mask() as u64;
        let home = (cursor & mask) as usize;
        let mut at = home;
        while let Some(entry) = &self.positions[at] {
            if entry.hash as usize & self.mask() == home {
                visit(entry);
            }
            at = (at + 1) & self.mask();
            if at == home {
                break;
            }
        }
        // Adds one to the bits of the mask, highest first.
        let mut next = (cursor | !mask).reverse_bits();
        next = next.wrapping_add(1);
        next.reverse_bits()
    }

    /// Keys that have expired, at most `max`; moves the lower bound of the next expiry on when it has seen all.
    pub fn expired(&mut self, now: Millis, max: usize) -> Vec<Box<[u8]>> {
        if self.volatile == 0 || self.soonest > now.0 {
            return Vec::new();
        }
        let mut keys = Vec::new();
        let mut soonest = u64::MAX;
        for entry in self.positions.iter().flatten().filter(|e| e.expire_at != NEVER) {
            if !entry.is_expired(now) {
                soonest = soonest.min(entry.expire_at);
            } else if keys.len() < max {
                keys.push(entry.key.clone());
            } else {
                // There are more: the bound stays where it is.
                return keys;
            }
        }
        self.soonest = soonest;
        keys
    }

    fn free_position(&self, hash: u64) -> usize {
        let mut at = hash as usize & self.mask();
        while self.positions[at].is_some() {
            at = (at + 1) & self.mask();
        }
        at
    }

    fn grow(&mut self) {
        if (self.len + 1) * LOAD.1 > self.positions.len() * LOAD.0 {
            self.resize((self.positions.len() * 2).max(CAPACITY_MIN));
        }
    }

    fn shrink(&mut self) {
        if self.len == 0 {
            self.positions = Vec::new();
        } else if self.positions.len() > CAPACITY_MIN && self.len * 8 < self.positions.len() {
            self.resize(self.positions.len() / 2);
        }
    }

    fn resize(&mut self, capacity: usize) {
        let old = std::mem::take(&mut self.positions);
        self.positions.resize_with(capacity, || None);
        for entry in old.into_iter().flatten() {
            let at = self.free_position(entry.hash);
            self.positions[at] = Some(entry);
        }
    }
}

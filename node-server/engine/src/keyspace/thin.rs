//! One key in one allocation, behind one word: header, name, value. The only module of the workspace with unsafe code;
//! everything it gives away is safe.
//!
//! The word is the address of the allocation with the key's tag in the upper 16 bits, which no address of a process
//! uses: so a table finds what it looks for, and grows, without touching any entry. What is at the address:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | kind of the value, and which of the following is there |
//! | 3 | when it was last used: seconds modulo 2^24, little endian, as wide as Redis's clock |
//! | 1 + 1, or 8 + 8 ([`WIDE`]) | length of the name, length of the value |
//! | 0, or 8 ([`EXPIRES`]) | when it expires, in milliseconds |
//! | | the name, the value |
//!
//! Six bytes in front are what the common sizes of names and values leave free in an allocator's size classes.
//!
//! Invariants of every [`Entry`], on which each unsafe block relies:
//!
//! 1. The lower 48 bits are the address of an allocation that this entry alone owns, made by [`allocate`].
//! 2. Its header is as in the table above, and all bytes up to [`Layout::total`] are initialised, at least
//!    [`FIRST`] of them. It is [`size_class`] of that total long.
//! 3. With [`Kind::Boxed`] the value is 8 bytes long: a pointer made by [`Box::into_raw`] that the entry owns.
#![allow(
    unsafe_code,
    reason = "an entry that costs one cache miss and no second allocation needs a layout of its own"
)]

use super::value::{Content, Text, TextRef, Value, ValueRef};
use node_server_protocol::Millis;
use std::alloc;
use std::borrow::Cow;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// The bits of a word that are an address.
const ADDRESS: usize = (1 << TAG_SHIFT) - 1;
/// Where the tag begins.
const TAG_SHIFT: u32 = 48;
/// Bytes that every allocation has, so that they can be read at once.
const FIRST: usize = 8;
/// Alignment of every allocation.
const ALIGN: usize = 8;
/// Bits of the first byte: the kind of the value.
const KIND: u8 = 3;
/// The lengths are 8 bytes each.
const WIDE: u8 = 4;
/// There is an expiry.
const EXPIRES: u8 = 8;
/// No expiry.
const NEVER: u64 = 0;

const _: () = assert!(usize::BITS == 64, "the tag needs the upper bits of a 64-bit word");

/// How the value is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    /// Its bytes.
    Bytes = 0,
    /// A 64-bit integer.
    Int = 1,
    /// Elsewhere: a pointer.
    Boxed = 2,
}

/// Where things are in an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    flags: u8,
    key_len: usize,
    value_len: usize,
}

impl Layout {
    fn new(kind: Kind, expires: bool, key_len: usize, value_len: usize) -> Self {
        let narrow = key_len <= usize::from(u8::MAX) && value_len <= usize::from(u8::MAX);
        let wide = if narrow { 0 } else { WIDE };
        let expiry = if expires { EXPIRES } else { 0 };
        Self { flags: kind as u8 | wide | expiry, key_len, value_len }
    }

    const fn kind(self) -> Kind {
        match self.flags & KIND {
            0 => Kind::Bytes,
            1 => Kind::Int,
            _ => Kind::Boxed,
        }
    }

    const fn expires(self) -> bool {
        self.flags & EXPIRES != 0
    }

    const fn expiry_at(self) -> usize {
        if self.flags & WIDE == 0 { 6 } else { 20 }
    }

    const fn key_at(self) -> usize {
        self.expiry_at() + if self.expires() { 8 } else { 0 }
    }

    const fn value_at(self) -> usize {
        self.key_at() + self.key_len
    }

    const fn total(self) -> usize {
        self.value_at() + self.value_len
    }

    const fn class(self) -> usize {
        let total = self.total();
        size_class(if total < FIRST { FIRST } else { total })
    }

    fn of_allocation(self) -> alloc::Layout {
        // A total beyond isize::MAX would be more than the memory that name and value are in already.
        alloc::Layout::from_size_align(self.class(), ALIGN)
            .unwrap_or_else(|_| unreachable!("longer than memory"))
    }
}

/// The bytes that an allocator sets aside for `bytes`: multiples of 16, from 128 on four steps for each doubling (the
/// classes of jemalloc; others are close to them).
pub(super) const fn size_class(bytes: usize) -> usize {
    if bytes <= 8 {
        return 8;
    }
    let step = 1 << ((bytes - 1).ilog2().saturating_sub(2));
    bytes.next_multiple_of(if step < 16 { 16 } else { step })
}

/// One key.
pub struct Entry(NonNull<u8>);

// SAFETY: an entry owns its bytes and its value alone (1, 3), and `Value` is `Send` and `Sync` (asserted below).
unsafe impl Send for Entry {}
// SAFETY: as above; through `&Entry` nothing is changed.
unsafe impl Sync for Entry {}

const _: fn() = || {
    fn sent<T: Send + Sync>() {}
    sent::<Value>();
};

impl Entry {
    /// A key with the upper bits of its hash.
    pub(super) fn new(tag: u16, key: &[u8], content: Content<'_>, expire_at: u64, used_s: u32) -> Self {
        Self::build(tag, key, &Payload::from(content), expire_at, used_s)
    }

    fn build(tag: u16, key: &[u8], payload: &Payload<'_>, expire_at: u64, used_s: u32) -> Self {
        let layout = Layout::new(payload.kind(), expire_at != NEVER, key.len(), payload.len());
        let address = allocate(layout);
        // The tag keeps the word from being zero wherever the address does.
        let word = address.as_ptr().map_addr(|address| address | usize::from(tag) << TAG_SHIFT);
        let mut entry = Self(NonNull::new(word).unwrap_or(address));
        entry.write_head(layout, used_s);
        if layout.expires() {
            entry.write(layout.expiry_at(), &expire_at.to_le_bytes());
        }
        entry.write(layout.key_at(), key);
        entry.write_payload(layout, payload);
        entry
    }

    fn address(&self) -> *mut u8 {
        self.0.as_ptr().map_addr(|word| word & ADDRESS)
    }

    /// The upper bits of its hash.
    pub(super) fn tag(&self) -> u16 {
        (self.0.as_ptr().addr() >> TAG_SHIFT) as u16
    }

    /// The first bytes: all of the header where the lengths are short.
    fn first(&self) -> [u8; FIRST] {
        // SAFETY: 2: that many bytes are there and initialised.
        unsafe { self.address().cast::<[u8; FIRST]>().read() }
    }

    fn layout(&self) -> Layout {
        let first = self.first();
        let flags = first[0];
        if flags & WIDE == 0 {
            return Layout { flags, key_len: usize::from(first[4]), value_len: usize::from(first[5]) };
        }
        // SAFETY: 2: a wide header is 20 bytes long.
        let lengths = unsafe { self.address().add(4).cast::<[[u8; 8]; 2]>().read() };
        let [key_len, value_len] = lengths.map(|len| u64::from_le_bytes(len) as usize);
        Layout { flags, key_len, value_len }
    }

    fn slice(&self, at: usize, len: usize) -> &[u8] {
        // SAFETY: 2, and every caller's range is a part of the layout that was just read; nobody changes the bytes while
        // `self` is borrowed (1).
        unsafe { std::slice::from_raw_parts(self.address().add(at), len) }
    }

    /// Copies `bytes` to `at`.
    fn write(&mut self, at: usize, bytes: &[u8]) {
        // SAFETY: every caller's range is within the class of the layout it writes; `bytes` cannot be in the allocation,
        // which is borrowed exclusively (1).
        unsafe { self.address().add(at).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    }

    fn write_head(&mut self, layout: Layout, used_s: u32) {
        let used = used_s.to_le_bytes();
        let mut first = [layout.flags, used[0], used[1], used[2], 0, 0, 0, 0];
        if layout.flags & WIDE == 0 {
            // Not wide: both are below 256. What follows in these 8 bytes is written next.
            (first[4], first[5]) = (layout.key_len as u8, layout.value_len as u8);
            self.write(0, &first[..6]);
        } else {
            self.write(0, &first);
            self.write(4, &(layout.key_len as u64).to_le_bytes());
            self.write(12, &(layout.value_len as u64).to_le_bytes());
        }
    }

    fn write_payload(&mut self, layout: Layout, payload: &Payload<'_>) {
        let at = layout.value_at();
        match payload {
            Payload::Bytes(bytes) => self.write(at, bytes),
            Payload::Int(n) => self.write(at, &n.to_le_bytes()),
            // SAFETY: the layout has 8 bytes there; a pointer is written as one, so that it may be used as one.
            Payload::Boxed(value) => unsafe {
                self.address().add(at).cast::<*mut Value>().write_unaligned(*value);
            },
        }
    }

    /// The pointer of a boxed value.
    fn boxed(&self, layout: Layout) -> Option<*mut Value> {
        // SAFETY: 3.
        (layout.kind() == Kind::Boxed)
            .then(|| unsafe { self.address().add(layout.value_at()).cast::<*mut Value>().read_unaligned() })
    }

    fn payload(&self, layout: Layout) -> Payload<'_> {
        match (layout.kind(), self.boxed(layout)) {
            (_, Some(value)) => Payload::Boxed(value),
            (Kind::Int, _) => Payload::Int(self.int(layout)),
            _ => Payload::Bytes(Cow::Borrowed(self.slice(layout.value_at(), layout.value_len))),
        }
    }

    fn int(&self, layout: Layout) -> i64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.slice(layout.value_at(), 8));
        i64::from_le_bytes(bytes)
    }

    /// Its name.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        let layout = self.layout();
        self.slice(layout.key_at(), layout.key_len)
    }

    /// What it holds.
    #[must_use]
    pub fn value(&self) -> ValueRef<'_> {
        let layout = self.layout();
        match self.payload(layout) {
            Payload::Bytes(Cow::Borrowed(bytes)) => ValueRef::String(TextRef::Embedded(bytes)),
            Payload::Bytes(Cow::Owned(_)) => unreachable!("what an entry holds is borrowed from it"),
            Payload::Int(n) => ValueRef::String(TextRef::Int(n)),
            // SAFETY: 3: the entry owns the value, and lends it as long as it is borrowed itself.
            Payload::Boxed(value) => match unsafe { &*value } {
                Value::String(Text::Int(n)) => ValueRef::String(TextRef::Int(*n)),
                Value::String(Text::Raw(bytes)) => ValueRef::String(TextRef::Apart(bytes)),
                Value::Collection(collection) => ValueRef::Collection(collection),
            },
        }
    }

    /// The value, where it has an allocation of its own and so can be changed in its place.
    pub(super) fn boxed_mut(&mut self) -> Option<&mut Value> {
        // SAFETY: 3, and `self` is borrowed exclusively.
        self.boxed(self.layout()).map(|value| unsafe { &mut *value })
    }

    /// What it holds, alone.
    #[must_use]
    pub fn into_value(self) -> Value {
        let layout = self.layout();
        match self.boxed(layout) {
            Some(value) => {
                ManuallyDrop::new(self).free(layout);
                // SAFETY: 3: made by `Box::into_raw`; the entry, which owned it, is gone without having dropped it.
                *unsafe { Box::from_raw(value) }
            }
            None => self.value().to_owned(),
        }
    }

    /// Replaces what it holds.
    pub(super) fn set_value(&mut self, content: Content<'_>) {
        let payload = Payload::from(content);
        let old = self.layout();
        let new = Layout::new(payload.kind(), old.expires(), old.key_len, payload.len());
        if new.class() == old.class() && new.key_at() == old.key_at() {
            let boxed = self.boxed(old);
            self.write_head(new, self.used_s());
            self.write_payload(new, &payload);
            // SAFETY: 3: made by `Box::into_raw`, and no longer in the entry.
            drop(boxed.map(|value| unsafe { Box::from_raw(value) }));
        } else {
            *self = Self::build(self.tag(), self.key(), &payload, self.raw_expiry(), self.used_s());
        }
    }

    fn raw_expiry(&self) -> u64 {
        let layout = self.layout();
        if !layout.expires() {
            return NEVER;
        }
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.slice(layout.expiry_at(), 8));
        u64::from_le_bytes(bytes)
    }

    /// When it expires.
    #[must_use]
    pub fn expire_at(&self) -> Option<Millis> {
        let at = self.raw_expiry();
        (at != NEVER).then_some(Millis(at))
    }

    /// Whether its time has passed.
    #[must_use]
    pub fn is_expired(&self, now: Millis) -> bool {
        self.expire_at().is_some_and(|at| at <= now)
    }

    /// Sets when it expires.
    pub(super) fn set_expire_at(&mut self, expire_at: Option<Millis>) {
        // A moment of zero is long past; it would mean "never".
        let at = expire_at.map_or(NEVER, |at| at.0.max(1));
        let layout = self.layout();
        if layout.expires() == (at != NEVER) {
            if layout.expires() {
                self.write(layout.expiry_at(), &at.to_le_bytes());
            }
            return;
        }
        let new = Self::build(self.tag(), self.key(), &self.payload(layout), at, self.used_s());
        // A boxed value belongs to the new one by now.
        ManuallyDrop::new(std::mem::replace(self, new)).free(layout);
    }

    /// When it was last used: seconds modulo 2^24.
    pub(super) fn used_s(&self) -> u32 {
        let [_, a, b, c, ..] = self.first();
        u32::from_le_bytes([a, b, c, 0])
    }

    /// How long ago it was last used, in seconds.
    #[must_use]
    pub fn idle_s(&self, clock_s: u32) -> u32 {
        clock_s.wrapping_sub(self.used_s()) & USED_MAX
    }

    /// Notes that it was used, in seconds.
    pub(super) fn touch(&mut self, used_s: u32) {
        // Most are used again within the second, and a line that is not written need not be written back.
        if self.used_s() != used_s & USED_MAX {
            self.write(1, &used_s.to_le_bytes()[..3]);
        }
    }

    /// The memory it takes, as an allocator counts it.
    pub(super) fn bytes(&self) -> usize {
        let layout = self.layout();
        match layout.kind() {
            Kind::Bytes | Kind::Int => layout.class(),
            Kind::Boxed => layout.class() + size_class(size_of::<Value>()) + self.value().heap_bytes(),
        }
    }

    /// Brings it nearer to the processor.
    pub(super) fn prefetch(&self) {
        let address = self.address().addr();
        prefetch(address);
        prefetch(address + 64);
    }

    /// Gives the allocation back; a boxed value stays.
    fn free(&self, layout: Layout) {
        // SAFETY: 1, 2: made by `allocate` with this layout. Both callers are about to forget `self`.
        unsafe { alloc::dealloc(self.address(), layout.of_allocation()) }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let layout = self.layout();
        // SAFETY: 3: made by `Box::into_raw`; nobody else owns it.
        drop(self.boxed(layout).map(|value| unsafe { Box::from_raw(value) }));
        self.free(layout);
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = String::from_utf8_lossy(self.key());
        f.debug_struct("Entry").field("key", &key).field("value", &self.value()).finish_non_exhaustive()
    }
}

/// The greatest clock: 2^24 - 1 seconds, 194 days.
pub(super) const USED_MAX: u32 = 0xff_ffff;

/// What is written behind the name.
enum Payload<'a> {
    Bytes(Cow<'a, [u8]>),
    Int(i64),
    /// Made by [`Box::into_raw`]; whoever writes it into an entry gives it to that entry.
    Boxed(*mut Value),
}

impl Payload<'_> {
    fn kind(&self) -> Kind {
        match self {
            Self::Bytes(_) => Kind::Bytes,
            Self::Int(_) => Kind::Int,
            Self::Boxed(_) => Kind::Boxed,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Int(_) | Self::Boxed(_) => 8,
        }
    }
}

impl<'a> From<Content<'a>> for Payload<'a> {
    fn from(content: Content<'a>) -> Self {
        match content {
            Content::Bytes(bytes) => Self::Bytes(bytes),
            Content::Int(n) => Self::Int(n),
            Content::Boxed(value) => Self::Boxed(Box::into_raw(value)),
        }
    }
}

/// Memory for an entry, with its first bytes initialised.
fn allocate(layout: Layout) -> NonNull<u8> {
    let of_allocation = layout.of_allocation();
    // SAFETY: a class is never zero.
    let address = unsafe { alloc::alloc(of_allocation) };
    let Some(address) = NonNull::new(address) else { alloc::handle_alloc_error(of_allocation) };
    assert!(address.as_ptr().addr() & !ADDRESS == 0, "an address with more than 48 bits");
    // SAFETY: a class has at least that many bytes.
    unsafe { address.cast::<[u8; FIRST]>().write([0; FIRST]) };
    address
}

/// Brings a line of memory nearer to the processor. A hint: the address may be anything.
pub(super) fn prefetch(address: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that the program sees and does not fault, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::without_provenance(address)) }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = address;
}

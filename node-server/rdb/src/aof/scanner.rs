//! Reads the commands of an append-only file that arrives in pieces.
//!
//! A file without seals gives its commands as they come, with MULTI..EXEC in one piece. From the first seal on,
//! commands are handed out only with the seal that proves them; so a file whose first line is a seal gives nothing
//! that is not proved, except at its end. Memory: a sealed stretch, a transaction, or all
//! that stands behind the last seal.

use super::AofError;
use super::damage::{Damage, Fault, Tail};
use super::frame::{Frame, NOTE_MAX, frame, is_beginning};
use super::item::{Ending, Item, Later, Record, Resume, Torn, record, timestamp};
use super::opening::{self, Group, OPENING};
use super::seal::{PREFIX, RunningCrc, Seal};

/// Bytes that are not needed any more are dropped from the front when they are more than this.
const COMPACT_AT: usize = 1 << 20;

/// A record that was read and not handed out.
#[derive(Clone, Copy, Debug)]
struct Span {
    at: u64,
    len: usize,
}

/// A place between two records, outside MULTI.
#[derive(Clone, Copy, Debug, Default)]
struct Boundary {
    resume: Resume,
    /// How many of the pending records stand before it.
    pending: usize,
}

/// Give it bytes with [`Scanner::feed`], take what is in them with [`Scanner::next_item`], and end with
/// [`Scanner::finish`].
#[derive(Debug, Default)]
pub struct Scanner {
    buffer: Vec<u8>,
    /// Offset in the file of the buffer's beginning.
    base: u64,
    /// What has been read of the buffer.
    at: usize,
    /// Length that the next record has at least, so that a long one is not looked at for every piece of it.
    wanted: usize,
    crc: RunningCrc,
    pending: Vec<Span>,
    in_multi: bool,
    /// Behind the last whole record outside MULTI.
    boundary: Boundary,
    /// The last boundary that a seal proves.
    proved: Boundary,
    sealed: bool,
    /// Groups of this file have had openings.
    marked: bool,
    /// What of the file was on the disk, as openings say.
    synced: u64,
    /// The group that is being read has one.
    group: Option<Group<Boundary>>,
    /// End of the last seal.
    stretch_from: u64,
    /// An annotation that no server in the project's knowledge writes; in a tail it may be a damaged seal.
    strange_note: Option<u64>,
    /// What is looked for: a timestamp beyond this one.
    until: Option<u64>,
    later: Option<Later>,
    /// Something that is data has been read.
    has_data: bool,
    /// One that a seal within a transaction proves: a cut before that transaction would leave it without.
    note_before_multi: Option<u64>,
    damage: Option<Damage>,
    failed: Option<AofError>,
}

impl Scanner {
    /// Begins at `offset` of a file: 0, or behind an RDB preamble.
    #[must_use]
    pub fn new(offset: u64) -> Self {
        let here = Boundary { resume: Resume { len: offset, ..Resume::default() }, pending: 0 };
        let has_data = offset > 0;
        Self { base: offset, stretch_from: offset, boundary: here, proved: here, has_data, ..Self::default() }
    }

    /// Looks out for the first `#TS:` that is later than this Unix second: [`Scanner::later`].
    pub fn look_for_later_than(&mut self, second: u64) {
        self.until = Some(second);
    }

    /// Where that is, if it has been read. Whether the stretch that it stands in is what was written is not known yet.
    #[must_use]
    pub fn later(&self) -> Option<Later> {
        self.later
    }

    /// More of the file.
    pub fn feed(&mut self, bytes: &[u8]) {
        if let Some(damage) = &mut self.damage {
            damage.search_more(bytes);
            return;
        }
        let first_needed = self.pending.first().map_or(self.at, |span| (span.at - self.base) as usize);
        if first_needed > COMPACT_AT {
            self.buffer.drain(..first_needed);
            self.base += first_needed as u64;
            self.at -= first_needed;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next item; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`AofError::RottenMiddle`] and [`AofError::Format`]; every call after it gives it again.
    pub fn next_item(&mut self) -> Result<Option<Item>, AofError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let next = self.read_on();
        if let Err(error) = &next {
            self.failed = Some(error.clone());
        }
        next
    }

    /// Where the last whole record ends that is not inside MULTI.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.boundary.resume.len
    }

    /// The file has ended, and [`Scanner::next_item`] has given `None`.
    ///
    /// # Errors
    /// What is left is neither whole nor torn.
    pub fn finish(mut self) -> Result<Ending, AofError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        if self.damage.is_none() && !rest.is_empty() {
            self.damaged(frame(rest, |_| {}).map_or_else(Fault::Format, |_| Fault::Cut));
        }
        if let Some(damage) = &self.damage {
            let (at, tail) = (damage.at, damage.verdict(self.group.is_some())?);
            let end = match tail {
                Tail::Whole => self.boundary,
                Tail::Unfinished => self.group.map_or(self.proved, |group| group.before),
                Tail::Distrusted => self.proved,
            };
            return Ok(Ending { wrong: damage.is_wrong(), ..self.ending(end, Some(at))? });
        }
        if let Some(group) = self.group {
            // A group that has nothing yet is no loss, but nothing is written behind its opening either.
            let is_begun = self.pending.len() > group.before.pending;
            return self.ending(group.before, is_begun.then_some(group.before.resume.len));
        }
        self.ending(self.boundary, self.in_multi.then_some(self.offset()))
    }

    fn ending(&self, end: Boundary, torn_at: Option<u64>) -> Result<Ending, AofError> {
        let note = self.note_before_multi.or(self.strange_note);
        if let Some(at) = note.filter(|at| *at < end.resume.len) {
            return Err(AofError::Format {
                at,
                reason: "an annotation that is unknown and that nothing proves",
            });
        }
        let torn = torn_at.map(|at| Torn { at, complete_until: end.resume.len });
        let Boundary { resume: proved, pending: proved_tail } = self.proved;
        Ok(Ending {
            tail: self.records(end.pending),
            resume: end.resume,
            proved,
            proved_tail,
            torn,
            wrong: false,
        })
    }

    fn read_on(&mut self) -> Result<Option<Item>, AofError> {
        while self.damage.is_none() {
            let rest = self.buffer.get(self.at..).unwrap_or_default();
            if rest.len() < self.wanted {
                return Ok(None);
            }
            match frame(rest, |_| {}) {
                Ok(Frame::More(wanted)) => self.wanted = wanted,
                Ok(Frame::Command { len, name }) => {
                    // A file that begins in another database than 0 says so, and nothing with it.
                    self.has_data |= !name.eq_ignore_ascii_case(b"SELECT");
                    self.group = self.group.and_then(|group| group.with(name));
                    self.in_multi = match self.in_multi {
                        true => !name.eq_ignore_ascii_case(b"EXEC"),
                        false => name.eq_ignore_ascii_case(b"MULTI"),
                    };
                    if let Some(item) = self.keep(len) {
                        return Ok(Some(item));
                    }
                }
                Ok(Frame::Note(line)) => {
                    let line = line.to_vec();
                    if let Some(item) = self.note(&line)? {
                        return Ok(Some(item));
                    }
                }
                // A seal whose first byte is damaged, or the beginning of one.
                Err(_) if self.sealed && rest.get(1..PREFIX.len()) == PREFIX.get(1..) => {
                    self.damaged(Fault::Seal)
                }
                Err(_) if self.sealed && rest.get(1..).is_some_and(|r| PREFIX[1..].starts_with(r)) => {
                    self.wanted = PREFIX.len();
                }
                // An opening, or a seal, whose end was in a block that was lost.
                Err(_)
                    if self.marked
                        && rest.starts_with(b"#")
                        && rest.iter().take(NOTE_MAX).any(|b| *b == 0) =>
                {
                    self.damaged(Fault::Seal);
                }
                // At the very beginning it may be a new file that a crash left with zeros, or a damaged first seal.
                Err(reason) if self.sealed || self.marked || self.offset() == 0 => {
                    self.damaged(Fault::Format(reason))
                }
                Err(reason) => return Err(AofError::Format { at: self.offset(), reason }),
            }
        }
        self.damage.as_ref().map_or(Ok(()), Damage::rot).map(|()| None)
    }

    fn note(&mut self, line: &[u8]) -> Result<Option<Item>, AofError> {
        if let Some(seal) = Seal::parse(line) {
            return self.sealed_by(seal, line.len());
        }
        // More than stands before it was not on the disk.
        if let Some(synced) = opening::parse(line).filter(|synced| *synced <= self.offset()) {
            self.synced = self.synced.max(synced);
            self.marked = true;
            // No seal has ended the one before it: neither was finished, also for a start after this one.
            let unfinished = self.group.filter(Group::has_commands);
            self.group = unfinished.or(Some(Group::behind(self.boundary)));
            self.advance(line.len());
            return Ok(None);
        }
        // A block that was lost has zeros.
        if self.marked && (line.starts_with(OPENING) || line.contains(&0)) {
            self.damaged(Fault::Seal);
            return Ok(None);
        }
        if line.starts_with(PREFIX) {
            if !self.sealed {
                return Err(AofError::Format {
                    at: self.offset(),
                    reason: "a #CRC annotation that is damaged",
                });
            }
            self.damaged(Fault::Seal);
            return Ok(None);
        }
        if let Some(second) = timestamp(line) {
            if self.later.is_none() && self.until.is_some_and(|until| second > until) {
                self.later = Some(Later { at: self.boundary.resume.len, is_first: !self.has_data });
            }
            // Handed out with what follows: it may be the beginning of a stretch that is sealed.
            self.pending.push(Span { at: self.offset(), len: line.len() });
            self.advance(line.len());
            return Ok(None);
        }
        if self.sealed {
            self.strange_note.get_or_insert(self.offset());
        }
        self.advance(line.len());
        Ok(None)
    }

    fn sealed_by(&mut self, seal: Seal, len: usize) -> Result<Option<Item>, AofError> {
        if seal.crc != self.crc.sealing(seal.offset, &seal.replid) {
            // Before the first seal commands were handed out on trust; that was wrong, whatever follows.
            if !self.sealed && self.group.is_none() {
                let to = self.offset() + len as u64;
                return Err(AofError::RottenMiddle { from: self.stretch_from, to });
            }
            // An annotation that is strange may be the stretch's own seal, damaged.
            self.damaged(if self.strange_note.is_some() { Fault::Seal } else { Fault::Checksum });
            return Ok(None);
        }
        self.at += len;
        self.wanted = 0;
        self.crc = RunningCrc::new();
        self.stretch_from = self.offset();
        self.sealed = true;
        let note = self.note_before_multi.take().or(self.strange_note.take());
        self.group = None;
        if self.in_multi {
            // What is before MULTI is proved and waits for EXEC with the rest.
            self.note_before_multi = note;
            self.proved = self.boundary;
            return Ok(None);
        }
        let records = self.take_pending();
        self.proved = self.boundary;
        Ok(Some(Item::Sealed { records, seal }))
    }

    /// A whole record is at the front. An item, if it can be handed out at once.
    fn keep(&mut self, len: usize) -> Option<Item> {
        self.pending.push(Span { at: self.offset(), len });
        self.advance(len);
        if self.sealed || self.in_multi || self.group.is_some() {
            None
        } else {
            Some(Item::Loose(self.take_pending()))
        }
    }

    fn take_pending(&mut self) -> Vec<Record> {
        let records = self.records(self.pending.len());
        self.pending.clear();
        self.mark_boundary();
        records
    }

    fn advance(&mut self, len: usize) {
        let read = self.buffer.get(self.at..self.at + len).unwrap_or_default();
        self.crc.update(read);
        self.at += len;
        self.wanted = 0;
        if !self.in_multi {
            self.mark_boundary();
        }
    }

    fn mark_boundary(&mut self) {
        let resume = Resume { len: self.offset(), crc: self.crc };
        self.boundary = Boundary { resume, pending: self.pending.len() };
    }

    fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Reading stops here; what follows is only searched.
    fn damaged(&mut self, fault: Fault) {
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        // A record of a bad stretch may have swallowed seals: a damaged length looks like a longer argument.
        let swallower =
            if fault == Fault::Checksum { self.stretch_from.max(self.base) } else { self.offset() };
        let searched = self.buffer.get((swallower - self.base) as usize..).unwrap_or_default();
        let mut damage = Damage::new(fault, self.offset(), self.stretch_from, swallower, self.sealed);
        damage.set_marked(self.marked, rest.first() == Some(&0));
        // A seal that is wrong covers the whole stretch, whatever in it was found strange before.
        if fault == Fault::Checksum || self.strange_note.is_some() || self.offset() < self.synced {
            damage.was_synced(self.synced);
        }
        let before_zeros = rest.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        if rest.get(..before_zeros).is_some_and(is_beginning) {
            damage = damage.followed_by_zeros();
        }
        damage.search(searched);
        self.damage = Some(damage);
    }

    /// The first `count` pending records.
    fn records(&self, count: usize) -> Vec<Record> {
        let bytes = |span: &Span| {
            let from = (span.at - self.base) as usize;
            self.buffer.get(from..from + span.len).unwrap_or_default()
        };
        self.pending.iter().take(count).map(|span| record(bytes(span))).collect()
    }
}

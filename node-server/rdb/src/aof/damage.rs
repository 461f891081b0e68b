//! What is behind damage decides what it is: a tail that a crash tore, or rot that must not be cut away because more
//! that was sealed stands behind it. So the rest of the file is searched for lines that are seals.

use super::AofError;
use super::opening::{self, OPENING};
use super::seal::{PREFIX, SEAL_LEN_MAX, Seal};

/// What is wrong at the place where reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A seal's checksum is not that of its stretch.
    Checksum,
    /// A seal that is not one any more.
    Seal,
    /// The stretch cannot be read; its own seal may stand behind it.
    Format(&'static str),
    /// The end of the file came first.
    Cut,
}

/// Searches what follows a fault. Memory: one line.
#[derive(Clone, Debug)]
pub(super) struct Damage {
    fault: Fault,
    /// Where the record begins in which the fault is.
    pub(super) at: u64,
    /// End of the last stretch that is right.
    from: u64,
    /// Seals that must be found before it is rot: a bad stretch with nothing behind its own seal is a torn tail.
    threshold: u32,
    seals: u32,
    first_seal_end: u64,
    line: Vec<u8>,
    position: u64,
    /// Nothing but zeros since the fault: the file system made the file longer and lost what was written.
    zeros: bool,
    /// Groups of this file have openings ([`opening::opening`]), which say what was on the disk.
    marked: bool,
    /// The stretch was, whole.
    synced: bool,
    /// The fault is a zero where a group would begin.
    begins_with_zero: bool,
}

impl Damage {
    /// Reading stopped at `at`, and the search begins at `search_from`. `sealed`: the file has had a seal before.
    pub(super) fn new(fault: Fault, at: u64, from: u64, search_from: u64, sealed: bool) -> Self {
        let own_seal_may_follow = fault != Fault::Seal;
        Self {
            fault,
            at,
            from,
            threshold: if sealed && own_seal_may_follow { 2 } else { 1 },
            seals: 0,
            first_seal_end: 0,
            line: Vec::new(),
            position: search_from,
            zeros: false,
            marked: false,
            synced: false,
            begins_with_zero: false,
        }
    }

    /// What could be read is the beginning of a record, followed by zeros only.
    pub(super) fn followed_by_zeros(mut self) -> Self {
        self.zeros = true;
        self
    }

    /// Whether groups of the file had openings before, and whether there is a zero at the fault.
    pub(super) fn set_marked(&mut self, marked: bool, zero: bool) {
        (self.marked, self.begins_with_zero) = (marked, zero && self.at == self.from);
    }

    /// An opening before the fault says that so much was on the disk.
    pub(super) fn was_synced(&mut self, until: u64) {
        if until > self.from {
            (self.synced, self.first_seal_end) = (true, until);
        }
    }

    /// More of the file behind what was searched.
    pub(super) fn search_more(&mut self, bytes: &[u8]) {
        self.zeros &= bytes.iter().all(|b| *b == 0);
        self.search(bytes);
    }

    /// Counts the seals in `bytes`, which continue what was searched. A seal counts at the end of a line of any
    /// beginning: the damage may be the end of the line before.
    pub(super) fn search(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            self.line.extend_from_slice(last(part, SEAL_LEN_MAX));
            let too_many = self.line.len().saturating_sub(SEAL_LEN_MAX);
            self.line.drain(..too_many);
            self.position += part.len() as u64;
            if part.ends_with(b"\n") {
                self.line_ended();
                self.line.clear();
            }
        }
    }

    fn line_ended(&mut self) {
        let opens = self.line.windows(OPENING.len()).rposition(|window| window == OPENING);
        let line = opens.and_then(|at| self.line.get(at..)).unwrap_or_default();
        if let Some(synced) = opening::parse(line) {
            if self.seals == 0 {
                self.first_seal_end = self.position;
            }
            // Not more than stands before it: else it is itself what is damaged.
            self.synced |= synced > self.from && synced <= self.position - line.len() as u64;
            return;
        }
        let is_prefix = |window: &[u8]| window == PREFIX;
        let at = self.line.windows(PREFIX.len()).rposition(is_prefix);
        let seal = at.and_then(|at| self.line.get(at..)).and_then(Seal::parse);
        if seal.is_none() {
            return;
        }
        if self.seals == 0 {
            self.first_seal_end = self.position;
        }
        self.seals += 1;
    }

    /// Rot, as soon as it is known to be.
    pub(super) fn rot(&self) -> Result<(), AofError> {
        let is_rot = if self.marked { self.synced } else { self.seals >= self.threshold };
        if !is_rot {
            return Ok(());
        }
        Err(AofError::RottenMiddle { from: self.from, to: self.first_seal_end })
    }

    /// Whether bytes are wrong, and not only missing at the end.
    pub(super) fn is_wrong(&self) -> bool {
        matches!(self.fault, Fault::Checksum | Fault::Seal) || self.seals > 0
    }

    /// At the end of the file: what the damage is. `open`: it is in a group of this node that no seal ends.
    pub(super) fn verdict(&self, open: bool) -> Result<Tail, AofError> {
        self.rot()?;
        match self.fault {
            // The seal was written and is wrong, so no command of the stretch can be trusted.
            Fault::Checksum | Fault::Seal => Ok(Tail::Distrusted),
            _ if self.seals > 0 => Ok(Tail::Distrusted),
            _ if open || (self.marked && self.begins_with_zero) => Ok(Tail::Unfinished),
            Fault::Cut => Ok(Tail::Whole),
            Fault::Format(_) if self.zeros => Ok(Tail::Whole),
            Fault::Format(reason) => Err(AofError::Format { at: self.at, reason }),
        }
    }
}

fn last(bytes: &[u8], count: usize) -> &[u8] {
    bytes.get(bytes.len().saturating_sub(count)..).unwrap_or(bytes)
}

/// What of a torn tail can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// The whole commands before the fault.
    Whole,
    /// Nothing behind the last seal that was right.
    Distrusted,
    /// Nothing of the group that no seal ends.
    Unfinished,
}

//! What a command did, as commands for the log.

use crate::log::put_command;

/// The effects of one command or transaction, in order.
#[derive(Debug, Default)]
pub struct Effects {
    bytes: Vec<u8>,
    count: usize,
    off: bool,
    /// Database of what follows.
    db: u16,
    /// Databases of the first and the last effect.
    first: u16,
    last: u16,
}

impl Effects {
    /// None yet; `buffer` is cleared and used for its capacity.
    pub(crate) fn new(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { bytes: buffer, ..Self::default() }
    }

    /// Effects that nobody wants: on a replica the master's bytes are the log.
    pub(crate) fn off() -> Self {
        Self { off: true, ..Self::default() }
    }

    /// One more. It must do the same wherever and whenever it is run: absolute times, results instead of formulas.
    pub fn push(&mut self, args: &[&[u8]]) {
        if self.count == 0 {
            (self.first, self.last) = (self.db, self.db);
        }
        self.count += 1;
        if self.off {
            return;
        }
        if self.db != self.last {
            self.last = self.db;
            put_command(&mut self.bytes, &[b"SELECT", self.db.to_string().as_bytes()]);
        }
        put_command(&mut self.bytes, args);
    }

    /// What follows belongs to this database.
    pub(crate) fn enter(&mut self, db: u16) {
        self.db = db;
    }

    /// The databases of the first and the last effect.
    pub(crate) fn databases(&self) -> (u16, u16) {
        (self.first, self.last)
    }

    /// Whether there is any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The records for the log: several stand between MULTI and EXEC.
    pub(crate) fn finish(&mut self) -> &[u8] {
        if self.count > 1 && !self.off {
            let mut whole = Vec::with_capacity(self.bytes.len() + 32);
            put_command(&mut whole, &[b"MULTI"]);
            whole.extend_from_slice(&self.bytes);
            put_command(&mut whole, &[b"EXEC"]);
            self.bytes = whole;
            self.count = 1;
        }
        &self.bytes
    }

    /// The buffer back, for the next command.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        /// Larger buffers are not kept.
        const KEPT_MAX: usize = 64 * 1024;
        if self.bytes.capacity() <= KEPT_MAX { self.bytes } else { Vec::new() }
    }
}

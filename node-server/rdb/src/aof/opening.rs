//! The annotation that a group of this node's own writes begins with, before the seal that ends it:
//!
//! `#OPEN:<bytes>\r\n`
//!
//! It says two things that a seal cannot. What follows was written by a server that seals: if no seal comes, the group was
//! not finished, was promised to nobody, and is not loaded, however whole it looks. A loss of power may have left a hole
//! of zeros in a value. And so many bytes of the file were on the disk before it: damage in them is rot, damage behind
//! them may be what a loss of power made of bytes that were not synced yet. Other servers skip the line, and what they
//! append has none. The format is this project's own.

use super::seal::decimal;

/// How such a line begins.
pub(super) const OPENING: &[u8] = b"#OPEN:";

/// The line before a group that is written while `synced` bytes of the file are certainly on the disk.
#[must_use]
pub fn opening(synced: u64) -> Vec<u8> {
    format!("#OPEN:{synced}\r\n").into_bytes()
}

/// What a whole line says.
pub(super) fn parse(line: &[u8]) -> Option<u64> {
    decimal(line.strip_prefix(OPENING)?.strip_suffix(b"\r\n")?)
}

/// A group that is being read, with what stands before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group<B> {
    pub(super) before: B,
    commands: u64,
}

impl<B> Group<B> {
    pub(super) fn behind(before: B) -> Self {
        Self { before, commands: 0 }
    }

    pub(super) fn has_commands(&self) -> bool {
        self.commands > 0
    }

    /// One more of its commands. `None`: it may be the first of another server that has taken the file over after a crash
    /// of this node: those begin with SELECT, and so do groups, but not in their middle.
    pub(super) fn with(self, name: &[u8]) -> Option<Self> {
        let taken_over = self.commands > 0 && name.eq_ignore_ascii_case(b"SELECT");
        (!taken_over).then(|| Self { commands: self.commands + 1, ..self })
    }
}

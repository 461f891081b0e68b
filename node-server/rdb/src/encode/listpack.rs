//! Makes listpacks; what they are stands in [`crate::container::listpack`].

use crate::container::listpack::{BackLength, Limits};

/// A listpack that grows.
#[derive(Debug)]
pub(crate) struct ListpackWriter {
    bytes: Vec<u8>,
    count: usize,
    limits: Limits,
}

const HEADER: usize = 6;

impl ListpackWriter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { bytes: vec![0; HEADER], count: 0, limits }
    }

    pub(crate) fn integer(&mut self, n: i64) {
        let start = self.bytes.len();
        if (0..=127).contains(&n) {
            self.bytes.push(n as u8);
        } else if (-4096..4096).contains(&n) {
            let bits = n as u16 & 0x1fff | 0xc000;
            self.bytes.extend_from_slice(&bits.to_be_bytes());
        } else {
            let (code, len) = match n {
                -0x8000..=0x7fff => (0xf1, 2),
                -0x80_0000..=0x7f_ffff => (0xf2, 3),
                -0x8000_0000..=0x7fff_ffff => (0xf3, 4),
                _ => (0xf4, 8),
            };
            self.bytes.push(code);
            self.bytes.extend(n.to_le_bytes().iter().take(len));
        }
        self.end_element(start);
    }

    /// A string; as a number where it is exactly what a number looks like.
    pub(crate) fn string(&mut self, text: &[u8]) {
        if let Some(n) = canonical_integer(text) {
            return self.integer(n);
        }
        let start = self.bytes.len();
        match text.len() {
            len @ 0..64 => self.bytes.push(0x80 | len as u8),
            len @ 64..4096 => self.bytes.extend_from_slice(&(0xe000 | len as u16).to_be_bytes()),
            len => {
                self.bytes.push(0xf0);
                self.bytes.extend_from_slice(&(len as u32).to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(text);
        self.end_element(start);
    }

    fn end_element(&mut self, start: usize) {
        let back = BackLength::of(self.bytes.len() - start, self.limits);
        self.bytes.extend_from_slice(back.bytes());
        self.count += 1;
    }

    /// The whole; `None` when it is longer than its header can say.
    pub(crate) fn finish(mut self) -> Option<Vec<u8>> {
        self.bytes.push(0xff);
        let len = u32::try_from(self.bytes.len()).ok()?;
        let count = u16::try_from(self.count).unwrap_or(u16::MAX);
        let header = len.to_le_bytes().into_iter().chain(count.to_le_bytes());
        for (to, from) in self.bytes.iter_mut().zip(header) {
            *to = from;
        }
        Some(self.bytes)
    }
}

fn canonical_integer(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}

//! Counts replies in a stream of bytes, with no more looking at them than that takes.

use anyhow::{Context, Result, bail, ensure};

/// Bytes of a reply's first line; an error text is the longest.
const LINE_MAX: usize = 1024;

/// Replies to SET and GET: +OK, bulk strings and errors. Nothing else may come.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    /// A first line that a read has cut.
    line: Vec<u8>,
    /// Bytes of a bulk string, its CRLF included, that are still to come.
    skip: usize,
}

impl Counter {
    /// How many replies end in the next bytes of the stream.
    ///
    /// # Errors
    /// An error reply, the reply to GET of a key that is missing, or bytes that are no reply.
    pub(crate) fn count(&mut self, mut bytes: &[u8]) -> Result<u64> {
        let mut replies = 0;
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                replies += u64::from(self.skip == 0);
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                ensure!(self.line.len() + bytes.len() <= LINE_MAX, "a reply's line without end");
                self.line.extend_from_slice(bytes);
                return Ok(replies);
            };
            let (head, rest) = bytes.split_at(end + 1);
            bytes = rest;
            self.skip = self.behind(head)?;
            replies += u64::from(self.skip == 0);
        }
        Ok(replies)
    }

    /// How many bytes follow a first line, of which `head` is the end.
    fn behind(&mut self, head: &[u8]) -> Result<usize> {
        if self.line.is_empty() {
            return bytes_behind(head);
        }
        self.line.extend_from_slice(head);
        let behind = bytes_behind(&self.line);
        self.line.clear();
        behind
    }
}

fn bytes_behind(line: &[u8]) -> Result<usize> {
    let text = || String::from_utf8_lossy(line).trim_end().to_owned();
    match line {
        [b'+', ..] => Ok(0),
        [b'$', b'-', ..] => bail!("a key is missing"),
        [b'$', digits @ .., b'\r', b'\n'] => {
            let len: usize = std::str::from_utf8(digits)?.parse().with_context(text)?;
            Ok(len + 2)
        }
        [b'-', ..] => bail!("the server says {}", text()),
        _ => bail!("not a reply to SET or GET: {}", text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLIES: &[u8] = b"+OK\r\n$3\r\nab\n\r\n$0\r\n\r\n$5\r\n+OK\r\n\r\n+OK\r\n";

    #[test]
    fn replies_are_counted_wherever_reads_cut_them() {
        for len in 1..=REPLIES.len() {
            let mut counter = Counter::default();
            let counts = REPLIES.chunks(len).map(|part| counter.count(part).unwrap());
            assert_eq!(counts.sum::<u64>(), 5, "in parts of {len}");
        }
    }

    #[test]
    fn a_reply_counts_with_its_last_byte() {
        let mut counter = Counter::default();
        assert_eq!(counter.count(b"$3\r\nabc\r").unwrap(), 0);
        assert_eq!(counter.count(b"\n").unwrap(), 1);
        assert_eq!(counter.count(b"+OK\r").unwrap(), 0);
        assert_eq!(counter.count(b"\n+OK\r\n").unwrap(), 2);
    }

    #[test]
    fn what_is_no_success_is_refused() {
        let refused = |bytes: &[u8]| Counter::default().count(bytes).unwrap_err().to_string();
        assert_eq!(refused(b"+OK\r\n-MOVED 5 a:1\r\n"), "the server says -MOVED 5 a:1");
        assert_eq!(refused(b"$-1\r\n"), "a key is missing");
        assert!(refused(b":1\r\n").contains("not a reply"));
        assert!(refused(b"$x\r\n").contains("$x"));
        assert!(refused(&[b'+'; LINE_MAX + 1]).contains("without end"));
        let mut counter = Counter::default();
        assert_eq!(counter.count(b"-ERR hal").unwrap(), 0);
        assert!(counter.count(b"f\r\n").unwrap_err().to_string().contains("-ERR half"));
    }
}

//! What a client sent and nobody has executed yet.

use std::io::{self, Read};

/// Most bytes read from one connection in one turn, so that one busy client does not starve the others.
pub const READ_MAX: usize = 256 * 1024;
/// How much is read at once: the size of the thread's scratch space.
pub const READ_CHUNK: usize = 64 * 1024;
/// A buffer that grew beyond this is given back once it is empty.
const KEEP_MAX: usize = 64 * 1024;

/// Bytes received, from the first that was not executed.
#[derive(Debug, Default)]
pub struct Input {
    buffer: Vec<u8>,
    /// Executed bytes at the front of `buffer`.
    done: usize,
    /// Not worth parsing again below this many bytes.
    pub at_least: usize,
}

/// How a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The socket has no more for now.
    Drained(usize),
    /// [`READ_MAX`] bytes were read; there may be more.
    More(usize),
    /// The client will not send any more (and this many bytes came before).
    Closed(usize),
}

impl Input {
    /// What was received and not executed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.done..]
    }

    /// How much that is.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len() - self.done
    }

    /// Whether everything was executed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is enough for a look at the next request.
    #[must_use]
    pub fn is_worth_parsing(&self) -> bool {
        self.len() >= self.at_least.max(1)
    }

    /// The first `bytes` were executed.
    pub fn advance(&mut self, bytes: usize) {
        self.done += bytes;
        assert!(self.done <= self.buffer.len(), "more was executed than received");
        self.at_least = 0;
        if self.is_empty() {
            self.buffer.clear();
            self.done = 0;
            if self.buffer.capacity() > KEEP_MAX {
                self.buffer = Vec::new();
            }
        }
    }

    /// Takes what is left, for a connection that is handed over.
    pub fn take(&mut self) -> Vec<u8> {
        let rest = self.bytes().to_vec();
        *self = Self::default();
        rest
    }

    /// Reads what the socket has, up to [`READ_MAX`], through `scratch`, which all connections of a thread share: so
    /// an idle connection holds no buffer, and only bytes that came are touched.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn receive(&mut self, socket: &mut impl Read, scratch: &mut [u8]) -> io::Result<Received> {
        self.make_room();
        let mut total = 0;
        loop {
            match socket.read(scratch) {
                Ok(0) => return Ok(Received::Closed(total)),
                Ok(n) => {
                    self.buffer.extend_from_slice(&scratch[..n]);
                    total += n;
                    // A read that did not fill the space has emptied the socket: the next would only say so.
                    if n < scratch.len() {
                        return Ok(Received::Drained(total));
                    }
                    if total >= READ_MAX {
                        return Ok(Received::More(total));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Received::Drained(total));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves what is left to the front, when that is cheaper than growing.
    fn make_room(&mut self) {
        if self.done > 0 && self.done >= self.len() {
            self.buffer.drain(..self.done);
            self.done = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its chunks one per read, then says that it would block or is closed.
    struct Source(Vec<Vec<u8>>, bool);

    impl Read for Source {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            match self.0.pop() {
                Some(chunk) => {
                    into[..chunk.len()].copy_from_slice(&chunk);
                    Ok(chunk.len())
                }
                None if self.1 => Ok(0),
                None => Err(io::ErrorKind::WouldBlock.into()),
            }
        }
    }

    #[test]
    fn bytes_arrive_in_order_and_are_used_up() {
        let mut scratch = [0; READ_CHUNK];
        let mut input = Input::default();
        let mut source = Source(vec![b"lo".to_vec(), b"hel".to_vec()], false);
        assert_eq!(input.receive(&mut source, &mut scratch).unwrap(), Received::Drained(3));
        input.advance(1);
        assert_eq!(input.receive(&mut source, &mut scratch).unwrap(), Received::Drained(2));
        assert_eq!(input.bytes(), b"ello");
        input.at_least = 9;
        assert!(!input.is_worth_parsing());
        input.advance(4);
        assert!(input.is_empty() && input.at_least == 0);
        assert_eq!(input.receive(&mut Source(Vec::new(), true), &mut scratch).unwrap(), Received::Closed(0));
    }

    #[test]
    fn one_turn_reads_no_more_than_the_bound() {
        let mut input = Input::default();
        let received = input.receive(&mut io::repeat(b'x'), &mut [0; READ_CHUNK]).unwrap();
        let Received::More(bytes) = received else { panic!("{received:?}") };
        assert!((READ_MAX..READ_MAX + READ_CHUNK).contains(&bytes), "{bytes}");
        input.advance(bytes);
        assert_eq!(input.buffer.capacity(), 0, "a buffer that grew is given back");
    }
}

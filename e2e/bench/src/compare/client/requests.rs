//! Requests of one length whose keys' digits are written over, so that sending costs nearly nothing.

use e2e::client::request;
use e2e::random::Random;

/// Digits of a key's number: `key:000000` has 10 bytes.
const DIGITS: usize = 6;
/// Keys that these digits can tell apart.
pub(crate) const KEYS_MAX: u64 = 1_000_000;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    /// SET of a value of so many bytes.
    Set(usize),
    /// GET.
    Get,
}

/// Which key comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// Any, each as likely.
    AtRandom,
    /// One after the other.
    InTurn,
}

/// An endless row of requests.
#[derive(Debug)]
pub(crate) struct Requests {
    batch: Vec<u8>,
    /// Bytes of one request.
    len: usize,
    /// Where the digits are in it.
    digits_at: usize,
    pick: Pick,
    keys: u64,
    /// The number of the next key in turn.
    next: u64,
    random: Random,
}

impl Requests {
    /// Requests for `key:000000` to `key:` and `keys` - 1, in batches of at most `pipeline`.
    pub(crate) fn new(operation: Operation, keys: u64, pick: Pick, pipeline: usize) -> Self {
        assert!((1..=KEYS_MAX).contains(&keys), "1 to {KEYS_MAX} keys, not {keys}");
        let key = format!("key:{:0DIGITS$}", 0).into_bytes();
        let one = match operation {
            Operation::Set(len) => request(&[b"SET", &key[..], &vec![b'x'; len]]),
            Operation::Get => request(&[b"GET", &key[..]]),
        };
        let found = one.windows(key.len()).position(|part| part == key);
        let digits_at = found.map_or(0, |at| at + key.len() - DIGITS);
        Self {
            batch: one.repeat(pipeline),
            len: one.len(),
            digits_at,
            pick,
            keys,
            next: 0,
            random: Random(0),
        }
    }

    /// The next `count` requests, at most as many as a batch has.
    pub(crate) fn next(&mut self, count: usize) -> &[u8] {
        for i in 0..count {
            let mut number = self.next_key();
            let at = i * self.len + self.digits_at;
            for digit in self.batch[at..at + DIGITS].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        &self.batch[..count * self.len]
    }

    fn next_key(&mut self) -> u64 {
        match self.pick {
            Pick::InTurn => {
                let key = self.next % self.keys;
                self.next += 1;
                key
            }
            Pick::AtRandom => self.random.below(self.keys),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn requests_in_turn() {
        let mut requests = Requests::new(Operation::Set(3), 11, Pick::InTurn, 2);
        let set = |key| format!("*3\r\n$3\r\nSET\r\n$10\r\nkey:{key}\r\n$3\r\nxxx\r\n");
        assert_eq!(requests.next(2), [set("000000"), set("000001")].concat().as_bytes());
        (2..10).for_each(|_| drop(requests.next(1).to_vec()));
        assert_eq!(requests.next(2), [set("000010"), set("000000")].concat().as_bytes());
    }

    #[test]
    fn requests_at_random_reach_every_key_and_no_other() {
        let mut requests = Requests::new(Operation::Get, 50, Pick::AtRandom, 1);
        let names: BTreeSet<Vec<u8>> = (0..2000).map(|_| requests.next(1).to_vec()).collect();
        let get = |i| request(&["GET".to_owned(), format!("key:{i:06}")]);
        assert_eq!(names, (0..50).map(get).collect());
    }
}

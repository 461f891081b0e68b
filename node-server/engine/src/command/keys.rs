//! Which arguments are keys, by the key specs.

use super::spec::{Begin, Find, Flags, KeySpec, Spec};
use node_server_protocol::resp::request::parse_number;
use smallvec::SmallVec;

/// Indexes of the arguments that are keys.
pub type KeyIndexes = SmallVec<[usize; 4]>;

/// The keys of a command. Arguments that do not fit the specs give none; the command itself will complain.
#[must_use]
pub fn key_indexes(spec: &Spec, args: &[&[u8]]) -> KeyIndexes {
    if spec.flags.has(Flags::MIGRATES) {
        return migrate_keys(args);
    }
    let mut indexes = KeyIndexes::new();
    for keys in spec.keys {
        find(keys, args, &mut indexes);
    }
    indexes
}

/// Which argument is the key of a command that always has one, and only one, there.
#[must_use]
pub fn only_key(spec: &Spec) -> Option<usize> {
    match spec.keys {
        [KeySpec { begin: Begin::Index(at), find: Find::Range { last: 0, step: 1, .. }, .. }]
            if !spec.flags.has(Flags::MIGRATES) =>
        {
            usize::try_from(*at).ok()
        }
        _ => None,
    }
}

/// MIGRATE has its keys behind the word KEYS, or one in front of its numbers; not even Redis's key specs can say that
/// (`incomplete`). Both at once is an error and gives none.
fn migrate_keys(args: &[&[u8]]) -> KeyIndexes {
    const KEY: usize = 3;
    const OPTIONS: usize = 6;
    let mut at = OPTIONS;
    while let Some(word) = args.get(at) {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        if is(b"KEYS") {
            match (args[KEY].is_empty(), at + 1 < args.len()) {
                (true, true) => return (at + 1..args.len()).collect(),
                (true, false) => break,
                (false, _) => return KeyIndexes::new(),
            }
        }
        at += if is(b"AUTH2") { 3 } else { 1 + usize::from(is(b"AUTH")) };
    }
    (KEY..args.len().min(KEY + 1)).collect()
}

/// The keys of one spec.
pub fn find(spec: &KeySpec, args: &[&[u8]], indexes: &mut KeyIndexes) {
    let Some(begin) = begin(spec.begin, args) else { return };
    let count = args.len() as i64;
    let (first, last, step) = match spec.find {
        Find::Range { last, step, limit } => {
            let last = match (last, limit) {
                (..0, 2..) => begin + (count - begin) / i64::from(limit) + i64::from(last),
                (..0, _) => count + i64::from(last),
                _ => begin + i64::from(last),
            };
            (begin, last, i64::from(step))
        }
        Find::Count { number, first, step } => {
            let at = usize::try_from(begin + i64::from(number)).ok();
            let Some(n) = at.and_then(|at| args.get(at)).and_then(|a| parse_number(a)) else { return };
            let first = begin + i64::from(first);
            (first, first.saturating_add((n - 1).saturating_mul(i64::from(step))), i64::from(step))
        }
        Find::Unknown => return,
    };
    if step < 1 || last >= count || first < 1 {
        return;
    }
    let mut at = first;
    while at <= last {
        indexes.push(at as usize);
        at += step;
    }
}

fn begin(begin: Begin, args: &[&[u8]]) -> Option<i64> {
    match begin {
        Begin::Index(at) => Some(i64::from(at)),
        Begin::Keyword(word, from) => {
            let is_word = |at: &i64| {
                usize::try_from(*at)
                    .ok()
                    .and_then(|at| args.get(at))
                    .is_some_and(|a| a.eq_ignore_ascii_case(word.as_bytes()))
            };
            let count = args.len() as i64;
            let found = if from >= 0 {
                (i64::from(from)..count).find(is_word)
            } else {
                (1..=count + i64::from(from)).rev().find(is_word)
            };
            found.map(|at| at + 1)
        }
        Begin::Unknown => None,
    }
}

/// COMMAND INFO's first key, last key and step, from the specs that are ranges (as Redis's
/// populateCommandLegacyRangeSpec).
#[must_use]
pub fn legacy_range(spec: &Spec) -> (i32, i32, i32) {
    let ranges = || {
        spec.keys.iter().filter_map(|k| match (k.begin, k.find) {
            (Begin::Index(first), Find::Range { last, step, limit: 0 | 1 }) => Some((first, last, step)),
            _ => None,
        })
    };
    let Some((mut first, _, mut step)) = ranges().next() else { return (0, 0, 0) };
    let mut last = i32::MIN;
    let mut open = false;
    for (at, end, every) in ranges() {
        // Specs of different steps that follow each other make one range of step 1.
        if at != first {
            step = 1;
        } else {
            step = every;
        }
        first = first.min(at);
        if end < 0 {
            open = true;
            last = end;
        } else if !open {
            last = last.max(at + end);
        }
    }
    (first, last, step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::spec::{keys, one_key};

    fn of(specs: &'static [KeySpec], text: &str) -> Vec<usize> {
        let args: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        key_indexes(&Spec { keys: specs, ..Spec::BASE }, &args).to_vec()
    }

    #[test]
    fn ranges_counts_and_words() {
        const ONE: &[KeySpec] = &[one_key(1, &[])];
        const ALL: &[KeySpec] = &[keys(1, -1, 1, &[])];
        const PAIRS: &[KeySpec] = &[keys(1, -1, 2, &[])];
        const COUNT: &[KeySpec] =
            &[KeySpec { find: Find::Count { number: 0, first: 1, step: 1 }, ..one_key(2, &[]) }];
        assert_eq!(of(ONE, "get a"), [1]);
        assert!(of(ONE, "get").is_empty());
        assert_eq!(of(ALL, "del a b c"), [1, 2, 3]);
        assert_eq!(of(PAIRS, "mset a 1 b 2"), [1, 3]);
        assert_eq!(of(COUNT, "eval s 2 a b c"), [3, 4]);
        assert!(of(COUNT, "eval s 9 a").is_empty());
        assert!(of(COUNT, "eval s 9223372036854775807 a").is_empty());
    }

    /// The same requests as COMMAND GETKEYS of redis-server 7.0.15 got.
    #[test]
    fn the_keys_of_migrate() {
        for (text, expected) in [
            ("migrate h 1 k 0 5", &[3][..]),
            ("migrate h 1  0 5", &[3]),
            ("migrate h 1 0 1 keys b t", &[3]),
            ("migrate h 1  0 5 9 t", &[3]),
            ("migrate h 1  0 5 REPLACE KEYS a b", &[8, 9]),
            ("migrate h 1  0 5 keys keys", &[7]),
            ("migrate h 1  0 5 keys a keys b", &[7, 8, 9]),
            ("migrate h 1  0 5 copy foo keys b", &[9]),
            ("migrate h 1  0 5 keys", &[3]),
            ("migrate h 1  0 5 auth keys a", &[3]),
            ("migrate h 1  0 5 auth keys keys b", &[9]),
            ("migrate h 1  0 5 auth2 keys keys keys b", &[10]),
            ("migrate h 1 k 0 5 keys a b", &[]),
            ("migrate h 1", &[]),
        ] {
            let args: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
            assert_eq!(migrate_keys(&args).to_vec(), expected, "{text}");
        }
    }
}

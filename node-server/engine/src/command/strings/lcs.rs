//! LCS: the longest common subsequence of two strings.

use super::{STRING_MAX, integer, text_of};
use crate::command::{Call, CommandError, CommandResult};

/// Options of LCS.
#[derive(Default)]
struct Options {
    len: bool,
    idx: bool,
    with_match_len: bool,
    min_match_len: usize,
}

/// A stretch that both strings have in common: where it begins in each, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    a: usize,
    b: usize,
    len: usize,
}

/// LCS key1 key2 \[LEN] \[IDX] \[MINMATCHLEN n] \[WITHMATCHLEN].
pub(super) fn lcs(call: &mut Call<'_, '_>) -> CommandResult {
    let (a, b) = (value(call, call.args[1])?, value(call, call.args[2])?);
    let options = parse(&call.args[3..])?;
    let lengths = Lengths::new(&a, &b)?;
    if options.len {
        call.reply.integer(i64::from(lengths.total()));
        return Ok(());
    }
    let matches = lengths.matches(&a, &b);
    if options.idx {
        reply_indexes(call, &matches, &options, lengths.total());
    } else {
        let common: Vec<u8> = matches.iter().rev().flat_map(|m| &a[m.a..m.a + m.len]).copied().collect();
        call.reply.bulk(&common);
    }
    Ok(())
}

fn value(call: &mut Call<'_, '_>, key: &[u8]) -> CommandResult<Vec<u8>> {
    let Some(entry) = call.keys.read(key) else { return Ok(Vec::new()) };
    let text = text_of(entry)
        .map_err(|_| CommandError::text("ERR The specified keys must contain string values"))?;
    Ok(text.to_vec())
}

fn parse(args: &[&[u8]]) -> CommandResult<Options> {
    let mut options = Options::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.to_ascii_uppercase().as_slice() {
            b"LEN" => options.len = true,
            b"IDX" => options.idx = true,
            b"WITHMATCHLEN" => options.with_match_len = true,
            b"MINMATCHLEN" => {
                let min = integer(rest.next().ok_or(CommandError::Syntax)?)?;
                options.min_match_len = usize::try_from(min).unwrap_or(0);
            }
            _ => return Err(CommandError::Syntax),
        }
    }
    if options.len && options.idx {
        return Err(CommandError::text("ERR If you want both the length and indexes, please just use IDX."));
    }
    Ok(options)
}

fn reply_indexes(call: &mut Call<'_, '_>, matches: &[Match], options: &Options, total: u32) {
    let shown: Vec<&Match> = matches.iter().filter(|m| m.len >= options.min_match_len).collect();
    let reply = &mut call.reply;
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(shown.len());
    for one in shown {
        reply.array(if options.with_match_len { 3 } else { 2 });
        for start in [one.a, one.b] {
            reply.array(2);
            reply.integer(start as i64);
            reply.integer((start + one.len - 1) as i64);
        }
        if options.with_match_len {
            reply.integer(one.len as i64);
        }
    }
    reply.bulk(b"len");
    reply.integer(i64::from(total));
}

/// For every pair of prefixes, how long their longest common subsequence is.
struct Lengths {
    cells: Vec<u32>,
    width: usize,
}

impl Lengths {
    fn new(a: &[u8], b: &[u8]) -> CommandResult<Self> {
        let width = b.len() + 1;
        let size = (a.len() + 1).checked_mul(width).filter(|n| *n <= STRING_MAX / size_of::<u32>());
        let size = size.ok_or(CommandError::text(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ))?;
        let mut cells = vec![0_u32; size];
        for (i, x) in a.iter().enumerate() {
            let (above, row) = cells[i * width..(i + 2) * width].split_at_mut(width);
            for (j, y) in b.iter().enumerate() {
                row[j + 1] = if x == y { above[j] + 1 } else { above[j + 1].max(row[j]) };
            }
        }
        Ok(Self { cells, width })
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells[i * self.width + j]
    }

    fn total(&self) -> u32 {
        self.cells.last().copied().unwrap_or(0)
    }

    /// The stretches, last one first. Among equal ways the one that Redis takes: it moves in the second string unless
    /// the first promises more.
    fn matches(&self, a: &[u8], b: &[u8]) -> Vec<Match> {
        let mut matches: Vec<Match> = Vec::new();
        let (mut i, mut j) = (a.len(), b.len());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                match matches.last_mut() {
                    Some(last) if last.a == i + 1 && last.b == j + 1 => {
                        *last = Match { a: i, b: j, len: last.len + 1 };
                    }
                    _ => matches.push(Match { a: i, b: j, len: 1 }),
                }
            } else if self.at(i - 1, j) > self.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        matches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_subsequence(part: &[u8], whole: &[u8]) -> bool {
        let mut rest = whole.iter();
        part.iter().all(|byte| rest.any(|other| other == byte))
    }

    #[test]
    fn the_documented_example() {
        let (a, b) = (b"ohmytext".as_slice(), b"mynewtext".as_slice());
        let lengths = Lengths::new(a, b).unwrap();
        assert_eq!(lengths.total(), 6);
        assert_eq!(lengths.matches(a, b), [Match { a: 4, b: 5, len: 4 }, Match { a: 2, b: 0, len: 2 }]);
    }

    #[test]
    fn too_large_is_refused() {
        let long = vec![b'a'; 20_000];
        assert!(Lengths::new(&long, &long).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_is_a_subsequence_of_both(a in "[abc]{0,20}", b in "[abc]{0,20}") {
            let (a, b) = (a.as_bytes(), b.as_bytes());
            let lengths = Lengths::new(a, b).unwrap();
            let matches = lengths.matches(a, b);
            let common: Vec<u8> = matches.iter().rev().flat_map(|m| &a[m.a..m.a + m.len]).copied().collect();
            prop_assert_eq!(common.len(), lengths.total() as usize);
            prop_assert!(is_subsequence(&common, a) && is_subsequence(&common, b));
        }
    }
}

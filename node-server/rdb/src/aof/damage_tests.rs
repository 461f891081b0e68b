//! Cuts at every byte, single flipped bits, zeros; and what a check says about them.

use super::scanner_tests::{Writer, records_of, sample, scan, scan_all, set, transaction};
use super::*;
use std::fmt::Write as _;

#[test]
fn zeros_behind_a_sealed_file_are_a_torn_tail() {
    let mut writer = sample();
    let whole = writer.bytes.len() as u64;
    for partial in [&b""[..], b"*3\r\n$3\r\nSE", b"*2\r\n$3\r\nGET\r\n$9\r\n123"] {
        writer.bytes.truncate(whole as usize);
        writer.bytes.extend(partial);
        writer.bytes.extend([0; 40]);
        let ending = scan(&writer.bytes, 11).1.unwrap();
        assert_eq!(ending.torn, Some(Torn { at: whole, complete_until: whole }));
    }
    writer.bytes.extend(b"x");
    assert!(matches!(scan(&writer.bytes, 11).1, Err(AofError::Format { at, .. }) if at == whole));
    let theirs = [&set(1, b"x")[..], &[0; 9]].concat();
    assert!(matches!(scan(&theirs, 2).1, Err(AofError::Format { .. })), "as Redis in a file without seals");
    let nothing = Some(Torn { at: 0, complete_until: 0 });
    assert_eq!(scan(&[0; 9], 2).1.unwrap().torn, nothing, "a new file in which nothing arrived");
}

/// Each byte of the last 4 KiB is a place to cut, with and without seals.
#[test]
fn cut_at_every_byte_of_the_tail() {
    for sealed in [true, false] {
        let mut writer = if sealed { Writer::new() } else { Writer::default() };
        let mut n = 0;
        while writer.bytes.len() < 6 << 10 {
            n += 1;
            writer.append(&if n % 5 == 0 { transaction(n) } else { set(n, &vec![b'v'; n % 40]) });
            if sealed && n % 3 == 0 {
                writer.seal();
            }
        }
        let (all, _) = scan_all(&writer.bytes, 1000).unwrap();
        for cut in writer.bytes.len() - (4 << 10)..writer.bytes.len() {
            let bytes = &writer.bytes[..cut];
            let (records, ending) = scan_all(bytes, 700).unwrap();
            assert!(all.starts_with(&records), "cut at {cut}");
            let kept = ending.torn.map_or(cut as u64, |torn| torn.complete_until);
            assert_eq!(kept, ending.resume.len);
            let again = scan_all(&bytes[..kept as usize], 700).unwrap();
            assert_eq!(
                (again.0, again.1.torn, again.1.resume),
                (records, None, ending.resume),
                "cut at {cut}"
            );
        }
    }
}

/// Every bit of a file: what stands in front of later stretches is rot, the last stretch is torn or refused, and
/// nothing is handed out that was not written.
#[test]
fn every_flipped_bit_is_found() {
    let writer = sample();
    let all = scan_all(&writer.bytes, 4096).unwrap().0;
    let last_begins = writer.ends[writer.ends.len() - 2];
    let mut unnoticed = String::new();
    for at in 0..writer.bytes.len() {
        for bit in 0..8 {
            let mut bytes = writer.bytes.clone();
            bytes[at] ^= 1 << bit;
            let (items, ending) = scan(&bytes, 512);
            assert!(
                all.starts_with(&records_of(&items)),
                "byte {at} bit {bit}: something else was handed out"
            );
            let stretch = writer.ends.iter().rposition(|end| *end <= at).map_or(0, |n| writer.ends[n]) as u64;
            match ending {
                Err(AofError::RottenMiddle { from, to }) => {
                    assert!(from == stretch && to > at as u64, "byte {at} bit {bit}: {from} to {to}");
                }
                // The first seal says that the file is sealed; without it, it begins like another server's.
                Err(AofError::Format { at: found, .. }) => {
                    assert!(
                        found <= at as u64 && (at >= last_begins || at < writer.ends[0]),
                        "byte {at} bit {bit}"
                    );
                }
                // Without its newline the last seal looks cut: what it sealed is a tail like any other.
                Ok(Ending { tail, torn: Some(_), .. }) if at + 1 == writer.bytes.len() => {
                    assert_eq!(tail.len(), 6);
                }
                Ok(Ending { tail, torn: Some(torn), .. }) => {
                    assert!(at >= last_begins, "byte {at} bit {bit} is not in the last stretch");
                    assert_eq!((tail.len(), torn.complete_until), (0, stretch), "byte {at} bit {bit}");
                }
                Err(error) => panic!("byte {at} bit {bit}: {error}"),
                Ok(_) => _ = write!(unnoticed, "byte {at} bit {bit}; "),
            }
        }
    }
    assert_eq!(unnoticed, "");
}

/// What is said of a file does not depend on where the pieces end in which it is read.
#[test]
fn the_pieces_do_not_matter() {
    let wrong_length = [&set(0, b"a")[..], b"*1\r\n$3\r\nFOUR\n"].concat();
    let mut writer = sample();
    let seal = writer.ends[writer.ends.len() - 2] - 1;
    let first = writer.bytes[..seal].iter().rposition(|b| *b == b'#').unwrap();
    writer.bytes.truncate(seal + 1);
    writer.bytes[first] = 2;
    let short = &writer.bytes[..first + 3];
    for bytes in [&wrong_length[..], &writer.bytes, short] {
        let (_, whole) = scan(bytes, bytes.len());
        for piece in 1..200 {
            assert_eq!(scan(bytes, piece).1, whole, "{piece}");
        }
    }
    assert!(matches!(scan(&wrong_length, 1).1, Err(AofError::Format { .. })));
    assert!(matches!(scan(&writer.bytes, 1).1, Ok(Ending { torn: Some(_), .. })));
}

#[test]
fn damage_behind_which_seals_were_swallowed_is_rot() {
    let mut writer = Writer::new();
    writer.append(&set(0, &[b'v'; 1000]));
    writer.seal();
    writer.append(&set(1, b"one"));
    writer.seal();
    let at = writer.bytes.windows(5).position(|w| w == b"$1000").unwrap();
    writer.bytes[at + 1] = b'9';
    let expected = AofError::RottenMiddle { from: writer.ends[0] as u64, to: writer.ends[1] as u64 };
    assert_eq!(scan(&writer.bytes, 64).1, Err(expected));
}

/// One bit makes a length of 100 one of 900, and there another record happens to end.
#[test]
fn a_record_that_swallows_a_seal_and_still_looks_whole_is_rot() {
    let mut writer = Writer::new();
    writer.append(&set(0, &[b'v'; 100]));
    let begin = writer.bytes.len() - 102;
    writer.seal();
    let left = begin + 902 - writer.bytes.len();
    let overhead = set(1, &[b'w'; 100]).len() - 100;
    writer.append(&set(1, &vec![b'w'; left - overhead]));
    writer.seal();
    assert_eq!(&writer.bytes[begin - 5..begin - 2], b"100");
    writer.bytes[begin - 5] ^= 8;
    let expected = AofError::RottenMiddle { from: writer.ends[0] as u64, to: writer.ends[1] as u64 };
    assert_eq!(scan(&writer.bytes, 64).1, Err(expected));
}

pub(super) fn checked(bytes: &[u8], piece: usize) -> Report {
    let mut check = Check::new();
    for part in bytes.chunks(piece) {
        check.feed(part);
    }
    check.finish()
}

#[test]
fn a_check_says_what_to_do() {
    let mut writer = sample();
    let whole = writer.bytes.len() as u64;
    let report = checked(&writer.bytes, 50);
    assert_eq!((report.len, report.whole_until, report.commands, report.seals), (whole, whole, 18, 4));
    assert_eq!((report.problem, report.truncate_to), (None, None));
    writer.bytes.extend(b"*1\r\n$3");
    let report = checked(&writer.bytes, 50);
    assert_eq!(report.problem, Some(AofError::Torn { at: whole, complete_until: whole }));
    assert_eq!(report.truncate_to, Some(whole));
    writer.bytes[100] ^= 4;
    let report = checked(&writer.bytes, 50);
    assert!(matches!(report.problem, Some(AofError::RottenMiddle { .. })) && report.truncate_to.is_none());
    assert_eq!(report.len, whole + 6);
    assert_eq!(checked(b"", 1), Report::default());
}

#[test]
fn a_check_reads_over_an_rdb_preamble() {
    let mut rdb = crate::Writer::new(crate::Dialect::Plain);
    rdb.aux("aof-base", "1");
    rdb.finish();
    let mut bytes = rdb.take();
    let preamble = bytes.len() as u64;
    bytes.extend(set(1, b"one"));
    for piece in [1, 6, 1000] {
        let report = checked(&bytes, piece);
        assert_eq!((report.problem, report.commands), (None, 1));
        let report = checked(&[&bytes[..], b"*"].concat(), piece);
        assert_eq!(report.truncate_to, Some(preamble + set(1, b"one").len() as u64));
        assert!(matches!(checked(&bytes[..20], piece).problem, Some(AofError::Preamble(_))));
        assert!(matches!(checked(b"RED", piece).problem, Some(AofError::Preamble(_))));
    }
}

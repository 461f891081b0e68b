//! Groups that say by whom they were written, and what was on the disk before them.

use super::scanner_tests::{Writer, command, records_of, scan, scan_all, set};
use super::*;

/// Bytes of a disk that are written together.
const BLOCK: usize = 512;

/// A file of groups, of which the first `synced` were on the disk when the next was begun.
fn groups(values: &[usize], synced: usize) -> Writer {
    let mut writer = Writer::default();
    writer.append(&opening(0));
    writer.seal();
    for (n, len) in values.iter().enumerate() {
        let on_disk = writer.ends[n.min(synced)];
        writer.append(&opening(on_disk as u64));
        writer.append(&set(n, &vec![b'v'; *len]));
        writer.seal();
    }
    writer
}

#[test]
fn an_opening_is_read_back_and_nothing_else() {
    for synced in [0, 7, u64::MAX] {
        let line = opening(synced);
        assert_eq!(opening::parse(&line), Some(synced));
        assert!(line.len() <= SEAL_LEN_MAX);
    }
    for line in ["#OPEN:\r\n", "#OPEN:07\r\n", "#OPEN:7\n", "#OPEN:7 \r\n", "#OPEN:-7\r\n", "#CRC:7\r\n"] {
        assert_eq!(opening::parse(line.as_bytes()), None, "{line}");
    }
}

/// A loss of power may leave any blocks of what was not synced as zeros: never is anything else handed out than what was
/// written, everything that was synced is, and the file is not refused.
#[test]
fn blocks_that_were_lost_behind_the_last_sync_are_a_torn_tail() {
    let values = [20, 1100, 30, 600, 40, 1300, 20];
    for synced in 0..=values.len() {
        let writer = groups(&values, synced);
        let (all, _) = scan_all(&writer.bytes, 1000).unwrap();
        let on_disk = writer.ends[synced];
        let blocks: Vec<usize> = (on_disk / BLOCK..=writer.bytes.len() / BLOCK).collect();
        for lost in 0..1_u32 << blocks.len() {
            for len in [writer.bytes.len(), writer.bytes.len() - 100] {
                let mut bytes = writer.bytes[..len.max(on_disk)].to_vec();
                for (_, block) in blocks.iter().enumerate().filter(|(n, _)| lost & 1 << n != 0) {
                    let to = ((block + 1) * BLOCK).min(bytes.len());
                    let from = (block * BLOCK).max(on_disk).min(to);
                    bytes[from..to].fill(0);
                }
                let (records, ending) = scan_all(&bytes, 3000)
                    .unwrap_or_else(|error| panic!("{synced} synced, lost {lost:b}: {error}"));
                assert!(
                    all.starts_with(&records) && records.len() >= synced,
                    "{synced} synced, lost {lost:b}"
                );
                let kept = &bytes[..ending.resume.len as usize];
                assert_eq!(scan_all(kept, 3000).unwrap().0, records);
            }
        }
    }
}

/// What was on the disk before a later group does not change by itself.
#[test]
fn damage_before_what_was_synced_is_rot() {
    let values = [20, 30, 40];
    for synced in 0..=2 {
        let writer = groups(&values, synced);
        let all = scan_all(&writer.bytes, 1000).unwrap().0;
        for at in 0..writer.bytes.len() {
            let mut bytes = writer.bytes.clone();
            bytes[at] ^= 1;
            let (items, ending) = scan(&bytes, 512);
            assert!(all.starts_with(&records_of(&items)), "byte {at}");
            match ending {
                Err(AofError::RottenMiddle { from, to }) => {
                    assert!(at < writer.ends[synced] && from <= at as u64 && to > at as u64, "byte {at}");
                }
                Ok(Ending { torn: Some(_), tail, .. }) => {
                    assert!(at >= writer.ends[synced] || synced == 0, "byte {at} was synced");
                    assert!(all[items.len() - 1..].starts_with(&tail), "byte {at}");
                }
                // The first line says that groups have openings.
                Err(AofError::Format { .. }) => assert!(at < writer.ends[0], "byte {at}"),
                other => panic!("byte {at}: {other:?}"),
            }
        }
    }
}

#[test]
fn an_unfinished_group_is_not_loaded_however_whole_it_looks() {
    let mut writer = groups(&[20], 0);
    let whole = writer.bytes.len() as u64;
    writer.append(&opening(0));
    let (records, ending) = scan_all(&writer.bytes, 7).unwrap();
    assert_eq!((records.len(), ending.torn), (1, None), "an opening alone is nothing");
    for name in [&b"SELECT"[..], b"SET"] {
        writer.append(&command(&[name, b"0", b"x"]));
        let (records, ending) = scan_all(&writer.bytes, 7).unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!(ending.torn, Some(Torn { at: whole, complete_until: whole }));
        assert_eq!((ending.resume, ending.wrong), (ending.proved, false));
    }
    // A server that takes the file over loads it as it is, and begins with SELECT.
    writer.append(&command(&[b"SELECT", b"0"]));
    writer.append(&set(9, b"theirs"));
    let (records, ending) = scan_all(&writer.bytes, 7).unwrap();
    assert_eq!((records.len(), ending.torn), (5, None));
    // What it wrote is not lost with the beginning of the seal that was to prove it.
    writer.append(&opening(writer.bytes.len() as u64));
    let (records, ending) = scan_all(&[&writer.bytes[..], b"#CRC:12"].concat(), 7).unwrap();
    assert_eq!(records.len(), 5);
    assert_eq!(ending.resume.len + opening(ending.resume.len).len() as u64, writer.bytes.len() as u64);
}

#[test]
fn what_is_wrong_is_told_from_what_is_cut() {
    let writer = groups(&[20, 30], 0);
    let mut flipped = writer.bytes.clone();
    let at = writer.ends[1] + 40;
    flipped[at] ^= 1;
    assert!(scan(&flipped, 100).1.unwrap().wrong);
    let cut = &writer.bytes[..writer.bytes.len() - 100];
    assert!(!scan(cut, 100).1.unwrap().wrong);
}

/// The first start loaded the group before, cut behind it, and the next start dropped it.
#[test]
fn a_group_that_no_seal_ends_is_unfinished_whatever_follows() {
    let mut writer = groups(&[20], 0);
    let whole = writer.bytes.len() as u64;
    for n in 7..9 {
        writer.append(&opening(0));
        writer.append(&set(n, b"unfinished"));
    }
    for tear in [0, 5] {
        let bytes = &writer.bytes[..writer.bytes.len() - tear];
        let (records, ending) = scan_all(bytes, 7).unwrap();
        assert_eq!((records.len(), ending.resume.len), (1, whole), "{tear} bytes are torn off");
    }
}

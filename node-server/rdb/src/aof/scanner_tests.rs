//! Whole files: what is handed out, when, and with what.

use super::damage_tests::checked;
use super::*;
use crate::crc64::crc64;
use proptest::prelude::*;

const REPLID: &[u8; 40] = b"0123456789abcdef0123456789abcdef01234567";

pub(super) fn command(args: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend(format!("${}\r\n", arg.len()).bytes());
        out.extend(*arg);
        out.extend(b"\r\n");
    }
    out
}

/// A file of ours: a seal at its beginning, then stretches with theirs. Where each of them ends, seal included.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
    pub(super) crc: RunningCrc,
    offset: u64,
    pub(super) ends: Vec<usize>,
}

impl Writer {
    pub(super) fn new() -> Self {
        let mut writer = Self::default();
        writer.seal();
        writer
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.crc.update(bytes);
        self.offset += bytes.len() as u64;
    }

    pub(super) fn seal(&mut self) {
        let line = seal(self.crc, self.offset, &Replid::new(REPLID).unwrap());
        self.bytes.extend(line);
        self.crc = RunningCrc::new();
        self.ends.push(self.bytes.len());
    }
}

/// What was handed out, item for item.
pub(super) fn scan(bytes: &[u8], piece: usize) -> (Vec<Item>, Result<Ending, AofError>) {
    let mut scanner = Scanner::new(0);
    let mut items = Vec::new();
    for part in bytes.chunks(piece.max(1)) {
        scanner.feed(part);
        loop {
            match scanner.next_item() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, Err(error)),
            }
        }
    }
    (items, scanner.finish())
}

pub(super) fn records_of(items: &[Item]) -> Vec<Record> {
    let records = |item: &Item| match item {
        Item::Sealed { records, .. } | Item::Loose(records) => records.clone(),
    };
    items.iter().flat_map(records).collect()
}

/// All that was handed out before the end, and then the tail.
pub(super) fn scan_all(bytes: &[u8], piece: usize) -> Result<(Vec<Record>, Ending), AofError> {
    let (items, ending) = scan(bytes, piece);
    let ending = ending?;
    let mut records = records_of(&items);
    records.extend(ending.tail.clone());
    Ok((records, ending))
}

pub(super) fn set(n: usize, value: &[u8]) -> Vec<u8> {
    command(&[b"SET", format!("key{n}").as_bytes(), value])
}

pub(super) fn transaction(n: usize) -> Vec<u8> {
    [command(&[b"multi"]), set(n, b"1"), set(n, b"2"), command(&[b"EXEC"])].concat()
}

/// Three stretches of sets and transactions.
pub(super) fn sample() -> Writer {
    let mut writer = Writer::new();
    for n in 0..3 {
        writer.append(&set(n, b"some value\r\n$3\r\n"));
        writer.append(&transaction(n));
        writer.append(&command(&[b"DEL", b""]));
        writer.seal();
    }
    writer
}

#[test]
fn a_seal_fits_everywhere_and_is_read_back() {
    let mut crc = RunningCrc::new();
    crc.update(b"123456789");
    let replid = Replid::new(REPLID).unwrap();
    let line = seal(crc, u64::MAX, &replid);
    assert_eq!(line.len(), SEAL_LEN_MAX);
    let position = "18446744073709551615 0123456789abcdef0123456789abcdef01234567";
    let proved = crc64(0, format!("123456789 {position}").as_bytes());
    let text = format!("#CRC:{proved:016x} {position}\r\n");
    assert_eq!(String::from_utf8(line).unwrap(), text);
    let expected = Seal { crc: proved, offset: u64::MAX, replid };
    assert_eq!(Seal::parse(text.as_bytes()), Some(expected));
    assert!(Replid::new(b"0123").is_none() && Replid::new(&[b'G'; 40]).is_none());
    for damaged in [
        text.to_ascii_uppercase(),
        text.replace("\r\n", "\n"),
        text.replace(' ', "  "),
        text.replace(" 1", " 01"),
    ] {
        assert_eq!(Seal::parse(damaged.as_bytes()), None, "{damaged}");
    }
}

#[test]
fn stretches_come_with_their_seals() {
    let writer = sample();
    for piece in [1, 7, 100, writer.bytes.len()] {
        let (items, ending) = scan(&writer.bytes, piece);
        assert_eq!(items.len(), 4, "one for each seal");
        assert!(items.iter().all(|item| matches!(item, Item::Sealed { .. })));
        let resume = Resume { len: writer.bytes.len() as u64, crc: RunningCrc::new() };
        assert_eq!(ending, Ok(Ending { resume, proved: resume, ..Ending::default() }));
        assert_eq!(records_of(&items).len(), 3 * 6);
    }
}

#[test]
fn a_file_of_another_server_comes_command_by_command() {
    let mut bytes = command(&[b"SELECT", b"0"]);
    bytes.extend(b"#TS:1700000000\r\n#unknown\n");
    bytes.extend(transaction(1));
    let (items, ending) = scan(&bytes, 3);
    let lens: Vec<usize> = items.iter().map(|item| records_of(std::slice::from_ref(item)).len()).collect();
    assert_eq!(lens, [1, 5]);
    assert_eq!(records_of(&items)[1], Record::Timestamp(1_700_000_000));
    assert_eq!(ending.unwrap().torn, None);
}

#[test]
fn ours_behind_the_others_is_sealed_from_there_on() {
    let mut writer = Writer::default();
    writer.append(&set(1, b"theirs"));
    writer.seal();
    writer.append(&set(2, b"ours"));
    writer.append(b"#TS:1700000000\r\n");
    writer.seal();
    writer.append(&set(3, b"tail"));
    let (items, ending) = scan(&writer.bytes, 5);
    assert!(
        matches!(&items[..], [Item::Loose(a), Item::Sealed { records: none, .. }, Item::Sealed { records: two, .. }]
        if a.len() == 1 && none.is_empty() && two.len() == 2)
    );
    let ending = ending.unwrap();
    assert_eq!((ending.tail.len(), ending.resume.crc), (1, writer.crc));
    writer.bytes[20] ^= 1;
    let (_, ending) = scan(&writer.bytes, 5);
    assert_eq!(
        ending,
        Err(AofError::RottenMiddle { from: 0, to: writer.ends[0] as u64 }),
        "theirs is rotten"
    );
}

#[test]
fn a_seal_within_a_transaction_proves_and_hands_out_nothing_yet() {
    let mut writer = Writer::new();
    writer.append(&set(0, b"before"));
    writer.append(&command(&[b"MULTI"]));
    writer.seal();
    let cut = scan(&writer.bytes, 9).1.unwrap();
    assert_eq!((cut.tail.len(), cut.torn.is_some()), (1, true), "only what is before MULTI");
    assert_eq!(cut.resume.len, writer.ends[0] as u64 + set(0, b"before").len() as u64);
    let torn = scan(&[&writer.bytes[..], b"*1\r\n"].concat(), 9).1.unwrap();
    assert_eq!((torn.tail.len(), torn.resume), (1, cut.resume));
    let damaged = [&writer.bytes[..], b"#CRC:damaged\r\n"].concat();
    assert_eq!(scan(&damaged, 9).1.unwrap().resume, cut.resume, "what is before MULTI was proved");
    writer.append(&command(&[b"EXEC"]));
    writer.seal();
    let (items, ending) = scan(&writer.bytes, 9);
    assert_eq!((records_of(&items).len(), items.len(), ending.unwrap().torn), (3, 2, None));
}

#[test]
fn an_unknown_annotation_is_read_over_where_it_is_proved() {
    let mut writer = Writer::new();
    writer.append(b"#XX: of a server to come\r\n");
    let (_, ending) = scan(&writer.bytes, 9);
    assert!(matches!(ending, Err(AofError::Format { at: 66, .. })), "it may be a damaged seal");
    writer.seal();
    writer.append(&set(1, b"tail"));
    let (records, ending) = scan_all(&writer.bytes, 9).unwrap();
    assert_eq!((records.len(), ending.torn), (1, None));
}

/// Who drops what is behind the last seal keeps what is before it, although it waits for EXEC with the rest.
#[test]
fn of_the_tail_a_part_may_be_proved() {
    let mut writer = Writer::new();
    writer.append(&set(1, b"proved"));
    writer.append(&command(&[b"MULTI"]));
    writer.seal();
    writer.append(&command(&[b"EXEC"]));
    writer.append(&set(2, b"tail"));
    let ending = scan(&writer.bytes, 9).1.unwrap();
    assert_eq!((ending.tail.len(), ending.proved_tail), (4, 1));
    assert_eq!(ending.proved.len, (writer.ends[0] + set(1, b"proved").len()) as u64);
}

/// The seal that proves it is cut away with the transaction: the next start would refuse what this one has cut.
#[test]
fn an_unknown_annotation_before_a_transaction_that_is_cut_is_refused_at_once() {
    let mut writer = Writer::new();
    writer.append(b"#XX: of a server to come\r\n");
    writer.append(&command(&[b"MULTI"]));
    writer.seal();
    assert!(matches!(scan(&writer.bytes, 9).1, Err(AofError::Format { at: 66, .. })));
    writer.append(&command(&[b"EXEC"]));
    writer.seal();
    assert_eq!(scan(&writer.bytes, 9).1.unwrap().torn, None);
}

#[test]
fn files_larger_than_the_buffer() {
    for sealed in [true, false] {
        let mut writer = if sealed { Writer::new() } else { Writer::default() };
        for n in 0..60 {
            writer.append(&set(n, &vec![b'v'; 60_000 + n]));
            if sealed && n % 7 == 0 {
                writer.seal();
            }
        }
        let (records, ending) = scan_all(&writer.bytes, 70_000).unwrap();
        assert_eq!((records.len(), ending.torn, ending.resume.len), (60, None, writer.bytes.len() as u64));
        let expected = |n: usize| vec![b"SET".to_vec(), format!("key{n}").into(), vec![b'v'; 60_000 + n]];
        assert!(records.iter().enumerate().all(|(n, record)| *record == Record::Command(expected(n))));
    }
}

fn any_command() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let arg = prop_oneof![
        any::<Vec<u8>>(),
        Just(b"multi".to_vec()),
        Just(b"EXEC".to_vec()),
        Just(b"\r\n#CRC:0000000000000000 1 0123456789abcdef0123456789abcdef01234567\r\n".to_vec())
    ];
    prop::collection::vec(arg, 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_is_read(
        stretches in prop::collection::vec(prop::collection::vec(any_command(), 0..6), 0..6),
        sealed in any::<bool>(),
        piece in 1_usize..200,
    ) {
        let mut writer = if sealed { Writer::new() } else { Writer::default() };
        for stretch in &stretches {
            for args in stretch {
                let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                writer.append(&command(&args));
            }
            if sealed {
                writer.seal();
            }
        }
        // Closes a transaction that was opened at random.
        writer.append(&command(&[b"EXEC"]));
        let (records, ending) = scan_all(&writer.bytes, piece).unwrap();
        let mut expected: Vec<Record> = stretches.concat().into_iter().map(Record::Command).collect();
        expected.push(Record::Command(vec![b"EXEC".to_vec()]));
        prop_assert_eq!(records, expected);
        prop_assert_eq!(ending.torn, None);
        prop_assert_eq!(ending.resume, Resume { len: writer.bytes.len() as u64, crc: writer.crc });
    }

    #[test]
    fn no_bytes_panic(bytes in any::<Vec<u8>>(), at in any::<prop::sample::Index>(), piece in 1_usize..50) {
        let _ = scan(&bytes, piece);
        let mut file = sample().bytes;
        let at = at.index(file.len());
        file.splice(at..at, bytes);
        let _ = scan(&file, piece);
        let _ = checked(&file, piece);
    }
}

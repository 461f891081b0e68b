//! Append-only files: with seals and without, behind an RDB preamble, with what other servers write in them.

use super::Target;
use super::common::mutate::{Random, change};
use node_server_rdb::aof::{
    AofError, Check, Ending, Item, Record, Replid, Report, RunningCrc, Scanner, Torn, seal,
};
use node_server_rdb::crc64::crc64;
use node_server_rdb::{Dialect, Writer};

const REPLID: &[u8; 40] = b"0123456789abcdef0123456789abcdef01234567";

pub(crate) fn target() -> Target<'static> {
    Target { name: "append-only file".into(), make: Box::new(file), check }
}

fn command(args: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend([format!("${}\r\n", arg.len()).as_bytes(), arg, b"\r\n"].concat());
    }
    out
}

/// One thing that may stand in a file.
fn piece(random: &mut Random) -> Vec<u8> {
    let number = random.below(1000).to_string();
    let value = vec![b'v'; random.below(60)];
    match random.below(9) {
        0 => [command(&[b"MULTI"]), command(&[b"INCR", number.as_bytes()]), command(&[b"exec"])].concat(),
        1 => command(&[b"SELECT", b"1"]),
        2 => format!("#TS:{number}\r\n").into(),
        3 if random.below(4) == 0 => b"#XX: of a server to come\r\n".to_vec(),
        4 if random.below(4) == 0 => command(&[[&b"MULTI"[..], b"EXEC"][random.below(2)]]),
        5 => command(&[b"SET", b"key", b"\r\n#CRC:0123456789abcdef 1 0123456789abcdef\r\n*1\r\n$1\r\n"]),
        6 => command(&[b"DEL", b""]),
        _ => command(&[b"SET", number.as_bytes(), &value]),
    }
}

fn stretch(random: &mut Random) -> Vec<u8> {
    (0..random.below(5)).flat_map(|_| piece(random)).collect()
}

/// What is damaged behind its seal is found by that; what is changed before it is sealed has to be understood.
fn file(random: &mut Random) -> Vec<u8> {
    let replid = Replid::new(REPLID).expect("it is one");
    let mut out = Vec::new();
    if random.below(6) == 0 {
        let mut preamble = Writer::new(Dialect::Plain);
        preamble.aux("aof-base", "1");
        preamble.finish();
        out = preamble.take();
    }
    let (is_sealed, is_loose_first) = (random.below(4) > 0, random.below(4) == 0);
    let is_changed_before = random.below(2) == 0;
    let mut offset = 0;
    for n in 0..1 + random.below(4) {
        let mut bytes = stretch(random);
        if n == 0 && is_sealed && !is_loose_first {
            bytes.clear();
        } else if is_changed_before && random.below(2) == 0 {
            change(random, &mut bytes, b"*3\r\n$3\r\nSET\r\n#CRC:#TS:1\r\n$-1\r\n$9999999999\r\n\0\0\0\0");
        }
        offset += bytes.len() as u64;
        let mut crc = RunningCrc::new();
        crc.update(&bytes);
        out.extend(bytes);
        if is_sealed && (n == 0 || random.below(8) > 0) {
            out.extend(seal(crc, offset, &replid));
        }
    }
    if !is_changed_before && random.below(2) == 0 {
        let other = out.clone();
        change(random, &mut out, &other);
    }
    match random.below(8) {
        0 | 1 => out.truncate(random.below(out.len() + 1)),
        2 => out.extend(vec![0; random.below(100)]),
        3 => out.extend(&piece(random)[..4]),
        _ => {}
    }
    out
}

type Scanned = (Vec<Item>, Result<Ending, AofError>);

fn scan(bytes: &[u8], piece: usize) -> Scanned {
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

fn report(bytes: &[u8], piece: usize) -> Report {
    let mut check = Check::new();
    bytes.chunks(piece.max(1)).for_each(|part| _ = check.feed(part));
    check.finish()
}

fn records(items: &[Item], tail: &[Record]) -> Vec<Record> {
    let of_item = |item: &Item| match item {
        Item::Sealed { records, .. } | Item::Loose(records) => records.clone(),
    };
    items.iter().flat_map(of_item).chain(tail.iter().cloned()).collect()
}

fn check(bytes: &[u8]) -> bool {
    // Some length that follows from the bytes.
    let piece = 1 + (crc64(0, bytes) % 50) as usize;
    let report = check_report(bytes, piece);
    let is_preamble = bytes.starts_with(b"REDIS") || bytes.starts_with(b"VALKEY");
    if is_preamble {
        return report.problem.is_none() && report.commands > 0;
    }
    let (items, ended) = scan(bytes, bytes.len());
    assert_eq!(scan(bytes, piece), (items.clone(), ended.clone()), "in pieces of {piece}");
    let problem = match &ended {
        Ok(ending) => ending.torn.map(AofError::from),
        Err(error) => Some(error.clone()),
    };
    if bytes.len() > 6 {
        assert_eq!(report.problem, problem);
    }
    let Ok(ending) = ended else { return false };
    check_ending(bytes, &items, &ending);
    let all = records(&items, &ending.tail);
    check_rewritten(&all);
    !all.is_empty()
}

/// `check aof` says the same however the file comes, and what it wants cut leaves a file that is in order.
fn check_report(bytes: &[u8], piece: usize) -> Report {
    let found = report(bytes, bytes.len());
    assert_eq!(report(bytes, piece), found, "in pieces of {piece}");
    assert_eq!(found.len, bytes.len() as u64);
    if let Some(len) = found.truncate_to {
        let fixed = report(&bytes[..len as usize], piece);
        let expected = (None, found.commands, found.seals, len);
        assert_eq!((fixed.problem, fixed.commands, fixed.seals, fixed.whole_until), expected);
    }
    found
}

/// Where writing goes on, the file is whole and holds what was handed out.
fn check_ending(bytes: &[u8], items: &[Item], ending: &Ending) {
    let until = |len: u64| &bytes[..len as usize];
    if let Some(Torn { at, complete_until }) = ending.torn {
        assert!(complete_until <= at && at <= bytes.len() as u64);
        assert_eq!(complete_until, ending.resume.len);
    } else {
        assert_eq!(ending.resume.len, bytes.len() as u64);
    }
    let (again, ended) = scan(until(ending.resume.len), 7);
    let ended = ended.expect("it is whole");
    assert_eq!((ended.resume, ended.torn), (ending.resume, None));
    assert_eq!(records(&again, &ended.tail), records(items, &ending.tail));
    if items.iter().any(|item| matches!(item, Item::Sealed { .. })) {
        let (again, ended) = scan(until(ending.proved.len), 7);
        let ended = ended.expect("it is proved");
        assert_eq!((ended.resume, ended.torn), (ending.proved, None));
        assert_eq!(records(&again, &ended.tail), records(items, &ending.tail[..ending.proved_tail]));
    }
}

/// What was taken is written and read as the same.
fn check_rewritten(all: &[Record]) {
    let mut bytes = Vec::new();
    for record in all {
        match record {
            Record::Command(args) => {
                bytes.extend(command(&args.iter().map(Vec::as_slice).collect::<Vec<_>>()))
            }
            Record::Timestamp(second) => bytes.extend(format!("#TS:{second}\r\n").bytes()),
        }
    }
    let replid = Replid::new(REPLID).expect("it is one");
    let mut crc = RunningCrc::new();
    crc.update(&bytes);
    let file = [seal(RunningCrc::new(), 0, &replid), bytes, seal(crc, 1, &replid)].concat();
    let (items, ended) = scan(&file, 11);
    assert_eq!(ended.map(|ending| (ending.tail, ending.torn)), Ok((Vec::new(), None)));
    assert_eq!(records(&items, &[]), all);
}

//! What `check aof` says and cuts off.

use super::aof::{Cut, check_aof};
use node_server_rdb::aof::{Replid, RunningCrc, seal, timestamp_line};
use std::path::{Path, PathBuf};
use std::process::Command;

fn sealed(number: u64) -> Vec<u8> {
    let mut bytes = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n{number}\r\n").into_bytes();
    let mut crc = RunningCrc::new();
    crc.update(&bytes);
    bytes.extend(seal(crc, number, &Replid::new(&[b'a'; 40]).unwrap()));
    bytes
}

fn cut(path: &Path, cut: Cut) -> (bool, String) {
    let mut out = Vec::new();
    let is_good = check_aof(path, cut, &mut out).unwrap();
    (is_good, String::from_utf8(out).unwrap())
}

fn check(path: &Path, fix: bool) -> (bool, String) {
    cut(path, if fix { Cut::Torn } else { Cut::Nothing })
}

#[test]
fn a_torn_tail_is_cut_off_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.aof");
    let whole = [sealed(1), sealed(2)].concat();
    std::fs::write(&path, [&whole[..], b"*3\r\n$3\r\nSE"].concat()).unwrap();
    let (is_good, text) = check(&path, false);
    assert!(
        !is_good && text.contains("sealed stretches: 2") && text.contains("log offset 2 of aaaa"),
        "{text}"
    );
    assert!(
        text.contains(&format!("until byte {}", whole.len())) && text.contains("last 10 bytes"),
        "{text}"
    );
    let (is_good, text) = check(&path, true);
    assert!(is_good && text.contains(&format!(" to {} bytes (10 less)", whole.len())), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    let (is_good, text) = check(&path, false);
    assert!(is_good && text.ends_with("a.aof is valid\n"), "{text}");
}

/// Scripts look for these lines of redis-check-aof 7.0.15.
#[test]
fn lines_are_those_of_redis() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let set = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
    let torn = [&set[..], b"*3\r\n$3\r\nSE"].concat();
    std::fs::write(path("a.1.base.aof"), set).unwrap();
    std::fs::write(path("a.1.incr.aof"), &torn).unwrap();
    let manifest = "file a.1.base.aof seq 1 type b\nfile a.1.incr.aof seq 1 type i\n";
    std::fs::write(path("a.manifest"), manifest).unwrap();
    let in_order = |text: &str, parts: &[&str]| {
        let mut rest = text;
        for part in parts {
            let at = rest.find(part).unwrap_or_else(|| panic!("{part} in {text}"));
            rest = &rest[at + part.len()..];
        }
    };
    let begin =
        ["Start checking Multi Part AOF", "Start to check BASE AOF (RESP format).", "BASE AOF", "is valid"];
    let (_, text) = check(&path("a.manifest"), false);
    in_order(&text, &[&begin[..], &["Start to check INCR files.", "ok_up_to_line=8, diff=10"]].concat());
    in_order(&text, &["is not valid. Use the --fix option to try fixing it."]);
    let (_, text) = check(&path("a.manifest"), true);
    in_order(&text, &["Successfully truncated AOF", "All AOF files and manifest are valid"]);
    let (_, text) = check(&path("a.manifest"), false);
    in_order(&text, &[&begin[..], &["INCR AOF", "is valid", "All AOF files"]].concat());
    std::fs::write(path("a.1.base.aof"), &torn).unwrap();
    let (is_good, text) = check(&path("a.manifest"), true);
    assert!(!is_good);
    in_order(&text, &["Failed to truncate AOF", "because it is not the last file", "is not valid"]);
    let (_, text) = check(&path("a.1.incr.aof"), false);
    in_order(&text, &["Start checking Old-Style AOF", "ok_up_to_line=8, diff=0", "is valid"]);
}

#[test]
fn what_was_sealed_is_never_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.aof");
    let mut bytes = [sealed(1), sealed(2), sealed(3)].concat();
    let flipped = sealed(1).len() + 28;
    bytes[flipped] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let (is_good, text) = check(&path, true);
    assert!(!is_good && text.contains(&format!("BAD: bytes {} to", sealed(1).len())), "{text}");
    assert!(text.contains("restore it from a backup"), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_manifest_stands_for_its_files_and_only_the_last_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let torn = [&sealed(1)[..], b"*3"].concat();
    std::fs::write(
        path("a.manifest"),
        "file a.1 seq 1 type i\nfile a.2 seq 2 type i\nfile a.3 seq 3 type i\n",
    )
    .unwrap();
    std::fs::write(path("a.1"), &torn).unwrap();
    std::fs::write(path("a.2"), &torn).unwrap();
    std::fs::write(path("a.3"), "").unwrap();
    let (is_good, text) = check(&path("a.manifest"), true);
    assert!(!is_good && text.contains("other files follow it"), "{text}");
    assert_eq!(std::fs::read(path("a.1")).unwrap(), torn);
    assert_eq!(std::fs::read(path("a.2")).unwrap(), sealed(1));
    std::fs::write(path("a.1"), sealed(1)).unwrap();
    assert!(check(&path("a.manifest"), false).0);
    std::fs::remove_file(path("a.2")).unwrap();
    let error = check_aof(&path("a.manifest"), Cut::Nothing, &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("cannot open") && error.to_string().contains("a.2"), "{error}");
    std::fs::write(path("a.manifest"), "nonsense\n").unwrap();
    let error = check_aof(&path("a.manifest"), Cut::Nothing, &mut Vec::new()).unwrap_err();
    assert!(format!("{error:#}").contains("line 1"), "{error:#}");
}

fn set(number: u64) -> Vec<u8> {
    format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n{number}\r\n").into_bytes()
}

fn transaction(inside: &[u8]) -> Vec<u8> {
    [b"*1\r\n$5\r\nMULTI\r\n", inside, b"*1\r\n$4\r\nEXEC\r\n"].concat()
}

/// A manifest of two increments, and what is in the second.
fn parts(dir: &Path, first: &[u8], second: &[u8]) -> PathBuf {
    std::fs::write(dir.join("a.1.incr.aof"), first).unwrap();
    std::fs::write(dir.join("a.2.incr.aof"), second).unwrap();
    let manifest = dir.join("a.manifest");
    let lines = "file a.1.incr.aof seq 1 type i\nfile a.2.incr.aof seq 2 type i\n";
    std::fs::write(&manifest, lines).unwrap();
    manifest
}

/// The files behind a cut, what was said, and whether it worked.
fn cut_parts(
    with: impl Fn(&Path) -> (bool, String),
    first: &[u8],
    second: &[u8],
) -> (bool, Vec<Vec<u8>>, String) {
    let dir = tempfile::tempdir().unwrap();
    let (is_good, said) = with(&parts(dir.path(), first, second));
    let files = ["a.1.incr.aof", "a.2.incr.aof"].map(|name| std::fs::read(dir.path().join(name)).unwrap());
    let said = said.replace(&format!("{}/", dir.path().display()), "").replace("./", "");
    (is_good, files.to_vec(), said)
}

#[test]
fn a_cut_to_a_timestamp_is_that_of_redis() {
    let first = [&timestamp_line(100)[..], &set(1), &timestamp_line(103), &set(2)].concat();
    let second = [
        &timestamp_line(104)[..],
        &set(3),
        &timestamp_line(105),
        &set(4),
        &timestamp_line(106),
        &timestamp_line(108),
        &set(5),
        &timestamp_line(110),
    ]
    .concat();
    let torn = [&second[..], b"*3\r\n$3\r\nSE"].concat();
    let (mut cuts, mut refusals) = (0, 0);
    for second in [second, torn] {
        for until in 99..112 {
            let ours = cut_parts(|path| cut(path, Cut::After(until)), &first, &second);
            let theirs = cut_parts(|path| redis(path, until), &first, &second);
            assert_eq!((ours.0, &ours.1), (theirs.0, &theirs.1), "{until}: {}\n{}", ours.2, theirs.2);
            let is_told = |line: &&str| line.contains("timestamp") || line.ends_with("is valid");
            let told = |said: &str| said.lines().filter(is_told).map(String::from).collect::<Vec<_>>();
            assert_eq!(told(&ours.2), told(&theirs.2));
            cuts += usize::from(ours.2.contains("Successfully truncated"));
            refusals += usize::from(!ours.0);
        }
    }
    assert_eq!((cuts, refusals), (12, 12), "104 to 109, of both; 99 to 103, and torn behind all seconds");
}

fn redis(path: &Path, until: u64) -> (bool, String) {
    let mut program = Command::new("redis-check-aof");
    let output = program.arg("--truncate-to-timestamp").arg(until.to_string()).arg(path).output();
    let output = output.expect("redis-check-aof is needed: install redis-tools");
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_cut_to_a_timestamp_of_ours_leaves_whole_stretches() {
    let dir = tempfile::tempdir().unwrap();
    let stretch = |second: u64, number: u64| {
        let mut bytes = [timestamp_line(second), set(number)].concat();
        let mut crc = RunningCrc::new();
        crc.update(&bytes);
        bytes.extend(seal(crc, number, &Replid::new(&[b'a'; 40]).unwrap()));
        bytes
    };
    let whole = [stretch(100, 1), stretch(101, 2), stretch(102, 3)];
    let path = dir.path().join("a.aof");
    std::fs::write(&path, whole.concat()).unwrap();
    let (is_good, said) = cut(&path, Cut::After(99));
    assert!(!is_good && said.contains("has nothing before timestamp 99, aborting..."), "{said}");
    let (is_good, said) = cut(&path, Cut::After(101));
    assert!(is_good && said.contains("to timestamp 101"), "{said}");
    assert_eq!(std::fs::read(&path).unwrap(), whole[..2].concat());
    // Rot behind the cut goes with it; rot before it is told.
    let mut rotten = whole.concat();
    let value = rotten.len() - stretch(102, 3).len() - SEAL_AND_VALUE;
    rotten[value] ^= 1;
    std::fs::write(&path, &rotten).unwrap();
    let (is_good, said) = cut(&path, Cut::After(101));
    assert!(!is_good && said.contains("BAD: bytes"), "{said}");
    assert_eq!(std::fs::read(&path).unwrap(), rotten);
    assert!(cut(&path, Cut::After(100)).0);
    assert_eq!(std::fs::read(&path).unwrap(), whole[0]);
}

/// From the end of a stretch back to its last value.
const SEAL_AND_VALUE: usize = 66 + 3;

/// redis-check-aof cuts within the transaction, which a server then drops as a whole.
#[test]
fn a_timestamp_in_a_transaction_cuts_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.aof");
    let inside = [set(2), timestamp_line(105), set(3)].concat();
    std::fs::write(&path, [set(1), transaction(&inside), set(4)].concat()).unwrap();
    let (is_good, said) = cut(&path, Cut::After(104));
    assert!(is_good, "{said}");
    assert_eq!(std::fs::read(&path).unwrap(), set(1));
}

#[test]
fn an_rdb_base_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut rdb = node_server_rdb::Writer::new(node_server_rdb::Dialect::Plain);
    rdb.finish();
    let base = rdb.take();
    let path = dir.path().join("a.aof");
    std::fs::write(&path, [&base[..], &timestamp_line(105), &set(1)].concat()).unwrap();
    let (is_good, said) = cut(&path, Cut::After(104));
    assert!(is_good && said.contains("RDB preamble is OK"), "{said}");
    assert_eq!(std::fs::read(&path).unwrap(), base);
}

use super::*;

fn id(c: char) -> String {
    c.to_string().repeat(40)
}

fn read(log: &Log, from: u64) -> Vec<u8> {
    let mut out = Vec::new();
    log.read_from(from, usize::MAX, &mut out).unwrap();
    out
}

#[test]
fn records_begin_with_select_once() {
    let log = Log::new(id('a'), 0);
    log.append(b"x", 0, || true);
    let end = log.append(b"y", 0, || true).unwrap();
    assert_eq!(read(&log, 0), b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\nxy");
    assert_eq!(end, log.end());
    assert_eq!(log.append(b"z", 0, || false), None);
    assert_eq!(log.end(), end);
}

#[test]
fn the_backlog_is_trimmed_and_pins_hold_it() {
    let log = Log::new(id('a'), BACKLOG_MIN);
    let pin = log.pin(0);
    for _ in 0..3 {
        log.append_verbatim(&vec![7; BACKLOG_MIN], 0, || true);
    }
    assert_eq!(log.backlog(), (0, 3 * BACKLOG_MIN));
    pin.advance(100);
    assert_eq!(log.backlog().0, 100);
    drop(pin);
    assert_eq!(log.backlog(), (2 * BACKLOG_MIN as u64, BACKLOG_MIN));
    assert!(log.read_from(0, 1, &mut Vec::new()).is_err());
    assert!(log.read_from(log.end() + 1, 1, &mut Vec::new()).is_err());
}

#[test]
fn psync_continues_within_the_backlog_and_before_the_shift() {
    let log = Log::new(id('a'), BACKLOG_MIN);
    log.append_verbatim(&[1; 100], 0, || true);
    assert_eq!(log.continue_from(id('a').as_bytes(), 1), Some(0));
    assert_eq!(log.continue_from(id('a').as_bytes(), 101), Some(100));
    assert_eq!(log.continue_from(id('a').as_bytes(), 102), None);
    assert_eq!(log.continue_from(b"?", -1), None);
    log.promote(id('b'));
    log.append_verbatim(&[2; 10], 0, || true);
    assert_eq!(log.history().second_offset, 101);
    assert_eq!(log.continue_from(id('a').as_bytes(), 101), Some(100));
    assert_eq!(log.continue_from(id('a').as_bytes(), 102), None);
    assert_eq!(log.continue_from(id('b').as_bytes(), 111), Some(110));
    log.restart(&Durability::default(), id('c'), 5000, 0);
    assert_eq!((log.end(), log.backlog()), (5000, (5000, 0)));
    assert_eq!(log.continue_from(id('b').as_bytes(), 5001), None);
}

#[test]
fn a_log_that_nobody_reads_keeps_nothing_and_continues_for_nobody() {
    let log = Log::new("a".repeat(40), 1 << 20);
    log.append(b"0123456789", 0, || true).unwrap();
    let end = log.end();
    let pin = log.pin(end);
    assert!(!log.sleep("b".repeat(40)), "somebody reads");
    drop(pin);
    assert!(log.sleep("b".repeat(40)) && log.is_asleep());
    assert_eq!(log.backlog(), (end, 0));
    log.append_plain(b"lost", || true).unwrap();
    assert_eq!((log.end(), log.backlog()), (end + 4, (end + 4, 0)));
    assert_eq!(log.continue_from("a".repeat(40).as_bytes(), end as i64 + 1), None);
    log.wake();
    log.append_plain(b"kept", || true).unwrap();
    assert_eq!(log.backlog(), (end + 4, 4));
    assert_eq!(log.continue_from("b".repeat(40).as_bytes(), end as i64 + 5), Some(end + 4));
}

/// The append-only file is always open: it gets all of the log, and does not keep the backlog for others.
#[test]
fn a_log_that_only_the_file_reads_keeps_what_the_file_lacks() {
    let log = Log::new(id('a'), 1 << 20);
    let file = log.pin(0).for_file();
    log.append_plain(b"0123456789", || true).unwrap();
    let replica = log.pin(10);
    assert!(!log.sleep(id('b')), "a replica reads");
    drop(replica);
    file.advance(4);
    assert!(log.sleep(id('b')) && log.is_asleep());
    assert_eq!(log.backlog(), (4, 6));
    assert_eq!(log.continue_from(id('a').as_bytes(), 11), None);
    log.append_plain(b"more", || true).unwrap();
    let mut written = Vec::new();
    log.read_from(4, 100, &mut written).unwrap();
    assert_eq!(written, b"456789more");
    file.advance(14);
    assert_eq!((log.end(), log.backlog()), (14, (14, 0)));
    log.append_plain(b"!", || true).unwrap();
    assert_eq!(log.backlog(), (14, 1), "the file does not have it yet");
}

#[test]
fn the_database_at_the_end_is_known_to_whoever_goes_on_there() {
    let log = Log::new(id('a'), BACKLOG_MIN);
    log.append_across(b"x", 0, 3, || true).unwrap();
    assert_eq!((log.database(), log.standing().db), (3, 3));
    log.append_verbatim(b"y", 5, || true);
    log.append_plain(b"z", || true);
    assert_eq!(log.database(), 5);
    // A master names its database first; whoever has not read that has the old one selected.
    log.promote(id('b'));
    assert_eq!(log.database(), 5);
    log.restart(&Durability::default(), id('c'), 100, 7);
    assert_eq!(log.standing().db, 7);
}

/// All keys of a node were deleted while a replica read its log, at an offset that the new log soon reached as well.
#[test]
fn a_reader_does_not_go_on_in_a_log_that_took_the_place_of_its_own() {
    let log = Log::new(id('a'), 100_000);
    log.append(&[b'x'; 100], 0, || true);
    let restarts = log.standing().restarts;
    let mut out = Vec::new();
    assert_eq!(log.read_until_restart(restarts, log.end() - 10, 100, &mut out), Ok(Some(10)));
    let place = log.end();
    log.restart(&Durability::default(), id('b'), 0, 0);
    log.append(&[b'y'; 200], 0, || true);
    assert_eq!(log.read_until_restart(restarts, place, 100, &mut out), Ok(None));
    assert_eq!(out, [b'x'; 10]);
}

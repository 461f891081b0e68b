//! Errors of the disk, foreign directories, real files.

use super::crash_files::{CrashFiles, Failing, Random};
use super::crash_tests::load;
use super::*;
use node_server_rdb::aof::{RunningCrc, opening, seal};
use std::io::ErrorKind;

pub(super) const DIR: &str = "/data";
const APPENDDIR: &str = "appendonlydir";

pub(super) fn names() -> Names {
    Names::new("appendonly.aof").unwrap()
}

pub(super) fn replid() -> Replid {
    Replid::new(&[b'a'; 40]).unwrap()
}

pub(super) fn set(number: u64) -> Vec<u8> {
    let number = number.to_string();
    format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n{number}\r\n", number.len()).into_bytes()
}

pub(super) fn number_of(args: &[Vec<u8>]) -> u64 {
    std::str::from_utf8(&args[2]).unwrap().parse().unwrap()
}

pub(super) fn open(layer: &CrashFiles) -> Result<(AppendOnly<CrashFiles>, Vec<PathBuf>), AofError> {
    AppendOnly::open(layer.clone(), Path::new(DIR), APPENDDIR, names())
}

impl<L: FileLayer> AppendOnly<L> {
    pub(super) fn last_name(&self) -> &str {
        self.manifest().incrs.last().map_or("", |incr| &incr.name)
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(APPENDDIR).join(name)
}

fn batch(aof: &mut AppendOnly<CrashFiles>, number: u64) -> Result<(), AofError> {
    aof.append(&set(number))?;
    aof.seal(number, &replid())?;
    aof.sync()
}

/// What a start would find.
fn numbers(layer: &CrashFiles) -> Vec<u64> {
    let loaded = load(layer, &open(layer).unwrap().1);
    [loaded.proved, loaded.tail].concat()
}

#[test]
fn a_failed_write_leaves_nothing_behind_and_can_be_tried_again() {
    let layer = CrashFiles::default();
    let (mut aof, files) = open(&layer).unwrap();
    assert!(files.is_empty());
    batch(&mut aof, 1).unwrap();
    let size = aof.size();
    layer.fail(Failing { write_after: Some(7), ..Failing::default() });
    let error = batch(&mut aof, 2).unwrap_err();
    let told = "/data/appendonlydir/appendonly.aof.1.incr.aof: could not append to the file: no storage space; free space on the disk";
    assert_eq!(error.to_string(), told);
    assert_eq!((aof.size(), layer.len(&path("appendonly.aof.1.incr.aof")).unwrap()), (size, size));
    layer.fail(Failing::default());
    batch(&mut aof, 2).unwrap();
    assert_eq!(numbers(&layer), [1, 2]);
}

#[test]
fn what_cannot_be_cut_off_at_once_is_before_the_next_write() {
    let layer = CrashFiles::default();
    let (mut aof, _) = open(&layer).unwrap();
    batch(&mut aof, 1).unwrap();
    layer.fail(Failing { write_after: Some(7), truncate: true, ..Failing::default() });
    assert!(matches!(batch(&mut aof, 2), Err(AofError::System { .. })));
    layer.fail(Failing::default());
    batch(&mut aof, 2).unwrap();
    assert_eq!(numbers(&layer), [1, 2]);
}

#[test]
fn what_can_never_be_cut_off_poisons_until_a_rewrite_has_begun() {
    let layer = CrashFiles::default();
    let (mut aof, _) = open(&layer).unwrap();
    batch(&mut aof, 1).unwrap();
    layer.fail(Failing { write_after: Some(7), truncate: true, ..Failing::default() });
    assert!(batch(&mut aof, 2).is_err() && batch(&mut aof, 2).is_err());
    layer.fail(Failing::default());
    let error = aof.append(&set(2)).unwrap_err().to_string();
    assert!(error.contains("truncate fails") && error.contains("BGREWRITEAOF"), "{error}");
    assert!(matches!(aof.sync(), Err(AofError::Poisoned { .. })));
    let base = aof.begin_rewrite().unwrap();
    batch(&mut aof, 2).unwrap();
    aof.abandon_rewrite(base);
    assert_eq!(numbers(&layer), [1, 2], "the old file was cut when it was left");
}

#[test]
fn after_a_failed_sync_nothing_is_safe_until_a_rewrite_has_ended() {
    let layer = CrashFiles::default();
    let (mut aof, _) = open(&layer).unwrap();
    batch(&mut aof, 1).unwrap();
    layer.fail(Failing { sync: true, ..Failing::default() });
    assert!(matches!(batch(&mut aof, 2), Err(AofError::System { .. })));
    layer.fail(Failing::default());
    assert!(
        matches!(aof.sync(), Err(AofError::Poisoned { .. })),
        "a sync that works says nothing about the one before"
    );
    let mut base = aof.begin_rewrite().unwrap();
    aof.append(&set(3)).unwrap();
    aof.seal(3, &replid()).unwrap();
    assert!(matches!(aof.sync(), Err(AofError::Poisoned { .. })));
    base.write(&[set(1), set(2)].concat()).unwrap();
    aof.finish_rewrite(base).unwrap();
    aof.sync().unwrap();
    assert_eq!(aof.remove_history().unwrap(), 1);
    assert_eq!(numbers(&layer), [1, 2, 3]);
}

/// A new manifest is in place and its name is not safe: what is written goes where it says, and is safe only when it
/// has been stored again.
#[test]
fn a_rewrite_that_may_be_forgotten_goes_on() {
    let layer = CrashFiles::default();
    let (mut aof, _) = open(&layer).unwrap();
    batch(&mut aof, 1).unwrap();
    layer.fail(Failing { sync_dir_after: Some(1), ..Failing::default() });
    let mut base = aof.begin_rewrite().unwrap();
    assert_eq!(aof.last_name(), "appendonly.aof.2.incr.aof");
    assert!(matches!(batch(&mut aof, 2), Err(AofError::System { doing: "sync the directory", .. })));
    layer.fail(Failing::default());
    aof.sync().unwrap();
    base.write(&set(1)).unwrap();
    layer.fail(Failing { sync_dir_after: Some(1), ..Failing::default() });
    aof.finish_rewrite(base).unwrap();
    assert_eq!(aof.manifest().history.len(), 1, "the new base counts");
    assert!(aof.remove_history().is_err());
    assert!(
        layer.len(&path("appendonly.aof.1.incr.aof")).is_ok(),
        "the old manifest may come back and needs it"
    );
    layer.fail(Failing::default());
    assert_eq!(aof.remove_history().unwrap(), 1);
    batch(&mut aof, 3).unwrap();
    layer.crash(&mut Random(1));
    assert_eq!(numbers(&layer), [1, 2, 3]);
}

#[test]
fn a_manifest_that_may_come_back_is_replaced_before_anything_is_said_to_be_safe() {
    let layer = CrashFiles::default();
    let (mut aof, _) = open(&layer).unwrap();
    batch(&mut aof, 1).unwrap();
    let mut base = aof.begin_rewrite().unwrap();
    base.write(&set(1)).unwrap();
    layer.fail(Failing { sync_dir_after: Some(0), ..Failing::default() });
    assert!(aof.finish_rewrite(base).is_err());
    assert!(aof.manifest().base.is_none(), "the name of the base was not safe");
    assert!(matches!(aof.begin_rewrite(), Err(AofError::System { doing: "sync the directory", .. })));
    layer.fail(Failing { rename: true, ..Failing::default() });
    let error = aof.begin_rewrite().unwrap_err().to_string();
    assert!(
        error.contains("appendonly.aof.manifest: could not replace the manifest: rename fails"),
        "{error}"
    );
    layer.fail(Failing::default());
    batch(&mut aof, 2).unwrap();
    assert_eq!(numbers(&layer), [1, 2]);
}

#[test]
fn a_rewrite_needs_a_seal_and_no_other_rewrite() {
    let layer = CrashFiles::default();
    let (mut aof, _) = open(&layer).unwrap();
    aof.append(&set(1)).unwrap();
    assert!(matches!(aof.begin_rewrite(), Err(AofError::Unsealed { unsealed: 27.., .. })));
    aof.seal(1, &replid()).unwrap();
    let mut base = aof.begin_rewrite().unwrap();
    assert!(matches!(aof.begin_rewrite(), Err(AofError::Rewriting { .. })));
    base.write(&set(1)).unwrap();
    assert_eq!((base.len(), base.is_empty()), (27, false));
    aof.finish_rewrite(base).unwrap();
    let first = layer.read(&path("appendonly.aof.2.incr.aof")).unwrap();
    let (line, mut crc) = (opening(0), RunningCrc::new());
    crc.update(&line);
    assert_eq!(first, [line, seal(crc, 1, &replid())].concat(), "sealed from the first byte on");
    assert_eq!((aof.size(), aof.base_size()), (27 + 9 + 66, 27 + 9 + 66));
    assert_eq!(aof.manifest().history.len(), 1);
}

/// The data became another one. Wherever the power goes, what is loaded is all of the old or all of the new.
#[test]
fn a_file_that_begins_anew_counts_with_its_base_or_not_at_all() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..600 {
        let mut random = Random(seed);
        let layer = CrashFiles::default();
        let (mut aof, _) = open(&layer).unwrap();
        batch(&mut aof, 1).unwrap();
        aof.append(b"*3\r\n$3\r\nSET").unwrap();
        layer.crash_after(Some(random.below(40)));
        let mut anew = || {
            let mut base = aof.begin_anew(Some((7, replid())))?;
            aof.append(&set(3))?;
            aof.seal(8, &replid())?;
            assert!(matches!(aof.sync(), Err(AofError::NoBase { .. })), "its base is not there");
            base.write(&set(2))?;
            if seed % 5 == 0 {
                aof.rewrite_lost();
                base = aof.begin_anew(Some((7, replid())))?;
                base.write(&set(2))?;
                aof.append(&set(3))?;
                aof.seal(8, &replid())?;
            }
            aof.finish_rewrite(base)?;
            aof.sync()
        };
        let is_safe = anew().is_ok();
        layer.crash_after(None);
        if seed % 3 > 0 {
            layer.crash(&mut random);
        }
        let found = numbers(&layer);
        assert!(found == [1] || found == [2, 3], "seed {seed}: {found:?}");
        assert!(!is_safe || found == [2, 3], "seed {seed}: {found:?}");
        seen.insert((is_safe, found));
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}

#[test]
fn a_base_that_went_with_its_thread_does_not_forbid_the_next() {
    let layer = CrashFiles::default();
    let (mut aof, _) = open(&layer).unwrap();
    batch(&mut aof, 1).unwrap();
    drop(aof.begin_rewrite().unwrap());
    batch(&mut aof, 2).unwrap();
    assert!(matches!(aof.begin_rewrite(), Err(AofError::Rewriting { .. })));
    aof.rewrite_lost();
    let mut base = aof.begin_rewrite().unwrap();
    base.write(&[set(1), set(2)].concat()).unwrap();
    aof.finish_rewrite(base).unwrap();
    batch(&mut aof, 3).unwrap();
    assert_eq!(numbers(&layer), [1, 2, 3]);
}

/// Where the file can be cut: at each second, behind a seal.
#[test]
fn seconds_stand_behind_seals_and_begin_increments() {
    let layer = CrashFiles::default();
    let (mut aof, _) = open(&layer).unwrap();
    for (number, second) in
        [(1, None), (2, Some(100)), (3, Some(100)), (4, Some(99)), (5, Some(101)), (6, None)]
    {
        aof.set_second(second);
        batch(&mut aof, number).unwrap();
    }
    aof.set_second(Some(102));
    aof.append(&set(7)).unwrap();
    aof.set_second(Some(103));
    aof.append(&set(8)).unwrap();
    aof.seal(8, &replid()).unwrap();
    let lines = |name: &str| {
        let text = String::from_utf8(layer.read(&path(name)).unwrap()).unwrap();
        let is_note = |line: &str| line.starts_with('#') && !line.starts_with("#OPEN:");
        let is_told = |line: &&str| is_note(line) || line.parse::<u64>().is_ok();
        let short = |line: &str| line.get(..5).filter(|s| *s == "#CRC:").unwrap_or(line).to_owned();
        text.lines().filter(is_told).map(short).collect::<Vec<_>>().join(" ")
    };
    let expected = "1 #CRC: #TS:100 2 #CRC: 3 #CRC: 4 #CRC: #TS:101 5 #CRC: 6 #CRC: #TS:102 7 8 #CRC:";
    assert_eq!(lines("appendonly.aof.1.incr.aof"), expected);
    aof.set_database(3);
    let mut base = aof.begin_rewrite().unwrap();
    aof.append(&set(9)).unwrap();
    aof.seal(9, &replid()).unwrap();
    base.write(&(1..9).flat_map(set).collect::<Vec<_>>()).unwrap();
    aof.finish_rewrite(base).unwrap();
    aof.set_second(Some(104));
    batch(&mut aof, 10).unwrap();
    assert_eq!(lines("appendonly.aof.2.incr.aof"), "#TS:103 3 #CRC: 9 #CRC: #TS:104 10 #CRC:");
    let base = aof.begin_anew(Some((10, replid()))).unwrap();
    assert_eq!(lines("appendonly.aof.3.incr.aof"), "#TS:104 3 #CRC:");
    aof.abandon_rewrite(base);
}

#[test]
fn what_was_there_is_loaded_before_it_is_written_to() {
    let layer = CrashFiles::default();
    batch(&mut open(&layer).unwrap().0, 1).unwrap();
    let (mut aof, files) = open(&layer).unwrap();
    assert_eq!(files, [path("appendonly.aof.1.incr.aof")]);
    assert!(matches!(batch(&mut aof, 2), Err(AofError::NotLoaded { .. })));
    let resume = load(&layer, &files).last.resume;
    let longer = Resume { len: resume.len + 1, ..resume };
    assert!(matches!(aof.resume(longer), Err(AofError::Shorter { .. })));
    aof.resume(resume).unwrap();
    batch(&mut aof, 2).unwrap();
    assert_eq!(numbers(&layer), [1, 2]);
}

#[test]
fn directories_that_are_not_complete_are_refused_and_left_alone() {
    let manifest = path("appendonly.aof.manifest");
    let error_of = |layer: &CrashFiles| open(layer).unwrap_err().to_string();
    let layer = CrashFiles::default();
    layer.put(&manifest, b"file gone.aof seq 1 type i\n");
    assert!(error_of(&layer).starts_with(
        "Unable to obtain the AOF file /data/appendonlydir/gone.aof length. stat: No such file"
    ));
    layer.put(&manifest, b"file gone.aof seq 1 type i\nnonsense\n");
    let error = error_of(&layer);
    assert!(
        error.contains("manifest: line 2: Invalid AOF manifest file format: it is not made of pairs"),
        "{error}"
    );
    let layer = CrashFiles::default();
    layer.put(&path("appendonly.aof.3.incr.aof"), b"x");
    assert!(error_of(&layer).contains("appendonly.aof.3.incr.aof: it holds data, but there is no manifest"));
    assert_eq!(layer.list(&Path::new(DIR).join(APPENDDIR)).unwrap(), ["appendonly.aof.3.incr.aof"]);
}

#[test]
fn a_single_file_is_moved_only_when_the_manifest_is_safe() {
    let layer = CrashFiles::default();
    let single = Path::new(DIR).join("appendonly.aof");
    layer.put(&single, &set(1));
    layer.fail(Failing { sync_dir_after: Some(2), ..Failing::default() });
    assert!(open(&layer).is_err());
    assert_eq!(layer.read(&single).unwrap(), set(1));
    layer.fail(Failing::default());
    assert_eq!(numbers(&layer), [1]);
    assert_eq!(layer.read(&path("appendonly.aof")).unwrap(), set(1));
}

#[test]
fn leftovers_go_and_what_is_not_ours_stays() {
    let layer = CrashFiles::default();
    layer.put(&path("temp-appendonly.aof.2.base.rdb"), b"half");
    layer.put(&path("temp-something"), b"whole");
    open(&layer).unwrap();
    let expected = ["appendonly.aof.1.incr.aof", "appendonly.aof.manifest", "temp-something"];
    assert_eq!(layer.list(&Path::new(DIR).join(APPENDDIR)).unwrap(), expected);
}

#[test]
fn real_files_are_upgraded_written_rewritten_and_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let open = || AppendOnly::open(RealFiles, dir.path(), APPENDDIR, names());
    std::fs::write(dir.path().join("appendonly.aof"), set(1)).unwrap();
    let inside = dir.path().join(APPENDDIR);
    let (mut aof, files) = open().unwrap();
    assert_eq!(files, [inside.join("appendonly.aof")]);
    aof.append(&set(2)).unwrap();
    aof.seal(2, &replid()).unwrap();
    aof.sync().unwrap();
    let mut base = aof.begin_rewrite().unwrap();
    base.write(b"REDIS0010").unwrap();
    base.sync().unwrap();
    aof.finish_rewrite(base).unwrap();
    assert_eq!(aof.remove_history().unwrap(), 2);
    drop(aof);
    let (aof, files) = open().unwrap();
    assert_eq!(files, [inside.join("appendonly.aof.2.base.rdb"), inside.join("appendonly.aof.2.incr.aof")]);
    // A base of nine bytes; an opening and a seal.
    assert_eq!(aof.size(), 9 + 9 + 66);
    let mut left = RealFiles.list(&inside).unwrap();
    left.sort();
    assert_eq!(left, ["appendonly.aof.2.base.rdb", "appendonly.aof.2.incr.aof", "appendonly.aof.manifest"]);
    assert!(RealFiles.read(&inside.join("gone")).is_err_and(|error| error.kind() == ErrorKind::NotFound));
}

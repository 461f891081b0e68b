use super::*;
use crate::append_only::crash_files::{CrashFiles, Failing, Random};
use std::sync::mpsc::channel;
use std::time::Duration;

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_new_file_is_empty_and_locked() {
    let dir = directory();
    let path = dir.path().join("nodes.conf");
    let (file, conf) = NodesFile::open(&path).unwrap();
    assert!(conf.is_none());
    assert!(matches!(NodesFile::open(&path), Err(StorageError::InUse { .. })));
    drop(file);
    assert!(NodesFile::open(&path).unwrap().1.is_none());
}

#[test]
fn the_lock_survives_replacing_and_leftovers_go() {
    let dir = directory();
    let path = dir.path().join("nodes.conf");
    std::fs::write(dir.path().join("nodes.conf.tmp-1-1"), "half").unwrap();
    let (mut file, _) = NodesFile::open(&path).unwrap();
    for n in 0..3 {
        file.replace(&format!("text {n}\n")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("text {n}\n"));
        assert!(matches!(NodesFile::open(&path), Err(StorageError::InUse { .. })));
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_foreign_file_is_refused_with_its_line_and_left_alone() {
    let dir = directory();
    let path = dir.path().join("nodes.conf");
    std::fs::write(&path, "hello world\n").unwrap();
    let error = NodesFile::open(&path).unwrap_err().to_string();
    assert!(error.contains("nodes.conf") && error.contains("line 1"), "{error}");
    std::fs::write(&path, b"a\nb\n\xff\n").unwrap();
    let error = NodesFile::open(&path).unwrap_err().to_string();
    assert!(error.contains("line 3: it is not text"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"a\nb\n\xff\n");
}

#[test]
fn a_directory_that_vanished_is_an_error_that_names_the_file() {
    let dir = directory();
    let path = dir.path().join("nodes.conf");
    let (mut file, _) = NodesFile::open(&path).unwrap();
    drop(dir);
    let error = file.replace("x").unwrap_err().to_string();
    assert!(error.contains("nodes.conf: could not create a successor of"), "{error}");
}

#[test]
fn the_thread_writes_in_order_and_finishes_before_it_ends() {
    let dir = directory();
    let path = dir.path().join("nodes.conf");
    let (file, _) = NodesFile::open(&path).unwrap();
    let (sender, receiver) = channel();
    let done: Done = Box::new(move |seq, result| sender.send((seq, result.is_ok())).unwrap());
    let writer = Writer::start(file, done).unwrap();
    assert!(writer.write(1, "one".into()) && writer.write(2, "two".into()));
    drop(writer);
    let limit = Duration::from_secs(10);
    assert_eq!(receiver.recv_timeout(limit), Ok((1, true)));
    assert_eq!(receiver.recv_timeout(limit), Ok((2, true)));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
}

/// Replaces `path` through `files`; `held` is the file that would be locked.
fn replace(files: &CrashFiles, path: &Path, text: &str, held: &mut usize) -> Result<(), StorageError> {
    write_and_rename(files, &temporary(path, "1-1"), path, text, |_| Ok(()), held)
}

/// At whatever operation the power goes, or the process alone.
#[test]
fn a_crash_leaves_the_old_or_the_new_text_whole() {
    let path = Path::new("/data/nodes.conf");
    let (old, new) = ("old\n".repeat(100), "new, and longer\n".repeat(100));
    let mut seen = std::collections::BTreeSet::new();
    for (seed, operations) in (0..100).flat_map(|seed| (0..8).map(move |n| (seed, n))) {
        let mut random = Random(seed * 8 + operations as u64);
        let files = CrashFiles::default();
        files.put(path, old.as_bytes());
        let mut held = files.open_append(path).unwrap();
        files.crash_after(Some(operations));
        let is_safe = replace(&files, path, &new, &mut held).is_ok();
        files.crash_after(None);
        if seed % 4 > 0 {
            files.crash(&mut random);
        }
        let found = files.read(path).unwrap();
        let is_new = found == new.as_bytes();
        assert!(is_new || found == old.as_bytes(), "seed {seed}, {operations} operations: {found:?}");
        assert!(is_new || !is_safe, "seed {seed}, {operations} operations: it was said to be safe");
        seen.insert((is_safe, is_new, operations));
        // The next start, and over what may lie there.
        if seed % 2 == 0 {
            remove_leftovers(&files, path);
            assert_eq!(files.list(Path::new("/data")).unwrap(), ["nodes.conf"]);
        }
        replace(&files, path, "next\n", &mut held).unwrap();
        files.crash(&mut random);
        assert_eq!(files.read(path).unwrap(), b"next\n");
    }
    let count = |is_safe, is_new| seen.iter().filter(|seen| (seen.0, seen.1) == (is_safe, is_new)).count();
    assert!(count(false, false) == 6 && count(false, true) == 1 && count(true, true) == 2, "{seen:?}");
}

/// Who takes over the name while its directory is not synced yet must not get the lock.
#[test]
fn the_file_that_has_the_name_is_the_one_that_is_held() {
    let path = Path::new("/data/nodes.conf");
    let files = CrashFiles::default();
    files.put(path, b"old");
    let mut held = files.open_append(path).unwrap();
    files.fail(Failing { rename: true, ..Failing::default() });
    assert!(replace(&files, path, "new", &mut held).is_err());
    assert_eq!((files.open_append(path).unwrap(), files.read(path).unwrap()), (held, b"old".to_vec()));
    files.fail(Failing { sync_dir_after: Some(0), ..Failing::default() });
    assert!(replace(&files, path, "new", &mut held).is_err());
    assert_eq!((files.open_append(path).unwrap(), files.read(path).unwrap()), (held, b"new".to_vec()));
}

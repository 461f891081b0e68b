use super::*;
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

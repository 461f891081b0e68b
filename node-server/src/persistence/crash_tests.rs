//! The RDB file, wherever the power goes: always the old or the new one, whole.

use super::rdb_file::{SaveError, write_file};
use super::reload::Nobody;
use crate::append_only::FileLayer as _;
use crate::append_only::crash_files::{CrashFiles, Failing, Random};
use crate::node::now;
use node_server_engine::{Applier, Engine, Options};
use node_server_rdb::{Dialect, Item, Reader, Value};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const NAME: &str = "dump.rdb";

/// A data set of one key, long enough that half of a write cuts it.
struct Data(Arc<Engine>);

impl Data {
    fn of(text: &str) -> Self {
        let options = Options { cluster: false, ..Options::default() };
        let engine = Arc::new(Engine::new(options, Arc::new(Nobody)));
        let command = [b"SET".to_vec(), b"key".to_vec(), text.repeat(1000).into()];
        engine.replay(&mut Applier::default(), &[command.to_vec()], now()).unwrap();
        Self(engine)
    }

    fn save(&self, files: &CrashFiles, given_up: bool) -> Result<(), SaveError> {
        let mut snapshot = self.0.begin_snapshot(now(), Dialect::Valkey).unwrap();
        snapshot.pin = None;
        write_file(files, snapshot, NAME, &AtomicBool::new(given_up))
    }
}

/// The first letter of what a start would load; the file is whole.
fn loaded(files: &CrashFiles) -> char {
    let mut reader = Reader::new();
    reader.feed(&files.read(Path::new(NAME)).unwrap());
    let mut text = None;
    while let Some(item) = reader.next_item().unwrap() {
        if let Item::Key { value: Value::String(value), .. } = item {
            text = Some(String::from_utf8(value).unwrap());
        }
    }
    reader.end_of_input().unwrap();
    assert!(reader.is_checksummed() && reader.into_rest().is_empty());
    text.unwrap().chars().next().unwrap()
}

#[test]
fn a_crash_leaves_the_old_or_the_new_file_whole() {
    let [old, new, third] = ["old", "new", "third"].map(Data::of);
    let mut seen = BTreeSet::new();
    for (seed, operations) in (0..16).flat_map(|seed| (0..8).map(move |n| (seed, n))) {
        let mut random = Random(seed * 8 + operations as u64);
        let files = CrashFiles::default();
        old.save(&files, false).unwrap();
        files.crash_after(Some(operations));
        let is_safe = new.save(&files, false).is_ok();
        files.crash_after(None);
        // Or the process died alone.
        if seed % 4 > 0 {
            files.crash(&mut random);
        }
        let found = loaded(&files);
        assert!(found == 'n' || (found == 'o' && !is_safe), "seed {seed}, {operations} operations: {found}");
        seen.insert((is_safe, found, operations));
        // The next one writes over what lies there.
        third.save(&files, false).unwrap();
        files.crash(&mut random);
        assert_eq!(loaded(&files), 't', "seed {seed}, {operations} operations");
    }
    let count = |is_safe, found| seen.iter().filter(|seen| (seen.0, seen.1) == (is_safe, found)).count();
    assert!(count(false, 'o') == 6 && count(false, 'n') == 1 && count(true, 'n') == 2, "{seen:?}");
}

/// What fails is named with its file, and nothing of it stays.
#[test]
fn a_save_that_fails_leaves_the_old_file_alone() {
    let [old, new] = ["old", "new"].map(Data::of);
    let files = CrashFiles::default();
    old.save(&files, false).unwrap();
    for (failing, doing) in [
        (Failing { write_after: Some(20), ..Failing::default() }, "write the file: no storage space"),
        (Failing { truncate: true, ..Failing::default() }, "empty the file: truncate fails"),
        (Failing { sync: true, ..Failing::default() }, "sync the file: sync fails"),
        (Failing { rename: true, ..Failing::default() }, "rename the file: rename fails"),
    ] {
        files.fail(failing);
        let error = new.save(&files, false).unwrap_err().to_string();
        let expected = format!("temp-{}.rdb: could not {doing}; the old file is whole", std::process::id());
        assert_eq!(error, expected);
        assert_eq!(files.list(Path::new("")).unwrap(), [NAME]);
        assert_eq!(loaded(&files), 'o');
    }
    files.fail(Failing::default());
    let error = new.save(&files, true).unwrap_err().to_string();
    assert_eq!(error, "the snapshot was not written: it was given up");
    assert_eq!((files.list(Path::new("")).unwrap(), loaded(&files)), (vec![NAME.to_owned()], 'o'));
    new.save(&files, false).unwrap();
    assert_eq!(loaded(&files), 'n');
}

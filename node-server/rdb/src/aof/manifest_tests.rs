//! Which manifests redis-server 7.0.15 reads was tried with it, one by one.

use super::*;
use proptest::prelude::*;

const LINE: &str = "file appendonly.aof.1.incr.aof seq 1 type i\n";

fn entry(name: &str, seq: u64) -> Entry {
    Entry { name: name.into(), seq }
}

fn cause(text: &str) -> (usize, ManifestCause) {
    let error = Manifest::parse(text.as_bytes()).unwrap_err();
    (error.line, error.cause)
}

#[test]
fn what_redis_reads_is_read() {
    let expected = Manifest { incrs: vec![entry("appendonly.aof.1.incr.aof", 1)], ..Manifest::default() };
    for text in [
        LINE.to_owned(),
        format!("# hi\n{LINE}"),
        format!("#{}\n{LINE}", "x".repeat(1022)),
        format!("foo bar {LINE}"),
        LINE.replace('\n', "\r\n"),
        LINE.replace('\n', " startoffset 5\n"),
        LINE.replace('\n', " seq 1\n"),
        LINE.replace("file", "FILE").replace("type", "Type"),
        LINE.replace("appendonly.aof.1.incr.aof", "\"append\\x6fnly.aof.1.incr.aof\""),
        LINE.replace("appendonly.aof.1.incr.aof", "'appendonly.aof.1.incr.aof'"),
    ] {
        assert_eq!(Manifest::parse(text.as_bytes()), Ok(expected.clone()), "{text}");
    }
    assert_eq!(Manifest::parse(b"# only this\n"), Ok(Manifest::default()));
}

#[test]
fn what_redis_refuses_is_refused_with_line_and_cause() {
    use ManifestCause as C;
    assert_eq!(cause(""), (1, C::Empty));
    assert_eq!(cause(&LINE.replace('\n', "")), (1, C::CutShort));
    assert_eq!(cause(&format!("{LINE}\n")), (2, C::Pairs));
    assert_eq!(cause(&format!("  # hi\n{LINE}")), (1, C::Missing("file")));
    assert_eq!(cause(&LINE.replace('\n', " x\n")), (1, C::Pairs));
    assert_eq!(cause("file a seq 1\n"), (1, C::Missing("type")));
    assert_eq!(cause("file \"a seq 1 type i\n"), (1, C::Quotes));
    assert_eq!(cause("file \"a\"b seq 1 type i\n"), (1, C::Quotes));
    assert_eq!(cause(&LINE.replace("seq 1", "seq 0")), (1, C::Seq("0".into())));
    assert_eq!(cause(&LINE.replace("seq 1", "seq -1")), (1, C::Seq("-1".into())));
    assert_eq!(cause(&LINE.replace("type i", "type I")), (1, C::Kind("I".into())));
    assert_eq!(cause(&format!("{LINE}{LINE}")), (2, C::Order { seq: 1, before: 1 }));
    assert_eq!(cause("file a seq 1 type b\nfile b seq 2 type b\n"), (2, C::SecondBase));
    assert_eq!(cause(&format!("#{}\n", "x".repeat(1023))), (1, C::TooLong));
    // It is read and could not be once it is written, with each of its bytes as four.
    assert_eq!(cause(&format!("file {} seq 1 type b\n", "\u{e4}".repeat(126))), (1, C::TooLong));
    assert!(Manifest::parse(format!("file {} seq 1 type b\n", "\u{e4}".repeat(125)).as_bytes()).is_ok());
    for (name, error) in [("./a", NameError::Path), ("..", NameError::Nothing), ("\"\"", NameError::Nothing)]
    {
        let name_of = |cause| matches!(cause, (1, C::Name { error: e, .. }) if e == error);
        assert!(name_of(cause(&format!("file {name} seq 1 type i\n"))), "{name}");
    }
    let text = Manifest::parse(b"file a/b seq 1 type i\n").unwrap_err().to_string();
    assert_eq!(
        text,
        "line 1: Invalid AOF manifest file format: file name \"a/b\": it must be a file name, not a path"
    );
}

#[test]
fn written_as_redis_writes_it() {
    // What redis-server 7.0.15 wrote with `--appendfilename 'a b"é.aof'`.
    let redis = b"file \"a b\\\"\\xc3\\xa9.aof.1.base.rdb\" seq 1 type b\nfile \"a b\\\"\\xc3\\xa9.aof.1.incr.aof\" seq 1 type i\n";
    let names = Names::new("a b\"é.aof").unwrap();
    let manifest = Manifest::parse(redis).unwrap();
    assert_eq!(manifest.base, Some(entry(&names.base(1, BaseFormat::Rdb), 1)));
    assert_eq!(manifest.format().as_bytes(), redis);
}

#[test]
fn a_rewrite() {
    let names = Names::new("appendonly.aof").unwrap();
    let old = Manifest::upgraded(&names).with_next_incr(&names);
    assert_eq!(old.to_load().collect::<Vec<_>>(), ["appendonly.aof", "appendonly.aof.1.incr.aof"]);
    let begun = old.with_next_incr(&names);
    let base = begun.next_base(&names, BaseFormat::Rdb);
    let done = begun.with_rewritten(base, 2);
    assert_eq!(
        done.format(),
        "file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.1.incr.aof seq 1 type h\n\
         file appendonly.aof seq 1 type h\nfile appendonly.aof.2.incr.aof seq 2 type i\n"
    );
    let clean = done.without_history();
    assert_eq!(
        clean.to_load().collect::<Vec<_>>(),
        ["appendonly.aof.2.base.rdb", "appendonly.aof.2.incr.aof"]
    );
    assert_eq!(clean.with_next_incr(&names).last_incr_seq(), 3);
    assert_eq!(names.manifest(), "appendonly.aof.manifest");
}

#[test]
fn names_that_cannot_be() {
    assert_eq!(Names::new(""), Err(NameError::Nothing));
    assert_eq!(Names::new("a/b"), Err(NameError::Path));
    assert_eq!(Names::new(&"a".repeat(201)), Err(NameError::TooLong));
    let longest = Names::new(&"\u{1}".repeat(200)).unwrap();
    let manifest = Manifest::default().with_next_incr(&longest);
    assert_eq!(Manifest::parse(manifest.format().as_bytes()), Ok(manifest));
}

proptest! {
    #[test]
    fn what_is_written_is_read(name in "[^/\\\\\0]{1,60}", seqs in prop::collection::btree_set(1_u64..1 << 50, 0..5)) {
        prop_assume!(name != "." && name != "..");
        let incrs: Vec<Entry> = seqs.iter().map(|seq| entry(&name, *seq)).collect();
        let manifest = Manifest { base: incrs.first().cloned(), history: incrs.clone(), incrs };
        prop_assume!(manifest.base.is_some());
        prop_assert_eq!(Manifest::parse(manifest.format().as_bytes()), Ok(manifest));
    }

    #[test]
    fn no_bytes_make_it_panic(text in any::<Vec<u8>>()) {
        let _ = Manifest::parse(&text);
    }
}

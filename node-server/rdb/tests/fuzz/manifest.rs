//! Manifests of the append-only file.

use super::Target;
use super::common::mutate::{Random, change};
use node_server_rdb::aof::{BaseFormat, Manifest, Names};

/// Greater numbers are read, but have no next one that is.
const SEQ_MAX: u64 = (1 << 53) - 2;

const SEEDS: [&str; 6] = [
    "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n",
    "file a.2.base.aof seq 2 type b\nfile a.1.base.rdb seq 1 type h\nfile a.1.incr.aof seq 1 type h\n\
     file a.2.incr.aof seq 2 type i\nfile a.3.incr.aof seq 3 type i\n",
    "# a comment\nFILE 'it''s.aof' seq 9007199254740991 type b\nfile \"with \\x00\\xff\\n\\\" in it\" seq 7 type i\n",
    "file \"a name\" seq 7 type i startoffset 100 endoffset 2000\n",
    "type b seq 1 file \u{e4}\u{f6}\u{fc}.base.rdb\r\nfile 'a\\'b' seq 8 type i\n",
    "seq 1 type b file appendonly.aof\n",
];

pub(crate) fn target() -> Target<'static> {
    Target { name: "manifest".into(), make: Box::new(text), check }
}

fn text(random: &mut Random) -> Vec<u8> {
    let mut seed = || SEEDS[random.below(SEEDS.len())].as_bytes().to_vec();
    let (mut text, other) = (seed(), seed());
    if random.below(3) == 0 {
        let lines: Vec<&[u8]> = other.split_inclusive(|byte| *byte == b'\n').collect();
        text.extend(lines[random.below(lines.len())]);
    }
    if random.below(8) == 0 {
        // A name that is long, or becomes so by quoting.
        let byte = [b'n', 1, b' ', b'\\', b'"', 7][random.below(6)];
        let at = random.below(text.len());
        text.splice(at..at, vec![byte; random.below(1024)]);
    }
    change(random, &mut text, &other);
    text
}

fn check(text: &[u8]) -> bool {
    let Ok(manifest) = Manifest::parse(text) else { return false };
    let names = || manifest.base.iter().chain(&manifest.history).chain(&manifest.incrs);
    for entry in names() {
        assert!(!entry.name.contains(['/', '\0']) && !["", ".", ".."].contains(&entry.name.as_str()));
        assert!(entry.seq > 0);
    }
    assert!(manifest.incrs.is_sorted_by(|a, b| a.seq < b.seq));
    if names().any(|entry| entry.seq > SEQ_MAX) {
        return true;
    }
    // Whatever is read is written sooner or later, and read at the next start.
    let ours = Names::new("appendonly.aof").expect("it is a name");
    let next = manifest.with_next_incr(&ours);
    let rewritten = next.with_rewritten(next.next_base(&ours, BaseFormat::Rdb), next.last_incr_seq());
    assert_eq!(rewritten.incrs.len(), 1);
    for manifest in [&manifest, &next, &rewritten, &rewritten.without_history()] {
        // One that names nothing is not written.
        if manifest.to_load().next().is_some() || !manifest.history.is_empty() {
            assert_eq!(Manifest::parse(manifest.format().as_bytes()).as_ref(), Ok(manifest));
        }
    }
    manifest.to_load().next().is_some()
}

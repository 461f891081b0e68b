//! nodes.conf: what is read, what is written, what is refused.
#![allow(clippy::unwrap_used, reason = "failures panic")]

use node_server_cluster::NodesConf;
use proptest::prelude::*;

const A: &str = "a3a1eeff823f3f35d51e39680aff6ea84bfff2c2";
const B: &str = "be30a645c4093ad9f661e253fae70c326e5d5fea";

fn line(id: &str, flags: &str, rest: &str) -> String {
    format!("{id} 127.0.0.1:7001@17001,,shard-id={id} {flags} {rest}\n")
}

fn refused(text: &str) -> String {
    NodesConf::parse(text).unwrap_err().to_string()
}

#[test]
fn files_of_redis_7_0_and_7_2_are_read() {
    let old = format!(
        "{A} 127.0.0.1:24994@34994 slave {B} 0 1795492433958 1 connected\n\
         {B} 127.0.0.1:24991@34991,h1.example myself,master - 0 1795492432000 1 connected 0-5460 5470 [0->-{A}] [6000-<-{A}]\n\
         vars currentEpoch 4 lastVoteEpoch 3\n"
    );
    let conf = NodesConf::parse(&old).unwrap();
    assert_eq!((conf.current_epoch.0, conf.last_vote_epoch.0, conf.nodes.len()), (4, 3, 2));
    assert_eq!(conf.myself().slots.to_string(), "0-5460,5470");
    assert_eq!((conf.myself().migrating.len(), conf.myself().importing.len()), (1, 1));
    assert_eq!(conf.to_string(), old);
    let new = line(A, "myself,master", "- 0 0 0 connected") + "vars currentEpoch 0 lastVoteEpoch 0\n";
    assert_eq!(NodesConf::parse(&new).unwrap().to_string(), new);
}

#[test]
fn damage_is_named_with_its_line() {
    let me = line(A, "myself,master", "- 0 0 0 connected 0-10");
    let vars = "vars currentEpoch 0 lastVoteEpoch 0\n";
    let cases = [
        (String::new(), "line 1: no line with vars at the end: the file is cut off"),
        (me.clone(), "line 1: no line with vars at the end: the file is cut off"),
        (format!("{me}{vars}").trim_end().to_owned(), "line 2: the file ends within a line"),
        (format!("{me}{me}{vars}"), "line 2: node a3a1eeff823f3f35d51e39680aff6ea84bfff2c2 has two lines"),
        (
            format!("{me}{}{vars}", line(B, "myself,master", "- 0 0 0 connected")),
            "line 2: a second line with the flag myself",
        ),
        (
            format!("{me}{}{vars}", line(B, "master", "- 0 0 0 connected 10")),
            "line 2: slot 10 has two owners",
        ),
        (format!("{}{vars}", line(B, "master", "- 0 0 0 connected")), "line 2: no line with the flag myself"),
        (format!("{me}{vars}{me}"), "line 3: something follows the line with vars, which is the last"),
        (
            format!("{}{vars}", line(A, "myself,slave", &format!("{B} 0 0 0 connected"))),
            "line 2: myself is a replica of a node that has no line",
        ),
        (
            format!("{}{vars}", me.replace("shard-id", "colour")),
            "line 1: unknown auxiliary field \"colour\": written by a newer server?",
        ),
        (
            format!("{}{vars}", me.replace("shard-id=a", "shard-id=z")),
            "line 1: shard-id is not 40 hex digits: \"z3a1eeff823f3f35d51e39680aff6ea84bfff2c2\"",
        ),
        (format!("{me}vars currentEpoch x lastVoteEpoch 0\n"), "line 2: currentEpoch is not a number: \"x\""),
        (format!("{me}vars currentEpoch\n"), "line 2: vars must be pairs of name and value"),
    ];
    for (text, reason) in cases {
        assert_eq!(refused(&text), reason, "{text}");
    }
    assert!(refused(&format!("hello\n{vars}")).starts_with("line 1: "));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_is_read_or_refused(text in "[ -~\n]{0,300}") {
        let _ = NodesConf::parse(&text);
    }

    #[test]
    fn a_damaged_file_is_read_or_refused(at in 0usize..200, byte in 32u8..127) {
        let text = line(A, "myself,master", "- 0 0 0 connected 0-10") + "vars currentEpoch 0 lastVoteEpoch 0\n";
        let mut bytes = text.into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(conf) = NodesConf::parse(std::str::from_utf8(&bytes).unwrap()) {
            prop_assert_eq!(NodesConf::parse(&conf.to_string()), Ok(conf));
        }
    }
}

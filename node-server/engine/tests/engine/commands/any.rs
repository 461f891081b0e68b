//! Any words to any command: one whole reply, no panic, and the log makes a replica equal.

use crate::support::*;
use node_server_engine::command::all;
use node_server_engine::{Applier, Outcome};
use node_server_protocol::Millis;
use node_server_protocol::resp::{Protocol, parse_reply};
use proptest::prelude::*;

/// Commands on keys, as often as it takes, and all the others.
fn name() -> impl Strategy<Value = String> {
    let is_on_keys = |group: &str| group == "string" || group == "generic";
    let names = |wanted: bool| -> Vec<String> {
        let all = all().map(|c| c.spec).filter(|s| is_on_keys(s.group.word()) == wanted);
        all.map(|s| s.name.to_owned()).collect()
    };
    prop_oneof![9 => prop::sample::select(names(true)), 1 => prop::sample::select(names(false))]
}

/// Keys, options, numbers and anything.
fn word() -> impl Strategy<Value = Vec<u8>> {
    const WORDS: &[&str] = &[
        "nx",
        "XX",
        "GT",
        "lt",
        "GET",
        "EX",
        "px",
        "EXAT",
        "pxat",
        "KEEPTTL",
        "persist",
        "replace",
        "ABSTTL",
        "IDLETIME",
        "FREQ",
        "IDX",
        "len",
        "minmatchlen",
        "withmatchlen",
        "DB",
        "MATCH",
        "COUNT",
        "TYPE",
        "encoding",
        "help",
        "info",
        "docs",
        "getkeys",
        "list",
        "filterby",
        "pattern",
        "*",
    ];
    const NUMBERS: &[i64] = &[0, 1, -1, 5, 100, 1_700_000_000, 1_700_000_100_000, i64::MAX, i64::MIN];
    prop_oneof![
        6 => "[ab]".prop_map(|key| format!("{{t}}{key}").into_bytes()),
        3 => prop::sample::select(WORDS).prop_map(|w| w.as_bytes().to_vec()),
        3 => prop::sample::select(NUMBERS).prop_map(|n| n.to_string().into_bytes()),
        1 => "[0-9.e-]{0,6}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..12),
        1 => Just(b"\x00\x05hello\n\x00cr\xdfve4 \n".to_vec()),
    ]
}

fn request() -> impl Strategy<Value = Vec<Vec<u8>>> {
    (name(), prop::collection::vec(word(), 0..6))
        .prop_map(|(name, words)| std::iter::once(name.into_bytes()).chain(words).collect())
}

/// Runs a request; the reply's bytes if there is one.
fn run(client: &mut Client, request: &[Vec<u8>]) -> Option<Vec<u8>> {
    let args: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
    let (mut outcome, mut out) = client.try_once(&args);
    if outcome == Outcome::Offload {
        outcome = client.engine.execute_offloaded(&mut client.session, &args, client.now, &mut out);
    }
    (outcome == Outcome::Done).then_some(out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn one_reply_and_an_equal_replica(
        requests in prop::collection::vec((request(), 0_u64..50), 1..60),
        resp3 in any::<bool>(),
    ) {
        let (master, replica) = (Node::master(), Node::replica());
        let mut client = master.client();
        let mut applier = Applier::default();
        for (request, pause) in requests {
            client.now = Millis(client.now.0 + pause);
            client.session.protocol = if resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
            if let Some(out) = run(&mut client, &request) {
                let (_, used) = parse_reply(&out).expect("a reply").expect("a whole reply");
                prop_assert_eq!(used, out.len(), "{:?}", request);
            }
            let behind = master.log_from(replica.engine.log().end());
            replica.engine.apply(&mut applier, &behind, Millis(client.now.0 + 3_600_000)).unwrap();
        }
        let now = client.now;
        prop_assert_eq!(master.content(now), replica.content(now));
        prop_assert_eq!(master.log_from(0), replica.log_from(0));
    }
}

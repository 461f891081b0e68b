//! What else is on the disk: files that were rewritten, and syncs beside a rewrite.

use super::*;
use std::time::{Duration, Instant};

fn manifest(server: &Server) -> String {
    std::fs::read_to_string(appended(server).join("appendonly.aof.manifest")).unwrap()
}

/// Every file that the manifest names is there, and nothing else.
fn files_are_those_of(server: &Server) -> bool {
    let named = manifest(server).lines().count();
    std::fs::read_dir(appended(server)).unwrap().count() == named + 1
}

#[test]
fn history_stays_when_it_is_asked_for_and_goes_when_it_is_not() {
    let mut server = Server::start(&[ALWAYS, &["--aof-disable-auto-gc", "yes"]].concat());
    let mut client = server.client();
    wait_based(&mut client);
    assert_eq!(client.text(&["SET", "key", "value"]), "OK");
    (0..2).for_each(|_| rewrite(&mut client));
    let kinds: String = manifest(&server).lines().filter_map(|line| line.chars().last()).collect();
    assert!(kinds.starts_with("bhhhh") && kinds.ends_with('i'), "{}", manifest(&server));
    assert!(files_are_those_of(&server));
    server.kill();
    let before = manifest(&server);
    server.start_again(&[ALWAYS, &["--aof-disable-auto-gc", "yes"]].concat());
    client = server.client();
    assert_eq!(client.text(&["GET", "key"]), "value");
    assert_eq!(manifest(&server), before);
    assert_eq!(client.text(&["CONFIG", "SET", "aof-disable-auto-gc", "no"]), "OK");
    until("history is removed", || (!manifest(&server).contains("type h")).then_some(()));
    until("its files too", || files_are_those_of(&server).then_some(()));
    server.kill();
    server.start_again(ALWAYS);
    assert_eq!(server.client().text(&["GET", "key"]), "value");
}

/// How long every sync takes.
const SYNC: Duration = Duration::from_secs(2);

fn time_of_set(client: &mut Client) -> Duration {
    let begun = Instant::now();
    assert!(client.text(&["INCR", "counter"]).parse::<u64>().is_ok());
    begun.elapsed()
}

/// How often a reply may come late.
const TRIES: usize = 5;

/// Rewrites, to the end; whether a reply came meanwhile, and sooner than any sync can end.
fn is_early_beside_a_rewrite(client: &mut Client) -> bool {
    assert!(client.text(&["BGREWRITEAOF"]).ends_with("started"));
    let took = time_of_set(client);
    let is_beside = client.info("persistence", "aof_rewrite_in_progress") == "1";
    until("the rewrite has ended", || {
        (client.info("persistence", "aof_rewrite_in_progress") == "0").then_some(())
    });
    is_beside && took < SYNC
}

/// Beside a rewrite no reply waits for a sync, and behind its end each does again.
#[test]
fn syncs_are_left_out_beside_a_rewrite_when_it_is_asked_for() {
    for is_on in [true, false] {
        let word = if is_on { "yes" } else { "no" };
        let mut server = Server::start(&[ALWAYS, &["--no-appendfsync-on-rewrite", word]].concat());
        let mut client = server.client();
        wait_based(&mut client);
        let mut strace = slow_syncs(&server, SYNC);
        until("syncs are slow", || (time_of_set(&mut client) >= SYNC).then_some(()));
        // On a busy machine a reply may come late for other reasons: then once more. Where it waits it is never early.
        let tries = if is_on { TRIES } else { 1 };
        let was_early = (0..tries).any(|_| is_early_beside_a_rewrite(&mut client));
        assert_eq!(is_on, was_early, "{word}");
        let took = time_of_set(&mut client);
        assert!(took >= SYNC, "{word}: {took:?}");
        let expected = client.text(&["GET", "counter"]);
        server.kill();
        strace.wait().unwrap();
        server.start_again(ALWAYS);
        assert_eq!(server.client().text(&["GET", "counter"]), expected);
    }
}

//! Clusters of our nodes with redis-server 7.0.15, and with Valkey 9.1.2: all agree, and each kind is elected by the
//! other.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod dialects;

use e2e::Binary;
use e2e_compat::Mixed;
use e2e_compat::mixed::VOTERS;

/// Elections of each kind by the other.
const ROUNDS: usize = 5;

fn is_elected(candidates: Binary, voters: Binary, rounds: usize) {
    let mut mixed = Mixed::start(candidates, voters).unwrap();
    let mut last_epoch = 0;
    for round in 1..=rounds {
        let won = mixed.hold_election().unwrap();
        assert!(won.epoch > last_epoch, "round {round}: {won:?} after epoch {last_epoch}");
        last_epoch = won.epoch;
        // Two votes are the majority of three masters, and these two are all that could vote.
        for voter in VOTERS {
            assert!(mixed.voted(voter, &won).unwrap(), "round {round}: {voter} voted for {won:?}");
        }
        mixed.write_to_master(&format!("round {round}")).unwrap();
    }
}

#[test]
fn our_replica_is_elected_by_redis() {
    is_elected(Binary::NodeServer, Binary::Redis, ROUNDS);
}

#[test]
fn a_replica_of_redis_is_elected_by_our_nodes() {
    is_elected(Binary::Redis, Binary::NodeServer, ROUNDS);
}

#[test]
fn our_replica_is_elected_by_valkey() {
    is_elected(Binary::NodeServer, Binary::Valkey, 1);
}

#[test]
fn a_replica_of_valkey_is_elected_by_our_nodes() {
    is_elected(Binary::Valkey, Binary::NodeServer, 1);
}

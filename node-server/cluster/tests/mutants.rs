//! Each deliberate defect does what its name says: `cargo test -p node-server-cluster --features mutants`.
#![allow(clippy::unwrap_used, reason = "failures panic")]

mod lone;
mod net;

use lone::{Lone, TIMEOUT_MS, command, header, id, names, ping, request, slots};
use net::{Net, id_of};
use node_server_cluster::{Config, Mutant, Output};
use node_server_protocol::bus::{Body, MessageFlags};
use node_server_protocol::{Epoch, Role};

fn with(mutant: Mutant) -> Config {
    Config { node_timeout_ms: TIMEOUT_MS, mutant: Some(mutant), ..Config::default() }
}

fn forced(n: u8, epoch: u64) -> node_server_protocol::bus::Header {
    let mut header = request(n, epoch);
    header.message_flags = MessageFlags::FORCE_ACK;
    header
}

#[test]
fn two_votes_in_an_epoch() {
    let mut lone = Lone::start(1, false, with(Mutant::TwoVotesInAnEpoch));
    lone.hear(forced(5, 9), Body::AuthRequest);
    assert!(names(&lone.settle()).contains(&"auth-ack"));
    lone.hear(forced(6, 9), Body::AuthRequest);
    assert!(names(&lone.settle()).contains(&"auth-ack"));
}

#[test]
fn a_vote_before_it_is_persisted() {
    let mut lone = Lone::start(1, false, with(Mutant::VoteBeforePersisted));
    lone.hear(forced(5, 9), Body::AuthRequest);
    assert!(names(&lone.outputs()).contains(&"auth-ack"));
}

#[test]
fn a_claim_with_a_lower_epoch() {
    let mut lone = Lone::start(3, false, with(Mutant::LowerEpochAccepted));
    let mut claim = header(2);
    claim.slots = slots(5461, 11_000);
    lone.hear(claim, ping());
    assert!(lone.line(2).ends_with("5461-11000"));
}

#[test]
fn a_promise_before_it_is_persisted() {
    let mut lone = Lone::start(1, false, with(Mutant::PromiseBeforePersisted));
    command(&mut lone, "BUMPEPOCH");
    assert!(lone.outputs().iter().any(|o| matches!(o, Output::Reply { .. })));
}

#[test]
fn a_silent_node_is_removed() {
    let mut lone = Lone::start(1, false, with(Mutant::SilentRemoved));
    lone.hear(header(2), Body::Fail { node: id(3) });
    for _ in 0..TIMEOUT_MS * 2 / 100 + 2 {
        [2, 4, 5, 6].into_iter().for_each(|n| lone.pong_from(n));
        lone.pass(100);
    }
    assert_eq!(lone.line(3), "");
}

#[test]
fn open_slots_are_lost_at_a_failover() {
    let mut net = Net::three_masters();
    for peer in &mut net.peers {
        peer.core.config_mut().mutant = Some(Mutant::OpenSlotsLostAtFailover);
    }
    net.ok(0, &format!("SETSLOT 5 MIGRATING {}", id_of(1)));
    net.run(100);
    net.kill(0);
    net.run_until(20_000, |n| n.role(3) == Role::Master);
    assert!(!net.peers[3].core.nodes_text().contains("[5->-"));
}

#[test]
fn an_empty_master_serves() {
    let lone = Lone::start(1, true, with(Mutant::EmptyMasterServes));
    assert!(!lone.core.is_closed_empty());
}

#[test]
fn the_staler_replica_is_elected() {
    let mut net = Net::with_masters(3, 2);
    for peer in &mut net.peers {
        peer.core.config_mut().mutant = Some(Mutant::StalerReplicaElected);
    }
    net.cut.insert((0, 3));
    net.run(1000);
    net.kill(0);
    net.cut.clear();
    net.run_until(20_000, |n| n.is_serving_master(6, 0) || n.is_serving_master(3, 0));
    assert!(net.is_serving_master(3, 0));
    assert!(net.peers[3].core.current_epoch() > Epoch(3));
}

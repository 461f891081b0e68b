//! Partitions, crashes and restarts at random; then everything heals and all must agree.
#![allow(clippy::unwrap_used, reason = "failures panic")]

mod net;

use net::{Net, TIMEOUT_MS, id_of};
use node_server_protocol::{Epoch, NodeId};
use std::collections::BTreeMap;

/// How long an unhappy cluster may take after everything is whole again.
const HEAL_MS: u64 = 40_000;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn node(&mut self, net: &Net) -> usize {
        self.roll(net.peers.len() as u64) as usize
    }
}

fn fault(net: &mut Net, dice: &mut Dice) {
    let node = dice.node(net);
    match dice.roll(7) {
        0 => net.isolate(node),
        1 => {
            let other = dice.node(net);
            net.cut.insert((node, other));
        }
        2 if net.peers[node].up => net.kill(node),
        3 if !net.peers[node].up => net.restart(node, dice.roll(2) == 0),
        4 => net.cut.clear(),
        5 if net.peers[node].up => {
            net.ask(node, "FAILOVER", node_server_cluster::DatasetInfo::default());
        }
        _ => {}
    }
}

/// Two masters never claim with one epoch that they won by vote.
fn one_winner_each_epoch(net: &Net) {
    let mut winners: BTreeMap<Epoch, NodeId> = BTreeMap::new();
    for (index, peer) in net.peers.iter().enumerate() {
        for line in &peer.logs {
            let Some(rest) = line.strip_prefix("configEpoch set to ") else { continue };
            let Some((epoch, "after successful failover")) = rest.split_once(' ') else { continue };
            let epoch = Epoch(epoch.parse().unwrap());
            let before = winners.insert(epoch, id_of(index));
            assert!(before.is_none_or(|id| id == id_of(index)), "two winners in epoch {epoch}");
        }
    }
}

fn run(seed: u64) {
    let mut net = Net::with_masters(3, 1 + (seed % 2) as usize);
    let mut dice = Dice(seed);
    for _ in 0..20 {
        fault(&mut net, &mut dice);
        net.run(dice.roll(2 * TIMEOUT_MS));
    }
    net.cut.clear();
    for node in 0..net.peers.len() {
        if !net.peers[node].up {
            net.restart(node, dice.roll(2) == 0);
        }
    }
    net.run(HEAL_MS);
    // What lost every copy stays closed until somebody says so.
    for node in 0..net.peers.len() {
        if net.peers[node].core.is_closed_empty() {
            net.ok(node, "REOPEN");
        }
    }
    net.run_until(HEAL_MS, |n| n.agreed() && n.all_ok());
    one_winner_each_epoch(&net);
}

#[test]
fn everything_heals() {
    (0..12).for_each(run);
}

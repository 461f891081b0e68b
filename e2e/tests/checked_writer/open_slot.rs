//! Redirections of slots that stay open for a while, so that they surely happen.

use crate::{LIMIT, masters};
use e2e::LocalCluster;
use e2e::writer::{Options, Writer};
use node_server_protocol::key_slot;
use node_server_protocol::resp::Reply;

/// A slot on its way.
struct Move<'c> {
    cluster: &'c LocalCluster,
    slot: String,
    from: usize,
    to: usize,
}

impl<'c> Move<'c> {
    fn open(cluster: &'c LocalCluster, key: &str) -> Self {
        let slot = key_slot(key.as_bytes());
        let from = cluster.owner(0, slot).unwrap();
        let open = Self { cluster, slot: slot.to_string(), from, to: (from + 1) % 3 };
        open.set_slot(open.to, "IMPORTING", open.from);
        open.set_slot(open.from, "MIGRATING", open.to);
        open
    }

    fn set_slot(&self, at: usize, state: &str, other: usize) {
        let id = self.cluster.nodes[other].client().unwrap().text(&["CLUSTER", "MYID"]).unwrap();
        let mut client = self.cluster.nodes[at].client().unwrap();
        client.call(&["CLUSTER", "SETSLOT", &self.slot, state, &id]).unwrap();
    }

    fn migrate(&self, key: &str) {
        let port = self.cluster.nodes[self.to].port().to_string();
        let mut client = self.cluster.nodes[self.from].client().unwrap();
        client.call(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]).unwrap();
    }

    /// Whether one of the two has answered so. Who is asked for keys that have gone or never were gives ASK, and the other
    /// one TRYAGAIN until it has all of them.
    fn has_said(&self, error: &str) -> bool {
        let field = format!("errorstat_{error}");
        [self.from, self.to].iter().any(|node| {
            let text = self.cluster.nodes[*node].client().unwrap().text(&["INFO", "errorstats"]).unwrap();
            e2e::client::info_field(&text, &field).is_some()
        })
    }

    /// Moves what is still there, be it of other keys in the slot: who gives a slot up deletes what is left in it.
    fn close(self) {
        let mut client = self.cluster.nodes[self.from].client().unwrap();
        loop {
            let reply = client.call(&["CLUSTER", "GETKEYSINSLOT", &self.slot, "100"]).unwrap();
            let Reply::Array(keys) = reply else { panic!("{reply:?}") };
            if keys.is_empty() {
                break;
            }
            for key in keys {
                let Reply::Bulk(key) = key else { panic!("{key:?}") };
                self.migrate(&String::from_utf8(key).unwrap());
            }
        }
        for at in [self.to, self.from] {
            self.set_slot(at, "NODE", self.to);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moved_keys_give_ask_and_split_groups_give_try_again() {
    let cluster = masters();
    let writer = Writer::start(Options::new(&cluster.addresses())).await.unwrap();
    writer.wait_for_writes(2000, LIMIT).await.unwrap();
    let counter = Move::open(&cluster, "checked:0:n32");
    counter.migrate("checked:0:n32");
    let group = Move::open(&cluster, "{checked:1:g40}");
    group.migrate("{checked:1:g40}a");
    // A writer takes TRYAGAIN for so long and no longer: nothing else is waited for.
    let told = || counter.has_said("ASK") && group.has_said("TRYAGAIN");
    e2e::wait::until_async("somebody is told to ask elsewhere and to try again", LIMIT, async || told())
        .await
        .unwrap();
    group.close();
    counter.close();
    writer.wait_for_writes(1000, LIMIT).await.unwrap();
    let report = writer.finish().await.unwrap();
    report.assert_no_failures();
    let redirections = &report.tally.redirections;
    assert!(redirections.ask > 0 && redirections.try_again > 0 && redirections.moved > 0, "{report}");
}

//! Planted faults. Those at the end are planted by changing a key behind the writer's back after it has stopped;
//! those within a run by a proxy that lies.

use crate::proxy::{Fault, Proxy};
use crate::{LIMIT, masters};
use e2e::writer::{Loss, Options, Report, Writer};
use e2e::{Binary, LocalCluster, PortBlock, Server, ServerSpec};
use node_server_protocol::key_slot;
use node_server_protocol::resp::Reply;
use std::collections::BTreeMap;

/// Sends a command to the master that owns the key's slot.
pub(crate) fn call_owner(cluster: &LocalCluster, key: &[u8], args: &[&[u8]]) -> Reply {
    let owner = cluster.owner(0, key_slot(key)).unwrap();
    cluster.nodes[owner].client().unwrap().call(args).unwrap()
}

/// All texts that the writer has written and that are there now.
fn texts(cluster: &LocalCluster) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut texts = BTreeMap::new();
    for node in &cluster.nodes {
        let mut client = node.client().unwrap();
        let Reply::Array(keys) = client.call(&["KEYS", "checked:*:s*"]).unwrap() else { panic!() };
        for key in keys {
            let Reply::Bulk(key) = key else { panic!() };
            if let Reply::Bulk(value) = client.call(&[b"GET", &key[..]]).unwrap() {
                texts.insert(key, value);
            }
        }
    }
    texts
}

/// Runs a writer, stops it, lets `plant` change something, and checks. `plant` is given the texts of some moment
/// during the run and those of its end.
async fn run(plant: impl FnOnce(&LocalCluster, Texts, Texts)) -> Report {
    let cluster = masters();
    let writer = Writer::start(Options::new(&cluster.addresses())).await.unwrap();
    writer.wait_for_writes(2000, LIMIT).await.unwrap();
    let before = texts(&cluster);
    writer.wait_for_writes(4000, LIMIT).await.unwrap();
    let stopped = writer.stop().await.unwrap();
    plant(&cluster, before, texts(&cluster));
    stopped.check().await
}

type Texts = BTreeMap<Vec<u8>, Vec<u8>>;

fn assert_one_violation(report: &Report, text: &str) {
    assert_eq!(report.violation_count, 1, "{report}");
    assert!(report.violations[0].contains(text), "{report}");
    assert_eq!(report.failed, 0, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_write() {
    let report = run(|cluster, before, after| {
        let changed = after.iter().find(|(key, value)| before.get(*key).is_some_and(|old| old != *value));
        let key = changed.expect("some key has been written twice").0;
        call_owner(cluster, key, &[b"SET", key, &before[key]]);
    });
    assert_one_violation(&report.await, "must show");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_key() {
    let report = run(|cluster, _, after| {
        let key = after.keys().next().unwrap();
        // One that is about to expire would be no loss.
        let key = after.keys().find(|key| is_lasting(cluster, key)).unwrap_or(key);
        call_owner(cluster, key, &[b"DEL", key]);
    });
    assert_one_violation(&report.await, "must show");
}

fn is_lasting(cluster: &LocalCluster, key: &[u8]) -> bool {
    call_owner(cluster, key, &[b"PTTL", key]) == Reply::Integer(-1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resurrection() {
    let report = run(|cluster, before, after| {
        let gone = before.iter().find(|(key, _)| !after.contains_key(*key));
        let (key, value) = gone.expect("some key has been deleted");
        call_owner(cluster, key, &[b"SET", key, value]);
    });
    assert_one_violation(&report.await, "must show");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_value() {
    let report = run(|cluster, _, after| {
        let key = after.keys().find(|key| is_lasting(cluster, key)).unwrap();
        call_owner(cluster, key, &[b"APPEND", key, b"!"]);
    });
    assert_one_violation(&report.await, "nobody has written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_increment_and_one_too_many() {
    for (key, change) in [("checked:0:n32", &b"DECR"[..]), ("checked:shared0", b"DECR")] {
        let report =
            run(|cluster, _, _| drop(call_owner(cluster, key.as_bytes(), &[change, key.as_bytes()])));
        assert_one_violation(&report.await, key);
    }
    let key = "checked:0:n32";
    let report = run(|cluster, _, _| drop(call_owner(cluster, key.as_bytes(), &[b"INCR", key.as_bytes()])));
    assert_one_violation(&report.await, "nobody has written");
}

/// A master with all slots that announces a proxy's port.
async fn run_behind(fault: Fault) -> Report {
    let ports = PortBlock::reserve(2).unwrap();
    let spec = ServerSpec::cluster_node(Binary::Redis, ports.port(0));
    let server = Server::start(spec.with("cluster-announce-port", ports.port(1))).unwrap();
    server.client().unwrap().call(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).unwrap();
    let proxy = Proxy::start(ports.port(1), server.address(), fault).await;
    e2e::wait::until("the master serves", LIMIT, || {
        server.client().and_then(|mut c| c.call(&["GET", "x"])).is_ok()
    })
    .unwrap();
    let writer = Writer::start(Options::new(&[format!("127.0.0.1:{}", ports.port(1))])).await.unwrap();
    e2e::wait::until_async("the fault is planted", LIMIT, async || proxy.is_done()).await.unwrap();
    writer.wait_for_writes(2000, LIMIT).await.unwrap();
    writer.finish().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_does_not_lie_is_not_seen() {
    run_behind(Fault::None).await.assert_no_failures();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_read() {
    let report = run_behind(Fault::StaleRead).await;
    assert_eq!(report.failed, 0, "{report}");
    assert!(report.violations[0].starts_with("GET of"), "{report}");
}

/// The next INCR shows it, or a GET before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_increment_that_was_acknowledged_and_not_done() {
    let report = run_behind(Fault::SwallowedIncrement).await;
    assert_one_violation(&report, "must show");
    let by = &report.violations[0];
    assert!(by.starts_with("Increment of") || by.starts_with("GET of"), "{report}");
}

/// Half of a transaction is there: a failover may lose it, whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_group() {
    const KEY: &[u8] = b"{checked:0:g40}a";
    let cluster = masters();
    let options = Options { loss: Loss::Suffix, ..Options::new(&cluster.addresses()) };
    let writer = Writer::start(options).await.unwrap();
    let text = || match call_owner(&cluster, KEY, &[b"GET", KEY]) {
        Reply::Bulk(text) => Some(text),
        _ => None,
    };
    e2e::wait::until_async("the group is written", LIMIT, async || text().is_some()).await.unwrap();
    let before = text().unwrap();
    e2e::wait::until_async("and written again", LIMIT, async || text().as_ref() != Some(&before))
        .await
        .unwrap();
    let stopped = writer.stop().await.unwrap();
    call_owner(&cluster, KEY, &[b"SET", KEY, &before]);
    let report = stopped.check().await;
    let torn = |text: &String| text.contains("change together with {checked:0:g40}a differ");
    assert!(report.violations.iter().any(torn), "{report}");
}

/// The next DEL or SET with GET or GET may show it, or a later write hides it: so DEL of a key that is not written
/// again until it is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_was_acknowledged_and_not_done() {
    let report = run_behind(Fault::SwallowedDeletion).await;
    assert!(report.violation_count > 0 && report.failed == 0, "{report}");
    assert!(report.violations[0].contains("must show"), "{report}");
}

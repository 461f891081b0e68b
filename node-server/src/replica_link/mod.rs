//! Replication, both sides, on a thread of its own (reference/replication §2): gives this node's log to its replicas,
//! and takes the master's if this node is a replica.

mod failover;
mod feed;
mod follow;
mod hub;
mod leader;

use crate::links::Between;
use crate::node::{MasterLink, Node, ReplicationStatus, RoleAnswer, ToReplication};
use crate::start::random_id;
use anyhow::Context as _;
use hub::Hub;
use leader::{Leader, Master};
use node_server_engine::{Engine, MasterAddress};
use node_server_protocol::Millis;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

/// How often status, deadlines and PINGs are looked at.
const TICK: Duration = Duration::from_millis(100);
/// A replica that has not acknowledged anything for so long is out of sync: no gate waits for it. Replicas acknowledge
/// every second.
pub(crate) const IN_SYNC_MS: u64 = 3000;
/// Threads for work that may wait for slots.
const BLOCKING_THREADS: usize = 2;
/// A master that is not ours wants to change places.
const OTHER_HISTORY: &[u8] = b"-ERR PSYNC FAILOVER replid must match my replid.\r\n";
/// What our replicas say with REPLCONF capa: they acknowledge every batch by themselves, without GETACK.
const BATCH_ACK: &str = "batch-ack";

/// Starts the thread. It ends after [`ToReplication::Stop`]. `known`: the master that this node had in its cluster, whom
/// it will follow as soon as the core says so.
///
/// # Errors
/// The system refuses threads.
pub(crate) fn start(
    node: Arc<Node>,
    requests: Receiver<ToReplication>,
    between: Arc<Between>,
    known: Option<MasterLink>,
) -> anyhow::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .context("the replication thread's runtime")?;
    let hub = Arc::new(Hub::new(node, between));
    let master = hub.node.config.settings().replicaof.clone();
    if let Some(link) = known.or_else(|| master.as_ref().map(MasterLink::begin)) {
        // Before anybody is served: nobody is to see a master here.
        hub.set_master(Some(link));
    }
    let thread = std::thread::Builder::new().name("replication".into()).spawn(move || {
        runtime.block_on(run(hub, requests, master));
        // A commit that waits for a slot is given up.
        runtime.shutdown_background();
    })?;
    Ok(thread)
}

async fn run(hub: Arc<Hub>, mut requests: Receiver<ToReplication>, master: Option<MasterAddress>) {
    let mut leader = Leader::default();
    if let Some(address) = master {
        leader.follow(&hub, Some(Master::named(address))).await;
    }
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            request = requests.recv() => match request {
                Some(ToReplication::Psync(new)) => {
                    if !new.wanted.failover || leader.take_over(&hub, &new.wanted.replid).await {
                        tokio::spawn(feed::serve(Arc::clone(&hub), new));
                    } else {
                        feed::refuse(new, OTHER_HISTORY);
                    }
                }
                Some(ToReplication::Follow { master }) => {
                    let master = master.map(|(id, address, partial)| {
                        let (host, port) = (address.ip().to_string(), address.port());
                        let address = MasterAddress { host, port };
                        Master { id: Some(id), address, partial, takes_over: false }
                    });
                    leader.follow(&hub, master).await;
                    hub.between.role_done();
                }
                Some(ToReplication::ReplicaOf { master, from, answer }) => {
                    let text = leader.replica_of(&hub, master, &from).await;
                    match answer {
                        RoleAnswer::Client(to) => hub.node.mailboxes.reply(to, line(text)),
                        // It waits for nothing else.
                        RoleAnswer::Worker(done) => drop(done.try_send(text)),
                    }
                }
                Some(ToReplication::Failover { request, reply_to }) => {
                    let text = leader.fail_over(&hub, request).await;
                    hub.node.mailboxes.reply(reply_to, line(text));
                }
                Some(ToReplication::ConfigChanged) => hub.config_changed(),
                Some(ToReplication::Stop) | None => break,
            },
            () = hub.node.replication.log_grew.notified() => hub.log_grew(),
            () = hub.answered() => leader.look_at_failover(&hub).await,
            _ = tick.tick() => {
                hub.tick();
                leader.look_at_failover(&hub).await;
            }
        }
    }
    leader.stop().await;
}

/// A text as RESP: an error if it begins with ERR.
fn line(text: &str) -> Vec<u8> {
    let kind = if text.starts_with("ERR ") { '-' } else { '+' };
    format!("{kind}{text}\r\n").into_bytes()
}

/// Replicas that could take over, the one that acknowledged most first: their client addresses.
pub(crate) fn candidates(status: &ReplicationStatus, now: Millis) -> Vec<SocketAddr> {
    let mut replicas: Vec<_> = status
        .replicas
        .iter()
        .filter(|r| r.state == "online" && now.since(r.last_ack) <= IN_SYNC_MS)
        .filter_map(|r| Some((r.offset, SocketAddr::new(r.ip.parse::<IpAddr>().ok()?, r.port))))
        .collect();
    replicas.sort_by_key(|(offset, address)| (std::cmp::Reverse(*offset), *address));
    replicas.into_iter().map(|(_, address)| address).collect()
}

/// All keys go; the log begins anew under a name that nobody knows. Returns how many keys there were.
pub(crate) fn forget_all(engine: &Engine, now: Millis) -> u64 {
    let replid = random_id().map_or_else(
        |error| {
            tracing::error!("no random replication id: {error:#}");
            // The zero id names no history either.
            node_server_engine::log::NO_REPLID.into()
        },
        |id| id.to_string(),
    );
    engine.forget_all(replid, now)
}

#[cfg(test)]
mod tests;

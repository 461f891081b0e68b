//! What a process that is to leave waits for: a handover in a cluster, and outside of one that its replicas have all it
//! wrote (Redis: isReadyToShutdown, finishShutdown).

use super::{DRAIN_MS, Request, STEP};
use crate::mailbox::ReplyTo;
use crate::node::{HandOver, Node, ToBus, now};
use node_server_protocol::Millis;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};

/// A pause without end: the process leaves, or takes it back.
const FOR_EVER: Millis = Millis(u64::MAX);

/// What became of the wait.
pub(super) enum Waited {
    Over(HandOver),
    Aborted,
    Fatal(String),
}

/// Waits, within `shutdown-timeout`. `askers` grows by those who send SHUTDOWN meanwhile, one for each connection.
pub(super) fn wait(node: &Node, requests: &Receiver<Request>, askers: &mut Vec<ReplyTo>) -> Waited {
    let settings = node.config.settings();
    if settings.shutdown_timeout_s == 0 {
        return Waited::Over(HandOver::NotNeeded);
    }
    let deadline = now().after(settings.shutdown_timeout_s * 1000);
    node.set_shutdown(Some(deadline));
    match settings.cluster_enabled {
        true => hand_over(node, requests, askers, deadline),
        false => wait_for_replicas(node, requests, askers, deadline),
    }
}

/// Lets a replica take over.
fn hand_over(
    node: &Node,
    requests: &Receiver<Request>,
    askers: &mut Vec<ReplyTo>,
    deadline: Millis,
) -> Waited {
    let (done, outcome) = sync_channel(1);
    if node.bus.ask(ToBus::HandOver { deadline, done }).is_err() {
        tracing::warn!("the bus thread does not take the handover; leaving without one");
        return Waited::Over(HandOver::GaveUp);
    }
    loop {
        match outcome.recv_timeout(STEP) {
            Ok(handed_over) => {
                tracing::info!("Handover: {handed_over:?}");
                return Waited::Over(handed_over);
            }
            Err(RecvTimeoutError::Disconnected) => return Waited::Over(HandOver::GaveUp),
            // The bus thread keeps the deadline itself; this is for one that hangs.
            Err(RecvTimeoutError::Timeout) if now() > deadline.after(DRAIN_MS) => {
                return Waited::Over(HandOver::GaveUp);
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(ended) = meanwhile(node, requests, askers) {
            if matches!(ended, Waited::Aborted) && node.bus.ask(ToBus::Stay).is_err() {
                tracing::warn!("the bus thread does not hear that this node stays; it may hand over");
            }
            return ended;
        }
    }
}

/// Takes no more writes, nor what a master of its own sends, until its replicas have acknowledged all there is: Redis asks
/// for no role here. The pause stays: what came behind it would be acknowledged and lost, or be in this node's file and not
/// where the replicas go on. Whoever does not leave after all ends it.
fn wait_for_replicas(
    node: &Node,
    requests: &Receiver<Request>,
    askers: &mut Vec<ReplyTo>,
    deadline: Millis,
) -> Waited {
    if node.replication.status.load().replicas.is_empty() {
        return Waited::Over(HandOver::NotNeeded);
    }
    node.engine.pause_writes(FOR_EVER);
    if lagging(node, node.engine.log().end()) > 0 {
        tracing::info!("Waiting for replicas before shutting down.");
    }
    let mut settled = None;
    while node.engine.writes_paused() && now() < deadline {
        settled = settled.or_else(|| node.engine.writes_settled());
        if settled.is_some_and(|end| lagging(node, end) == 0) {
            break;
        }
        if let Some(ended) = meanwhile(node, requests, askers) {
            return ended;
        }
        std::thread::sleep(STEP);
    }
    report(node, settled.unwrap_or_else(|| node.engine.log().end()));
    Waited::Over(HandOver::NotNeeded)
}

/// How many replicas have not acknowledged everything up to `end`; one that is not in sync yet has not.
fn lagging(node: &Node, end: u64) -> usize {
    node.replication.status.load().replicas.len().saturating_sub(node.engine.acks().count(end))
}

/// Redis's words.
fn report(node: &Node, end: u64) {
    let status = node.replication.status.load();
    let replicas = status.replicas.len();
    if replicas == 0 {
        return;
    }
    let late = lagging(node, end);
    for replica in status.replicas.iter().filter(|r| late > 0 && (r.state != "online" || r.offset < end)) {
        let (behind, lag_s) = (end.saturating_sub(replica.offset), now().since(replica.last_ack) / 1000);
        tracing::info!(
            "Lagging replica {}:{} reported offset {behind} behind master, lag={lag_s}, state={}.",
            replica.ip,
            replica.port,
            replica.state
        );
    }
    tracing::info!("{} of {replicas} replicas are in sync when shutting down.", replicas - late);
}

/// Looks at what was asked for during the wait.
fn meanwhile(node: &Node, requests: &Receiver<Request>, askers: &mut Vec<ReplyTo>) -> Option<Waited> {
    while let Ok(request) = requests.try_recv() {
        match request {
            Request::Abort { reply_to } => {
                node.mailboxes.reply(reply_to, b"+OK\r\n".to_vec());
                return Some(Waited::Aborted);
            }
            Request::Fatal(message) => return Some(Waited::Fatal(message)),
            // As in Redis, it waits with the first.
            Request::Command { reply_to, .. } => askers.push(reply_to),
            Request::Signal(_) => {}
        }
    }
    None
}

//! FAILOVER: without a cluster, a master hands over to one of its replicas. Writes are held back until a replica has
//! everything; then this node follows it, and says so with PSYNC … FAILOVER. Facts: redis.io/docs/latest/commands/failover;
//! words and order of the refusals: redis-server 7.0.15.

use super::hub::Hub;
use super::leader::{Leader, Master};
use crate::node::{FailoverState, now};
use node_server_engine::{FailoverRequest, MasterAddress};
use node_server_protocol::Millis;
use std::sync::Arc;

/// A pause without end: the failover ends it.
const FOR_EVER: Millis = Millis(u64::MAX);

/// A failover that has begun.
#[derive(Clone, Debug)]
pub(super) struct Failover {
    /// Who is to take over; `None`: whoever has everything first.
    target: Option<MasterAddress>,
    /// At the deadline the target takes over although it lacks something.
    force: bool,
    /// When a wait ends; `None`: never.
    deadline: Option<Millis>,
    pub(super) state: FailoverState,
}

/// What the follower of a target found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted,
    Rejected,
}

impl Leader {
    /// FAILOVER; returns the reply, which is an error if it begins with ERR.
    pub(super) async fn fail_over(&mut self, hub: &Arc<Hub>, request: FailoverRequest) -> &'static str {
        let (target, force, timeout_ms) = match request {
            FailoverRequest::Abort if hub.failover().is_none() => return "ERR No failover in progress.",
            FailoverRequest::Abort => {
                self.abort_failover(hub, "Failover manually aborted").await;
                return "OK";
            }
            FailoverRequest::Begin { target, force, timeout_ms } => (target, force, timeout_ms),
        };
        if let Err(refusal) = may_begin(hub, target.as_ref(), force, timeout_ms) {
            return refusal;
        }
        let deadline = timeout_ms.map(|ms| now().after(ms));
        hub.set_failover(Some(Failover { target, force, deadline, state: FailoverState::WaitingForSync }));
        hub.node.engine.pause_writes(FOR_EVER);
        tracing::info!("FAILOVER requested");
        "OK"
    }

    /// Looks how a failover stands: every tick, and when a target has answered.
    pub(super) async fn look_at_failover(&mut self, hub: &Arc<Hub>) {
        let Some(failover) = hub.failover() else { return };
        match (failover.state, hub.take_verdict()) {
            // The pause was ended by whoever applied the first byte.
            (FailoverState::InProgress, Some(Verdict::Accepted)) => hub.set_failover(None),
            (FailoverState::InProgress, Some(Verdict::Rejected)) => {
                self.abort_failover(hub, "Failover target rejected psync request").await;
            }
            (FailoverState::WaitingForSync, _) => self.wait_for_sync(hub, failover).await,
            _ => {}
        }
    }

    async fn wait_for_sync(&mut self, hub: &Arc<Hub>, failover: Failover) {
        let end = hub.node.engine.writes_settled();
        if failover.deadline.is_some_and(|deadline| now() >= deadline) {
            match &failover.target {
                Some(target) if failover.force && end.is_some() => {
                    tracing::info!("Failover to {target} time out exceeded, failing over.");
                    self.change_places(hub, target.clone(), failover.clone()).await;
                }
                // Another moment: a command that writes is still under way.
                Some(_) if failover.force => {}
                _ => self.abort_failover(hub, "Replica never caught up before timeout").await,
            }
            return;
        }
        let synced = end.and_then(|end| hub.who_has(end, failover.target.as_ref()));
        if let Some(target) = synced {
            tracing::info!("Failover target {target} is synced; performing failover.");
            self.change_places(hub, target, failover).await;
        }
    }

    /// This node is a replica from now on. Writes stay held back until the target has said that it takes over, and are
    /// refused then: until then it may all be taken back, and they go on here.
    async fn change_places(&mut self, hub: &Arc<Hub>, target: MasterAddress, failover: Failover) {
        let state = FailoverState::InProgress;
        // Seen together with the new role: nobody is to see a master in this state.
        hub.note_failover(Some(Failover { target: Some(target.clone()), state, ..failover }));
        hub.node.config.set_replicaof(Some(&target));
        hub.node.engine.set_replica(true);
        // Who waits for acknowledgements waits in vain.
        hub.node.mailboxes.acks_advanced();
        let master = Master { takes_over: true, ..Master::named(target) };
        self.follow(hub, Some(master)).await;
    }

    /// Everything stays, or becomes again, as it was.
    async fn abort_failover(&mut self, hub: &Arc<Hub>, why: &str) {
        let Some(failover) = hub.failover() else { return };
        let to = failover.target.as_ref().map(|target| format!(" to {target}")).unwrap_or_default();
        tracing::info!("Aborting failover{to} while {}: {why}", failover.state.word());
        if failover.state == FailoverState::InProgress {
            self.become_master(hub).await;
        }
        hub.set_failover(None);
        resume(hub);
    }
}

/// Whether a failover may begin, in Redis's order.
fn may_begin(
    hub: &Hub,
    target: Option<&MasterAddress>,
    force: bool,
    timeout_ms: Option<u64>,
) -> Result<(), &'static str> {
    if hub.failover().is_some() {
        return Err("ERR FAILOVER already in progress.");
    }
    if hub.node.engine.is_replica() {
        return Err("ERR FAILOVER is not valid when server is a replica.");
    }
    if hub.node.replication.status.load().replicas.is_empty() {
        return Err("ERR FAILOVER requires connected replicas.");
    }
    if force && (timeout_ms.is_none() || target.is_none()) {
        return Err("ERR FAILOVER with force option requires both a timeout and target HOST and IP.");
    }
    match target.map(|target| hub.is_online(target)) {
        Some(None) => Err("ERR FAILOVER target HOST and PORT is not a replica."),
        Some(Some(false)) => Err("ERR FAILOVER target replica is not online."),
        Some(Some(true)) | None => Ok(()),
    }
}

/// Lets writes go on, unless the process leaves, which holds them back itself.
pub(super) fn resume(hub: &Hub) {
    if hub.node.shutdown_at().is_none() {
        hub.node.engine.resume_writes();
    }
}

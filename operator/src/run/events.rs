//! Events: what a user would act on, or would want to have been told. Nothing that repeats while all is well.

use crate::reconcile::{Subject, Told};
use crate::status::holds;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use operator_api::RedisClusterStatus;
use operator_planner::{FailoverMode, Step};
use tokio::sync::mpsc;
use tracing::Instrument as _;

/// Most events that wait to be written; more than that are only logged.
const WAITING_MAX: usize = 64;
/// Longest note, in bytes: the API server takes 1 KiB.
const NOTE_MAX: usize = 1000;

/// Writes events of one cluster on a task of its own.
pub(super) struct Events {
    sender: mpsc::Sender<Event>,
}

impl Events {
    pub(super) fn start(client: Client, cluster: ObjectReference) -> Self {
        let (sender, mut events) = mpsc::channel::<Event>(WAITING_MAX);
        let instance = std::env::var("POD_NAME").ok();
        let recorder = Recorder::new(client, Reporter { controller: "slotkeeper-operator".into(), instance });
        let write = async move {
            while let Some(event) = events.recv().await {
                if let Err(error) = recorder.publish(&event, &cluster).await {
                    tracing::warn!(reason = event.reason, %error, "an event could not be written");
                }
            }
        };
        tokio::spawn(write.in_current_span());
        Self { sender }
    }

    /// Something was told.
    pub(super) fn told(&self, told: &Told) {
        if let Some((kind, reason, action)) = of_subject(&told.subject) {
            self.send(kind, reason, action, &told.line);
        }
    }

    /// The status has changed.
    pub(super) fn status(&self, before: &RedisClusterStatus, now: &RedisClusterStatus) {
        let condition = |status: &RedisClusterStatus, kind: &str| {
            status.conditions.iter().find(|c| c.type_ == kind).cloned()
        };
        if holds(now, "Ready") && !holds(before, "Ready") {
            self.send(EventType::Normal, "Ready", "Reconcile", "everything is as declared");
        }
        let degraded = condition(now, "Degraded").filter(|c| c.status == "True");
        let was = condition(before, "Degraded").filter(|c| c.status == "True").map(|c| c.reason);
        if let Some(condition) = degraded.filter(|c| was.as_ref() != Some(&c.reason)) {
            self.send(EventType::Warning, &condition.reason, "Reconcile", &condition.message);
        }
    }

    fn send(&self, type_: EventType, reason: &str, action: &str, note: &str) {
        let mut note = note.to_owned();
        note.truncate(note.floor_char_boundary(NOTE_MAX));
        let event =
            Event { type_, reason: reason.into(), note: Some(note), action: action.into(), secondary: None };
        if let Err(error) = self.sender.try_send(event) {
            tracing::warn!(%error, "an event was dropped: too many wait");
        }
    }
}

fn of_subject(subject: &Subject) -> Option<(EventType, &'static str, &'static str)> {
    Some(match subject {
        Subject::Begun(step) => return of_step(step),
        Subject::Moved => (EventType::Normal, "SlotsMoved", "Reshard"),
        Subject::Moving | Subject::NotDone | Subject::Paused => return None,
    })
}

fn of_step(step: &Step) -> Option<(EventType, &'static str, &'static str)> {
    Some(match step {
        Step::Failover { mode: FailoverMode::Graceful, .. } => (EventType::Normal, "HandingOver", "Failover"),
        Step::Failover { .. } => (EventType::Warning, "FailingOver", "Failover"),
        Step::AssignSlots { .. } => (EventType::Normal, "AssigningSlots", "Create"),
        Step::ReportLoss { .. } => (EventType::Warning, "DataLost", "Recover"),
        Step::Reopen { .. } | Step::ReplaceOwner { .. } => (EventType::Warning, "ReopenedEmpty", "Recover"),
        Step::Forget { .. } => (EventType::Normal, "ForgettingNode", "Forget"),
        Step::EnsureMember { .. }
        | Step::SetConfigEpoch { .. }
        | Step::Meet { .. }
        | Step::Replicate { .. }
        | Step::MigrateSlots { .. }
        | Step::CloseSlots { .. }
        | Step::Reset { .. }
        | Step::RemoveMember { .. } => return None,
    })
}

/// A step's name in metrics.
pub(super) const fn step_name(step: &Step) -> &'static str {
    match step {
        Step::EnsureMember { .. } => "ensure_member",
        Step::SetConfigEpoch { .. } => "set_config_epoch",
        Step::Meet { .. } => "meet",
        Step::AssignSlots { .. } => "assign_slots",
        Step::ReplaceOwner { .. } => "replace_owner",
        Step::Replicate { .. } => "replicate",
        Step::MigrateSlots { .. } => "migrate_slots",
        Step::CloseSlots { .. } => "close_slots",
        Step::Failover { .. } => "failover",
        Step::Forget { .. } => "forget",
        Step::Reset { .. } => "reset",
        Step::RemoveMember { .. } => "remove_member",
        Step::ReportLoss { .. } => "report_loss",
        Step::Reopen { .. } => "reopen",
    }
}

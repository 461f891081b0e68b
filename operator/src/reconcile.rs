//! One cluster's look, plan and act, the same for pods and processes. It never waits for a step to end; it looks again.

use crate::act::{Connections, DROPPED, Ended, Executor};
use crate::manifest::Manifest;
use crate::observe::Observer;
use crate::platform::Platform;
use crate::status::{self, Inputs};
use crate::story::Story;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use operator_api::RedisClusterStatus;
use operator_planner::{Destinations, Life, MemberId, Names, Observed, Plan, PlannedStep, Step, check, plan};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Time to the next look while something is to be done.
const BUSY_LOOK: Duration = Duration::from_millis(50);

/// Everything that one cluster is reconciled with.
pub struct Reconciler<P> {
    /// Where members run.
    pub platform: P,
    observer: Observer,
    executor: Executor,
    story: Story,
    /// The last status.
    status: RedisClusterStatus,
}

/// What a look came to.
pub struct Looked {
    /// What was seen.
    pub observed: Observed,
    /// What follows.
    pub plan: Plan,
    /// The same for the user.
    pub status: RedisClusterStatus,
    /// Nothing is to be done, waited for or amiss.
    pub is_converged: bool,
}

/// Something that a person would want to know of, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What it is about.
    pub subject: Subject,
    /// In words.
    pub line: String,
}

/// What something told is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// This step begins.
    Begun(Step),
    /// Slots move: how far they are.
    Moving,
    /// Slots have moved.
    Moved,
    /// Something could not be done; it is tried again.
    NotDone,
    /// Something would be done, were it not for `spec.paused`.
    Paused,
}

impl<P: Platform> Reconciler<P> {
    /// Before the first look; `status` is what an earlier operator last said.
    pub fn new(platform: P, status: RedisClusterStatus) -> Self {
        Self {
            platform,
            observer: Observer::default(),
            executor: Executor::new(Connections::default()),
            story: Story::default(),
            status,
        }
    }

    /// The last status.
    pub fn status(&self) -> &RedisClusterStatus {
        &self.status
    }

    /// What was said instead, of a declaration that cannot be followed.
    pub fn set_status(&mut self, status: RedisClusterStatus) {
        self.status = status;
    }

    /// Another declaration is followed from now on.
    pub fn follow_anew(&mut self) {
        self.executor.call_off(|_| false);
    }

    /// One look at everything, and what follows from it.
    pub async fn look(&mut self, manifest: &Manifest) -> Looked {
        let members = self.platform.members().await;
        let mut observed = self.observer.look(members, self.platform.gone()).await;
        self.remember(&observed);
        observed.gone = self.platform.gone();
        let plan = plan(&manifest.desired, &observed);
        if self.executor.is_moving()
            && let Some(destinations) = Destinations::new(&manifest.desired, &observed)
        {
            self.executor.call_off(|step| destinations.still_want(step));
        }
        let findings = check(&manifest.desired, &observed);
        let inputs = Inputs {
            desired: &manifest.desired,
            observed: &observed,
            plan: &plan,
            findings: &findings,
            identities: &self.platform.identities(),
            notices: &self.platform.notices(),
            generation: manifest.cluster.metadata.generation.unwrap_or(0),
            now: Time(Timestamp::now()),
        };
        let status = status::status(&inputs, &self.status);
        tracing::debug!(next = ?status.plan.next, waiting = ?status.plan.waiting, ?findings, "looked");
        let is_converged = findings.is_empty() && plan.is_converged();
        self.status = status.clone();
        Looked { observed, plan, status, is_converged }
    }

    /// Tells the platform who is who, so that a lost identity shows.
    fn remember(&mut self, observed: &Observed) {
        let Some(members) = observed.members.known() else { return };
        for (member, seen) in members {
            if let Some(report) = seen.node.known() {
                self.platform.remember(*member, &seen.uid, report.id);
            }
        }
        let known_by_all: Option<Vec<_>> = members.values().map(|m| m.node.known()).collect();
        let Some(reports) = known_by_all else { return };
        for gone in &observed.gone {
            if reports.iter().all(|r| r.line(gone.id).is_none()) {
                self.platform.forgotten(gone.id);
            }
        }
    }

    /// The beginning of what is due, and what there is to tell.
    pub async fn act(&mut self, manifest: &Manifest, looked: &Looked) -> Vec<Told> {
        let mut told: Vec<Told> = Vec::new();
        for ended in self.executor.take_ended() {
            told.extend(self.step_ended(&ended));
        }
        let names = Names::new(&manifest.desired, &looked.observed);
        let addresses = addresses(&looked.observed);
        for planned in looked.plan.due() {
            if let Step::RemoveMember { member, uid } = &planned.step {
                let removed = self.platform.remove(*member, uid).await;
                told.extend(removed.err().and_then(|e| self.not_done(e.to_string())));
            } else {
                told.extend(self.begin(planned, &names, &addresses));
            }
        }
        if looked.plan.paused {
            for planned in &looked.plan.steps {
                told.extend(
                    self.once(Subject::Paused, format!("paused, or else: {}", names.step(&planned.step))),
                );
            }
        }
        told.extend(self.ensure(&looked.plan).await);
        let moving = self.executor.is_moving() || looked.plan.due().iter().any(|p| is_move(&p.step));
        let moved = self.story.progress(moving, Instant::now());
        let subject = if moving { Subject::Moving } else { Subject::Moved };
        told.extend(moved.map(|line| Told { subject, line }));
        told
    }

    fn begin(
        &mut self,
        planned: &PlannedStep,
        names: &Names<'_>,
        addresses: &BTreeMap<MemberId, SocketAddr>,
    ) -> Option<Told> {
        let begun = self.executor.begin(planned, names, addresses);
        let tells = begun || matches!(planned.step, Step::ReportLoss { .. });
        let line = tells.then(|| self.story.begins(&planned.step, names, Instant::now())).flatten()?;
        Some(Told { subject: Subject::Begun(planned.step.clone()), line })
    }

    /// First the first members of all shards, then the second ones: the numbering of the tutorial.
    async fn ensure(&mut self, plan: &Plan) -> Vec<Told> {
        let ensured = |p: &PlannedStep| match p.step {
            Step::EnsureMember { member } => Some(member),
            _ => None,
        };
        let mut members: Vec<MemberId> = plan.due().iter().filter_map(ensured).collect();
        members.sort_by_key(|m| (m.ordinal, m.shard));
        let mut told = Vec::new();
        for member in members {
            let ensured = self.platform.ensure(member).await;
            told.extend(ensured.err().and_then(|error| self.not_done(error.to_string())));
        }
        told
    }

    /// When to look again, if nothing happens earlier.
    pub fn next_look(&self, looked: &Looked, idle: Duration) -> Duration {
        let busy = !looked.is_converged || self.executor.running().next().is_some();
        if busy { BUSY_LOOK } else { idle }
    }

    /// Returns when a look is due earlier than said, with what there is to tell.
    pub async fn changed(&mut self) -> Option<Told> {
        tokio::select! {
            () = self.platform.changed() => None,
            () = self.observer.disturbed() => None,
            ended = self.executor.next_ended() => self.step_ended(&ended),
        }
    }

    fn step_ended(&mut self, ended: &Ended) -> Option<Told> {
        let (words, took_ms, result) = (&ended.words, ended.took.as_millis(), &ended.result);
        tracing::info!(step = words, took_ms, ?result, "a step ended");
        match (result, &ended.step) {
            (Ok(moved), Step::MigrateSlots { slots, .. }) => {
                self.story.moved(slots.len(), moved.keys);
                None
            }
            (Err(error), _) if error != DROPPED => self.not_done(format!("{words}: {error}")),
            (Ok(_) | Err(_), _) => None,
        }
    }

    fn not_done(&mut self, reason: String) -> Option<Told> {
        self.once(Subject::NotDone, format!("not done: {reason}"))
    }

    fn once(&mut self, subject: Subject, line: String) -> Option<Told> {
        self.story.once(line, Instant::now()).map(|line| Told { subject, line })
    }
}

const fn is_move(step: &Step) -> bool {
    matches!(step, Step::MigrateSlots { .. })
}

fn addresses(observed: &Observed) -> BTreeMap<MemberId, SocketAddr> {
    let members = observed.members.known().into_iter().flatten();
    members
        .filter(|(_, m)| matches!(m.life, Life::Running | Life::Unknown(_)))
        .map(|(id, m)| (*id, m.address.client()))
        .collect()
}

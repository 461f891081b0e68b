//! The loop of `operator local`: look, plan, act. It never waits for a step to end; it looks again.

use crate::act::{DROPPED, Ended, Executor};
use crate::dump::Dump;
use crate::manifest::Manifest;
use crate::observe::Observer;
use crate::platform::Platform;
use crate::platform::local::{Local, Settings};
use crate::status::{self, Inputs};
use crate::story::Story;
use crate::terminal::Terminal;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use operator_api::RedisClusterStatus;
use operator_planner::{Life, MemberId, Names, Observed, Plan, Step, check, plan};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Time to the next look while something is to be done.
const BUSY_LOOK: Duration = Duration::from_millis(50);
/// Time to the next look when everything is as declared; changes wake earlier.
const IDLE_LOOK: Duration = Duration::from_millis(500);

/// Everything the loop works with.
pub struct Controller<W> {
    /// What is declared.
    pub manifest: Manifest,
    /// Where members run.
    pub platform: Local,
    /// What a person sees.
    pub terminal: Terminal<W>,
    /// Where the state is dumped, if anywhere.
    pub dump: Option<PathBuf>,
    observer: Observer,
    executor: Executor,
    status: RedisClusterStatus,
    story: Story,
    unready_since: Instant,
}

impl<W: Write> Controller<W> {
    /// Before the first look.
    pub fn new(manifest: Manifest, platform: Local, terminal: Terminal<W>, dump: Option<PathBuf>) -> Self {
        Self {
            manifest,
            platform,
            terminal,
            dump,
            observer: Observer::default(),
            executor: Executor::new(crate::act::Connections::default()),
            status: RedisClusterStatus::default(),
            story: Story::default(),
            unready_since: Instant::now(),
        }
    }

    /// The last status.
    pub fn status(&self) -> &RedisClusterStatus {
        &self.status
    }

    /// Members that were masters with slots at the last look.
    pub fn masters(&self) -> BTreeSet<MemberId> {
        let named = |shard: &operator_api::ShardStatus| {
            MemberId::from_name(self.manifest.desired.name(), &shard.master)
        };
        self.status.shards.iter().filter(|s| s.slot_count > 0).filter_map(named).collect()
    }

    /// Follows another declaration from now on.
    pub fn follow(&mut self, manifest: Manifest) {
        let generation = self.manifest.cluster.metadata.generation.unwrap_or(0) + 1;
        self.executor.drop_queued();
        self.unready_since = Instant::now();
        self.manifest = manifest;
        self.manifest.cluster.metadata.generation = Some(generation);
        self.platform.set_settings(settings(&self.manifest));
    }

    /// One look, one plan, and the beginning of what is due. Says when to look again.
    pub async fn reconcile(&mut self) -> Duration {
        for ended in self.executor.take_ended() {
            self.step_ended(&ended);
        }
        let members = self.platform.members().await;
        let observed = self.observer.look(members, self.platform.gone()).await;
        self.remember(&observed);
        let plan = plan(&self.manifest.desired, &observed);
        let agrees = self.report(&observed, &plan);
        self.act(&plan, &observed).await;
        for event in self.platform.take_events() {
            self.terminal.line(&event);
        }
        let idle = agrees && plan.is_converged() && self.executor.running().next().is_none();
        if idle { IDLE_LOOK } else { BUSY_LOOK }
    }

    /// Returns when a look is due earlier than said.
    pub async fn changed(&mut self) {
        tokio::select! {
            () = self.platform.changed() => {}
            ended = self.executor.next_ended() => self.step_ended(&ended),
        }
    }

    fn step_ended(&mut self, ended: &Ended) {
        let words = &ended.words;
        match (&ended.result, &ended.step) {
            (Ok(moved), Step::MigrateSlots { slots, .. }) => self.story.moved(slots.len(), moved.keys),
            (Ok(_), _) => {}
            (Err(error), _) if error == DROPPED => {}
            (Err(error), _) => self.say_once(format!("not done: {words}: {error}")),
        }
        let (took_ms, result) = (ended.took.as_millis(), &ended.result);
        tracing::info!(step = words, took_ms, ?result, "a step ended");
    }

    fn say_once(&mut self, line: String) {
        if let Some(line) = self.story.once(line, Instant::now()) {
            self.terminal.line(&line);
        }
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

    /// Makes and shows the status; true when the invariant check found nothing.
    fn report(&mut self, observed: &Observed, plan: &Plan) -> bool {
        let findings = check(&self.manifest.desired, observed);
        let inputs = Inputs {
            desired: &self.manifest.desired,
            observed,
            plan,
            findings: &findings,
            generation: self.manifest.cluster.metadata.generation.unwrap_or(0),
            now: Time(Timestamp::now()),
        };
        let status = status::status(&inputs, &self.status);
        tracing::debug!(next = ?status.plan.next, waiting = ?status.plan.waiting, ?findings, "looked");
        self.terminal.waits(&status.plan, Instant::now());
        let agrees = findings.is_empty();
        if status != self.status {
            self.say_ready(&status);
            self.status = status;
            self.write_dump(observed);
        }
        agrees
    }

    fn say_ready(&mut self, status: &RedisClusterStatus) {
        let (is, was) = (status::holds(status, "Ready"), status::holds(&self.status, "Ready"));
        if was && !is {
            let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
            let why = ready.map(|c| format!("{}: {}", c.reason, c.message)).unwrap_or_default();
            self.unready_since = Instant::now();
            self.terminal.line(&format!("not Ready: {why}"));
        }
        if is && !was {
            let took = self.unready_since.elapsed().as_secs_f64();
            self.terminal.line(&format!("Ready after {took:.2} s"));
        }
        if is {
            self.terminal.table(self.manifest.desired.name(), status);
        }
    }

    fn write_dump(&mut self, observed: &Observed) {
        let Some(path) = &self.dump else { return };
        let mut cluster = self.manifest.cluster.clone();
        cluster.status = Some(self.status.clone());
        if let Err(error) = (Dump { cluster, observed: observed.clone() }).write(path) {
            self.terminal.line(&format!("warning: {error:#}"));
        }
    }

    async fn act(&mut self, plan: &Plan, observed: &Observed) {
        let addresses = addresses(observed);
        let desired = self.manifest.desired.clone();
        let names = Names::new(&desired, observed);
        for planned in plan.due() {
            let now = Instant::now();
            let done = match &planned.step {
                Step::EnsureMember { .. } => Ok(()),
                Step::RemoveMember { member, uid } => self.platform.remove(*member, uid).await,
                step => {
                    let begun = self.executor.begin(planned, &names, &addresses);
                    let reports = matches!(step, Step::ReportLoss { .. });
                    let line = (begun || reports).then(|| self.story.begins(step, &names, now)).flatten();
                    if let Some(line) = line {
                        self.terminal.line(&line);
                    }
                    Ok(())
                }
            };
            if let Err(error) = done {
                self.say_once(format!("not done: {error}"));
            }
        }
        if plan.paused {
            plan.steps
                .iter()
                .for_each(|p| self.say_once(format!("paused, or else: {}", names.step(&p.step))));
        }
        self.ensure(plan).await;
        let moving = self.executor.is_moving() || plan.due().iter().any(|p| is_move(&p.step));
        if let Some(line) = self.story.progress(moving, Instant::now()) {
            self.terminal.line(&line);
        }
    }

    /// First the first members of all shards, then the second ones: the numbering of the tutorial.
    async fn ensure(&mut self, plan: &Plan) {
        let ensured = |p: &operator_planner::PlannedStep| match p.step {
            Step::EnsureMember { member } => Some(member),
            _ => None,
        };
        let mut members: Vec<MemberId> = plan.due().iter().filter_map(ensured).collect();
        members.sort_by_key(|m| (m.ordinal, m.shard));
        for member in members {
            if let Err(error) = self.platform.ensure(member).await {
                self.say_once(format!("not done: {error}"));
            }
        }
    }
}

const fn is_move(step: &Step) -> bool {
    matches!(step, Step::MigrateSlots { .. })
}

/// What processes are configured with.
#[must_use]
pub fn settings(manifest: &Manifest) -> Settings {
    let config = &manifest.cluster.spec.config;
    Settings {
        config: config.iter().map(|(k, v)| (k.to_ascii_lowercase(), operator_api::config::text(v))).collect(),
    }
}

fn addresses(observed: &Observed) -> BTreeMap<MemberId, SocketAddr> {
    let members = observed.members.known().into_iter().flatten();
    members
        .filter(|(_, m)| matches!(m.life, Life::Running))
        .map(|(id, m)| (*id, m.address.client()))
        .collect()
}

//! The loop of `operator local`: look, plan, act. It never waits for a step to end; it looks again.

use crate::act::{Ended, Executor};
use crate::dump::Dump;
use crate::manifest::Manifest;
use crate::observe::Observer;
use crate::platform::Platform;
use crate::platform::local::{Local, Settings};
use crate::status::{self, Inputs};
use crate::terminal::Terminal;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use operator_api::RedisClusterStatus;
use operator_planner::{Life, MemberId, Names, Observed, Plan, Step, check, plan};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

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
    reported_losses: Vec<Step>,
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
            reported_losses: Vec::new(),
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
        self.report(&observed, &plan);
        self.act(&plan, &observed).await;
        for event in self.platform.take_events() {
            self.terminal.line(&event);
        }
        let idle = plan.is_converged() && self.executor.running().next().is_none();
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
        match &ended.result {
            Ok(()) if matches!(ended.step, Step::MigrateSlots { .. }) => {
                self.terminal.line(&format!("done in {:.2} s: {words}", ended.took.as_secs_f64()));
            }
            Ok(()) => tracing::debug!(step = words, "done"),
            Err(error) => {
                tracing::info!(step = words, error, "not done; looking again");
                self.terminal.line(&format!("not done: {words}: {error}"));
            }
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

    fn report(&mut self, observed: &Observed, plan: &Plan) {
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
        if status == self.status {
            return;
        }
        self.terminal.plan(&status);
        let settled =
            plan.is_converged() || status::holds(&status, "Ready") != status::holds(&self.status, "Ready");
        if settled {
            self.terminal.table(self.manifest.desired.name(), &status);
        }
        self.status = status;
        self.write_dump(observed);
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
            let done = match &planned.step {
                Step::EnsureMember { .. } => Ok(()),
                Step::RemoveMember { member, uid } => self.platform.remove(*member, uid).await,
                Step::ReportLoss { .. } => {
                    self.report_loss(&planned.step, names.step(&planned.step));
                    Ok(())
                }
                _ => {
                    self.executor.begin(planned, &names, &addresses);
                    Ok(())
                }
            };
            if let Err(error) = done {
                self.terminal.line(&format!("not done: {error}"));
            }
        }
        self.ensure(plan).await;
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
                self.terminal.line(&format!("not done: {error}"));
            }
        }
    }

    fn report_loss(&mut self, step: &Step, words: String) {
        if !self.reported_losses.contains(step) {
            tracing::error!(loss = words, "data is lost");
            self.terminal.line(&words);
            self.reported_losses.push(step.clone());
        }
    }
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

//! The loop of `operator local`: what a manifest's file declares, as processes, told on a terminal.

use crate::dump::Dump;
use crate::manifest::Manifest;
use crate::platform::local::{Local, Settings};
use crate::reconcile::{Looked, Reconciler};
use crate::status;
use crate::terminal::Terminal;
use operator_api::RedisClusterStatus;
use operator_planner::{MemberId, Observed};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Time to the next look when everything is as declared; changes wake earlier.
const IDLE_LOOK: Duration = Duration::from_millis(500);

/// Everything the loop works with.
pub struct Controller<W> {
    /// What is declared.
    pub manifest: Manifest,
    /// What a person sees.
    pub terminal: Terminal<W>,
    /// Where the state is dumped, if anywhere.
    pub dump: Option<PathBuf>,
    reconciler: Reconciler<Local>,
    unready_since: Instant,
}

impl<W: Write> Controller<W> {
    /// Before the first look.
    pub fn new(manifest: Manifest, platform: Local, terminal: Terminal<W>, dump: Option<PathBuf>) -> Self {
        let reconciler = Reconciler::new(platform, RedisClusterStatus::default());
        Self { manifest, terminal, dump, reconciler, unready_since: Instant::now() }
    }

    /// Members that were masters with slots at the last look.
    pub fn masters(&self) -> BTreeSet<MemberId> {
        let named = |shard: &operator_api::ShardStatus| {
            MemberId::from_name(self.manifest.desired.name(), &shard.master)
        };
        let shards = &self.reconciler.status().shards;
        shards.iter().filter(|s| s.slot_count > 0).filter_map(named).collect()
    }

    /// Ends every process.
    pub async fn stop_all(&mut self) {
        let masters = self.masters();
        self.reconciler.platform.stop_all(&masters).await;
    }

    /// Follows another declaration from now on.
    pub fn follow(&mut self, manifest: Manifest) {
        let generation = self.manifest.cluster.metadata.generation.unwrap_or(0) + 1;
        self.reconciler.follow_anew();
        self.unready_since = Instant::now();
        self.manifest = manifest;
        self.manifest.cluster.metadata.generation = Some(generation);
        self.reconciler.platform.set_settings(settings(&self.manifest));
    }

    /// One look, one plan, and the beginning of what is due. Says when to look again.
    pub async fn reconcile(&mut self) -> Duration {
        let before = self.reconciler.status().clone();
        let looked = self.reconciler.look(&self.manifest).await;
        self.terminal.waits(&looked.status.plan, Instant::now());
        if looked.status != before {
            self.say_ready(&before, &looked.status);
            self.write_dump(&looked);
        }
        for told in self.reconciler.act(&self.manifest, &looked).await {
            self.terminal.line(&told.line);
        }
        for event in self.reconciler.platform.take_events() {
            self.terminal.line(&event);
        }
        self.reconciler.next_look(&looked, IDLE_LOOK)
    }

    /// Returns when a look is due earlier than said.
    pub async fn changed(&mut self) {
        if let Some(told) = self.reconciler.changed().await {
            self.terminal.line(&told.line);
        }
    }

    fn say_ready(&mut self, before: &RedisClusterStatus, status: &RedisClusterStatus) {
        let (is, was) = (status::holds(status, "Ready"), status::holds(before, "Ready"));
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

    fn write_dump(&mut self, looked: &Looked) {
        let Some(path) = &self.dump else { return };
        let mut cluster = self.manifest.cluster.clone();
        cluster.status = Some(looked.status.clone());
        let observed: Observed = looked.observed.clone();
        if let Err(error) = (Dump { cluster, observed }).write(path) {
            self.terminal.line(&format!("warning: {error:#}"));
        }
    }
}

/// What processes are configured with.
#[must_use]
pub fn settings(manifest: &Manifest) -> Settings {
    let spec = &manifest.cluster.spec;
    let config = &spec.config;
    Settings {
        on_disk: spec.storage.is_some(),
        config: config.iter().map(|(k, v)| (k.to_ascii_lowercase(), operator_api::config::text(v))).collect(),
    }
}

//! Members as processes on this machine, in the tutorial's directory layout.

mod files;
mod process;

pub use files::{Layout, LocalError, Settings};

use super::{Platform, Seen};
use crate::platform::local::files::Records;
use node_server_protocol::NodeId;
use operator_planner::observed::Gone;
use operator_planner::{Fact, Life, MemberId, Proof};
use process::{Process, Running};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// First pause before an ended process is started again; doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// Longest pause.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A process that ran for so long has the first pause again.
const BACKOFF_RESET: Duration = Duration::from_secs(60);
/// How long a process may take to end after SIGTERM before it gets SIGKILL. Above the node's handover bound.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// Most identities remembered as gone.
const GONE_MAX: usize = 2048;

/// Processes of one cluster.
pub struct Local {
    layout: Layout,
    records: Records,
    processes: BTreeMap<MemberId, Supervised>,
    changed: Arc<Notify>,
    /// What happened, for the terminal; drained by [`Local::take_events`].
    events: Vec<String>,
}

/// A member's process and its history.
struct Supervised {
    process: Option<Process>,
    started: Instant,
    backoff: Duration,
    start_again: Option<Instant>,
    /// Since when it has been asked to go, and then killed.
    leaving: Option<Instant>,
}

impl Local {
    /// Takes over the directory: processes that run from an earlier `--keep` are adopted.
    ///
    /// # Errors
    /// The directory cannot be made or its records not be read.
    pub fn open(layout: Layout) -> Result<Self, LocalError> {
        let records = Records::load(&layout)?;
        let mut local = Self {
            layout,
            records,
            processes: BTreeMap::new(),
            changed: Arc::new(Notify::new()),
            events: Vec::new(),
        };
        for (member, record) in local.records.members.clone() {
            let process = Process::adopt(&local.layout, &record, Arc::clone(&local.changed));
            if let Some(process) = &process {
                local.events.push(format!("{} adopted: pid {}", local.layout.name(member), process.pid()));
                if let Some(record) = local.records.members.get_mut(&member) {
                    record.process = process.mark();
                }
            }
            // One that has ended without its data must not be back before its replica could take over.
            let start_again = process.is_none().then(|| Instant::now() + BACKOFF_MIN);
            let leaving = record.leaving.then(|| Instant::now() + STOP_TIMEOUT);
            let supervised =
                Supervised { process, started: Instant::now(), backoff: BACKOFF_MIN, start_again, leaving };
            local.processes.insert(member, supervised);
        }
        // Its pid file alone may have told of a process: the operator that started it ended before it noted that.
        local.save();
        Ok(local)
    }

    /// New settings for processes that are started from now on.
    pub fn set_settings(&mut self, settings: Settings) {
        self.layout.settings = settings;
    }

    /// What happened since the last call.
    pub fn take_events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
    }

    /// What wakes [`Platform::changed`].
    #[must_use]
    pub fn notifier(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// Ends every process: SIGTERM, then SIGKILL to what is left after a bounded time. Masters go last, all at once:
    /// with no replica left, none of them hands over.
    pub async fn stop_all(&mut self, masters: &BTreeSet<MemberId>) {
        let deadline = Instant::now() + STOP_TIMEOUT;
        for last in [false, true] {
            let running: Vec<&mut Process> = self
                .processes
                .iter_mut()
                .filter(|(member, _)| masters.contains(member) == last)
                .filter_map(|(_, supervised)| supervised.process.as_mut())
                .collect();
            for process in &running {
                process.terminate();
            }
            for process in running {
                process.wait_until(deadline).await;
            }
        }
    }

    /// Looks at every process, and starts again what has ended and waited long enough.
    fn supervise(&mut self) {
        let members: Vec<MemberId> = self.processes.keys().copied().collect();
        for member in members {
            self.reap(member);
            let Some(supervised) = self.processes.get(&member) else { continue };
            let due =
                supervised.process.is_none() && supervised.start_again.is_some_and(|t| t <= Instant::now());
            match supervised.leaving {
                None if due => self.start(member),
                None => {}
                Some(deadline) => self.see_off(member, deadline),
            }
        }
    }

    /// A process that was asked to go: its files go when it has ended.
    fn see_off(&mut self, member: MemberId, deadline: Instant) {
        let Some(supervised) = self.processes.get(&member) else { return };
        if let Some(process) = &supervised.process {
            if Instant::now() > deadline {
                process.kill();
            }
            return;
        }
        let Some(record) = self.records.members.get(&member).cloned() else { return };
        if let Err(error) = self.layout.delete(&record) {
            return self.events.push(format!("warning: {error}; trying again"));
        }
        self.processes.remove(&member);
        self.records.members.remove(&member);
        if let Some(id) = record.id {
            self.records.gone.push(Gone { id, member, proof: Proof::Terminated });
        }
        self.save();
        self.events.push(format!("{} removed", self.layout.name(member)));
    }

    fn reap(&mut self, member: MemberId) {
        let name = self.layout.name(member);
        let Some(supervised) = self.processes.get_mut(&member) else { return };
        let Some(Running::Ended(how)) = supervised.process.as_mut().map(Process::state) else { return };
        supervised.process = None;
        if supervised.started.elapsed() > BACKOFF_RESET {
            supervised.backoff = BACKOFF_MIN;
        }
        supervised.start_again = Some(Instant::now() + supervised.backoff);
        if supervised.leaving.is_none() {
            self.events.push(format!(
                "{name} ended ({how}); starts again in {:.1} s",
                supervised.backoff.as_secs_f64()
            ));
        }
        supervised.backoff = (supervised.backoff * 2).min(BACKOFF_MAX);
    }

    fn start(&mut self, member: MemberId) {
        let Some(record) = self.records.members.get(&member) else { return };
        let started = Process::start(&self.layout, record, Arc::clone(&self.changed));
        let name = self.layout.name(member);
        let Some(supervised) = self.processes.get_mut(&member) else { return };
        supervised.started = Instant::now();
        match started {
            Ok(process) => {
                self.events.push(format!("{name} started: port {}, pid {}", record.port, process.pid()));
                supervised.start_again = None;
                if let Some(record) = self.records.members.get_mut(&member) {
                    record.process = process.mark();
                }
                supervised.process = Some(process);
                self.save();
            }
            Err(error) => {
                self.events.push(format!("{name} did not start: {error}"));
                supervised.start_again = Some(Instant::now() + supervised.backoff);
                supervised.backoff = (supervised.backoff * 2).min(BACKOFF_MAX);
            }
        }
    }

    fn life(supervised: &Supervised) -> Life {
        if supervised.process.is_some() { Life::Running } else { Life::Terminated(Proof::Terminated) }
    }

    /// When the next ended process is due.
    fn next_start(&self) -> Option<Instant> {
        self.processes.values().filter(|s| s.leaving.is_none()).filter_map(|s| s.start_again).min()
    }
}

impl Platform for Local {
    type Error = LocalError;

    async fn members(&mut self) -> Fact<BTreeMap<MemberId, Seen>> {
        self.supervise();
        let seen = |(member, supervised): (&MemberId, &Supervised)| {
            let record = self.records.members.get(member)?;
            let seen = Seen {
                uid: record.uid.clone(),
                address: self.layout.address(record.port),
                life: Self::life(supervised),
                leaving: supervised.leaving.is_some(),
                // In its directory, which its next process gets.
                on_volume: self.layout.settings.on_disk && supervised.leaving.is_none(),
                last_id: record.id,
            };
            Some((*member, seen))
        };
        Fact::Known(self.processes.iter().filter_map(seen).collect())
    }

    fn gone(&self) -> Vec<Gone> {
        self.records.gone.clone()
    }

    fn remember(&mut self, member: MemberId, uid: &str, id: NodeId) {
        let Some(record) = self.records.members.get_mut(&member).filter(|r| r.uid == uid) else { return };
        if record.id == Some(id) {
            return;
        }
        if let Some(old) = record.id.replace(id) {
            self.records.gone.push(Gone { id: old, member, proof: Proof::Terminated });
            let excess = self.records.gone.len().saturating_sub(GONE_MAX);
            self.records.gone.drain(..excess);
        }
        self.save();
    }

    fn forgotten(&mut self, id: NodeId) {
        let before = self.records.gone.len();
        self.records.gone.retain(|g| g.id != id);
        if self.records.gone.len() != before {
            self.save();
        }
    }

    async fn ensure(&mut self, member: MemberId) -> Result<(), LocalError> {
        if self.records.members.contains_key(&member) {
            return Ok(());
        }
        let record = self.layout.create(member, &self.records)?;
        self.records.members.insert(member, record);
        self.records.save(&self.layout)?;
        let supervised = Supervised {
            process: None,
            started: Instant::now(),
            backoff: BACKOFF_MIN,
            start_again: Some(Instant::now()),
            leaving: None,
        };
        self.processes.insert(member, supervised);
        self.start(member);
        Ok(())
    }

    async fn remove(&mut self, member: MemberId, uid: &str) -> Result<(), LocalError> {
        let Some(record) = self.records.members.get_mut(&member).filter(|r| r.uid == uid && !r.leaving)
        else {
            return Ok(());
        };
        record.leaving = true;
        self.records.save(&self.layout)?;
        if let Some(supervised) = self.processes.get_mut(&member) {
            supervised.leaving = Some(Instant::now() + STOP_TIMEOUT);
            if let Some(process) = &supervised.process {
                process.terminate();
            }
        }
        Ok(())
    }

    async fn changed(&mut self) {
        match self.next_start() {
            Some(due) => {
                tokio::select! {
                    () = self.changed.notified() => {}
                    () = tokio::time::sleep_until(due.into()) => {}
                }
            }
            None => self.changed.notified().await,
        }
    }
}

impl Local {
    /// Records that cannot be written now are written with the next change; what they say is found again by asking.
    fn save(&mut self) {
        if let Err(error) = self.records.save(&self.layout) {
            self.events.push(format!("warning: {error}"));
        }
    }
}

//! One server process: a child of ours, or one that an earlier operator left running.

use super::files::{Layout, LocalError, ProcessMark, Record};
use rustix::process::{Pid, Signal};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, watch};

/// How often an adopted process, which cannot be waited for, is looked at.
const ADOPTED_POLL: Duration = Duration::from_millis(100);

/// Whether a process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Running {
    /// It runs.
    Yes,
    /// It has ended; how, in words.
    Ended(String),
}

/// A process under our eyes: a task of its own waits for its end.
pub(crate) struct Process {
    pid: Pid,
    state: watch::Receiver<Running>,
}

impl Process {
    /// Starts the server of a record in a process group of its own, so that Ctrl-C reaches the operator alone.
    pub(crate) fn start(layout: &Layout, record: &Record, changed: Arc<Notify>) -> Result<Self, LocalError> {
        check_ports(layout, record)?;
        layout.write_config(record)?;
        let failed = |source| LocalError::Start { program: layout.program.clone(), source };
        let output = layout.home(record).join("log/stderr.log");
        let stderr = std::fs::File::create(&output).map_err(failed)?;
        let child = Command::new(&layout.program)
            .arg(layout.config_file(record))
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(stderr)
            .process_group(0)
            .kill_on_drop(false)
            .spawn()
            .map_err(failed)?;
        let pid = child.id().and_then(|id| Pid::from_raw(id as i32));
        let pid = pid.ok_or_else(|| failed(std::io::Error::other("it ended at once")))?;
        let (sender, state) = watch::channel(Running::Yes);
        tokio::spawn(wait_for_child(child, output, sender, changed));
        Ok(Self { pid, state })
    }

    /// Takes over a process that an earlier operator started: the one that it noted, or, should it have ended before it
    /// noted it, the one that the pid file names and that works in the record's directory.
    pub(crate) fn adopt(layout: &Layout, record: &Record, changed: Arc<Notify>) -> Option<Self> {
        let noted = record.process.clone().filter(|mark| mark_of(mark.pid).as_ref() == Some(mark));
        let mark = noted.or_else(|| in_pid_file(layout, record))?;
        let pid = Pid::from_raw(mark.pid)?;
        let (sender, state) = watch::channel(Running::Yes);
        tokio::spawn(watch_stranger(mark, sender, changed));
        Some(Self { pid, state })
    }

    /// What a later operator finds it by.
    pub(crate) fn mark(&self) -> Option<ProcessMark> {
        mark_of(self.pid())
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    pub(crate) fn state(&mut self) -> Running {
        self.state.borrow().clone()
    }

    /// Asks it to end. One that has ended already is fine.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it at once.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        if *self.state.borrow() == Running::Yes
            && let Err(error) = rustix::process::kill_process(self.pid, signal)
        {
            tracing::debug!(pid = self.pid(), %error, "signal not delivered");
        }
    }

    /// Waits for its end; kills it when it has not ended in time.
    pub(crate) async fn wait_until(&mut self, deadline: Instant) {
        let ended = |state: &Running| *state != Running::Yes;
        if tokio::time::timeout_at(deadline.into(), self.state.wait_for(ended)).await.is_err() {
            tracing::warn!(pid = self.pid(), "process did not end in time; killing it");
            self.signal(Signal::KILL);
            // A killed process ends; its end is only a matter of the kernel's time.
            let _ended = self.state.wait_for(ended).await.is_ok();
        }
    }
}

/// Another program on one of the ports would be taken for the member, and told what is meant for it.
fn check_ports(layout: &Layout, record: &Record) -> Result<(), LocalError> {
    let address = layout.address(record.port);
    for taken in [address.client(), address.bus()] {
        if let Err(error) = std::net::TcpListener::bind(taken) {
            return Err(LocalError::PortTaken { taken, source: error });
        }
    }
    Ok(())
}

async fn wait_for_child(
    mut child: Child,
    output: PathBuf,
    state: watch::Sender<Running>,
    changed: Arc<Notify>,
) {
    let mut how = match child.wait().await {
        Ok(status) => status.to_string(),
        Err(error) => format!("could not be waited for: {error}"),
    };
    if let Ok(text) = std::fs::read_to_string(&output)
        && let Some(last) = text.lines().rfind(|line| !line.trim().is_empty())
    {
        how.push_str(": ");
        how.push_str(last.trim());
    }
    state.send_replace(Running::Ended(how));
    changed.notify_one();
}

async fn watch_stranger(mark: ProcessMark, state: watch::Sender<Running>, changed: Arc<Notify>) {
    while mark_of(mark.pid).as_ref() == Some(&mark) {
        tokio::time::sleep(ADOPTED_POLL).await;
    }
    state.send_replace(Running::Ended("it was started by an earlier operator".into()));
    changed.notify_one();
}

fn in_pid_file(layout: &Layout, record: &Record) -> Option<ProcessMark> {
    let text = std::fs::read_to_string(layout.pid_file(record)).ok()?;
    let pid: i32 = text.trim().parse().ok()?;
    // Programs rewrite their arguments; the directory they work in is theirs alone.
    let works_in = std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
    let data = layout.home(record).join("data").canonicalize().ok()?;
    (works_in == data).then(|| mark_of(pid)).flatten()
}

/// `None` when there is no such process, or only a zombie.
fn mark_of(pid: i32) -> Option<ProcessMark> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X");
    let started = fields.nth(18).filter(|_| !zombie)?;
    Some(ProcessMark { pid, started: format!("{started} since boot {}", boot.trim()) })
}

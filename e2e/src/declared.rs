//! A cluster as `operator local` runs it: a directory with a manifest, an operator that the test starts, stops, freezes
//! and kills, and the processes of the members.

use crate::binary::{self, Binary};
use crate::{Client, PortBlock, wait};
use anyhow::{Context, Result, ensure};
use operator::manifest::{self, Manifest};
use operator_planner::MemberId;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Ports of a cluster: the most members that it may ever have at a time.
const PORTS: u16 = 20;
/// How long the operator may take to end after Ctrl-C; above its own bound for its processes.
const STOP_LIMIT: Duration = Duration::from_secs(40);
/// How much of the operator's output an error message quotes, in bytes.
const SAID_TAIL: usize = 6000;

/// A process of a member, as the operator noted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which process of the member it is; another one after a replacement.
    pub uid: String,
    /// Client port.
    pub port: u16,
    /// Process number, if one was started and noted.
    pub pid: Option<u32>,
}

impl Place {
    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// A new connection.
    ///
    /// # Errors
    /// It does not accept connections.
    pub fn client(&self) -> Result<Client> {
        Client::local(self.port)
    }
}

/// A declared cluster. When this is dropped, the operator and every process in the directory are killed; the directory stays
/// when a test fails.
#[derive(Debug)]
pub struct Declared {
    dir: TempDir,
    ports: PortBlock,
    operator: Option<Child>,
}

impl Declared {
    /// Writes a manifest; nothing runs yet.
    ///
    /// # Errors
    /// No ports are free, or the directory cannot be made.
    pub fn new(manifest: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("slotkeeper-declared-").tempdir()?;
        let declared = Self { dir, ports: PortBlock::reserve(PORTS)?, operator: None };
        declared.write(manifest)?;
        Ok(declared)
    }

    /// A cluster `demo` with that `spec`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_spec(spec: &str) -> Result<Self> {
        Self::new(&with_head(spec))
    }

    /// Replaces the manifest as an editor does.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, manifest: &str) -> Result<()> {
        let new = self.path("new.yaml");
        std::fs::write(&new, manifest).context("could not write the manifest")?;
        std::fs::rename(&new, self.path("cluster.yaml")).context("could not replace the manifest")
    }

    /// Replaces the `spec` of the cluster `demo`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn declare(&self, spec: &str) -> Result<()> {
        self.write(&with_head(spec))
    }

    /// The manifest's text.
    #[must_use]
    pub fn declaration(&self) -> String {
        std::fs::read_to_string(self.path("cluster.yaml")).unwrap_or_default()
    }

    /// The manifest as the operator reads it.
    ///
    /// # Errors
    /// It does not hold.
    pub fn manifest(&self) -> Result<Manifest> {
        Ok(manifest::read(&self.path("cluster.yaml"))?)
    }

    /// Starts an operator, which leaves the processes running when it ends.
    ///
    /// # Errors
    /// One runs already, or a program is not built.
    pub fn start_operator(&mut self) -> Result<()> {
        ensure!(self.operator.is_none(), "an operator runs already");
        let out = File::options().create(true).append(true).open(self.path("said"))?;
        let base = (self.ports.port(0) - 1).to_string();
        let mut command = Command::new(binary::operator()?);
        command.args(["local", "cluster.yaml", "--dir", "nodes", "--dump", "dump.json", "--keep"]);
        command.args(["--port-base", &base, "--node-server"]).arg(Binary::NodeServer.path()?);
        command.current_dir(self.dir.path()).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        self.operator = Some(command.spawn().context("could not start the operator")?);
        Ok(())
    }

    /// SIGKILL for the operator; the processes run on.
    ///
    /// # Errors
    /// None runs, or it has ended by itself.
    pub fn kill_operator(&mut self) -> Result<()> {
        let mut child = self.operator.take().context("no operator runs")?;
        let ended = child.try_wait()?;
        child.kill()?;
        child.wait()?;
        ensure!(ended.is_none(), "the operator had ended by itself: {ended:?}\n{}", self.said_tail());
        Ok(())
    }

    /// Ctrl-C, and the operator's end; the processes run on.
    ///
    /// # Errors
    /// It does not end, or not with status 0.
    pub fn interrupt_operator(&mut self) -> Result<()> {
        self.signal_operator(Signal::INT)?;
        let mut child = self.operator.take().context("no operator runs")?;
        let mut status = None;
        let ended = wait::until("the operator ends after Ctrl-C", STOP_LIMIT, || {
            status = child.try_wait().ok().flatten();
            status.is_some()
        });
        if ended.is_err() {
            child.kill()?;
            child.wait()?;
        }
        ended.with_context(|| self.said_tail())?;
        ensure!(status.is_some_and(|s| s.success()), "the operator failed:\n{}", self.said_tail());
        Ok(())
    }

    /// Sends the operator a signal: SIGSTOP freezes it with its plan half done.
    ///
    /// # Errors
    /// None runs.
    pub fn signal_operator(&self, what: Signal) -> Result<()> {
        send_signal(self.operator.as_ref().context("no operator runs")?.id(), what)
    }

    /// All that operators have said here.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.path("said")).unwrap_or_default()
    }

    /// The end of it, for error messages.
    #[must_use]
    pub fn said_tail(&self) -> String {
        let said = self.said();
        let mut from = said.len().saturating_sub(SAID_TAIL);
        while !said.is_char_boundary(from) {
            from += 1;
        }
        format!("end of what the operator said:\n{}", &said[from..])
    }

    /// The status that the operator wrote last.
    #[must_use]
    pub fn status(&self) -> Value {
        let text = std::fs::read_to_string(self.path("dump.json")).unwrap_or_default();
        let dump: Value = serde_json::from_str(&text).unwrap_or_default();
        dump["cluster"]["status"].clone()
    }

    /// Every member's process, as the operator noted them.
    ///
    /// # Errors
    /// The operator has not begun yet.
    pub fn places(&self) -> Result<BTreeMap<MemberId, Place>> {
        let text = std::fs::read_to_string(self.path("nodes/members.json")).context("no members yet")?;
        let records: Value = serde_json::from_str(&text)?;
        let members = records["members"].as_object().context("no members in the record")?;
        members.iter().map(|(member, record)| Ok((member.parse()?, place(record)?))).collect()
    }

    /// One member's process.
    ///
    /// # Errors
    /// There is no such member.
    pub fn place(&self, member: MemberId) -> Result<Place> {
        self.places()?.remove(&member).with_context(|| format!("there is no member {member}"))
    }

    /// Addresses of all members, for clients to begin with.
    ///
    /// # Errors
    /// As [`Self::places`].
    pub fn addresses(&self) -> Result<Vec<SocketAddr>> {
        Ok(self.places()?.values().map(Place::address).collect())
    }

    /// Sends a member's process a signal, if the process is really this cluster's.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal_member(&self, member: MemberId, what: Signal) -> Result<()> {
        let pid = self.place(member)?.pid.with_context(|| format!("{member} has no process"))?;
        ensure!(works_in(pid, self.dir.path()), "process {pid} is not {member}'s any more");
        send_signal(pid, what)
    }

    /// Seconds of CPU that the operator and all processes of members have taken: what counts on a busy machine.
    ///
    /// # Errors
    /// No operator runs, or it has not begun yet.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let operator = self.operator.as_ref().context("no operator runs")?.id();
        let members = self.places()?.into_values().filter_map(|place| place.pid);
        Ok(std::iter::once(operator).chain(members).filter_map(cpu_seconds).sum())
    }

    /// Where the files are.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Declared {
    fn drop(&mut self) {
        if let Some(mut child) = self.operator.take() {
            // It may have ended already; what counts is that it is reaped.
            let _ = (child.kill(), child.wait());
        }
        let pids = self.places().into_iter().flatten().filter_map(|(_, place)| place.pid);
        for pid in pids.filter(|pid| works_in(*pid, self.dir.path())) {
            let _ = send_signal(pid, Signal::KILL);
        }
        if std::thread::panicking() {
            self.dir.disable_cleanup(true);
            eprintln!("what the nodes and the operator said is in {}", self.dir.path().display());
        }
    }
}

fn with_head(spec: &str) -> String {
    format!(
        "apiVersion: slotkeeper.dev/v1alpha1\nkind: RedisCluster\nmetadata: {{name: demo}}\nspec: {{{spec}}}\n"
    )
}

fn place(record: &Value) -> Result<Place> {
    let uid = record["uid"].as_str().context("a record without uid")?.to_owned();
    let port =
        record["port"].as_u64().and_then(|p| u16::try_from(p).ok()).context("a record without port")?;
    let pid = record["process"]["pid"].as_u64().and_then(|p| u32::try_from(p).ok());
    Ok(Place { uid, port, pid })
}

/// A process number may have been used again by a stranger.
fn works_in(pid: u32, dir: &Path) -> bool {
    std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(dir))
}

/// User and system time of a process, which Linux counts in hundredths of a second; `None` when it has ended.
fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some((next()? + next()?) / 100.0)
}

fn send_signal(pid: u32, what: Signal) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(pid)?).context("process id 0")?;
    kill_process(pid, what).with_context(|| format!("could not send a signal to {}", pid.as_raw_nonzero()))
}

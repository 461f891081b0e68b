//! Starting, pausing, killing and restarting a server.

use crate::{Binary, Client, wait};
use anyhow::{Context, Result, bail};
use node_server_protocol::resp::Reply;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long a server may take until it answers PING.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// How long a server may take to end after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Node timeout in milliseconds where nobody is to be given up: longer than a busy machine keeps a node silent.
pub(crate) const NO_FAILOVER_MS: u32 = 10_000;
/// How much of a log an error message quotes, in bytes.
const LOG_TAIL: usize = 2000;

/// How to start a server. Its working directory is a fresh one unless `dir` says otherwise.
#[derive(Clone, Debug)]
pub struct ServerSpec {
    /// Which program.
    pub binary: Binary,
    /// Client port.
    pub port: u16,
    /// Directives of redis.conf, as name and value; given as flags, later ones win.
    pub directives: Vec<(String, String)>,
    /// An existing working directory.
    pub dir: Option<PathBuf>,
}

impl ServerSpec {
    /// A server bound to 127.0.0.1 that saves nothing.
    #[must_use]
    pub fn new(binary: Binary, port: u16) -> Self {
        let spec = Self { binary, port, directives: Vec::new(), dir: None };
        spec.with("bind", "127.0.0.1").with("save", "")
    }

    /// A node of a cluster. The node timeout is short so that failovers are quick.
    #[must_use]
    pub fn cluster_node(binary: Binary, port: u16) -> Self {
        let spec = Self::new(binary, port).with("cluster-enabled", "yes");
        spec.with("cluster-node-timeout", "2000").with("cluster-config-file", "nodes.conf")
    }

    /// A node of a cluster in which nobody is to be given up.
    #[must_use]
    pub fn calm_cluster_node(binary: Binary, port: u16) -> Self {
        Self::cluster_node(binary, port).with("cluster-node-timeout", NO_FAILOVER_MS)
    }

    /// With one more directive.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.directives.push((name.into(), value.to_string()));
        self
    }
}

/// A running server. It is killed, and a fresh directory of its own removed, when this is dropped.
#[derive(Debug)]
pub struct Server {
    spec: ServerSpec,
    dir: PathBuf,
    child: Option<Child>,
    _own_dir: Option<TempDir>,
}

impl Server {
    /// Starts the server and waits until it answers with its data there.
    ///
    /// # Errors
    /// It ended, or did not answer in time; the message quotes its log.
    pub fn start(spec: ServerSpec) -> Result<Self> {
        let own_dir = match &spec.dir {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("slotkeeper-").tempdir()?),
        };
        let dir = match (&spec.dir, &own_dir) {
            (Some(dir), _) => dir.clone(),
            (None, Some(own)) => own.path().to_owned(),
            (None, None) => bail!("a server needs a directory"),
        };
        let mut server = Self { spec, dir, child: None, _own_dir: own_dir };
        server.launch(Answer::Served)?;
        Ok(server)
    }

    fn launch(&mut self, wanted: Answer) -> Result<()> {
        self.spawn()?;
        self.wait_ready(wanted)
    }

    fn spawn(&mut self) -> Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .context("could not open the log")?;
        let mut command = Command::new(self.spec.binary.path()?);
        command.current_dir(&self.dir).arg("--port").arg(self.spec.port.to_string());
        for (name, value) in &self.spec.directives {
            command.arg(format!("--{name}")).arg(value);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child =
            Some(command.spawn().with_context(|| format!("could not start {:?}", self.spec.binary))?);
        Ok(())
    }

    fn wait_ready(&mut self, wanted: Answer) -> Result<()> {
        let port = self.spec.port;
        let mut ended = None;
        let ready = wait::until(&format!("server on port {port} answers PING"), READY_LIMIT, || {
            ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            ended.is_some() || answer(port).is_some_and(|answer| answer >= wanted)
        });
        match ended {
            Some(status) => bail!("server on port {port} ended with {status}:\n{}", self.log_tail()),
            None => ready.with_context(|| self.log_tail()),
        }
    }

    /// Client port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.spec.port
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.spec.port))
    }

    /// Its working directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A new connection.
    ///
    /// # Errors
    /// It does not accept connections.
    pub fn client(&self) -> Result<Client> {
        Client::connect(self.address())
    }

    /// Process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Sends SIGKILL and reaps it. Does nothing when it does not run.
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill().context("could not kill the server")?;
        child.wait().context("could not reap the server")?;
        Ok(())
    }

    /// Sends SIGTERM and waits until it has ended.
    ///
    /// # Errors
    /// It did not end within 30 s; it is killed then.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let mut child = self.child.take().context("the server does not run")?;
        let mut status = None;
        let ended = wait::until("server ends after SIGTERM", STOP_LIMIT, || {
            status = child.try_wait().ok().flatten();
            status.is_some()
        });
        if let Err(error) = ended {
            self.child = Some(child);
            self.kill()?;
            return Err(error.context(self.log_tail()));
        }
        status.context("the server ended without a status")
    }

    /// Starts it again in its directory, after `kill` or `stop`.
    ///
    /// # Errors
    /// As [`Self::start`]; or it still runs.
    pub fn restart(&mut self) -> Result<()> {
        anyhow::ensure!(self.child.is_none(), "the server on port {} still runs", self.spec.port);
        self.launch(Answer::Served)
    }

    /// The same, and waits for any answer, be it LOADING.
    ///
    /// # Errors
    /// As [`Self::restart`].
    pub fn restart_loading(&mut self) -> Result<()> {
        anyhow::ensure!(self.child.is_none(), "the server on port {} still runs", self.spec.port);
        self.launch(Answer::Loading)
    }

    /// Changes a directive for its next start.
    pub fn set(&mut self, name: &str, value: impl ToString) {
        self.spec = self.spec.clone().with(name, value);
    }

    /// Starts it again and sends SIGKILL after so long, ready or not.
    ///
    /// # Errors
    /// As [`Self::restart`] and [`Self::kill`].
    pub fn restart_and_kill(&mut self, after: Duration) -> Result<()> {
        anyhow::ensure!(self.child.is_none(), "the server on port {} still runs", self.spec.port);
        self.spawn()?;
        // The moment is what is wanted: there is nothing to wait for.
        std::thread::sleep(after);
        self.kill()
    }

    /// Stops its threads (SIGSTOP), and waits until all of them stand still: until then they go on answering.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        let pid = self.pid().context("the server does not run")?;
        wait::until("all threads are stopped", READY_LIMIT, || are_stopped(pid).unwrap_or(false))
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Sends any signal.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let raw =
            self.pid().with_context(|| format!("the server on port {} does not run", self.spec.port))?;
        let pid = Pid::from_raw(i32::try_from(raw)?).context("process id 0")?;
        kill_process(pid, signal).with_context(|| format!("could not send a signal to {raw}"))
    }

    /// Whether the base of its append-only file belongs to the history with that replication id. Behind a full sync a node
    /// of ours writes another base, and until that is there it goes on from nowhere.
    #[must_use]
    pub fn has_base_of(&self, replid: &str) -> bool {
        let dir = self.dir.join("appendonlydir");
        let manifest = std::fs::read_to_string(dir.join("appendonly.aof.manifest")).unwrap_or_default();
        let base = manifest.lines().find(|line| line.ends_with("type b"));
        let bytes = base.and_then(|line| std::fs::read(dir.join(line.split(' ').nth(1)?)).ok());
        bytes.is_some_and(|bytes| bytes.windows(replid.len()).any(|part| part == replid.as_bytes()))
    }

    /// All that it has written.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(self.log_path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let mut from = log.len().saturating_sub(LOG_TAIL);
        while !log.is_char_boundary(from) {
            from += 1;
        }
        format!("end of its log:\n{}", &log[from..])
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("server.log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing can be done about a process that cannot be killed.
        let _ = self.kill();
    }
}

/// What somebody answers to PING.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Loading,
    Served,
}

fn answer(port: u16) -> Option<Answer> {
    let reply = Client::local(port).and_then(|mut client| client.command(&["PING"]));
    match reply {
        Ok(Reply::Simple(text)) if text == "PONG" => Some(Answer::Served),
        // While it loads as well. What is started with a password in these tests has little to load.
        Ok(Reply::Error(text)) if text.starts_with("NOAUTH") => Some(Answer::Served),
        Ok(Reply::Error(text)) if text.starts_with("LOADING") => Some(Answer::Loading),
        _ => None,
    }
}

/// Whether every thread of a process is stopped, as /proc says it.
fn are_stopped(pid: u32) -> Result<bool> {
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = std::fs::read_to_string(task?.path().join("stat"))?;
        // The name before it stands in parentheses and may hold anything.
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        if state != Some('T') {
            return Ok(false);
        }
    }
    Ok(true)
}

//! The tutorial's servers, laid out and configured as it has them: `redis0N/{bin,conf,data,log}`.

use crate::{process, views};
use anyhow::{Context, Result, ensure};
use e2e::{Binary, Client, PortBlock, wait};
use node_server_protocol::resp::Reply;
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// The tutorial has 15000. Only the time until a dead master is replaced depends on it, and this saves it.
pub const NODE_TIMEOUT_MS: u32 = 8000;
/// How long a server may take until it answers.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// The servers of steps 1 to 6.
pub const SIX: [u16; 6] = [1, 2, 3, 4, 5, 6];
/// Prepared servers, from 1.
const SERVERS: u16 = 9;
/// Where files live in memory: a reshard by redis-cli writes each node's nodes.conf thousands of times.
const MEMORY: &str = "/dev/shm";

/// The directory with redis01 … redis09. Servers that run are killed when this is dropped, also by a panic.
#[derive(Debug)]
pub struct Installation {
    root: TempDir,
    ports: PortBlock,
}

/// A directory in memory, where the machine has such.
pub(crate) fn in_memory(prefix: &str) -> Result<TempDir> {
    let parent = if Path::new(MEMORY).is_dir() { PathBuf::from(MEMORY) } else { std::env::temp_dir() };
    Ok(tempfile::Builder::new().prefix(prefix).tempdir_in(parent)?)
}

impl Installation {
    /// Writes the directories; nothing runs yet.
    ///
    /// # Errors
    /// No directory or no port can be had, or the program is not there.
    pub fn prepare() -> Result<Self> {
        let root = in_memory("slotkeeper-tutorial-")?;
        let binary = match std::env::var("WALKTHROUGH_OF").as_deref() {
            Ok("redis") => Binary::Redis,
            Ok("valkey") => Binary::Valkey,
            _ => Binary::NodeServer,
        };
        let installation = Self { root, ports: PortBlock::reserve(SERVERS)? };
        let program = binary.path()?;
        for n in 1..=SERVERS {
            let dir = installation.dir(n);
            for part in ["bin", "conf", "data", "log"] {
                fs::create_dir_all(dir.join(part))?;
            }
            std::os::unix::fs::symlink(fs::canonicalize(&program)?, dir.join("bin/redis-server"))?;
            fs::write(dir.join("conf/redis.conf"), installation.redis_conf(n))?;
        }
        Ok(installation)
    }

    /// The tutorial's file as it stands; paths and ports are this installation's, and the node timeout is shorter.
    fn redis_conf(&self, n: u16) -> String {
        let (dir, port) = (self.dir(n).display().to_string(), self.port(n));
        // The tutorial writes it both ways.
        let quote = if n.is_multiple_of(2) { "" } else { "'" };
        format!(
            "daemonize yes\n\
             pidfile \"{dir}/log/redis.pid\"\n\
             port {port}\n\
             timeout 300\n\
             cluster-enabled yes\n\
             cluster-config-file {quote}{dir}/nodes.conf{quote}\n\
             cluster-node-timeout {NODE_TIMEOUT_MS}\n\
             loglevel debug\n\
             logfile \"{dir}/log/redis.log\"\n\
             databases 16\n\
             save 900 1\n\
             save 300 10\n\
             save 60 10000\n\
             rdbcompression yes\n\
             dbfilename \"dump.rdb\"\n\
             dir \"{dir}/data\"\n\
             appendonly yes\n\
             appendfsync always\n\
             bind 0.0.0.0\n"
        )
    }

    /// Server n's directory.
    #[must_use]
    pub fn dir(&self, n: u16) -> PathBuf {
        self.root.path().join(format!("redis0{n}"))
    }

    /// What stands for the tutorial's 700n.
    #[must_use]
    pub fn port(&self, n: u16) -> u16 {
        self.ports.port(n - 1)
    }

    /// The tutorial's number of the server on a port.
    #[must_use]
    pub fn number(&self, port: u16) -> u16 {
        port - self.ports.port(0) + 1
    }

    /// `127.0.0.1:PORT`, as redis-cli is given it.
    #[must_use]
    pub fn address(&self, n: u16) -> String {
        format!("127.0.0.1:{}", self.port(n))
    }

    /// Starts a server as the tutorial does, in its directory.
    ///
    /// # Errors
    /// It says that it cannot, or does not answer in time; the message has its log.
    pub fn start(&self, n: u16) -> Result<()> {
        self.start_from(n, &self.dir(n), "bin/redis-server", "conf/redis.conf")
    }

    /// Starts a server from the directory above, so that its title begins with its directory's name.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_from_above(&self, n: u16) -> Result<()> {
        let (program, file) = (format!("redis0{n}/bin/redis-server"), format!("redis0{n}/conf/redis.conf"));
        self.start_from(n, self.root.path(), &program, &file)
    }

    fn start_from(&self, n: u16, dir: &Path, program: &str, file: &str) -> Result<()> {
        let mut command = Command::new(dir.join(program));
        std::os::unix::process::CommandExt::arg0(&mut command, program);
        command.current_dir(dir).arg(file);
        let output = command.output();
        let output = output.with_context(|| format!("could not start server {n}"))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "server {n} ended with {}: {said}", output.status);
        wait::until(&format!("server {n} answers PING"), READY_LIMIT, || answers(self.port(n)))
            .with_context(|| format!("{said}\n{}", self.log(n)))
    }

    /// Its process, while it runs.
    #[must_use]
    pub fn pid(&self, n: u16) -> Option<i32> {
        process::find(&format!(":{} [cluster]", self.port(n)))
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self, n: u16) -> String {
        fs::read_to_string(self.dir(n).join("log/redis.log")).unwrap_or_else(|e| format!("no log: {e}"))
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// It does not run, or is still there after 30 s.
    pub fn kill(&self, n: u16) -> Result<()> {
        let id = self.pid(n).with_context(|| format!("server {n} does not run"))?;
        process::end(id, Signal::KILL)
    }

    /// Waits until these servers agree about `members` nodes.
    ///
    /// # Errors
    /// Not so within 30 s.
    pub fn wait_agreed(&self, servers: &[u16]) -> Result<()> {
        let ports: Vec<u16> = servers.iter().map(|n| self.port(*n)).collect();
        views::wait_agreed(&ports, servers.len())
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        for id in (1..=SERVERS).filter_map(|n| self.pid(n)) {
            // Nothing can be done about a process that cannot be killed.
            let _ = process::end(id, Signal::KILL);
        }
    }
}

fn answers(port: u16) -> bool {
    let reply = Client::local(port).and_then(|mut client| client.command(&["PING"]));
    matches!(reply, Ok(Reply::Simple(text)) if text == "PONG")
}

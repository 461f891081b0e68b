//! redis-cli that asks questions. It reads its terminal, not lines: what is sent before it asks is lost or mixed up.

use crate::cli::plain;
use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long the program may be silent: a reshard of many slots takes long, and tells of each.
const LIMIT: Duration = Duration::from_secs(120);
/// What is read at once, in bytes.
const PART: usize = 4096;

/// A running redis-cli. It is killed when this is dropped.
#[derive(Debug)]
pub struct Conversation {
    child: Child,
    stdin: Option<ChildStdin>,
    parts: Receiver<Vec<u8>>,
    bytes: Vec<u8>,
    /// How much of the text was answered, in bytes.
    answered: usize,
}

impl Conversation {
    /// Starts redis-cli (`REDIS_CLI_BIN`, else of the PATH).
    ///
    /// # Errors
    /// It cannot be run.
    pub fn start(args: &[&str]) -> Result<Self> {
        let program = std::env::var_os("REDIS_CLI_BIN").unwrap_or_else(|| "redis-cli".into());
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child =
            command.spawn().context("could not run redis-cli: install it, or set REDIS_CLI_BIN")?;
        let stdin = child.stdin.take();
        let mut stdout = child.stdout.take().context("redis-cli has no standard output")?;
        let (to, parts) = channel();
        thread::spawn(move || {
            let mut part = [0; PART];
            // Ends with the program, or when nobody listens any more.
            while let Ok(len) = stdout.read(&mut part) {
                if len == 0 || to.send(part[..len].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, stdin, parts, bytes: Vec::new(), answered: 0 })
    }

    /// Waits for the question and types the answer.
    ///
    /// # Errors
    /// The question did not come, and nothing else for 120 s.
    pub fn answer(&mut self, question: &str, answer: &str) -> Result<()> {
        loop {
            let text = self.text();
            if let Some(at) = text[self.answered..].find(question) {
                self.answered += at + question.len();
                break;
            }
            if !self.read_more()? {
                bail!("redis-cli ended without asking {question:?}:\n{}", self.text());
            }
        }
        let stdin = self.stdin.as_mut().context("redis-cli has no standard input")?;
        stdin.write_all(format!("{answer}\n").as_bytes()).context("could not answer redis-cli")
    }

    /// Waits for the end and gives all it has said.
    ///
    /// # Errors
    /// It was silent for 120 s, or ended with a status other than 0.
    pub fn finish(mut self) -> Result<String> {
        self.stdin = None;
        while self.read_more()? {}
        let status = self.child.wait().context("could not wait for redis-cli")?;
        ensure!(status.success(), "redis-cli ended with {status}:\n{}", self.text());
        Ok(self.text())
    }

    fn text(&self) -> String {
        plain(&String::from_utf8_lossy(&self.bytes))
    }

    fn read_more(&mut self) -> Result<bool> {
        match self.parts.recv_timeout(LIMIT) {
            Ok(part) => {
                self.bytes.extend(part);
                Ok(true)
            }
            Err(RecvTimeoutError::Disconnected) => Ok(false),
            Err(RecvTimeoutError::Timeout) => {
                bail!("redis-cli said nothing for {} s:\n{}", LIMIT.as_secs(), self.text())
            }
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // It has ended in most cases, and then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

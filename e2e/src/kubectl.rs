//! kubectl, as a user types it.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a run gave.
#[derive(Debug)]
pub struct Output {
    /// Exit status 0.
    pub ok: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error: warnings, refusals.
    pub stderr: String,
}

/// How often a command is said again that the API server has not answered.
const AGAIN_MAX: usize = 10;
const AGAIN_PAUSE: Duration = Duration::from_secs(1);

/// Whether saying it twice does no more than saying it once.
fn is_repeatable(args: &[&str]) -> bool {
    matches!(
        args.first(),
        Some(&("get" | "apply" | "wait" | "label" | "patch" | "scale" | "rollout" | "uncordon" | "logs"))
    ) || args.windows(2).any(|pair| matches!(pair, ["/checked-writer", "progress" | "look" | "verify"]))
}

/// Whether the API server, or the way through it to a pod, was not there at that moment.
fn is_hiccup(said: &str) -> bool {
    [
        "TLS handshake timeout",
        "connection refused",
        "connection reset by peer",
        "error dialing backend",
        "etcdserver: request timed out",
        "etcdserver: leader changed",
        "the server is currently unable to handle the request",
        "i/o timeout",
        "http2: client connection lost",
        "unexpected EOF",
    ]
    .iter()
    .any(|words| said.contains(words))
}

/// kubectl for one user of one API server.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: String,
}

impl Kubectl {
    /// Whoever that kubeconfig names, in the namespace `default`.
    #[must_use]
    pub fn new(program: PathBuf, kubeconfig: PathBuf) -> Self {
        Self { program, kubeconfig, namespace: "default".into() }
    }

    /// The file that names the API server and the user.
    #[must_use]
    pub fn kubeconfig(&self) -> &std::path::Path {
        &self.kubeconfig
    }

    /// The same user in another namespace.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self.clone() }
    }

    /// The namespace its commands are about.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Runs a command with that standard input. A refusal is in the output.
    ///
    /// # Errors
    /// kubectl cannot be run.
    pub fn run_with(&self, args: &[&str], input: &str) -> Result<Output> {
        let mut command = Command::new(&self.program);
        command.env("KUBECONFIG", &self.kubeconfig).args(["--namespace", &self.namespace]).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("could not run kubectl")?;
        let mut stdin = child.stdin.take().context("kubectl has no standard input")?;
        // It may end without reading what it is given.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let done = child.wait_with_output().context("could not wait for kubectl")?;
        Ok(Output {
            ok: done.status.success(),
            stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
        })
    }

    /// Runs a command. A refusal is in the output.
    ///
    /// # Errors
    /// kubectl cannot be run.
    pub fn run(&self, args: &[&str]) -> Result<Output> {
        self.run_with(args, "")
    }

    /// Runs a command that must succeed and gives what it prints.
    ///
    /// # Errors
    /// It fails; the message has its output.
    pub fn ok(&self, args: &[&str]) -> Result<String> {
        self.ok_with(args, "")
    }

    /// As [`Self::ok`], with that standard input. Where the API server of a busy machine has not answered, a command that
    /// may be said twice is said again.
    ///
    /// # Errors
    /// It fails; the message has its output.
    pub fn ok_with(&self, args: &[&str], input: &str) -> Result<String> {
        let mut output = self.run_with(args, input)?;
        for _ in 0..AGAIN_MAX {
            if output.ok || !is_repeatable(args) || !is_hiccup(&output.stderr) {
                break;
            }
            std::thread::sleep(AGAIN_PAUSE);
            output = self.run_with(args, input)?;
        }
        ensure!(output.ok, "kubectl {} failed: {}{}", args.join(" "), output.stdout, output.stderr);
        Ok(output.stdout)
    }

    /// Runs a command that must fail and gives what it says.
    ///
    /// # Errors
    /// It succeeds.
    pub fn refused(&self, args: &[&str], input: &str) -> Result<String> {
        let output = self.run_with(args, input)?;
        ensure!(!output.ok, "kubectl {} was not refused: {}", args.join(" "), output.stdout);
        Ok(output.stderr)
    }

    /// The object, as JSON.
    ///
    /// # Errors
    /// It is not there.
    pub fn get(&self, kind: &str, name: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.ok(&["get", kind, name, "--output=json"])?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_said_twice_is_said_again() {
        for line in ["get pods", "apply --filename=-", "exec client -- /checked-writer progress"] {
            assert!(is_repeatable(&line.split(' ').collect::<Vec<_>>()), "{line}");
        }
        for line in ["create namespace x", "exec client -- /checked-writer stop", "delete pod x"] {
            assert!(!is_repeatable(&line.split(' ').collect::<Vec<_>>()), "{line}");
        }
    }

    #[test]
    fn a_refusal_is_an_answer() {
        assert!(is_hiccup("Unable to connect to the server: net/http: TLS handshake timeout"));
        assert!(!is_hiccup("Error from server (Forbidden): rediscluster is forbidden"));
        assert!(!is_hiccup("error: timed out waiting for the condition on redisclusters/demo"));
    }
}

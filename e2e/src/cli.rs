//! Running redis-cli.

use anyhow::{Context, Result};
use std::io::Write;
use std::process::{Command, Stdio};

/// What a run of redis-cli gave.
#[derive(Debug)]
pub struct Output {
    /// Standard output and standard error, in this order.
    pub text: String,
    /// Exit status 0.
    pub ok: bool,
}

/// Runs redis-cli (`REDIS_CLI_BIN`, else of the PATH) with the arguments and that standard input.
///
/// # Errors
/// It cannot be run. A status other than 0 is in the output.
pub fn redis_cli_with_input(args: &[&str], input: &str) -> Result<Output> {
    let program = std::env::var_os("REDIS_CLI_BIN").unwrap_or_else(|| "redis-cli".into());
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("could not run redis-cli: install it, or set REDIS_CLI_BIN")?;
    let mut stdin = child.stdin.take().context("redis-cli has no standard input")?;
    // It may end without reading what it is given.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let done = child.wait_with_output().context("could not wait for redis-cli")?;
    let mut text = String::from_utf8_lossy(&done.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&done.stderr));
    Ok(Output { text, ok: done.status.success() })
}

/// Runs redis-cli and gives its output.
///
/// # Errors
/// It cannot be run, or ends with a status other than 0; the message has its output.
pub fn redis_cli(args: &[&str]) -> Result<String> {
    let output = redis_cli_with_input(args, "")?;
    anyhow::ensure!(output.ok, "redis-cli {} failed:\n{}", args.join(" "), output.text);
    Ok(output.text)
}

//! redis-cli, with its colours taken off.

use anyhow::Result;
use e2e::cli::{Output, redis_cli_with_input};

/// The text without terminal escape sequences (ESC `[` … letter).
#[must_use]
pub fn plain(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(part.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, rest)| rest));
    }
    out
}

/// Runs redis-cli.
///
/// # Errors
/// It cannot be run. A status other than 0 is in the output.
pub fn run(args: &[&str]) -> Result<Output> {
    run_with_input(args, "")
}

/// Runs redis-cli with that standard input.
///
/// # Errors
/// As [`run`].
pub fn run_with_input(args: &[&str], input: &str) -> Result<Output> {
    let output = redis_cli_with_input(args, input)?;
    Ok(Output { text: plain(&output.text), ok: output.ok })
}

/// `redis-cli --cluster WORDS…`, which has to end with status 0.
///
/// # Errors
/// It did not; the message has its output.
pub fn cluster(words: &[&str]) -> Result<String> {
    let args: Vec<&str> = ["--cluster"].iter().chain(words).copied().collect();
    let output = run(&args)?;
    anyhow::ensure!(output.ok, "redis-cli {} failed:\n{}", args.join(" "), output.text);
    Ok(output.text)
}

/// What a person at `redis-cli -c -p PORT` sees after typing one command, redirections included.
///
/// # Errors
/// As [`cluster`].
pub fn type_in(port: u16, command: &str) -> Result<String> {
    let port = port.to_string();
    let output = run_with_input(&["--no-raw", "-c", "-p", &port], &format!("{command}\n"))?;
    anyhow::ensure!(output.ok, "redis-cli -c -p {port}, {command} failed:\n{}", output.text);
    Ok(output.text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn colours_are_taken_off() {
        assert_eq!(plain("\u{1b}[32;1m[OK] All\n\u{1b}[0mx [1]"), "[OK] All\nx [1]");
    }
}

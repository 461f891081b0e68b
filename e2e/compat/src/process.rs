//! Processes that are nobody's child any more: found by what `ps` shows, ended by their id.

use anyhow::{Context, Result};
use e2e::wait;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::process::Command;
use std::time::Duration;

/// How long a process may take to be gone after SIGKILL, or after SIGTERM.
const END_LIMIT: Duration = Duration::from_secs(30);

/// The process whose whole title ends like this, which must be so peculiar that it is ours: a port that a test
/// has reserved.
#[must_use]
pub fn find(title_end: &str) -> Option<i32> {
    let ids = fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.into_iter().find(|id: &i32| title(*id).is_some_and(|title| title.ends_with(title_end)))
}

fn title(id: i32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{id}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let title = text.trim_end_matches(['\0', ' ']).to_owned();
    (!title.is_empty()).then_some(title)
}

/// What `ps` shows in its last column.
///
/// # Errors
/// ps cannot be run.
pub fn title_in_ps(id: i32) -> Result<String> {
    let output = Command::new("ps").args(["-o", "args=", "-p", &id.to_string()]).output();
    let output = output.context("could not run ps: install procps")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// Whether the process runs; one that only waits for its parent does not. Its first thread may have ended, and its title be
/// gone, while another still holds its files and their locks.
#[must_use]
pub fn runs(id: i32) -> bool {
    let Ok(fields) = stat(id) else { return false };
    let ended = fields.first().is_some_and(|state| state == "Z" || state == "X");
    let threads = fs::read_dir(format!("/proc/{id}/task")).map_or(0, Iterator::count);
    !ended || threads > 1
}

/// The fields of `/proc/ID/stat` after the name, which may hold anything: state, parent, group, session, terminal …
fn stat(id: i32) -> Result<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).context("the process does not run")?;
    let (_, rest) = stat.rsplit_once(')').context("no name in /proc/…/stat")?;
    Ok(rest.split_ascii_whitespace().map(str::to_owned).collect())
}

/// Whether the process leads a session of its own and has no terminal, as a daemon.
///
/// # Errors
/// It does not run.
pub fn is_in_background(id: i32) -> Result<bool> {
    let fields = stat(id)?;
    let field = |n: usize| fields.get(n).map(String::as_str);
    Ok(field(3) == Some(id.to_string().as_str()) && field(4) == Some("0"))
}

/// Sends the signal and waits until the process is gone.
///
/// # Errors
/// It does not run, or is still there after 30 s.
pub fn end(id: i32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(id).context("process id 0")?;
    kill_process(pid, signal).with_context(|| format!("could not send a signal to {id}"))?;
    wait::until(&format!("process {id} is gone"), END_LIMIT, || !runs(id))
}

//! What is measured with, and what Linux says of a process.

use super::contender::Contender;
use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// Linux counts the time of processes in hundredths of a second (USER_HZ).
const TICKS_PER_S: f64 = 100.0;

/// Seconds of CPU, user and system, that all threads of a process have taken. Children that it forked are not in it.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    let stat = stat.with_context(|| format!("process {pid} has ended"))?;
    parse_cpu_seconds(&stat).with_context(|| format!("cannot read the stat of process {pid}: {stat}"))
}

/// Fields 14 and 15; the program's name before them may have blanks.
fn parse_cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some((next()? + next()?) / TICKS_PER_S)
}

/// Bytes of a process that are in memory.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.with_context(|| format!("process {pid} has ended"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// Runs `act` with this thread, and the processes it starts, on one core. On every core as before where there is only
/// one, or not this one.
pub(crate) fn on_core<T>(core: usize, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = sched_getaffinity(None)?;
    if before.count() < 2 || !before.is_set(core) {
        return act();
    }
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(None, &only)?;
    let done = act();
    sched_setaffinity(None, &before)?;
    done
}

/// Machine, versions, commit and load: without them figures say nothing.
pub(crate) fn header(contenders: &[Contender], command: &str) -> String {
    let mut out = String::new();
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".into());
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // Writing into a string cannot fail.
    let _ = writeln!(out, "* command: `{command}`");
    let _ = writeln!(out, "* machine: {cores} × {cpu}, {memory}, Linux {}", kernel.trim());
    for contender in contenders {
        let _ = writeln!(out, "* {}: {}", contender.name(), contender.version);
    }
    let _ = writeln!(out, "* commit: {}", commit().unwrap_or_else(|| "unknown".into()));
    let _ = writeln!(out, "* {}", load());
    out
}

/// The load average and the time.
pub(crate) fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let three: Vec<&str> = load.split_ascii_whitespace().take(3).collect();
    format!("load average (1, 5, 15 minutes): {}", three.join(", "))
}

/// The first value of a field in a file of lines `name : value`.
fn field(path: impl AsRef<Path>, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn commit() -> Option<String> {
    let mut git = Command::new("git");
    git.current_dir(e2e::tools::repository()).args(["describe", "--always", "--dirty", "--abbrev=10"]);
    let output = git.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_a_name_with_blanks() {
        let stat = "12 (a (b) c) S 1 12 12 0 -1 4194304 150 0 0 0 123 77 9 9 20 0 1 0 100 1 1";
        assert_eq!(parse_cpu_seconds(stat), Some(2.0));
        assert_eq!(parse_cpu_seconds("12 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_memory_and_a_core() {
        let own = std::process::id();
        assert!(resident_bytes(own).unwrap() > 100_000);
        assert!(cpu_seconds(own).unwrap() >= 0.0);
        let before = sched_getaffinity(None).unwrap();
        let within = on_core(0, || Ok(sched_getaffinity(None)?.count())).unwrap();
        assert!(within == 1 || before.count() == within || !before.is_set(0));
        assert_eq!(sched_getaffinity(None).unwrap().count(), before.count());
    }
}

//! Ctrl-C and SIGTERM end what was started: by its process id, and nothing else.

use anyhow::Result;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::collections::BTreeMap;

/// How often processes are looked for that were started meanwhile.
const SWEEPS_MAX: usize = 100;

/// From now on a signal kills all processes below this one, then ends it with 128 and the signal's number.
///
/// # Errors
/// The signals cannot be caught.
pub fn watch() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            for _ in 0..SWEEPS_MAX {
                let all = below(std::process::id(), &processes());
                if all.is_empty() {
                    break;
                }
                for pid in all.into_iter().filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
                    // It may have ended by itself.
                    let _ = kill_process(pid, Signal::KILL);
                }
                std::thread::yield_now();
            }
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// Every process that has not ended, with its parent.
fn processes() -> BTreeMap<u32, u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parent = |pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        (state != "Z").then_some((pid, fields.next()?.parse().ok()?))
    };
    pids.filter_map(parent).collect()
}

/// The children of a process, their children, and so on.
fn below(root: u32, parents: &BTreeMap<u32, u32>) -> Vec<u32> {
    let mut found = Vec::new();
    let mut next = vec![root];
    while let Some(parent) = next.pop() {
        let children: Vec<u32> =
            parents.iter().filter(|(pid, of)| **of == parent && **pid != root).map(|(pid, _)| *pid).collect();
        next.extend(&children);
        found.extend(children);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_is_found() {
        let parents = BTreeMap::from([(1, 0), (5, 1), (6, 5), (7, 6), (8, 1), (9, 5)]);
        let mut found = below(5, &parents);
        found.sort_unstable();
        assert_eq!(found, [6, 7, 9]);
    }

    #[test]
    fn a_child_of_this_process_is_found() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(below(std::process::id(), &processes()).contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

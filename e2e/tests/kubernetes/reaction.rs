//! From a container's death to the operator's first command, by the clock of this machine, which kind's nodes share.

use crate::platform::{OPERATOR_NAMESPACE, RELEASE};
use anyhow::{Context, Result, ensure};
use e2e::Kubectl;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long after `death` the operator began its first step in this namespace. `None`: there is none, the nodes healed the
/// shard before it looked.
pub(crate) fn of_the_operator(kubectl: &Kubectl, death: SystemTime) -> Result<Option<Duration>> {
    let ours = format!("namespace=\"{}\"", kubectl.namespace());
    let deployment = format!("deployment/{RELEASE}");
    // A step's line comes behind the death if its beginning does.
    let since = death.duration_since(UNIX_EPOCH)?.as_secs();
    let since = format!("--since-time={}", date(&format!("@{since}"), "+%Y-%m-%dT%H:%M:%SZ")?);
    let log = kubectl.in_namespace(OPERATOR_NAMESPACE).ok(&["logs", &deployment, &since])?;
    let ended = log.lines().filter(|line| line.contains("a step ended") && line.contains(&ours));
    let begun = ended.map(begun).collect::<Result<Vec<_>>>()?;
    Ok(begun.into_iter().filter_map(|at| at.duration_since(death).ok()).min())
}

/// A step's line is written when it has ended, and says how long it took.
fn begun(line: &str) -> Result<SystemTime> {
    let stamp = line.split_whitespace().next().unwrap_or_default();
    let took = line.split_once("took_ms=").and_then(|(_, rest)| rest.split_whitespace().next());
    let took: u64 = took.and_then(|ms| ms.parse().ok()).with_context(|| format!("no took_ms in {line}"))?;
    let ended: u64 = date(stamp, "+%s%3N").with_context(|| line.to_owned())?.parse()?;
    Ok(UNIX_EPOCH + Duration::from_millis(ended.saturating_sub(took)))
}

/// A time, written in another form.
fn date(time: &str, form: &str) -> Result<String> {
    let written = Command::new("date").args(["--utc", "--date", time, form]).output();
    let written = written.context("could not run date")?;
    ensure!(written.status.success(), "{time:?} is no time");
    Ok(String::from_utf8_lossy(&written.stdout).trim().to_owned())
}

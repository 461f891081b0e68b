//! Harm that only the owner of the machines can do: a process killed, a node frozen. On kind the nodes are containers.

use anyhow::{Context, Result, ensure};
use e2e::Kubectl;
use e2e::tools::repository;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The engine that runs the nodes.
pub(crate) struct Kind {
    engine: String,
}

impl Kind {
    /// The engine, when the cluster is kind's on this machine; otherwise says that the test is skipped.
    pub(crate) fn or_skip(kubectl: &Kubectl, what: &str) -> Result<Option<Self>> {
        let ids = kubectl.ok(&["get", "nodes", "--output=jsonpath={.items[*].spec.providerID}"])?;
        if !ids.split_whitespace().all(|id| id.starts_with("kind://")) || ids.trim().is_empty() {
            crate::scene::say(&format!("SKIPPED {what}: the nodes are not kind's ({ids})"))?;
            return Ok(None);
        }
        // kind://ENGINE/CLUSTER/NODE
        let engine = ids.trim().strip_prefix("kind://").and_then(|rest| rest.split('/').next());
        let engine = engine.filter(|name| !name.is_empty()).unwrap_or("docker").to_owned();
        Ok(Some(Self { engine }))
    }

    /// Runs a command of the engine.
    pub(crate) fn engine(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.engine);
        if std::env::var_os("CONTAINERS_CONF").is_none() {
            command.env("CONTAINERS_CONF", repository().join("e2e/kind/containers.conf"));
        }
        let done = command.args(args).output().with_context(|| format!("could not run {}", self.engine))?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "{} {} failed: {said}", self.engine, args.join(" "));
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }

    /// SIGKILL for the first container of a pod; when that was, by the clock that this machine and its nodes share.
    pub(crate) fn kill(&self, kubectl: &Kubectl, pod: &str) -> Result<SystemTime> {
        let pod = kubectl.get("pod", pod)?;
        let node = pod["spec"]["nodeName"].as_str().context("the pod is on no node")?;
        let id = pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap_or_default();
        let id = id.strip_prefix("containerd://").context("the pod has no container")?;
        let kill = format!("date +%s%3N && ctr -n k8s.io tasks kill -s SIGKILL {id}");
        let ms = self.engine(&["exec", node, "sh", "-c", &kill])?;
        Ok(UNIX_EPOCH + Duration::from_millis(ms.trim().parse().with_context(|| format!("no time: {ms}"))?))
    }
}

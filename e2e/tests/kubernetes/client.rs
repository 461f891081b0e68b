//! The pod of a test's clients: the checked writer runs in it, and it asks the nodes what they say.

use crate::platform;
use crate::wait;
use anyhow::{Context, Result, ensure};
use e2e::Kubectl;
use e2e::answers::Answers;
use e2e::writer::{Preloaded, Report};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const POD: &str = "client";
/// Writes before and after what a test does, so that there is something to lose.
const WARM: u64 = 1000;
const WRITE_LIMIT: Duration = Duration::from_secs(180);

/// What nodes answered, by address.
pub(crate) type Said = BTreeMap<String, std::result::Result<Answers, String>>;

/// The pod; it goes with the namespace.
pub(crate) struct ClientPod {
    kubectl: Kubectl,
    /// The longest gap since somebody took it: every look at the writer begins a new one there.
    gap: AtomicU64,
}

/// How far a writer is.
#[derive(Debug, Deserialize)]
struct Progress {
    acknowledged: u64,
    gap_ms: u64,
}

impl ClientPod {
    /// Has the pod started; it is not waited for.
    pub(crate) fn create(kubectl: &Kubectl) -> Result<Self> {
        let away = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference":
            {"matchExpressions": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]}}]}});
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD},
            "spec": {
                // Where nothing is drained or paused, if such a machine takes pods.
                "affinity": away,
                "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}],
                "terminationGracePeriodSeconds": 1,
                "automountServiceAccountToken": false,
                "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "writer", "image": platform::writer_image(), "imagePullPolicy": "IfNotPresent", "args": ["serve"],
                    "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                        "capabilities": {"drop": ["ALL"]}},
                }],
            },
        });
        kubectl.ok_with(&["create", "--filename=-"], &pod.to_string())?;
        Ok(Self { kubectl: kubectl.clone(), gap: AtomicU64::new(0) })
    }

    /// Waits until it runs.
    pub(crate) fn wait_running(&self) -> Result<()> {
        let started = ["wait", "--for=condition=Ready", "pod/client", "--timeout=180s"];
        self.kubectl.ok(&started).context(
            "the client pod does not run: is the image there (tools/build-test-image.sh, e2e/kind/load --tests; \
             CHECKED_WRITER_IMAGE names another)?",
        )?;
        Ok(())
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        let mut all = vec!["exec", POD, "--", "/checked-writer"];
        all.extend(args);
        self.kubectl.ok(&all)
    }

    /// Begins to write.
    pub(crate) fn start(&self, seeds: &[String], may_lose: bool) -> Result<()> {
        let mut args = vec!["start"];
        args.extend(may_lose.then_some("--may-lose"));
        args.extend(seeds.iter().map(String::as_str));
        self.run(&args)?;
        self.warm()
    }

    fn progress(&self) -> Result<Progress> {
        let progress: Progress = serde_json::from_str(&self.run(&["progress"])?)?;
        self.gap.fetch_max(progress.gap_ms, Ordering::Relaxed);
        Ok(progress)
    }

    /// The longest time without a write to the slots of any first owner, since this was last asked.
    pub(crate) fn take_gap(&self) -> Result<u64> {
        self.progress()?;
        Ok(self.gap.swap(0, Ordering::Relaxed))
    }

    /// Waits for some more writes.
    pub(crate) fn warm(&self) -> Result<()> {
        let goal = self.progress()?.acknowledged + WARM;
        let mut last = None;
        wait::until("the writer goes on", WRITE_LIMIT, || match self.progress() {
            Ok(progress) => progress.acknowledged >= goal,
            // The way to the pod leads through a busy API server and kubelet.
            Err(error) => {
                last = Some(error);
                false
            }
        })
        .with_context(|| format!("the last error: {last:?}"))
    }

    /// Stops the writer, which then reads every key.
    pub(crate) fn stop(&self) -> Result<Report> {
        Ok(serde_json::from_str(&self.run(&["stop"])?)?)
    }

    /// Sets so many keys.
    pub(crate) fn set(&self, seeds: &[String], count: u64) -> Result<()> {
        let count = format!("--count={count}");
        self.run(&[&["set", &count], &strs(seeds)[..]].concat())?;
        Ok(())
    }

    /// What has become of them.
    pub(crate) fn look_for(&self, seeds: &[String], count: u64) -> Result<Preloaded> {
        let count = format!("--count={count}");
        Ok(serde_json::from_str(&self.run(&[&["verify", &count], &strs(seeds)[..]].concat())?)?)
    }

    /// They are all there.
    pub(crate) fn verify(&self, seeds: &[String], count: u64) -> Result<()> {
        let found = self.look_for(seeds, count)?;
        ensure!(found.is_complete(), "{found:?}");
        Ok(())
    }

    /// What these nodes say.
    pub(crate) fn look(&self, addresses: &[String]) -> Result<Said> {
        let said = self.run(&[&["look"], &strs(addresses)[..]].concat())?;
        serde_json::from_str(&said).context("the client pod's answer")
    }
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

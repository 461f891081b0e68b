//! A test's namespace, with its client pod. Deleted when the test passed; when it failed, everything is written down and
//! the namespace stays.

use crate::client::ClientPod;
use crate::cluster::Cluster;
use crate::{dump, platform};
use anyhow::{Context, Result, anyhow, ensure};
use e2e::Kubectl;
use std::any::Any;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

/// Held for reading by tests that mind only their own pods, for writing by those that harm the operator or machines.
static MACHINES: RwLock<()> = RwLock::new(());

/// Who may run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Company {
    /// Others of that kind.
    Others,
    /// Nobody: it harms what others need.
    Alone,
}

/// A namespace, and who runs clients in it.
pub(crate) struct Scene {
    pub(crate) kubectl: Kubectl,
    pub(crate) client: ClientPod,
}

impl Scene {
    fn new(name: &str) -> Result<Self> {
        let cluster = platform::kubectl()?;
        let namespace = format!("e2e-{name}-{}", std::process::id());
        cluster.ok(&["create", "namespace", &namespace])?;
        // What the operator makes must be allowed where the rules are strictest.
        cluster.ok(&["label", "namespace", &namespace, "pod-security.kubernetes.io/enforce=restricted"])?;
        let kubectl = cluster.in_namespace(&namespace);
        // Pods are refused until their account is there.
        kubectl.ok(&["wait", "--for=create", "serviceaccount/default", "--timeout=180s"])?;
        let client = ClientPod::create(&kubectl)?;
        Ok(Self { kubectl, client })
    }

    /// Declares the cluster `demo`.
    pub(crate) fn declare(&self, spec: &str) -> Result<Cluster<'_>> {
        let cluster = Cluster::new(self, "demo");
        cluster.declare(spec)?;
        Ok(cluster)
    }

    /// A cluster that is as declared, and a writer that has begun.
    pub(crate) fn written(&self, spec: &str, may_lose: bool, keys: u64) -> Result<Cluster<'_>> {
        let cluster = Cluster::new(self, "demo");
        self.write(if may_lose { cluster } else { cluster.patient() }, spec, may_lose, keys)
    }

    /// The same with default settings, for what is measured with these, and a writer that loses nothing.
    pub(crate) fn written_by_default(&self, spec: &str, keys: u64) -> Result<Cluster<'_>> {
        self.write(Cluster::new(self, "demo"), spec, false, keys)
    }

    fn write<'s>(
        &'s self,
        cluster: Cluster<'s>,
        spec: &str,
        may_lose: bool,
        keys: u64,
    ) -> Result<Cluster<'s>> {
        cluster.declare(spec)?;
        self.client.wait_running()?;
        cluster.wait_converged()?;
        let seeds = cluster.addresses()?;
        if keys > 0 {
            self.client.set(&seeds, keys)?;
        }
        self.client.start(&seeds, may_lose)?;
        self.client.take_gap()?;
        Ok(cluster)
    }

    /// Stops the writer: nothing failed, nothing is lost, and the keys that were set before are all there.
    pub(crate) fn finish_spotless(&self, cluster: &Cluster<'_>, keys: u64) -> Result<()> {
        let report = self.client.stop()?;
        report.assert_no_failures();
        ensure!(report.lost == 0, "{report}");
        self.client.verify(&cluster.addresses()?, keys)
    }
}

/// Runs a test in a namespace of its own.
pub(crate) fn run(name: &str, company: Company, body: impl FnOnce(&Scene) -> Result<()>) {
    let read = (company == Company::Others).then(|| MACHINES.read().unwrap_or_else(PoisonError::into_inner));
    let write = (company == Company::Alone).then(|| MACHINES.write().unwrap_or_else(PoisonError::into_inner));
    let scene = Scene::new(name).unwrap();
    let result =
        catch_unwind(AssertUnwindSafe(|| body(&scene))).unwrap_or_else(|panic| Err(anyhow!(text(&panic))));
    if let Err(error) = result {
        let written = dump::write(name, &scene);
        panic!(
            "{error:#}\nwhat was seen is in {written:?}; the namespace {} stays",
            scene.kubectl.namespace()
        );
    }
    // The test has passed: a namespace that stays does not change that.
    if let Err(error) = scene.kubectl.ok(&["delete", "namespace", scene.kubectl.namespace(), "--wait=false"])
    {
        say(&format!("{error:#}")).unwrap();
    }
    drop((read, write));
}

fn text(panic: &Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// A line that is seen even when the test passes.
pub(crate) fn say(line: &str) -> Result<()> {
    writeln!(std::io::stderr(), "{line}").context("could not print")
}

/// A figure, for the table of measurements.
pub(crate) fn measured(what: &str, value: &str) -> Result<()> {
    say(&format!("MEASURED {what}: {value}"))
}

pub(crate) fn seconds(took: Duration) -> String {
    format!("{:.2} s", took.as_secs_f64())
}

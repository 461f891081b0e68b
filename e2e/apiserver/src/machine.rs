//! Stand-ins for what an API server alone lacks: the controller of StatefulSets, and kubelets whose "containers" are
//! node-servers on loopback addresses. They do what the real ones do to the objects that an operator watches, and no
//! more: nothing is scheduled, no volume is bound, no object is collected but pods.

use crate::container::Container;
use anyhow::{Context, Result};
use e2e::Kubectl;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the objects are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often a kubelet renews its Lease.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// The kube nodes; pods take turns.
const NODES: [&str; 3] = ["kube-a", "kube-b", "kube-c"];
/// Each namespace has a network of its own: 127.64.N.0, so that all pods have the same ports.
static NETWORKS: AtomicU8 = AtomicU8::new(1);

/// The pods of one namespace. They end with this.
#[derive(Debug)]
pub struct Machine {
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// By the uid of the pod.
type Containers = BTreeMap<String, Container>;

#[derive(Debug)]
struct Shared {
    kubectl: Kubectl,
    dir: PathBuf,
    program: PathBuf,
    network: String,
    containers: Mutex<Containers>,
    failure: Mutex<Option<String>>,
}

impl Machine {
    /// Makes the kube nodes and begins to run the pods of the namespace that `kubectl` is in.
    ///
    /// # Errors
    /// There is no node-server, or the nodes cannot be made.
    pub fn start(kubectl: &Kubectl, dir: &Path) -> Result<Self> {
        let dir = dir.join(kubectl.namespace());
        std::fs::create_dir_all(&dir)?;
        // Two processes may run at once; nobody else uses these addresses' ports.
        let network =
            format!("127.{}.{}", 64 + std::process::id() % 128, NETWORKS.fetch_add(1, Ordering::Relaxed));
        let shared = Arc::new(Shared {
            kubectl: kubectl.clone(),
            dir,
            program: e2e::Binary::NodeServer.path()?,
            network,
            containers: Mutex::default(),
            failure: Mutex::default(),
        });
        shared.make_nodes()?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (shared, stop) = (Arc::clone(&shared), Arc::clone(&stop));
            move || shared.run(&stop)
        });
        Ok(Self { shared, stop, thread: Some(thread) })
    }

    /// Kills the process of a pod's container (SIGKILL); the kubelet starts it again.
    ///
    /// # Errors
    /// There is no such pod.
    pub fn kill(&self, pod: &str) -> Result<()> {
        let containers = self.shared.containers();
        let container =
            containers.values().find(|c| c.pod == pod).with_context(|| format!("no pod {pod}"))?;
        container.kill()
    }

    /// What went wrong, if the stand-ins themselves failed: a test that waits in vain asks.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every pod's name and address.
    #[must_use]
    pub fn addresses(&self) -> BTreeMap<String, String> {
        self.shared.containers().values().map(|c| (c.pod.clone(), c.address.clone())).collect()
    }

    /// The end of every container's log.
    #[must_use]
    pub fn logs(&self) -> String {
        self.shared.containers().values().map(Container::log_tail).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn containers(&self) -> std::sync::MutexGuard<'_, Containers> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, stop: &AtomicBool) {
        let mut renewed: Option<Instant> = None;
        while !stop.load(Ordering::Relaxed) {
            let mut done = self.look();
            if renewed.is_none_or(|at| at.elapsed() >= RENEW_EVERY) {
                renewed = Some(Instant::now());
                done = done.and_then(|()| self.renew_leases());
            }
            if let Err(error) = done {
                // A conflict with another writer passes; the last failure is there for a test that waits in vain.
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{error:#}"));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn make_nodes(&self) -> Result<()> {
        let nodes: Vec<Value> = NODES
            .iter()
            .map(|name| {
                let labels = json!({"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": name});
                json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
            })
            .collect();
        self.apply(&nodes)
    }

    fn renew_leases(&self) -> Result<()> {
        let now = now()?;
        let leases: Vec<Value> = NODES
            .iter()
            .map(|name| {
                json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"name": name, "namespace": "kube-node-lease"},
                    "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now}})
            })
            .collect();
        self.kubectl.in_namespace("kube-node-lease").ok_with(&APPLY, &list(&leases)).map(drop)
    }

    fn apply(&self, objects: &[Value]) -> Result<()> {
        self.kubectl.ok_with(&APPLY, &list(objects)).map(drop)
    }

    fn look(&self) -> Result<()> {
        let kinds = "statefulsets,pods,configmaps";
        let found: Value = serde_json::from_str(&self.kubectl.ok(&["get", kinds, "--output=json"])?)?;
        let mut by_kind: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for item in found["items"].as_array().context("kubectl gave no list")? {
            by_kind.entry(item["kind"].as_str().unwrap_or_default()).or_default().push(item);
        }
        let of = |kind: &str| by_kind.get(kind).cloned().unwrap_or_default();
        let (sets, pods, configs) = (of("StatefulSet"), of("Pod"), of("ConfigMap"));
        self.control(&sets, &pods)?;
        for pod in &pods {
            self.run_pod(pod, &configs)?;
        }
        // A pod object that somebody removed by force.
        let known: Vec<&str> = pods.iter().filter_map(|pod| pod["metadata"]["uid"].as_str()).collect();
        self.containers().retain(|uid, _| known.contains(&uid.as_str()));
        Ok(())
    }

    /// What the controller of StatefulSets does: a pod for each ordinal, none beyond. (And the garbage collector: no pod
    /// of a set that is gone.)
    fn control(&self, sets: &[&Value], pods: &[&Value]) -> Result<()> {
        let names: Vec<&str> = pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str()).collect();
        let mut wanted = Vec::new();
        let mut missing = Vec::new();
        for set in sets.iter().filter(|set| set["metadata"]["deletionTimestamp"].is_null()) {
            for ordinal in 0..set["spec"]["replicas"].as_u64().unwrap_or(1) {
                let name = format!("{}-{ordinal}", set["metadata"]["name"].as_str().unwrap_or_default());
                if !names.contains(&name.as_str()) {
                    missing.push(pod_of(set, &name, ordinal));
                }
                wanted.push(name);
            }
        }
        if !missing.is_empty() {
            self.kubectl.ok_with(&["create", "--filename=-"], &list(&missing))?;
        }
        for pod in pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()) {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            if !wanted.iter().any(|wanted| wanted == name) {
                self.kubectl.ok(&["delete", "pod", name, "--wait=false"])?;
            }
        }
        Ok(())
    }

    /// What a kubelet does.
    fn run_pod(&self, pod: &Value, configs: &[&Value]) -> Result<()> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (uid, name) = (text(&pod["metadata"]["uid"]), text(&pod["metadata"]["name"]));
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            let gone =
                self.containers().get_mut(&uid).is_none_or(|container| container.stop().unwrap_or(true));
            if gone {
                self.containers().remove(&uid);
                self.kubectl.ok(&[
                    "delete",
                    "pod",
                    &name,
                    "--grace-period=0",
                    "--force",
                    "--ignore-not-found",
                ])?;
            }
            return Ok(());
        }
        let mut containers = self.containers();
        if !containers.contains_key(&uid) {
            let used: Vec<String> = containers.values().map(|c| c.address.clone()).collect();
            let address = (1..255).map(|i| format!("{}.{i}", self.network)).find(|a| !used.contains(a));
            let address = address.context("no address is free")?;
            let container = Container::start(pod, configs, &self.program, &self.dir, address)?;
            containers.insert(uid.clone(), container);
        }
        let Some(container) = containers.get_mut(&uid) else { return Ok(()) };
        container.keep_running()?;
        let status = container.status()?;
        drop(containers);
        if differs(&pod["status"], &status) {
            let patch = json!({"status": status}).to_string();
            self.kubectl.ok(&[
                "patch",
                "pod",
                &name,
                "--subresource=status",
                "--type=merge",
                "--patch",
                &patch,
            ])?;
        }
        Ok(())
    }
}

const APPLY: [&str; 5] =
    ["apply", "--server-side", "--force-conflicts", "--field-manager=kubelet", "--filename=-"];

fn list(objects: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

/// Whether `wanted` says something that `present` does not.
fn differs(present: &Value, wanted: &Value) -> bool {
    match (present, wanted) {
        (Value::Object(present), Value::Object(wanted)) => {
            wanted.iter().any(|(key, value)| differs(present.get(key).unwrap_or(&Value::Null), value))
        }
        (Value::Array(present), Value::Array(wanted)) => {
            present.len() != wanted.len() || present.iter().zip(wanted).any(|(a, b)| differs(a, b))
        }
        (present, wanted) => present != wanted,
    }
}

fn pod_of(set: &Value, name: &str, ordinal: u64) -> Value {
    let mut metadata = set["spec"]["template"]["metadata"].clone();
    metadata["name"] = json!(name);
    metadata["labels"]["apps.kubernetes.io/pod-index"] = json!(ordinal.to_string());
    metadata["labels"]["statefulset.kubernetes.io/pod-name"] = json!(name);
    metadata["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "controller": true,
        "name": set["metadata"]["name"], "uid": set["metadata"]["uid"]}]);
    let mut spec = set["spec"]["template"]["spec"].clone();
    let turn = name.bytes().map(usize::from).sum::<usize>() % NODES.len();
    spec["nodeName"] = json!(NODES[turn]);
    spec["hostname"] = json!(name);
    for claim in set["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten() {
        let volume = claim["metadata"]["name"].as_str().unwrap_or_default();
        let source =
            json!({"name": volume, "persistentVolumeClaim": {"claimName": format!("{volume}-{name}")}});
        match spec["volumes"].as_array_mut() {
            Some(volumes) => volumes.push(source),
            None => spec["volumes"] = json!([source]),
        }
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

/// Now, as objects have it.
pub(crate) fn now() -> Result<String> {
    let lines = e2e::tools::lines_of(std::process::Command::new("date").args(["-u", "+%FT%T.%6NZ"]))?;
    lines.into_iter().next().context("date printed nothing")
}

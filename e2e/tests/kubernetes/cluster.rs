//! One RedisCluster: what it should be, what its nodes say, and waiting until these agree.

use crate::scene::Scene;
use crate::wait;
use anyhow::{Context, Result, ensure};
use e2e::Kubectl;
use node_server_protocol::{Address, SlotSet};
use operator::build::{CLIENT_PORT, CLUSTER_LABEL};
use operator::manifest;
use operator_planner::{Fact, Life, Member, MemberId, NodeReport, Observed, Violation, Why, check};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long an edit may take to be followed: machines that tests run on are busy, and every batch of slots waits for disks.
const LIMIT: Duration = Duration::from_secs(600);
const BUS_PORT: u16 = 16379;
/// Where no node dies and no command may fail, one starved pod or slow disk is given time.
const PATIENT: &str = ", config: {cluster-node-timeout: '15000', shutdown-timeout: '30'}";

/// The pods of a cluster.
pub(crate) type Pods = BTreeMap<MemberId, Pod>;

/// A pod of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) uid: String,
    pub(crate) ip: String,
    pub(crate) machine: String,
    pub(crate) ready: bool,
    pub(crate) restarts: u64,
}

impl Pod {
    fn of(pod: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let conditions = pod["status"]["conditions"].as_array();
        let ready = |c: &&Value| c["type"] == "Ready" && c["status"] == "True";
        Self {
            uid: text(&pod["metadata"]["uid"]),
            ip: text(&pod["status"]["podIP"]),
            machine: text(&pod["spec"]["nodeName"]),
            ready: conditions.is_some_and(|all| all.iter().any(|c| ready(&c))),
            restarts: pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0),
        }
    }

    /// What is another one in another pod, or behind a restart. Readiness comes and goes.
    fn incarnation(&self) -> (&str, &str, &str, u64) {
        (&self.uid, &self.ip, &self.machine, self.restarts)
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> String {
        format!("{}:{CLIENT_PORT}", self.ip)
    }
}

/// They are the same pods, and none has restarted.
pub(crate) fn ensure_untouched(now: &Pods, before: &Pods) -> Result<()> {
    let same = now.len() == before.len()
        && now.iter().all(|(member, pod)| {
            before.get(member).is_some_and(|former| pod.incarnation() == former.incarnation())
        });
    ensure!(same, "pods changed: {now:#?}\n{before:#?}");
    Ok(())
}

/// A RedisCluster in a scene.
pub(crate) struct Cluster<'s> {
    scene: &'s Scene,
    pub(crate) name: String,
    config: &'static str,
}

impl<'s> Cluster<'s> {
    pub(crate) fn new(scene: &'s Scene, name: &str) -> Self {
        Self { scene, name: name.into(), config: "" }
    }

    /// The same for a test in which no node dies before it is told to. Its `spec` has no `config`.
    pub(crate) fn patient(self) -> Self {
        Self { config: PATIENT, ..self }
    }

    pub(crate) fn kubectl(&self) -> &Kubectl {
        &self.scene.kubectl
    }

    /// The manifest with that `spec`, in YAML's braces.
    pub(crate) fn manifest(&self, spec: &str) -> String {
        let (name, config) = (&self.name, self.config);
        format!(
            "apiVersion: slotkeeper.dev/v1alpha1\nkind: RedisCluster\nmetadata: {{name: {name}}}\nspec: {{{spec}{config}}}\n"
        )
    }

    /// Creates it, or edits its `spec`.
    pub(crate) fn declare(&self, spec: &str) -> Result<()> {
        self.kubectl().ok_with(&["apply", "--filename=-"], &self.manifest(spec))?;
        Ok(())
    }

    /// The object.
    pub(crate) fn object(&self) -> Result<Value> {
        self.kubectl().get("rediscluster", &self.name)
    }

    /// A condition of its status.
    pub(crate) fn condition(&self, kind: &str) -> Result<Value> {
        let object = self.object()?;
        let all = object["status"]["conditions"].as_array().context("it has no conditions yet")?;
        all.iter().find(|c| c["type"] == kind).cloned().with_context(|| format!("it has no condition {kind}"))
    }

    /// Waits until the operator says Ready of the present generation. Gives how long that took.
    pub(crate) fn wait_ready(&self) -> Result<Duration> {
        let begun = Instant::now();
        let (what, limit) =
            (format!("rediscluster/{}", self.name), format!("--timeout={}s", LIMIT.as_secs()));
        let done = self.kubectl().ok(&["wait", "--for=condition=Ready", &what, &limit]);
        done.with_context(|| self.status())?;
        let (took, object) = (begun.elapsed(), self.object()?);
        let seen =
            object["status"]["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == "Ready");
        let seen = seen.map_or(&Value::Null, |c| &c["observedGeneration"]);
        ensure!(*seen == object["metadata"]["generation"], "Ready is said of generation {seen}: {object:#}");
        Ok(took)
    }

    /// Waits until the operator says Ready and no invariant is broken. Gives how long Ready took.
    pub(crate) fn wait_converged(&self) -> Result<Duration> {
        let took = self.wait_ready()?;
        let mut wrong = Vec::new();
        wait::until("no invariant is broken", LIMIT, || {
            self.violations().is_ok_and(|found| {
                wrong = found;
                wrong.is_empty()
            })
        })
        .with_context(|| {
            format!("{:#?}\n{}", wrong.iter().map(ToString::to_string).collect::<Vec<_>>(), self.status())
        })?;
        Ok(took)
    }

    /// The status in words, for error messages.
    pub(crate) fn status(&self) -> String {
        self.object().map_or_else(|error| format!("{error:#}"), |object| format!("{:#}", object["status"]))
    }

    /// Its pods.
    pub(crate) fn pods(&self) -> Result<Pods> {
        let selector = format!("--selector={CLUSTER_LABEL}={},app.kubernetes.io/component=node", self.name);
        let list: Value =
            serde_json::from_str(&self.kubectl().ok(&["get", "pods", &selector, "--output=json"])?)?;
        let pods = list["items"].as_array().context("no list of pods")?.iter();
        let member = |pod: &Value| MemberId::from_name(&self.name, pod["metadata"]["name"].as_str()?);
        Ok(pods.filter_map(|pod| Some((member(pod)?, Pod::of(pod)))).collect())
    }

    /// A member's pod, by name.
    pub(crate) fn pod_name(&self, member: MemberId) -> String {
        member.name(&self.name)
    }

    /// Where clients begin: the Service, which outlives every pod, and all members.
    pub(crate) fn addresses(&self) -> Result<Vec<String>> {
        let service = self.kubectl().get("service", &self.name)?;
        let service = service["spec"]["clusterIP"].as_str().context("the Service has no address")?;
        let mut all = vec![format!("{service}:{CLIENT_PORT}")];
        all.extend(self.pods()?.values().filter(|pod| !pod.ip.is_empty()).map(Pod::address));
        Ok(all)
    }

    /// What every member says now.
    pub(crate) fn observe(&self) -> Result<Observed> {
        let pods = self.pods()?;
        let addresses: Vec<String> =
            pods.values().filter(|pod| !pod.ip.is_empty()).map(Pod::address).collect();
        let mut said = self.scene.client.look(&addresses)?;
        let mut members = BTreeMap::new();
        for (member, pod) in pods {
            let answer = said.remove(&pod.address()).unwrap_or_else(|| Err("the pod has no address".into()));
            let node = match answer.map(|answers| answers.report()) {
                Ok(Ok(report)) => Fact::Known(report),
                Ok(Err(error)) => Fact::Unknown(Why::Failed(format!("{error:#}"))),
                Err(error) => Fact::Unknown(Why::Failed(error)),
            };
            let ip = pod.ip.parse().unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into());
            let address = Address { ip, port: CLIENT_PORT, bus_port: BUS_PORT };
            let (uid, life) = (pod.uid, Life::Running);
            let member_seen =
                Member { uid, address, life, leaving: false, on_volume: false, last_id: None, node };
            members.insert(member, member_seen);
        }
        Ok(Observed { members: Fact::Known(members), gone: Vec::new() })
    }

    /// What breaks the invariants now.
    pub(crate) fn violations(&self) -> Result<Vec<Violation>> {
        let desired = manifest::from_object(&self.object()?)?.desired;
        Ok(check(&desired, &self.observe()?))
    }

    /// What the members that answer say.
    pub(crate) fn reports(&self) -> Result<BTreeMap<MemberId, NodeReport>> {
        let members = self.observe()?.members;
        let members = members.known().context("no members")?.clone();
        Ok(members
            .into_iter()
            .filter_map(|(member, seen)| Some((member, seen.node.known()?.clone())))
            .collect())
    }

    /// The slots of each shard, as its own nodes say.
    fn owned(&self) -> Result<Vec<SlotSet>> {
        let mut owned: BTreeMap<u16, SlotSet> = BTreeMap::new();
        for (member, report) in self.reports()? {
            let slots = owned.entry(member.shard).or_default();
            *slots = slots.union(&report.own_slots());
        }
        Ok(owned.into_values().collect())
    }

    /// How many slots each shard has.
    pub(crate) fn counts(&self) -> Result<Vec<usize>> {
        Ok(self.owned()?.iter().map(SlotSet::len).collect())
    }

    /// Every shard has exactly these slots.
    pub(crate) fn ensure_owned(&self, slots: &[&str]) -> Result<()> {
        let owned: Vec<String> = self.owned()?.iter().map(ToString::to_string).collect();
        ensure!(owned == slots, "shards own {owned:?}, not {slots:?}\n{}", self.status());
        Ok(())
    }

    /// The master of a shard: of those that say so, the one with the most slots.
    pub(crate) fn master_of(&self, shard: u16) -> Result<MemberId> {
        let reports = self.reports()?;
        let masters = reports.iter().filter(|(m, r)| m.shard == shard && r.role.is_master());
        let best = masters.max_by_key(|(_, r)| (r.own_slots().len(), r.config_epoch));
        best.map(|(m, _)| *m).with_context(|| format!("shard {shard} has no master"))
    }

    /// The newest epoch that any shard's slots have: who wins an election takes a newer one.
    pub(crate) fn newest_epoch(&self) -> Result<u64> {
        Ok(self.reports()?.values().map(|report| report.config_epoch.0).max().unwrap_or(0))
    }

    /// Waits until another pod has taken a member's place and is ready.
    pub(crate) fn wait_replaced(&self, member: MemberId, former: &Pod) -> Result<()> {
        wait::until(&format!("another pod is {member}"), LIMIT, || {
            self.pods()
                .is_ok_and(|pods| pods.get(&member).is_some_and(|pod| pod.uid != former.uid && pod.ready))
        })
        .with_context(|| self.status())
    }
}

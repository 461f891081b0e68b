//! `operator run` under exactly the permissions that the chart grants, with node-servers as pods.

use crate::permissions::{wait_granted, wait_may};
use crate::{PLANE, cluster};
use anyhow::{Context, Result};
use e2e::helm::Helm;
use e2e::{Kubectl, PortBlock, wait};
use e2e_apiserver::Machine;
use e2e_apiserver::held::Held;
use rustix::process::Signal;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// How long anything may take; with a quiet machine it is seconds.
const LIMIT: Duration = Duration::from_secs(300);

/// The chart, its service account's token, and operators that run with it: on this machine, not as pods.
struct Operators {
    admin: Kubectl,
    kubeconfig: std::path::PathBuf,
    ports: PortBlock,
}

impl Operators {
    /// Installs the chart for the namespace of `admin` alone.
    fn install(admin: &Kubectl) -> Result<Self> {
        let scope = format!("watchNamespace={}", admin.namespace());
        Helm::of(admin)?.ok(&["install", "op", "charts/redis-operator", "--set", &scope])?;
        let token = admin.ok(&["create", "token", "op"])?;
        let user = PLANE.user(&format!("operator-{}", admin.namespace()), token.trim())?;
        let user = user.in_namespace(admin.namespace());
        wait_granted(&user)?;
        wait_may(&user, admin.namespace(), "create", "statefulsets.apps")?;
        let kubeconfig = user.kubeconfig().to_owned();
        Ok(Self { admin: admin.clone(), kubeconfig, ports: PortBlock::reserve(2)? })
    }

    /// Starts the `i`-th, with the environment that the Deployment gives it.
    fn start(&self, i: u16) -> Result<Held> {
        let namespace = self.admin.namespace();
        let mut command = Command::new(e2e::binary::operator()?);
        command.arg("run").arg("--metrics-address").arg(format!("127.0.0.1:{}", self.ports.port(i)));
        command.env("KUBECONFIG", &self.kubeconfig).env("POD_NAMESPACE", namespace);
        command.env("POD_NAME", format!("op-{i}")).env("WATCH_NAMESPACE", namespace);
        command
            .env("NODE_IMAGE", "slotkeeper/node-server:test")
            .env("LOG_FORMAT", "text")
            .env("RUST_LOG", "info");
        Held::start(&command, &PLANE.dir().join(format!("{namespace}-op-{i}.log")))
    }

    fn leader(&self) -> Result<String> {
        let lease = self.admin.get("lease", "slotkeeper-operator")?;
        Ok(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned())
    }
}

fn condition<'o>(object: &'o Value, kind: &str) -> Option<&'o Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// Waits until the cluster is Ready in its current generation.
fn wait_ready(admin: &Kubectl, name: &str, machine: &Machine, operator: &Held) -> Result<Value> {
    let ready = |object: &Value| {
        condition(object, "Ready").is_some_and(|ready| {
            ready["status"] == "True" && ready["observedGeneration"] == object["metadata"]["generation"]
        })
    };
    let mut last = Value::Null;
    let done = wait::until(&format!("{name} is Ready"), LIMIT, || {
        admin.get("rdc", name).is_ok_and(|object| {
            let is = ready(&object);
            last = object;
            is
        })
    });
    done.with_context(|| {
        format!("{:#}\n{:?}\n{}\n{}", last["status"], machine.failure(), operator.log_tail(), machine.logs())
    })?;
    Ok(last)
}

/// A permission that the chart lacks shows in the operator's log.
fn nothing_forbidden(operator: &Held) {
    let log = operator.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.to_lowercase().contains("forbidden")).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

#[test]
fn a_cluster_is_made_scaled_and_healed_with_the_charts_permissions() {
    let admin = PLANE.fresh_namespace().unwrap();
    let machine = Machine::start(&admin, PLANE.dir()).unwrap();
    let operators = Operators::install(&admin).unwrap();
    let operator = operators.start(0).unwrap();
    admin
        .ok_with(&["apply", "--filename=-"], &cluster("demo", "{masters: 3, replicasPerMaster: 1}"))
        .unwrap();
    let demo = wait_ready(&admin, "demo", &machine, &operator).unwrap();
    let ranges: Vec<_> =
        demo["status"]["shards"].as_array().unwrap().iter().map(|shard| shard["slots"].clone()).collect();
    assert_eq!(ranges, ["0-5460", "5461-10922", "10923-16383"]);

    admin.ok(&["scale", "rdc", "demo", "--replicas=4"]).unwrap();
    let demo = wait_ready(&admin, "demo", &machine, &operator).unwrap();
    assert_eq!(demo["status"]["shards"].as_array().unwrap().len(), 4);

    let master = demo["status"]["shards"][0]["master"].as_str().unwrap().to_owned();
    machine.kill(&master).unwrap();
    let other = wait::until("another node is master of shard 0, and the cluster is Ready", LIMIT, || {
        admin.get("rdc", "demo").is_ok_and(|demo| {
            demo["status"]["shards"][0]["master"] != master.as_str()
                && condition(&demo, "Ready").is_some_and(|ready| ready["status"] == "True")
        })
    });
    other.with_context(|| operator.log_tail()).unwrap();
    nothing_forbidden(&operator);
}

#[test]
fn of_two_operators_one_leads_and_the_other_takes_over() {
    let admin = PLANE.fresh_namespace().unwrap();
    let operators = Operators::install(&admin).unwrap();
    let mut running = [operators.start(0).unwrap(), operators.start(1).unwrap()];
    wait::until("one leads", LIMIT, || operators.leader().is_ok_and(|leader| !leader.is_empty())).unwrap();
    let first = operators.leader().unwrap();
    let index = usize::from(first.ends_with('1'));
    // Killed, it cannot give the Lease back: the other waits until it has run out.
    running[index].signal(Signal::KILL).unwrap();
    wait::until("it is dead", LIMIT, || running[index].ended().is_ok_and(|ended| ended.is_some())).unwrap();
    let other = format!("op-{}", 1 - index);
    wait::until("the other leads", LIMIT, || operators.leader().is_ok_and(|leader| leader == other))
        .with_context(|| running[1 - index].log_tail())
        .unwrap();
    // Told to end, it gives the Lease back.
    running[1 - index].signal(Signal::TERM).unwrap();
    wait::until("nobody leads", LIMIT, || operators.leader().is_ok_and(|leader| leader.is_empty())).unwrap();
    running.iter().for_each(nothing_forbidden);
}

#[test]
fn what_another_manager_holds_in_a_child_is_taken_back_or_named() {
    let admin = PLANE.fresh_namespace().unwrap();
    let machine = Machine::start(&admin, PLANE.dir()).unwrap();
    let operators = Operators::install(&admin).unwrap();
    let operator = operators.start(0).unwrap();
    // A Service of that name, which belongs to somebody else.
    admin.ok(&["create", "service", "clusterip", "demo", "--tcp=6379:6379"]).unwrap();
    admin
        .ok_with(&["apply", "--filename=-"], &cluster("demo", "{masters: 1, replicasPerMaster: 0}"))
        .unwrap();
    wait::until("the conflict is named", LIMIT, || {
        admin
            .get("rdc", "demo")
            .is_ok_and(|demo| demo["status"]["conditions"].to_string().contains("NameConflict"))
    })
    .with_context(|| operator.log_tail())
    .unwrap();
    assert!(
        admin.get("service", "demo").unwrap()["metadata"]["ownerReferences"].is_null(),
        "it was taken by force"
    );
    admin.ok(&["delete", "service", "demo"]).unwrap();
    wait_ready(&admin, "demo", &machine, &operator).unwrap();
    nothing_forbidden(&operator);
}

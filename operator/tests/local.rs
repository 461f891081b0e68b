//! `operator local` with real processes: redis-server, or what NODE_SERVER_BIN names.

#![allow(clippy::unwrap_used, reason = "a test")]

use serde_json::Value;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take; generous, since test machines are busy.
const LIMIT: Duration = Duration::from_secs(90);
/// Keys written before the cluster is changed.
const KEYS: usize = 3_000;

const THREE: [&str; 3] = ["0-5460", "5461-10922", "10923-16383"];
const FOUR: [&str; 4] = ["1365-5460", "6827-10922", "12288-16383", "0-1364,5461-6826,10923-12287"];

/// One directory with a manifest, and the operator that runs on it.
struct Scene {
    dir: tempfile::TempDir,
    base: u16,
    operator: Option<Child>,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { dir: tempfile::tempdir().unwrap(), base: free_ports(), operator: None };
        scene.declare("  masters: 3\n  replicasPerMaster: 1\n");
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn declare(&self, spec: &str) {
        let head = "apiVersion: slotkeeper.dev/v1alpha1\nkind: RedisCluster\nmetadata: {name: demo}\nspec:\n";
        std::fs::write(self.path("new.yaml"), format!("{head}{spec}")).unwrap();
        std::fs::rename(self.path("new.yaml"), self.path("demo.yaml")).unwrap();
    }

    fn start(&mut self, more: &[&str]) {
        let out = std::fs::File::options().create(true).append(true).open(self.path("out")).unwrap();
        let server = std::env::var("NODE_SERVER_BIN").unwrap_or_else(|_| "/usr/bin/redis-server".into());
        let child = Command::new(env!("CARGO_BIN_EXE_operator"))
            .args(["local", "demo.yaml", "--dir", "nodes", "--dump", "dump.json", "--node-server", &server])
            .args(["--port-base", &self.base.to_string()])
            .args(more)
            .current_dir(self.dir.path())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        self.operator = Some(child);
    }

    /// Ctrl-C, and the end.
    fn interrupt(&mut self) {
        let mut child = self.operator.take().unwrap();
        signal(child.id(), rustix::process::Signal::INT);
        let mut ended = None;
        until("the operator ends", || {
            ended = child.try_wait().unwrap();
            ended.is_some()
        });
        assert!(ended.unwrap().success(), "{}", self.said());
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.path("out")).unwrap_or_default()
    }

    fn status(&self) -> Value {
        let text = std::fs::read_to_string(self.path("dump.json")).unwrap_or_default();
        serde_json::from_str::<Value>(&text).map(|d| d["cluster"]["status"].clone()).unwrap_or_default()
    }

    /// Ready, with these slots of the shards' masters.
    fn is_ready(&self, slots: &[&str]) -> bool {
        let status = self.status();
        let ready = |c: &Value| c["type"] == "Ready" && c["status"] == "True";
        let shards = status["shards"].as_array().cloned().unwrap_or_default();
        let has: Vec<&str> = shards.iter().filter_map(|s| s["slots"].as_str()).collect();
        status["conditions"].as_array().is_some_and(|all| all.iter().any(ready)) && has == slots
    }

    fn until_ready(&self, slots: &[&str]) {
        until_or(&format!("ready with {slots:?}"), || self.is_ready(slots), || self.said());
    }

    fn ask(&self, number: u16, args: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.base + number))?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(2))?;
        redis::cmd(args[0]).arg(&args[1..]).query(&mut connection)
    }

    fn keys_at(&self, number: u16) -> usize {
        match self.ask(number, &["DBSIZE"]) {
            Ok(redis::Value::Int(n)) => usize::try_from(n).unwrap(),
            other => panic!("DBSIZE of {number}: {other:?}"),
        }
    }

    /// Writes keys to whoever owns them.
    fn fill(&self) {
        let mut masters: Vec<_> = (1..=3)
            .map(|n| redis::Client::open(format!("redis://127.0.0.1:{}", self.base + n)).unwrap())
            .map(|c| c.get_connection().unwrap())
            .collect();
        for i in 0..KEYS {
            let key = format!("key:{i}");
            let slot = node_server_protocol::key_slot(key.as_bytes()).number();
            let owner = usize::from(slot > 5460) + usize::from(slot > 10922);
            redis::cmd("SET").arg(&key).arg(i).exec(&mut masters[owner]).unwrap();
        }
    }

    fn records(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.path("nodes/members.json")).unwrap()).unwrap()
    }

    fn pid(&self, member: &str) -> u32 {
        self.records()["members"][member]["process"]["pid"].as_u64().unwrap().try_into().unwrap()
    }

    /// As an operator leaves it that ends between a process's start and the note of it.
    fn forget_process(&self, member: &str) {
        let mut records = self.records();
        records["members"][member]["process"] = Value::Null;
        std::fs::write(self.path("nodes/members.json"), records.to_string()).unwrap();
    }

    fn pids(&self) -> Vec<u32> {
        let records = self.records();
        let pid = |r: &Value| r["process"]["pid"].as_u64().map(|p| u32::try_from(p).unwrap());
        records["members"].as_object().unwrap().values().filter_map(pid).collect()
    }
}

impl Drop for Scene {
    /// A test that failed leaves nothing running.
    fn drop(&mut self) {
        if let Some(mut child) = self.operator.take() {
            let pids = if self.path("nodes/members.json").exists() { self.pids() } else { Vec::new() };
            child.kill().ok();
            child.wait().ok();
            for pid in pids.into_iter().filter(|pid| works_in(*pid, self.dir.path())) {
                signal(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// A process number may have been used again by a stranger.
fn works_in(pid: u32, dir: &Path) -> bool {
    std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(dir))
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).ok();
}

fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

fn until(what: &str, condition: impl FnMut() -> bool) {
    until_or(what, condition, String::new);
}

fn until_or(what: &str, mut condition: impl FnMut() -> bool, or: impl Fn() -> String) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "not in {LIMIT:?}: {what}\n{}", or());
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// Blocks of ports given out in this process: tests run beside each other, and none may take another's.
static TAKEN: AtomicU16 = AtomicU16::new(0);

/// Blocks of ports: their bus ports end below Linux's ephemeral ones (32768), which connections take.
const BLOCKS: u16 = 46;

/// A base with nine free ports above it, bus ports too.
fn free_ports() -> u16 {
    let first = u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap();
    let next = || 22_300 + (first + TAKEN.fetch_add(1, Ordering::Relaxed)) % BLOCKS * 10;
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let all_free = |base: &u16| (base + 1..base + 10).all(|p| free(p) && free(p + 10_000));
    std::iter::repeat_with(next)
        .take(usize::from(BLOCKS))
        .find(all_free)
        .expect("some block of ports is free")
}

#[test]
fn from_three_masters_to_four_and_back_with_a_dead_one_and_a_new_operator_between() {
    let mut scene = Scene::new();
    scene.start(&["--keep"]);
    scene.until_ready(&THREE);
    scene.fill();

    // An edit that does not hold changes nothing.
    scene.declare("  masters: 0\n");
    until_or("the bad edit is named", || scene.said().contains("spec.masters: 0"), || scene.said());

    // Interrupted with --keep, everything runs on, and the next operator takes it over.
    let before = scene.pids();
    scene.interrupt();
    assert!(before.iter().all(|pid| runs(*pid)), "--keep leaves the processes running");
    std::fs::remove_file(scene.path("dump.json")).unwrap();
    scene.forget_process("2-1");
    scene.declare("  masters: 4\n  replicasPerMaster: 1\n");
    scene.start(&[]);
    scene.until_ready(&FOUR);
    assert!(scene.said().contains("adopted"), "{}", scene.said());
    assert!(before.iter().all(|pid| scene.pids().contains(pid)), "no process was replaced");
    assert_eq!([1, 2, 3, 7].map(|n| scene.keys_at(n)).iter().sum::<usize>(), KEYS);

    // A killed master is replaced by its replica and comes back as a replica.
    let dead = scene.pid("1-0");
    signal(dead, rustix::process::Signal::KILL);
    let swapped = || {
        let shard = &scene.status()["shards"][1];
        shard["master"] == "demo-1-1" && scene.is_ready(&FOUR)
    };
    until_or("demo-1-1 takes over", swapped, || scene.said());
    assert_eq!([1, 5, 3, 7].map(|n| scene.keys_at(n)).iter().sum::<usize>(), KEYS);

    scene.declare("  masters: 3\n  replicasPerMaster: 1\n");
    scene.until_ready(&THREE);
    assert_eq!([1, 5, 3].map(|n| scene.keys_at(n)).iter().sum::<usize>(), KEYS);
    until_or("the fourth shard's files go", || !scene.path("nodes/redis07").exists(), || scene.said());

    // Ctrl-C leaves nothing.
    let pids = scene.pids();
    scene.interrupt();
    assert!(pids.iter().all(|pid| !runs(*pid)), "{}", scene.said());
}

#[test]
fn a_taken_port_is_named_and_its_owner_is_left_alone() {
    let mut scene = Scene::new();
    let stranger = TcpListener::bind(("127.0.0.1", scene.base + 2)).unwrap();
    scene.start(&[]);
    let named = format!("127.0.0.1:{} is taken", scene.base + 2);
    until_or("the port is named", || scene.said().contains(&named), || scene.said());
    drop(stranger);
    scene.until_ready(&THREE);
    scene.interrupt();
}

#[test]
fn with_storage_everything_is_there_after_all_have_ended() {
    let mut scene = Scene::new();
    scene.declare("  masters: 3\n  replicasPerMaster: 1\n  storage: {size: 1Gi}\n");
    scene.start(&[]);
    scene.until_ready(&THREE);
    scene.fill();
    let pids = scene.pids();
    scene.interrupt();
    assert!(pids.iter().all(|pid| !runs(*pid)), "{}", scene.said());
    std::fs::remove_file(scene.path("dump.json")).unwrap();
    scene.start(&[]);
    scene.until_ready(&THREE);
    // A replica that is in sync has them too.
    assert_eq!((1..=6).map(|n| scene.keys_at(n)).sum::<usize>(), 2 * KEYS, "{}", scene.said());
    scene.interrupt();
}

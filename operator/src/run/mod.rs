//! `operator run`: the operator on Kubernetes. Waits until it leads, then follows every RedisCluster on a task each.

mod cluster;
mod declared;
mod events;
mod serve;

use crate::lease::Election;
use crate::metrics::Metrics;
use crate::platform::kubernetes::caches::{self, Caches, Key};
use anyhow::Context as _;
use cluster::{ClusterTask, Shared};
use futures::StreamExt as _;
use kube::api::DynamicObject;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, Config, ResourceExt as _};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::Instrument as _;

/// How long one answer of the API server may take. A watch is answered at least with bookmarks or its end.
const READ_TIMEOUT: Duration = Duration::from_secs(330);
/// How long a write or a plain read may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// What the command line says.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// Follow RedisClusters of this namespace only; empty for all.
    #[arg(long, env = "WATCH_NAMESPACE", default_value = "")]
    namespace: String,
    /// The image of nodes where spec.image is empty.
    #[arg(long, env = "NODE_IMAGE")]
    node_image: String,
    /// Where /metrics, /livez and /readyz are served.
    #[arg(long, default_value = "0.0.0.0:8080")]
    metrics_address: SocketAddr,
    /// The namespace of the Lease by which operators agree on who works.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    lease_namespace: String,
    /// The Lease's name.
    #[arg(long, default_value = "slotkeeper-operator")]
    lease_name: String,
    /// This operator's name in the Lease.
    #[arg(long, env = "POD_NAME", default_value_t = format!("operator-{}", std::process::id()), hide_default_value = true)]
    identity: String,
}

/// Runs until SIGTERM or Ctrl-C, or until this operator may not work any more.
///
/// # Errors
/// The API server cannot be reached with what the environment says, or the Lease was lost.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let config =
        Config::infer().await.context("no kubeconfig, and not in a pod: no API server to talk to")?;
    let metrics = Arc::new(Metrics::default());
    let ready = Arc::new(AtomicBool::new(false));
    serve::start(arguments.metrics_address, Arc::clone(&metrics), Arc::clone(&ready)).await?;
    let mut election = Election::new(
        client(&config, WRITE_TIMEOUT)?,
        &arguments.lease_namespace,
        &arguments.lease_name,
        &arguments.identity,
    );
    // One that stands by is ready to take over.
    ready.store(true, Ordering::Relaxed);
    tracing::info!(identity = arguments.identity, lease = arguments.lease_name, "waiting to lead");
    let stopped = async {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    };
    tokio::pin!(stopped);
    tokio::select! {
        () = &mut stopped => return Ok(()),
        led = election.acquire() => led?,
    }
    tracing::info!("leading");
    metrics.set_leader(true);
    let ended = tokio::select! {
        () = &mut stopped => Ok(()),
        lost = election.hold() => Err(lost),
        ended = follow(&config, &arguments, Arc::clone(&metrics)) => ended,
    };
    metrics.set_leader(false);
    if ended.is_ok() {
        election.release().await.context("the Lease could not be released; it runs out by itself")?;
        tracing::info!("stopped");
    }
    ended
}

/// A client that neither retries by itself nor waits for ever.
fn client(config: &Config, read_timeout: Duration) -> anyhow::Result<Client> {
    let mut config = config.clone();
    config.default_retry = false;
    config.read_timeout = Some(read_timeout);
    config.connect_timeout = Some(WRITE_TIMEOUT);
    Client::try_from(config).context("the API server's address or certificates cannot be used")
}

/// Follows every RedisCluster for as long as it exists.
async fn follow(config: &Config, arguments: &Arguments, metrics: Arc<Metrics>) -> anyhow::Result<()> {
    let watching = client(config, READ_TIMEOUT)?;
    let caches = Caches::start(&watching, &arguments.namespace).await?;
    let shared = Shared {
        client: client(config, WRITE_TIMEOUT)?,
        caches,
        metrics,
        default_image: arguments.node_image.clone(),
    };
    let (api, resource) = caches::clusters(&watching, &arguments.namespace);
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    let mut clusters = Clusters { shared, followed: BTreeMap::new(), listed: Vec::new() };
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => clusters.heard(event),
            Err(error) => tracing::warn!(kind = %resource.kind, %error, "the watch is interrupted"),
        }
    }
    anyhow::bail!("the watch of RedisClusters has ended")
}

/// The tasks.
struct Clusters {
    shared: Shared,
    followed: BTreeMap<Key, Followed>,
    /// Keys of a list that is coming in.
    listed: Vec<Key>,
}

struct Followed {
    uid: String,
    objects: watch::Sender<DynamicObject>,
}

impl Clusters {
    fn heard(&mut self, event: watcher::Event<DynamicObject>) {
        match event {
            watcher::Event::Init => self.listed.clear(),
            watcher::Event::InitApply(object) => {
                self.listed.push(key(&object));
                self.apply(object);
            }
            watcher::Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                self.followed.retain(|key, _| listed.contains(key));
            }
            watcher::Event::Apply(object) => self.apply(object),
            // The task ends when its sender is dropped. What was begun in the nodes goes with the pods.
            watcher::Event::Delete(object) => {
                self.followed.remove(&key(&object));
            }
        }
    }

    /// One that is being deleted is not worked on: its children go with it.
    fn apply(&mut self, object: DynamicObject) {
        let (key, uid) = (key(&object), object.uid().unwrap_or_default());
        if object.metadata.deletion_timestamp.is_some() {
            self.followed.remove(&key);
            return;
        }
        if let Some(followed) = self.followed.get(&key).filter(|f| f.uid == uid) {
            followed.objects.send_replace(object);
            return;
        }
        // Whatever is logged for a cluster says for which.
        let span = tracing::info_span!("cluster", namespace = key.0, name = key.1);
        let (sender, objects) = watch::channel(object);
        if let Some(task) = span.in_scope(|| ClusterTask::new(self.shared.clone(), objects)) {
            tokio::spawn(task.run().instrument(span));
            self.followed.insert(key, Followed { uid, objects: sender });
        }
    }
}

fn key(object: &DynamicObject) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

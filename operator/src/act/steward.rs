//! Everything that one cluster needs written to the API server: children, status, what goes. A task of its own, so that
//! the loop, which heals, never waits for the API server.

use super::children::{Applier, FIELD_MANAGER};
use super::removal::{Remover, sizes};
use crate::build::{Blueprint, Children};
use crate::manifest::Manifest;
use crate::metrics::Metrics;
use crate::platform::Notice;
use crate::platform::kubernetes::caches::{Caches, Key};
use crate::platform::kubernetes::{Notices, pods_of};
use crate::status::holds;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use operator_api::{RedisCluster, RedisClusterStatus};
use operator_planner::MemberId;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tracing::Instrument as _;

/// Shortest time between two writes of a status that says the same about Ready.
const STATUS_PAUSE: Duration = Duration::from_millis(500);
/// Pause after something that could not be written.
const RETRY: Duration = Duration::from_secs(1);

/// What the loop wants written, as of its last look.
#[derive(Clone, Debug)]
pub struct Order {
    /// What the user is told.
    pub status: RedisClusterStatus,
    /// What objects are to be; `None` while nothing may be changed: paused, or for a declaration that does not hold.
    pub objects: Option<Objects>,
}

/// What objects are to be.
#[derive(Clone, Debug)]
pub struct Objects {
    /// The declaration that is followed.
    pub manifest: Manifest,
    /// The RedisCluster, as its children name it.
    pub owner: OwnerReference,
    /// How many pods of each shard may be evicted.
    pub budgets: BTreeMap<u16, i32>,
    /// Members that the plan removes, with their pods' UIDs.
    pub dismissed: BTreeMap<MemberId, String>,
    /// Nothing is to be done, waited for or amiss.
    pub is_converged: bool,
}

/// What a steward works with.
pub struct Tools {
    /// The way to the API server.
    pub client: Client,
    /// Whose children.
    pub key: Key,
    /// The RedisCluster's UID.
    pub owner_uid: String,
    /// The status that is there already.
    pub status: RedisClusterStatus,
    /// What is watched.
    pub caches: Arc<Caches>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The image where `spec.image` is empty.
    pub default_image: String,
    /// Where it says what it could not do.
    pub notices: Notices,
    /// Notified when that has changed.
    pub wake: Arc<Notify>,
}

/// The task.
pub struct Steward {
    tools: Tools,
    applier: Applier,
    remover: Remover,
    written: RedisClusterStatus,
    written_at: Option<Instant>,
    /// Whether objects may be changed, as of the last order.
    changes_objects: bool,
    retry_at: Option<Instant>,
}

impl Steward {
    /// Starts the task; it ends when the sender is dropped.
    #[must_use]
    pub fn start(tools: Tools) -> watch::Sender<Option<Order>> {
        let (sender, orders) = watch::channel(None);
        let (client, key) = (tools.client.clone(), tools.key.clone());
        let (caches, metrics) = (Arc::clone(&tools.caches), Arc::clone(&tools.metrics));
        let owner_uid = tools.owner_uid.clone();
        let applier = Applier::new(
            client.clone(),
            key.clone(),
            owner_uid.clone(),
            Arc::clone(&caches),
            Arc::clone(&metrics),
        );
        let remover = Remover { client, key, owner_uid, caches, metrics };
        let written = tools.status.clone();
        let steward = Self {
            tools,
            applier,
            remover,
            written,
            written_at: None,
            changes_objects: false,
            retry_at: None,
        };
        tokio::spawn(steward.run(orders).in_current_span());
        sender
    }

    async fn run(mut self, mut orders: watch::Receiver<Option<Order>>) {
        loop {
            let due = self.due();
            tokio::select! {
                changed = orders.changed() => if changed.is_err() { return },
                () = sleep_until(due) => {}
            }
            let order = orders.borrow_and_update().clone();
            if let Some(order) = order {
                self.tend(&order).await;
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        let children = self.applier.next_try().filter(|_| self.changes_objects);
        [children, self.retry_at].into_iter().flatten().min()
    }

    async fn tend(&mut self, order: &Order) {
        self.retry_at = None;
        self.changes_objects = order.objects.is_some();
        self.write_status(&order.status).await;
        let Some(objects) = &order.objects else {
            return self.say(Vec::new());
        };
        let mut notices = match self.children(objects) {
            Ok(children) => self.applier.apply(children).await,
            Err(error) => vec![failed(&error.to_string())],
        };
        if let Err(error) = self.remover.own_claims(objects).await {
            notices.push(self.retry(&error));
        }
        if let Err(error) = self.remover.remove(objects).await {
            notices.push(self.retry(&error));
        }
        self.say(notices);
    }

    fn children(&self, order: &Objects) -> Result<Vec<crate::build::Child>, serde_json::Error> {
        let sets = self.remover.sets();
        let replicas = |replicas: Option<i32>| u16::try_from(replicas.unwrap_or(1)).unwrap_or(0);
        let present = sets.iter().map(|(shard, set)| (*shard, replicas(set.spec.replicas))).collect();
        let pods = pods_of(&self.tools.caches, &self.tools.key, &self.tools.owner_uid);
        let pods = pods.iter().map(|(m, pod)| (*m, pod.uid().unwrap_or_default())).collect();
        let blueprint = Blueprint {
            cluster: &order.manifest.cluster,
            owner: &order.owner,
            default_image: &self.tools.default_image,
            sizes: &sizes(&order.manifest.desired, &present, &pods, &order.dismissed),
            budgets: &order.budgets,
        };
        Children::build(&blueprint).into_list()
    }

    /// Only a status that differs is written, and not more often than somebody can read it.
    async fn write_status(&mut self, status: &RedisClusterStatus) {
        if *status == self.written {
            return;
        }
        let urgent = holds(status, "Ready") != holds(&self.written, "Ready");
        let next =
            self.written_at.map(|at| at + STATUS_PAUSE).filter(|next| *next > Instant::now() && !urgent);
        if next.is_some() {
            self.retry_at = next;
            return;
        }
        let (namespace, name) = &self.tools.key;
        let api: Api<RedisCluster> = Api::namespaced(self.tools.client.clone(), namespace);
        let patch = json!({
            "apiVersion": "slotkeeper.dev/v1alpha1", "kind": "RedisCluster",
            "metadata": {"name": name, "uid": self.tools.owner_uid},
            "status": status
        });
        self.tools.metrics.api_write("apply", "RedisCluster/status");
        self.written_at = Some(Instant::now());
        match api.patch_status(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch)).await
        {
            Ok(_) => self.written = status.clone(),
            Err(kube::Error::Api(error)) if error.is_not_found() || error.is_conflict() => {
                tracing::debug!(error.message, "the RedisCluster has gone");
            }
            Err(error) => {
                tracing::warn!(%error, "the status could not be written; trying again");
                self.retry_at = Some(Instant::now() + RETRY);
            }
        }
    }

    fn retry(&mut self, error: &kube::Error) -> Notice {
        self.retry_at = Some(Instant::now() + RETRY);
        failed(&error.to_string())
    }

    fn say(&self, notices: Vec<Notice>) {
        let mut all = self.tools.notices.lock();
        if all.get("steward").is_none_or(Vec::is_empty) && notices.is_empty() {
            return;
        }
        if all.insert("steward", notices.clone()).as_ref() != Some(&notices) {
            self.tools.wake.notify_one();
        }
    }
}

fn failed(reason: &str) -> Notice {
    Notice { reason: "NotApplied", message: format!("the API server refused a change: {reason}") }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

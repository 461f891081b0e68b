//! Watches: one for each kind of object, shared by all clusters. What they hold is read, never asked for again.

use super::life::{has_ended, is_out_of_service};
use crate::build::{CLUSTER_LABEL, MANAGED_BY, MANAGED_BY_LABEL};
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Node, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::jiff::Timestamp;
use kube::api::DynamicObject;
use kube::core::{ApiResource, NamespaceResourceScope};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{Lookup, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use operator_planner::Proof;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A kubelet renews its Lease every 10 s, and Kubernetes itself counts it as lost after 40.
const LEASE_FRESH: Duration = Duration::from_secs(40);
/// Where kubelets keep their Leases.
const LEASES: &str = "kube-node-lease";
/// Most ends of pods that are remembered.
const ENDS_MAX: usize = 4096;

/// Namespace and name of a cluster.
pub type Key = (String, String);

/// Everything that is watched.
pub struct Caches {
    /// Pods of all clusters.
    pub pods: Store<Pod>,
    /// StatefulSets.
    pub sets: Store<StatefulSet>,
    /// Claims.
    pub claims: Store<PersistentVolumeClaim>,
    /// Machines.
    pub nodes: Store<Node>,
    /// ConfigMaps of ours.
    pub config_maps: Store<ConfigMap>,
    /// Services of ours.
    pub services: Store<Service>,
    /// ServiceAccounts of ours.
    pub service_accounts: Store<ServiceAccount>,
    /// PodDisruptionBudgets of ours.
    pub budgets: Store<PodDisruptionBudget>,
    /// What was heard beside the objects themselves.
    pub heard: Arc<Heard>,
}

/// What events said that the objects do not keep.
#[derive(Default)]
pub struct Heard {
    /// When each kubelet's Lease was last renewed, by our own clock.
    leases: Mutex<BTreeMap<String, (Timestamp, Instant)>>,
    /// Pods that were deleted after their container had ended, the latest last.
    ends: Mutex<(BTreeMap<String, Proof>, VecDeque<String>)>,
    /// Machines whose Node object was seen, and then deleted.
    deleted_nodes: Mutex<BTreeSet<String>>,
    wakes: Mutex<BTreeMap<Key, Arc<Notify>>>,
}

impl Heard {
    /// What wakes a cluster.
    pub fn wake_of(&self, key: &Key) -> Arc<Notify> {
        Arc::clone(self.wakes.lock().entry(key.clone()).or_default())
    }

    /// The cluster is gone.
    pub fn drop_wake(&self, key: &Key) {
        self.wakes.lock().remove(key);
    }

    fn wake(&self, key: &Key) {
        if let Some(wake) = self.wakes.lock().get(key) {
            wake.notify_one();
        }
    }

    fn wake_all(&self) {
        self.wakes.lock().values().for_each(|wake| wake.notify_one());
    }

    /// Whether the kubelet of a machine was heard of lately.
    #[must_use]
    pub fn is_fresh(&self, node: &str) -> bool {
        self.leases.lock().get(node).is_some_and(|(_, when)| when.elapsed() < LEASE_FRESH)
    }

    /// What proves that a pod's process has ended, if its end was seen.
    #[must_use]
    pub fn end_of(&self, uid: &str) -> Option<Proof> {
        self.ends.lock().0.get(uid).copied()
    }

    /// Whether the Node object was deleted before our eyes.
    #[must_use]
    pub fn is_node_deleted(&self, node: &str) -> bool {
        self.deleted_nodes.lock().contains(node)
    }

    fn renewed(&self, lease: &Lease) {
        let renewed = lease.spec.as_ref().and_then(|s| s.renew_time.as_ref()).map(|t| t.0);
        let Some(renewed) = renewed else { return };
        let mut leases = self.leases.lock();
        match leases.get_mut(&lease.name_any()) {
            Some((before, when)) if *before != renewed => (*before, *when) = (renewed, Instant::now()),
            Some(_) => {}
            None => {
                // Of one that is seen for the first time only the wall clock tells how old it is.
                let age = Timestamp::now().duration_since(renewed).unsigned_abs();
                if let Some(when) = Instant::now().checked_sub(age) {
                    leases.insert(lease.name_any(), (renewed, when));
                }
            }
        }
    }

    fn ended(&self, uid: String, proof: Proof) {
        let mut ends = self.ends.lock();
        let (by_uid, order) = &mut *ends;
        if by_uid.insert(uid.clone(), proof).is_none() {
            order.push_back(uid);
            if order.len() > ENDS_MAX
                && let Some(oldest) = order.pop_front()
            {
                by_uid.remove(&oldest);
            }
        }
    }
}

impl Caches {
    /// Begins all watches and waits until everything was listed once. `namespace` is empty for all.
    ///
    /// # Errors
    /// A watch ended before its first list.
    pub async fn start(client: &Client, namespace: &str) -> anyhow::Result<Arc<Self>> {
        let heard = Arc::new(Heard::default());
        let ours = watcher::Config::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}"));
        let caches = Self {
            pods: watch(scoped(client, namespace), ours.clone(), pod_event(Arc::clone(&heard))),
            sets: watch(scoped(client, namespace), ours.clone(), child_event(Arc::clone(&heard))),
            claims: watch(scoped(client, namespace), ours.clone(), child_event(Arc::clone(&heard))),
            nodes: watch(
                Api::all(client.clone()),
                watcher::Config::default(),
                node_event(Arc::clone(&heard)),
            ),
            config_maps: watch(scoped(client, namespace), ours.clone(), child_event(Arc::clone(&heard))),
            services: watch(scoped(client, namespace), ours.clone(), child_event(Arc::clone(&heard))),
            service_accounts: watch(scoped(client, namespace), ours.clone(), child_event(Arc::clone(&heard))),
            budgets: watch(scoped(client, namespace), ours, child_event(Arc::clone(&heard))),
            heard: Arc::clone(&heard),
        };
        let leases = Arc::clone(&heard);
        // Kept nowhere: only when they change counts.
        let lease_stream =
            watcher(Api::<Lease>::namespaced(client.clone(), LEASES), watcher::Config::default());
        tokio::spawn(lease_stream.default_backoff().for_each(move |event| {
            match event {
                Ok(watcher::Event::Apply(lease) | watcher::Event::InitApply(lease)) => leases.renewed(&lease),
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "the watch of kubelets' Leases is interrupted"),
            }
            std::future::ready(())
        }));
        caches.wait().await?;
        Ok(Arc::new(caches))
    }

    async fn wait(&self) -> anyhow::Result<()> {
        self.pods.wait_until_ready().await?;
        self.sets.wait_until_ready().await?;
        self.claims.wait_until_ready().await?;
        self.nodes.wait_until_ready().await?;
        self.config_maps.wait_until_ready().await?;
        self.services.wait_until_ready().await?;
        self.service_accounts.wait_until_ready().await?;
        self.budgets.wait_until_ready().await?;
        Ok(())
    }
}

/// In one namespace or in all.
pub fn scoped<K>(client: &Client, namespace: &str) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope>,
    K::DynamicType: Default,
{
    if namespace.is_empty() { Api::all(client.clone()) } else { Api::namespaced(client.clone(), namespace) }
}

/// RedisClusters as they are, so that one that cannot be read keeps no other from being read.
#[must_use]
pub fn clusters(client: &Client, namespace: &str) -> (Api<DynamicObject>, ApiResource) {
    let resource = ApiResource::erase::<operator_api::RedisCluster>(&());
    let api = if namespace.is_empty() {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, &resource)
    };
    (api, resource)
}

/// Runs a watch for ever; every event is first stored and then heard.
fn watch<K>(
    api: Api<K>,
    config: watcher::Config,
    mut hear: impl FnMut(&watcher::Event<K>) + Send + 'static,
) -> Store<K>
where
    K: Resource
        + Lookup<DynamicType = <K as Resource>::DynamicType>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
    <K as Resource>::DynamicType: Default + Eq + Hash + Clone,
{
    let mut writer = Writer::<K>::new(<K as Resource>::DynamicType::default());
    let store = writer.as_reader();
    let kind = <K as Resource>::kind(&<K as Resource>::DynamicType::default()).into_owned();
    let stream = watcher(api, config).default_backoff().modify(|object| {
        object.managed_fields_mut().clear();
    });
    tokio::spawn(stream.for_each(move |event| {
        match event {
            Ok(event) => {
                writer.apply_watcher_event(&event);
                hear(&event);
            }
            Err(error) => tracing::warn!(kind, %error, "a watch is interrupted"),
        }
        std::future::ready(())
    }));
    store
}

fn key_of(object: &impl kube::ResourceExt) -> Option<Key> {
    Some((object.namespace()?, object.labels().get(CLUSTER_LABEL)?.clone()))
}

fn child_event<K: kube::ResourceExt>(heard: Arc<Heard>) -> impl FnMut(&watcher::Event<K>) {
    move |event| match event {
        watcher::Event::Apply(object) | watcher::Event::Delete(object) => {
            if let Some(key) = key_of(object) {
                heard.wake(&key);
            }
        }
        watcher::Event::InitDone => heard.wake_all(),
        watcher::Event::Init | watcher::Event::InitApply(_) => {}
    }
}

fn pod_event(heard: Arc<Heard>) -> impl FnMut(&watcher::Event<Pod>) {
    let mut wake = child_event(Arc::clone(&heard));
    move |event| {
        if let watcher::Event::Delete(pod) = event
            && has_ended(pod)
            && let Some(uid) = pod.metadata.uid.clone()
        {
            heard.ended(uid, Proof::Terminated);
        }
        wake(event);
    }
}

fn node_event(heard: Arc<Heard>) -> impl FnMut(&watcher::Event<Node>) {
    let mut given_up: BTreeSet<String> = BTreeSet::new();
    move |event| {
        let changed = match event {
            watcher::Event::Apply(node) | watcher::Event::InitApply(node) => {
                heard.deleted_nodes.lock().remove(&node.name_any());
                if is_out_of_service(node) {
                    given_up.insert(node.name_any())
                } else {
                    given_up.remove(&node.name_any())
                }
            }
            watcher::Event::Delete(node) => heard.deleted_nodes.lock().insert(node.name_any()),
            watcher::Event::Init | watcher::Event::InitDone => false,
        };
        if changed {
            heard.wake_all();
        }
    }
}

//! The loop of one RedisCluster. A task of its own: no other cluster waits for it.

use super::declared::{self, Declared};
use super::events::{Events, step_name};
use crate::act::{Objects, Order, Steward, Tools};
use crate::build::{Steady, budgets};
use crate::metrics::Metrics;
use crate::platform::Notice;
use crate::platform::kubernetes::caches::{Caches, Key};
use crate::platform::kubernetes::{Kubernetes, Notices};
use crate::reconcile::{Looked, Reconciler, Subject, Told};
use crate::status;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::DynamicObject;
use operator_api::RedisClusterStatus;
use operator_planner::Step;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Time to the next look when everything is as declared. Watches and kept connections wake earlier; this is the net.
const IDLE_LOOK: Duration = Duration::from_secs(2);
/// Time to the next look at a declaration that cannot be followed; an edit wakes earlier.
const INVALID_LOOK: Duration = Duration::from_secs(30);
/// Looks in which a step may be planned before the loop yields to others at least this long.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

/// What all clusters share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) caches: Arc<Caches>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) default_image: String,
}

/// One cluster.
pub(super) struct ClusterTask {
    shared: Shared,
    key: Key,
    owner: OwnerReference,
    objects: watch::Receiver<DynamicObject>,
    declared: Declared,
    reconciler: Reconciler<Kubernetes>,
    orders: watch::Sender<Option<Order>>,
    notices: Notices,
    events: Events,
    budgets: Steady,
}

impl ClusterTask {
    /// Before the first look; `None` for an object that the API server would never send.
    pub(super) fn new(shared: Shared, objects: watch::Receiver<DynamicObject>) -> Option<Self> {
        let object = objects.borrow().clone();
        let key: Key = (object.metadata.namespace.clone()?, object.metadata.name.clone()?);
        let owner_uid = object.metadata.uid.clone()?;
        let declared = declared::read(&object, None);
        let status = status_of(&object);
        let notices = Notices::default();
        let platform = Kubernetes::new(
            key.clone(),
            owner_uid.clone(),
            Arc::clone(&shared.caches),
            &status,
            declared::has_storage(&object),
            Arc::clone(&notices),
        );
        let orders = Steward::start(Tools {
            client: shared.client.clone(),
            key: key.clone(),
            owner_uid: owner_uid.clone(),
            status: status.clone(),
            caches: Arc::clone(&shared.caches),
            metrics: Arc::clone(&shared.metrics),
            default_image: shared.default_image.clone(),
            notices: Arc::clone(&notices),
            wake: shared.caches.heard.wake_of(&key),
        });
        let events = Events::start(shared.client.clone(), reference(&key, &owner_uid));
        Some(Self {
            owner: owner(&key.1, &owner_uid),
            reconciler: Reconciler::new(platform, status),
            shared,
            key,
            objects,
            declared,
            orders,
            notices,
            events,
            budgets: Steady::default(),
        })
    }

    /// Runs until the object is gone.
    pub(super) async fn run(mut self) {
        tracing::info!("following");
        loop {
            let pause = self.round().await;
            if !self.wait(pause).await {
                break;
            }
        }
        self.shared.caches.heard.drop_wake(&self.key);
        self.shared.metrics.drop_cluster(&self.key.0, &self.key.1);
        tracing::info!("not followed any more");
    }

    /// One look and what follows. Says how long nothing needs to be done.
    async fn round(&mut self) -> Duration {
        self.note_refusal();
        let begun = Instant::now();
        let Some(manifest) = self.declared.manifest.clone() else {
            self.refuse();
            return INVALID_LOOK;
        };
        let before = self.reconciler.status().clone();
        self.reconciler.platform.declare(&manifest.desired);
        let looked = self.reconciler.look(&manifest).await;
        if looked.status != before {
            self.events.status(&before, &looked.status);
            self.shared.metrics.cluster(&self.key.0, &self.key.1, &looked.status);
        }
        let order = self.order(&manifest, &looked);
        self.orders.send_replace(Some(order));
        for told in self.reconciler.act(&manifest, &looked).await {
            self.tell(&told);
        }
        self.shared.metrics.looked(begun.elapsed());
        self.reconciler.next_look(&looked, IDLE_LOOK)
    }

    fn order(&mut self, manifest: &crate::manifest::Manifest, looked: &Looked) -> Order {
        let dismissed = looked.plan.due().iter().filter_map(|planned| match &planned.step {
            Step::RemoveMember { member, uid } => Some((*member, uid.clone())),
            _ => None,
        });
        let budgets = budgets(&manifest.desired, &looked.observed, &looked.plan);
        let objects = Objects {
            manifest: manifest.clone(),
            owner: self.owner.clone(),
            budgets: self.budgets.hold(budgets, Instant::now()),
            dismissed: dismissed.collect(),
            is_converged: looked.is_converged,
        };
        let may_change = self.declared.refusal.is_none() && !manifest.cluster.spec.paused;
        Order { status: looked.status.clone(), objects: may_change.then_some(objects) }
    }

    /// Until something is to be done; false when the object is gone.
    async fn wait(&mut self, pause: Duration) -> bool {
        tokio::time::sleep(SHORTEST_PAUSE).await;
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            told = self.reconciler.changed() => {
                if let Some(told) = told {
                    self.tell(&told);
                }
                true
            }
            changed = self.objects.changed() => {
                if changed.is_ok() {
                    self.edited();
                }
                changed.is_ok()
            }
        }
    }

    fn edited(&mut self) {
        let object = self.objects.borrow_and_update().clone();
        if object.metadata.generation == Some(self.declared.generation) {
            return;
        }
        tracing::info!(generation = object.metadata.generation, "edited");
        self.declared = declared::read(&object, self.declared.manifest.as_ref());
        self.reconciler.follow_anew();
    }

    fn note_refusal(&self) {
        let refusals: Vec<Notice> = self.declared.refusal.iter().cloned().collect();
        self.notices.lock().insert("declaration", refusals);
    }

    /// Nothing can be followed: only the status says why.
    fn refuse(&mut self) {
        let Some(refusal) = &self.declared.refusal else { return };
        let before = self.reconciler.status().clone();
        let now = Time(Timestamp::now());
        let status = status::refused(refusal, self.declared.generation, &now, &before);
        if status != before {
            tracing::warn!("{}", refusal.message);
        }
        self.reconciler.set_status(status.clone());
        self.orders.send_replace(Some(Order { status, objects: None }));
    }

    fn tell(&self, told: &Told) {
        match &told.subject {
            Subject::Begun(step) => self.shared.metrics.step(step_name(step)),
            Subject::NotDone => self.shared.metrics.not_done(),
            Subject::Moving | Subject::Moved | Subject::Paused => {}
        }
        tracing::info!("{}", told.line);
        self.events.told(told);
    }
}

fn status_of(object: &DynamicObject) -> RedisClusterStatus {
    let status = object.data.get("status").cloned().unwrap_or_default();
    // A status that cannot be read is one that nobody wrote.
    serde_json::from_value(status).unwrap_or_default()
}

fn owner(name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: "slotkeeper.dev/v1alpha1".into(),
        kind: "RedisCluster".into(),
        name: name.into(),
        uid: uid.into(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

fn reference((namespace, name): &Key, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("slotkeeper.dev/v1alpha1".into()),
        kind: Some("RedisCluster".into()),
        name: Some(name.clone()),
        namespace: Some(namespace.clone()),
        uid: Some(uid.into()),
        ..ObjectReference::default()
    }
}

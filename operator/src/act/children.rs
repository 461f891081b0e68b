//! Brings children to what they should be: server-side apply with one field manager, only where something differs, and
//! never over an object that is somebody else's.

use crate::build::{Child, Kind};
use crate::metrics::Metrics;
use crate::platform::Notice;
use crate::platform::kubernetes::caches::{Caches, Key};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DynamicObject, ObjectMeta, Patch, PatchParams};
use kube::core::ApiResource;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Who we are in `managedFields`.
pub const FIELD_MANAGER: &str = "slotkeeper";
/// Pause after an object that could not be applied; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(500);
/// Longest pause.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// For so long a watch may be behind what was just applied.
const WATCH_LAG: Duration = Duration::from_secs(5);

/// Applies the children of one cluster, and remembers what it applied.
pub(super) struct Applier {
    client: Client,
    key: Key,
    owner_uid: String,
    caches: Arc<Caches>,
    metrics: Arc<Metrics>,
    applied: BTreeMap<(Kind, String), Applied>,
}

/// What is remembered of a child.
#[derive(Clone, Debug, Default)]
struct Applied {
    /// Of what was applied.
    hash: u64,
    /// Of the object that the API server made of it; nothing while it was not applied.
    now: Option<Mark>,
    /// Of the object in the watch before.
    before: Option<Mark>,
    when: Option<Instant>,
    /// The watch has shown it since.
    seen: bool,
    problem: Option<Problem>,
}

/// Why a child could not be applied.
#[derive(Clone, Debug)]
struct Problem {
    notice: Notice,
    again: Instant,
    pause: Duration,
    /// What the watch showed then: anything else is a reason to try at once.
    cached: Option<Mark>,
}

/// Tells whether an object has changed in what we apply. Status does not count where the API server tells it apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    uid: String,
    version: String,
}

impl Mark {
    fn of(meta: &ObjectMeta) -> Self {
        let generation = meta.generation.filter(|g| *g > 0).map(|g| format!("generation {g}"));
        let version = generation.or_else(|| meta.resource_version.clone()).unwrap_or_default();
        Self { uid: meta.uid.clone().unwrap_or_default(), version }
    }
}

impl Applier {
    pub(super) fn new(
        client: Client,
        key: Key,
        owner_uid: String,
        caches: Arc<Caches>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { client, key, owner_uid, caches, metrics, applied: BTreeMap::new() }
    }

    /// Applies what differs. What could not be applied keeps nothing else from it.
    pub(super) async fn apply(&mut self, children: Vec<Child>) -> Vec<Notice> {
        let wanted: Vec<(Kind, String)> = children.iter().map(|c| (c.kind, c.name.clone())).collect();
        self.applied.retain(|key, _| wanted.contains(key));
        let mut notices = Vec::new();
        for child in children {
            let mut state = self.applied.remove(&(child.kind, child.name.clone())).unwrap_or_default();
            self.bring(&child, &mut state).await;
            notices.extend(state.problem.iter().map(|problem| problem.notice.clone()));
            self.applied.insert((child.kind, child.name), state);
        }
        notices
    }

    /// When something that failed is due again.
    pub(super) fn next_try(&self) -> Option<Instant> {
        self.applied.values().filter_map(|a| a.problem.as_ref().map(|problem| problem.again)).min()
    }

    async fn bring(&self, child: &Child, state: &mut Applied) {
        let now = Instant::now();
        let cached = self.cached(child);
        let before = cached.as_ref().map(Mark::of);
        if state.problem.as_ref().is_some_and(|p| p.again > now && p.cached == before) {
            return;
        }
        let hash = hash_of(child);
        if !is_due(state, before.clone(), hash, now) {
            return;
        }
        match self.attempt(child, cached.as_ref()).await {
            Ok(applied) => {
                let seen = before.as_ref() == Some(&applied);
                *state = Applied { hash, now: Some(applied), before, when: Some(now), seen, problem: None };
            }
            Err(notice) => {
                let pause = state.problem.as_ref().map_or(RETRY_MIN, |p| (p.pause * 2).min(RETRY_MAX));
                tracing::warn!(reason = notice.reason, "{}", notice.message);
                state.problem = Some(Problem { notice, again: now + pause, pause, cached: before });
            }
        }
    }

    async fn attempt(&self, child: &Child, cached: Option<&ObjectMeta>) -> Result<Mark, Notice> {
        let api = api(&self.client, child.kind, &self.key.0);
        let failed = |error: &kube::Error| not_applied(child, error);
        let fetched = match cached {
            Some(_) => None,
            None => api.get_opt(&child.name).await.map_err(|e| failed(&e))?.map(|object| object.metadata),
        };
        if let Some(existing) = cached.or(fetched.as_ref()).filter(|meta| !self.owns(meta)) {
            return Err(conflict(child, existing, &self.key.1));
        }
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.metrics.api_write("apply", kind_name(child.kind));
        let object =
            api.patch(&child.name, &params, &Patch::Apply(&child.object)).await.map_err(|e| failed(&e))?;
        tracing::info!(kind = kind_name(child.kind), name = child.name, "applied");
        Ok(Mark::of(&object.metadata))
    }

    fn owns(&self, meta: &ObjectMeta) -> bool {
        let owners = meta.owner_references.as_ref();
        owners.into_iter().flatten().any(|o| o.uid == self.owner_uid && o.controller == Some(true))
    }

    fn cached(&self, child: &Child) -> Option<ObjectMeta> {
        let (name, namespace) = (child.name.as_str(), self.key.0.as_str());
        macro_rules! look {
            ($store:ident, $kind:ty) => {
                self.caches
                    .$store
                    .get(&ObjectRef::<$kind>::new(name).within(namespace))
                    .map(|object| object.metadata.clone())
            };
        }
        match child.kind {
            Kind::ServiceAccount => look!(service_accounts, ServiceAccount),
            Kind::ConfigMap => look!(config_maps, ConfigMap),
            Kind::Service => look!(services, Service),
            Kind::StatefulSet => look!(sets, StatefulSet),
            Kind::PodDisruptionBudget => look!(budgets, PodDisruptionBudget),
        }
    }
}

/// Whether an object has to be applied: it is to be another, or it was changed or deleted by somebody else. What the
/// watch still shows from before our own change is no change.
fn is_due(state: &mut Applied, cached: Option<Mark>, hash: u64, now: Instant) -> bool {
    let Some(applied) = state.now.clone().filter(|_| state.hash == hash && state.problem.is_none()) else {
        return true;
    };
    if cached.as_ref() == Some(&applied) {
        state.seen = true;
        return false;
    }
    let behind = !state.seen
        && cached == state.before
        && state.when.is_some_and(|when| now.duration_since(when) < WATCH_LAG);
    !behind
}

fn hash_of(child: &Child) -> u64 {
    let mut hasher = DefaultHasher::new();
    child.object.to_string().hash(&mut hasher);
    hasher.finish()
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::ServiceAccount => "ServiceAccount",
        Kind::ConfigMap => "ConfigMap",
        Kind::Service => "Service",
        Kind::StatefulSet => "StatefulSet",
        Kind::PodDisruptionBudget => "PodDisruptionBudget",
    }
}

fn api(client: &Client, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    let resource = match kind {
        Kind::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
        Kind::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
        Kind::Service => ApiResource::erase::<Service>(&()),
        Kind::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
        Kind::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
    };
    Api::namespaced_with(client.clone(), namespace, &resource)
}

fn conflict(child: &Child, existing: &ObjectMeta, cluster: &str) -> Notice {
    let owner = existing.owner_references.as_ref().and_then(|all| all.first());
    if owner.is_some_and(|o| o.kind == "RedisCluster" && o.name == cluster) {
        let (kind, name) = (kind_name(child.kind), &child.name);
        return Notice {
            reason: "FormerCluster",
            message: format!(
                "{kind} {name} is of a former RedisCluster {cluster}: waiting until Kubernetes has deleted it"
            ),
        };
    }
    let whose = owner.map_or_else(|| "nobody".to_owned(), |o| format!("{} {}", o.kind, o.name));
    Notice {
        reason: "NameConflict",
        message: format!(
            "{} {} exists and belongs to {whose}, not to this RedisCluster: it is left alone. Delete or rename it, or give the RedisCluster another name",
            kind_name(child.kind),
            child.name
        ),
    }
}

fn not_applied(child: &Child, error: &kube::Error) -> Notice {
    Notice {
        reason: "NotApplied",
        message: format!("{} {} could not be applied: {error}", kind_name(child.kind), child.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(version: &str) -> Option<Mark> {
        Some(Mark { uid: "u".into(), version: version.into() })
    }

    fn applied(before: Option<Mark>, now: Instant) -> Applied {
        Applied { hash: 7, now: mark("2"), before, when: Some(now), ..Applied::default() }
    }

    #[test]
    fn what_is_as_applied_is_left_alone() {
        let now = Instant::now();
        let mut state = applied(mark("1"), now);
        assert!(!is_due(&mut state, mark("1"), 7, now), "the watch is behind");
        assert!(!is_due(&mut state, mark("2"), 7, now));
        assert!(is_due(&mut state, mark("2"), 8, now), "it is to be another");
    }

    #[test]
    fn what_somebody_changed_or_deleted_is_applied_again() {
        let now = Instant::now();
        let mut state = applied(None, now);
        assert!(!is_due(&mut state, None, 7, now), "the watch has not shown it yet");
        assert!(is_due(&mut state, None, 7, now + WATCH_LAG), "nor later");
        assert!(!is_due(&mut state, mark("2"), 7, now));
        assert!(is_due(&mut state, mark("3"), 7, now), "changed");
        assert!(is_due(&mut state, None, 7, now), "deleted");
    }

    #[test]
    fn at_the_beginning_everything_is_due() {
        assert!(is_due(&mut Applied::default(), mark("1"), 7, Instant::now()));
    }

    #[test]
    fn a_former_cluster_of_the_same_name_is_waited_for_and_others_are_told_apart() {
        let child = Child { kind: Kind::StatefulSet, name: "demo-0".into(), object: serde_json::Value::Null };
        let owned_by = |kind: &str, name: &str| -> ObjectMeta {
            let owner = serde_json::json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": "x"});
            serde_json::from_value(serde_json::json!({"ownerReferences": [owner]})).unwrap()
        };
        let reason = |meta: &ObjectMeta| conflict(&child, meta, "demo").reason;
        assert_eq!(reason(&owned_by("RedisCluster", "demo")), "FormerCluster");
        assert_eq!(reason(&owned_by("RedisCluster", "other")), "NameConflict");
        assert_eq!(reason(&owned_by("Deployment", "demo")), "NameConflict");
        assert_eq!(reason(&ObjectMeta::default()), "NameConflict");
    }
}

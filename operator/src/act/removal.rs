//! Pods, volumes and sets that go. What goes is named with its UID, so that a new one of the same name stays.

use super::children::FIELD_MANAGER;
use super::steward::Objects;
use crate::build::claim_name;
use crate::metrics::Metrics;
use crate::platform::kubernetes::caches::{Caches, Key};
use crate::platform::kubernetes::pods_of;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::NamespaceResourceScope;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, Resource, ResourceExt as _};
use operator_api::VolumePolicy;
use operator_planner::{Desired, MemberId};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

/// How many pods each declared shard is to have: those declared, and those beyond that have not been dismissed, since
/// a set gives up its highest ordinal first.
#[must_use]
pub(super) fn sizes(
    desired: &Desired,
    present: &BTreeMap<u16, u16>,
    pods: &BTreeMap<MemberId, String>,
    dismissed: &BTreeMap<MemberId, String>,
) -> BTreeMap<u16, u16> {
    let wanted = desired.replicas_per_master() + 1;
    let size = |shard: u16| {
        let of_pods = pods.keys().filter(|m| m.shard == shard).map(|m| m.ordinal + 1).max().unwrap_or(0);
        let mut size = wanted.max(present.get(&shard).copied().unwrap_or(of_pods));
        while size > wanted {
            let last = MemberId::new(shard, size - 1);
            let goes = dismissed.get(&last).is_some_and(|uid| pods.get(&last) == Some(uid));
            if !goes {
                break;
            }
            size -= 1;
        }
        size
    };
    (0..desired.masters()).map(|shard| (shard, size(shard))).collect()
}

/// Removes what the plan removes, of one cluster.
pub(super) struct Remover {
    pub(super) client: Client,
    pub(super) key: Key,
    pub(super) owner_uid: String,
    pub(super) caches: Arc<Caches>,
    pub(super) metrics: Arc<Metrics>,
}

impl Remover {
    /// The shards' sets and how many pods each is to have now.
    pub(super) fn sets(&self) -> BTreeMap<u16, Arc<StatefulSet>> {
        let (namespace, cluster) = &self.key;
        let ours = |set: &StatefulSet| {
            set.metadata.namespace.as_deref() == Some(namespace) && owned(&set.metadata, &self.owner_uid)
        };
        let number = |set: &StatefulSet| {
            set.name_any().strip_prefix(cluster.as_str())?.strip_prefix('-')?.parse::<u16>().ok()
        };
        self.caches.sets.state_filter(ours).into_iter().filter_map(|set| Some((number(&set)?, set))).collect()
    }

    /// Lets dismissed members go. A set cannot give up any pod but its last; one whose shard is not declared is deleted
    /// without its pods, and those go one by one, as the plan says.
    pub(super) async fn remove(&self, order: &Objects) -> Result<(), kube::Error> {
        let sets = self.sets();
        let desired = &order.manifest.desired;
        let pods = pods_of(&self.caches, &self.key, &self.owner_uid);
        let present = |(member, uid): &(&MemberId, &String)| {
            pods.get(*member).is_some_and(|pod| pod.uid().as_ref() == Some(*uid))
        };
        for (member, uid) in order.dismissed.iter().filter(present) {
            self.remove_claim(order, *member).await?;
            if member.shard < desired.masters() {
                continue;
            }
            if let Some(set) = sets.get(&member.shard) {
                let orphan = DeleteParams {
                    propagation_policy: Some(PropagationPolicy::Orphan),
                    ..precisely(&set.metadata)
                };
                self.delete(&**set, "StatefulSet", &orphan).await?;
            }
            if let Some(pod) = pods.get(member) {
                let params = DeleteParams {
                    preconditions: Some(Preconditions { uid: Some(uid.clone()), resource_version: None }),
                    ..DeleteParams::default()
                };
                self.delete(&**pod, "Pod", &params).await?;
            }
        }
        self.tidy(order, &sets, &pods).await
    }

    /// Sets and budgets of shards that are not declared any more and have no pods left.
    async fn tidy(
        &self,
        order: &Objects,
        sets: &BTreeMap<u16, Arc<StatefulSet>>,
        pods: &BTreeMap<MemberId, Arc<Pod>>,
    ) -> Result<(), kube::Error> {
        let masters = order.manifest.desired.masters();
        let with_pods: BTreeSet<u16> = pods.keys().map(|m| m.shard).collect();
        let empty = |shard: u16| shard >= masters && !with_pods.contains(&shard);
        // A set without pods may be about to make them again: it goes when nothing is missed.
        for (_, set) in sets.iter().filter(|(shard, _)| empty(**shard) && order.is_converged) {
            self.delete(&**set, "StatefulSet", &precisely(&set.metadata)).await?;
        }
        let (namespace, cluster) = &self.key;
        let stale = |budget: &PodDisruptionBudget| {
            let shard =
                budget.name_any().strip_prefix(&format!("{cluster}-")).and_then(|n| n.parse::<u16>().ok());
            budget.metadata.namespace.as_deref() == Some(namespace)
                && owned(&budget.metadata, &self.owner_uid)
                && shard.is_some_and(empty)
        };
        for budget in self.caches.budgets.state_filter(stale) {
            self.delete(&*budget, "PodDisruptionBudget", &precisely(&budget.metadata)).await?;
        }
        Ok(())
    }

    /// The volume of a member that goes. Kubernetes keeps it until the pod has gone.
    async fn remove_claim(&self, order: &Objects, member: MemberId) -> Result<(), kube::Error> {
        let storage = order.manifest.cluster.spec.storage.as_ref();
        if storage.is_none_or(|s| s.when_scaled == VolumePolicy::Retain) {
            return Ok(());
        }
        let name = claim_name(&self.key.1, member);
        match self.caches.claims.get(&ObjectRef::new(&name).within(&self.key.0)) {
            Some(claim) => self.delete(&*claim, "PersistentVolumeClaim", &precisely(&claim.metadata)).await,
            None => Ok(()),
        }
    }

    /// Volumes belong to the RedisCluster where they are to go with it, and to nobody where they are to stay.
    pub(super) async fn own_claims(&self, order: &Objects) -> Result<(), kube::Error> {
        let Some(storage) = &order.manifest.cluster.spec.storage else { return Ok(()) };
        let (namespace, cluster) = &self.key;
        let goes = storage.when_deleted == VolumePolicy::Delete;
        let differs = |claim: &PersistentVolumeClaim| {
            claim.metadata.namespace.as_deref() == Some(namespace)
                && claim.labels().get(crate::build::CLUSTER_LABEL).is_some_and(|c| c == cluster)
                && claim.metadata.deletion_timestamp.is_none()
                && has_owner(&claim.metadata, &self.owner_uid) != goes
        };
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        let owners = if goes { vec![order.owner.clone()] } else { Vec::new() };
        for claim in self.caches.claims.state_filter(differs) {
            let name = claim.name_any();
            let patch = json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": name, "uid": claim.uid(), "ownerReferences": owners}
            });
            self.metrics.api_write("apply", "PersistentVolumeClaim");
            api.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch)).await?;
        }
        Ok(())
    }

    /// Deletes what is not being deleted yet. What has gone already is fine.
    async fn delete<K>(
        &self,
        object: &K,
        kind: &'static str,
        params: &DeleteParams,
    ) -> Result<(), kube::Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        if object.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
        let name = object.name_any();
        self.metrics.api_write("delete", kind);
        tracing::info!(kind, name, "deleting");
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.key.0);
        match api.delete(&name, params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                tracing::debug!(kind, name, reason = status.reason, "it is not there any more");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

fn precisely(meta: &ObjectMeta) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions { uid: meta.uid.clone(), resource_version: None }),
        ..DeleteParams::default()
    }
}

fn owned(meta: &ObjectMeta, owner_uid: &str) -> bool {
    let owners = meta.owner_references.as_ref();
    owners.into_iter().flatten().any(|o| o.uid == owner_uid && o.controller == Some(true))
}

fn has_owner(meta: &ObjectMeta, owner_uid: &str) -> bool {
    meta.owner_references.as_ref().into_iter().flatten().any(|o| o.uid == owner_uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;

    fn desired(masters: u16, replicas: u16) -> Desired {
        let text = format!(
            "apiVersion: slotkeeper.dev/v1alpha1\nkind: RedisCluster\nmetadata: {{name: demo}}\nspec: {{masters: {masters}, replicasPerMaster: {replicas}}}\n"
        );
        manifest::parse(&text).unwrap().desired
    }

    fn named(members: &[(u16, u16, &str)]) -> BTreeMap<MemberId, String> {
        members.iter().map(|(s, o, uid)| (MemberId::new(*s, *o), (*uid).to_owned())).collect()
    }

    #[test]
    fn a_set_grows_at_once_and_shrinks_by_what_was_dismissed() {
        let pods = named(&[(0, 0, "a"), (0, 1, "b"), (0, 2, "c")]);
        let present = BTreeMap::from([(0, 3)]);
        let size = |replicas, dismissed: &[(u16, u16, &str)]| {
            sizes(&desired(1, replicas), &present, &pods, &named(dismissed))[&0]
        };
        assert_eq!(size(4, &[]), 5);
        assert_eq!(size(0, &[]), 3, "nothing was dismissed");
        assert_eq!(size(0, &[(0, 2, "c")]), 2);
        assert_eq!(size(0, &[(0, 1, "b")]), 3, "a set gives up its last pod first");
        assert_eq!(size(0, &[(0, 2, "c"), (0, 1, "b")]), 1);
        assert_eq!(size(0, &[(0, 2, "another")]), 3, "it is another pod now");
        assert_eq!(size(2, &[(0, 2, "c")]), 3, "it is declared");
    }

    #[test]
    fn a_set_that_was_deleted_comes_back_for_all_its_pods() {
        let pods = named(&[(0, 0, "a"), (0, 2, "c")]);
        assert_eq!(
            sizes(&desired(2, 0), &BTreeMap::new(), &pods, &BTreeMap::new()),
            BTreeMap::from([(0, 3), (1, 1)])
        );
    }

    #[test]
    fn shards_that_are_not_declared_are_not_built() {
        let present = BTreeMap::from([(0, 1), (3, 2)]);
        let sizes = sizes(&desired(1, 0), &present, &BTreeMap::new(), &BTreeMap::new());
        assert_eq!(sizes, BTreeMap::from([(0, 1)]));
    }
}

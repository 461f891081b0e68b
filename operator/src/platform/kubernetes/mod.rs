//! Members as pods. What is seen comes from watches; what must be written to the API server the steward (`act`) writes
//! beside the loop, so that a slow API server delays no healing.

pub mod caches;
pub mod identity;
pub mod life;

use super::{Identity, Notice, Platform, Seen};
use crate::build::{CLIENT_PORT, CLUSTER_LABEL, CLUSTER_UID};
use caches::{Caches, Key};
use identity::Identities;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use life::Machine;
use node_server_protocol::address::BUS_PORT_OFFSET;
use node_server_protocol::{Address, NodeId};
use operator_api::RedisClusterStatus;
use operator_planner::observed::Gone;
use operator_planner::{Desired, Fact, MemberId};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::Notify;

/// Notices of the steward and of the loop, by who says them.
pub type Notices = Arc<Mutex<BTreeMap<&'static str, Vec<Notice>>>>;

/// The pods of one cluster.
pub struct Kubernetes {
    key: Key,
    owner_uid: String,
    caches: Arc<Caches>,
    wake: Arc<Notify>,
    identities: Identities,
    on_volumes: bool,
    desired: Option<Desired>,
    notices: Notices,
}

impl Kubernetes {
    /// Of one cluster, with what an earlier operator wrote down.
    pub fn new(
        key: Key,
        owner_uid: String,
        caches: Arc<Caches>,
        status: &RedisClusterStatus,
        on_volumes: bool,
        notices: Notices,
    ) -> Self {
        let wake = caches.heard.wake_of(&key);
        let identities = Identities::from_status(&key.1, status);
        Self { key, owner_uid, caches, wake, identities, on_volumes, desired: None, notices }
    }

    /// What is declared from now on.
    pub fn declare(&mut self, desired: &Desired) {
        self.desired = Some(desired.clone());
    }

    /// The pods of a cluster by member.
    fn pods(&self) -> BTreeMap<MemberId, Arc<Pod>> {
        pods_of(&self.caches, &self.key, &self.owner_uid)
    }

    fn machine(&self, pod: &Pod) -> Machine {
        let Some(name) = pod.spec.as_ref().and_then(|s| s.node_name.as_deref()) else {
            return Machine::Silent;
        };
        let node = self.caches.nodes.get(&ObjectRef::new(name));
        match node {
            Some(node) if life::is_out_of_service(&node) => Machine::GivenUp,
            None if self.caches.heard.is_node_deleted(name) => Machine::GivenUp,
            Some(_) if self.caches.heard.is_fresh(name) => Machine::Heard,
            Some(_) | None => Machine::Silent,
        }
    }

    fn seen(&self, member: MemberId, pod: &Pod) -> Seen {
        let uid = pod.uid().unwrap_or_default();
        let wanted = self.desired.as_ref().is_some_and(|d| d.wants(member));
        let on_volume = self.on_volumes && wanted;
        let life = if on_volume { life::life_on_volume } else { life::life };
        Seen {
            address: address(pod),
            life: life(pod, self.machine(pod), Timestamp::now()),
            leaving: pod.metadata.deletion_timestamp.is_some(),
            on_volume,
            last_id: self.identities.of(member, &uid, self.on_volumes),
            uid,
        }
    }

    /// Members that are not declared, whose pod is not there any more, nor a volume with their identity.
    fn see_off(&mut self, pods: &BTreeMap<MemberId, Arc<Pod>>) {
        let (namespace, cluster) = &self.key;
        let has_claim = |member: MemberId| {
            let claim = ObjectRef::new(&crate::build::claim_name(cluster, member)).within(namespace);
            self.caches.claims.get(&claim).is_some()
        };
        let wanted = |member: MemberId| self.desired.as_ref().is_none_or(|d| d.wants(member));
        let left =
            self.identities.members().filter(|m| !wanted(*m) && !pods.contains_key(m) && !has_claim(*m));
        let heard = &self.caches.heard;
        for member in left.collect::<Vec<_>>() {
            self.identities.left(member, |uid| heard.end_of(uid));
        }
    }
}

/// The pods of a cluster by member.
#[must_use]
pub fn pods_of(caches: &Caches, (namespace, cluster): &Key, owner_uid: &str) -> BTreeMap<MemberId, Arc<Pod>> {
    let ours = |pod: &Pod| {
        pod.metadata.namespace.as_deref() == Some(namespace) && is_member(pod, cluster, owner_uid)
    };
    let pods = caches.pods.state_filter(ours);
    pods.into_iter().filter_map(|pod| Some((MemberId::from_name(cluster, &pod.name_any())?, pod))).collect()
}

/// A pod of this very RedisCluster. Those of a deleted one of the same name are about to end and are nobody's members.
fn is_member(pod: &Pod, cluster: &str, owner_uid: &str) -> bool {
    pod.labels().get(CLUSTER_LABEL).is_some_and(|name| name == cluster)
        && pod.annotations().get(CLUSTER_UID).is_none_or(|uid| uid == owner_uid)
}

fn address(pod: &Pod) -> Address {
    let ip = pod.status.as_ref().and_then(|s| s.pod_ip.as_deref()).and_then(|ip| ip.parse().ok());
    let bus_port = CLIENT_PORT + BUS_PORT_OFFSET;
    match ip {
        Some(ip) => Address { ip, port: CLIENT_PORT, bus_port },
        None => Address::unknown(CLIENT_PORT, bus_port),
    }
}

impl Platform for Kubernetes {
    type Error = Infallible;

    async fn members(&mut self) -> Fact<BTreeMap<MemberId, Seen>> {
        let pods = self.pods();
        let uids = pods.iter().map(|(m, pod)| (*m, pod.uid().unwrap_or_default())).collect();
        let heard = Arc::clone(&self.caches.heard);
        self.identities.see(&uids, self.on_volumes, |uid| heard.end_of(uid));
        self.see_off(&pods);
        Fact::Known(pods.iter().map(|(m, pod)| (*m, self.seen(*m, pod))).collect())
    }

    fn gone(&self) -> Vec<Gone> {
        self.identities.gone().to_vec()
    }

    fn identities(&self) -> Vec<Identity> {
        self.identities.all()
    }

    fn remember(&mut self, member: MemberId, uid: &str, id: NodeId) {
        self.identities.said(member, uid, id);
    }

    fn forgotten(&mut self, id: NodeId) {
        self.identities.forgotten(id);
    }

    /// The steward applies the StatefulSets, which make the pods.
    async fn ensure(&mut self, _: MemberId) -> Result<(), Infallible> {
        Ok(())
    }

    /// The steward removes what the plan removes.
    async fn remove(&mut self, _: MemberId, _: &str) -> Result<(), Infallible> {
        Ok(())
    }

    fn notices(&self) -> Vec<Notice> {
        self.notices.lock().values().flatten().cloned().collect()
    }

    async fn changed(&mut self) {
        self.wake.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pods_of_a_deleted_cluster_of_the_same_name_are_no_members() {
        let pod = |annotations: serde_json::Value| -> Pod {
            serde_json::from_value(json!({"metadata": {
                "name": "demo-0-0", "labels": {CLUSTER_LABEL: "demo"}, "annotations": annotations
            }}))
            .unwrap()
        };
        assert!(is_member(&pod(json!({CLUSTER_UID: "now"})), "demo", "now"));
        assert!(!is_member(&pod(json!({CLUSTER_UID: "before"})), "demo", "now"));
        assert!(!is_member(&pod(json!({CLUSTER_UID: "now"})), "another", "now"));
        assert!(is_member(&pod(json!({})), "demo", "now"), "it does not say whose it is");
    }
}

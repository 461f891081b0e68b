//! Which node each pod is or was, and which identities are gone. Remembered in the RedisCluster's status, so that an
//! operator that begins later knows it too. Pure.
//!
//! In memory, an identity lives as long as its pod: another pod of the same name is another node. On a volume it comes
//! back with the next pod, so that only another identity from the pod's own mouth shows that the former one is gone.

use crate::platform::Identity;
use node_server_protocol::NodeId;
use operator_api::RedisClusterStatus;
use operator_planner::observed::Gone;
use operator_planner::{MemberId, Proof};
use std::collections::BTreeMap;

/// Most identities remembered as gone.
const GONE_MAX: usize = 2048;

/// Who is who.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    known: BTreeMap<MemberId, Known>,
    gone: Vec<Gone>,
}

#[derive(Clone, Debug)]
struct Known {
    uid: String,
    id: NodeId,
}

impl Identities {
    /// What an earlier operator wrote down.
    #[must_use]
    pub fn from_status(cluster: &str, status: &RedisClusterStatus) -> Self {
        let mut all = Self::default();
        for node in status.shards.iter().flat_map(|s| &s.nodes) {
            if let (Some(member), Ok(id)) = (MemberId::from_name(cluster, &node.pod), node.id.parse()) {
                all.known.insert(member, Known { uid: node.pod_uid.clone(), id });
            }
        }
        for former in status.former_nodes.iter().take(GONE_MAX) {
            if let (Some(member), Ok(id)) = (MemberId::from_name(cluster, &former.pod), former.id.parse()) {
                let proof = match former.proof.as_str() {
                    "terminated" => Proof::Terminated,
                    "administrator" => Proof::Administrator,
                    _ => Proof::Refused,
                };
                all.gone.push(Gone { id, member, proof });
            }
        }
        all
    }

    /// The pods that there are now. Without volumes, whose pod is not there any more is gone; `ended` says what proves
    /// it, if the pod's end was seen: a pod that was replaced unseen may have been deleted by force.
    pub fn see(
        &mut self,
        pods: &BTreeMap<MemberId, String>,
        on_volumes: bool,
        ended: impl Fn(&str) -> Option<Proof>,
    ) {
        if on_volumes {
            return;
        }
        let replaced = |(member, known): (&MemberId, &Known)| {
            let now = pods.get(member)?;
            (*now != known.uid).then_some(*member)
        };
        let replaced: Vec<MemberId> = self.known.iter().filter_map(replaced).collect();
        for member in replaced {
            if let Some(known) = self.known.remove(&member) {
                let proof = ended(&known.uid).unwrap_or(Proof::Refused);
                self.add_gone(known.id, member, proof);
            }
        }
    }

    /// A pod has said who it is.
    pub fn said(&mut self, member: MemberId, uid: &str, id: NodeId) {
        let before = self.known.insert(member, Known { uid: uid.to_owned(), id });
        self.gone.retain(|g| g.id != id);
        if let Some(before) = before.filter(|b| b.id != id) {
            self.add_gone(before.id, member, Proof::Terminated);
        }
    }

    /// A member that was to go has gone, with its volume if it had one; `ended` as in [`Identities::see`].
    pub fn left(&mut self, member: MemberId, ended: impl Fn(&str) -> Option<Proof>) {
        if let Some(known) = self.known.remove(&member) {
            let proof = ended(&known.uid).unwrap_or(Proof::Refused);
            self.add_gone(known.id, member, proof);
        }
    }

    /// Nobody knows the identity any more.
    pub fn forgotten(&mut self, id: NodeId) {
        self.gone.retain(|g| g.id != id);
    }

    /// Who the pod last said that it is; on a volume, who its predecessor was.
    #[must_use]
    pub fn of(&self, member: MemberId, uid: &str, on_volumes: bool) -> Option<NodeId> {
        let known = self.known.get(&member)?;
        (on_volumes || known.uid == uid).then_some(known.id)
    }

    /// Members that are known.
    pub fn members(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.known.keys().copied()
    }

    /// Who they last said that they were.
    #[must_use]
    pub fn all(&self) -> Vec<Identity> {
        let known = self.known.iter();
        known
            .map(|(member, known)| Identity { member: *member, uid: known.uid.clone(), id: known.id })
            .collect()
    }

    /// Who is gone.
    #[must_use]
    pub fn gone(&self) -> &[Gone] {
        &self.gone
    }

    fn add_gone(&mut self, id: NodeId, member: MemberId, proof: Proof) {
        if self.known.values().all(|k| k.id != id) && self.gone.iter().all(|g| g.id != id) {
            self.gone.push(Gone { id, member, proof });
            let excess = self.gone.len().saturating_sub(GONE_MAX);
            self.gone.drain(..excess);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use operator_api::{FormerNode, NodeStatus, ShardStatus};

    const ZERO: MemberId = MemberId::new(0, 0);

    fn id(n: u8) -> NodeId {
        NodeId::from_bytes([n; 20])
    }

    fn pods(uid: &str) -> BTreeMap<MemberId, String> {
        BTreeMap::from([(ZERO, uid.to_owned())])
    }

    fn known(uid: &str, n: u8) -> Identities {
        let mut all = Identities::default();
        all.said(ZERO, uid, id(n));
        all
    }

    #[test]
    fn another_pod_is_another_node_without_volumes() {
        let mut all = known("a", 1);
        all.see(&pods("a"), false, |_| None);
        assert!(all.gone().is_empty());
        all.see(&BTreeMap::new(), false, |_| None);
        assert!(all.gone().is_empty(), "a pod that is not there proves nothing");
        all.see(&pods("b"), false, |uid| (uid == "a").then_some(Proof::Terminated));
        assert_eq!(all.gone(), [Gone { id: id(1), member: ZERO, proof: Proof::Terminated }]);
        assert_eq!(all.of(ZERO, "b", false), None);
    }

    #[test]
    fn a_pod_replaced_unseen_is_no_proof_for_a_takeover() {
        let mut all = known("a", 1);
        all.see(&pods("b"), false, |_| None);
        assert_eq!(all.gone()[0].proof, Proof::Refused);
    }

    #[test]
    fn on_a_volume_the_identity_comes_back() {
        let mut all = known("a", 1);
        all.see(&pods("b"), true, |_| Some(Proof::Terminated));
        assert!(all.gone().is_empty());
        assert_eq!(all.of(ZERO, "b", true), Some(id(1)));
        all.said(ZERO, "b", id(1));
        assert!(all.gone().is_empty());
        all.said(ZERO, "c", id(2));
        assert_eq!(all.gone().iter().map(|g| g.id).collect::<Vec<_>>(), [id(1)], "its volume was lost");
    }

    #[test]
    fn who_answers_is_not_gone() {
        let mut all = known("a", 1);
        all.see(&pods("b"), false, |_| None);
        all.said(ZERO, "b", id(1));
        assert!(all.gone().is_empty());
    }

    #[test]
    fn a_later_operator_knows_it_too() {
        let node = NodeStatus {
            pod: "demo-0-0".into(),
            pod_uid: "a".into(),
            id: id(1).to_string(),
            ..NodeStatus::default()
        };
        let former =
            FormerNode { id: id(9).to_string(), pod: "demo-0-1".into(), proof: "administrator".into() };
        let status = RedisClusterStatus {
            shards: vec![ShardStatus { nodes: vec![node], ..ShardStatus::default() }],
            former_nodes: vec![former],
            ..RedisClusterStatus::default()
        };
        let mut all = Identities::from_status("demo", &status);
        assert_eq!(all.of(ZERO, "a", false), Some(id(1)));
        assert_eq!(all.gone()[0].proof, Proof::Administrator);
        all.see(&pods("b"), false, |_| None);
        assert_eq!(all.gone().len(), 2);
        all.forgotten(id(9));
        assert_eq!(all.gone().len(), 1);
    }
}

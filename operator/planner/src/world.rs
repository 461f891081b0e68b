//! What stages ask of an observation: who is who, who answers, who belongs to the cluster, who owns what.

use crate::desired::Desired;
use crate::member::MemberId;
use crate::observed::{Fact, Gone, Life, Member, NodeReport, Observed, OpenSlot, OpenState, ReplicaLink};
use crate::ownership::Ownership;
use crate::step::NodeRef;
use node_server_protocol::{Address, NodeId, Role, SlotSet};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// A deliberate defect, for the tests of those who watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "mutants"),
    allow(unreachable_pub, dead_code, reason = "only tests ask for a defect")
)]
pub enum Defect {
    /// What is silent counts as gone.
    SilenceIsDeath,
    /// A replica with what its own file had replaces a master whose data waits on its volume.
    OlderCopyTakesOver,
}

/// An observation with its conclusions.
pub(crate) struct World<'a> {
    pub(crate) desired: &'a Desired,
    pub(crate) members: &'a BTreeMap<MemberId, Member>,
    pub(crate) gone: &'a [Gone],
    /// Members that run and answer.
    pub(crate) reports: BTreeMap<MemberId, &'a NodeReport>,
    /// Whose node id it is or was: from its own mouth, remembered of the same uid, or by its address.
    pub(crate) ids: BTreeMap<NodeId, MemberId>,
    /// Members that know each other mutually: the cluster. The part with most slots, where there are several.
    pub(crate) joined: BTreeSet<MemberId>,
    pub(crate) ownership: Ownership,
    /// Test-only: a deliberate defect.
    pub(crate) defect: Option<Defect>,
}

impl<'a> World<'a> {
    /// `None` when the platform did not answer.
    pub(crate) fn new(desired: &'a Desired, observed: &'a Observed) -> Option<Self> {
        let members = observed.members.known()?;
        let reports = reports(members);
        let joined = joined(&reports);
        let ownership = Ownership::new(&reports, &joined);
        let ids = identities(members, &reports, &joined);
        let gone = observed.gone.as_slice();
        Some(Self { desired, members, gone, reports, ids, joined, ownership, defect: None })
    }

    pub(crate) fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// The report of a node by its name.
    pub(crate) fn report_of(&self, id: NodeId) -> Option<(MemberId, &'a NodeReport)> {
        self.reports.iter().find(|(_, r)| r.id == id).map(|(m, r)| (*m, *r))
    }

    /// Joined members with their reports.
    pub(crate) fn cluster(&self) -> impl Iterator<Item = (MemberId, &'a NodeReport)> + '_ {
        self.joined.iter().filter_map(|m| Some((*m, *self.reports.get(m)?)))
    }

    /// A member that answers, as steps name it.
    pub(crate) fn node_ref(&self, member: MemberId) -> Option<NodeRef> {
        let report = self.reports.get(&member)?;
        Some(NodeRef { member, id: report.id, address: self.members.get(&member)?.address })
    }

    /// The shard that a node belongs to: its member's, or that of its replicas.
    pub(crate) fn shard_of(&self, id: NodeId) -> Option<u16> {
        let member = self.ids.get(&id).copied();
        let gone = || self.gone.iter().find(|g| g.id == id).map(|g| g.member);
        let replica = || self.replicas_of(id).next().map(|(m, _)| m);
        member.or_else(gone).or_else(replica).or_else(|| self.successor(id)).map(|m| m.shard)
    }

    /// Answering members that say they copy `id`.
    pub(crate) fn replicas_of(&self, id: NodeId) -> impl Iterator<Item = (MemberId, &'a NodeReport)> + '_ {
        let copies = move |r: &NodeReport| r.role == Role::Replica { of: id };
        self.reports.iter().filter(move |(_, r)| copies(r)).map(|(m, r)| (*m, *r))
    }

    /// Members of a shard, wanted or not.
    pub(crate) fn shard(&self, shard: u16) -> impl Iterator<Item = (MemberId, &'a Member)> + '_ {
        self.members.range(MemberId::new(shard, 0)..=MemberId::new(shard, u16::MAX)).map(|(m, v)| (*m, v))
    }

    /// The master of a shard that slots go to and replicas copy: the joined master with most slots, or, where nobody of
    /// the shard owns any, the one to which slots are on their way, the one with a replica or the lowest ordinal. None
    /// while an owner is silent, or a lower ordinal is about to join: the choice would change when it has.
    pub(crate) fn master_of(&self, shard: u16) -> Option<MemberId> {
        let silent_owner =
            |(id, _): (NodeId, &SlotSet)| self.report_of(id).is_none() && self.shard_of(id) == Some(shard);
        let masters = self.cluster().filter(|(m, r)| m.shard == shard && r.role.is_master());
        let rank = |(m, r): &(MemberId, &NodeReport)| {
            let owned = self.ownership.of(r.id).len();
            (
                Reverse(owned),
                self.members.get(m).is_none_or(|v| v.leaving),
                !self.desired.wants(*m),
                !self.is_chosen(r),
                *m,
            )
        };
        let best = masters.min_by_key(rank)?;
        if self.ownership.owns_any(best.1.id) {
            return Some(best.0);
        }
        let joins = |m: &MemberId| {
            m.shard == shard && *m < best.0 && self.desired.wants(*m) && !self.joined.contains(m)
        };
        let settled = self.is_chosen(best.1) || !self.reports.keys().any(joins);
        (settled && !self.ownership.owners().any(silent_owner)).then_some(best.0)
    }

    /// Whether a master without slots is one already in the eyes of others: it is copied, or slots are on their way to it.
    fn is_chosen(&self, report: &NodeReport) -> bool {
        let arriving = |open: &OpenSlot| matches!(open.state, OpenState::ImportingFrom(_));
        self.replicas_of(report.id).next().is_some() || report.open_slots.iter().any(arriving)
    }

    /// Every wanted or existing member is known by its node id.
    pub(crate) fn everybody_is_identified(&self) -> bool {
        self.unidentified().is_none()
    }

    /// A wanted or existing member of which nobody can say which node it is, or will be.
    pub(crate) fn unidentified(&self) -> Option<MemberId> {
        let known: BTreeSet<MemberId> = self.ids.values().copied().collect();
        let wanted = self.desired.members().filter(|m| !self.members.contains_key(m));
        wanted.chain(self.members.keys().copied()).find(|m| !known.contains(m))
    }

    /// The answering member at whose address the views put `id`, which is no member's: then no process of that name
    /// runs there any more. Said only when everybody is identified, so that it cannot be one who comes back.
    pub(crate) fn successor(&self, id: NodeId) -> Option<MemberId> {
        if self.ids.contains_key(&id) || !self.everybody_is_identified() {
            return None;
        }
        let seen: BTreeSet<Address> =
            self.cluster().filter_map(|(_, r)| r.line(id)).map(|l| l.address).collect();
        let holder =
            |at: &Address| self.reports.keys().copied().find(|m| same_place(self.members[m].address, *at));
        let holders: Option<BTreeSet<MemberId>> = seen.iter().map(holder).collect();
        holders.filter(|h| h.len() == 1)?.pop_first()
    }
}

/// Same IP and client port, both known.
pub(crate) fn same_place(a: Address, b: Address) -> bool {
    a.has_ip() && a.client() == b.client()
}

/// A copy that follows its master now.
pub(crate) fn in_sync(report: &NodeReport) -> bool {
    report.replication.link == ReplicaLink::Up
}

fn reports(members: &BTreeMap<MemberId, Member>) -> BTreeMap<MemberId, &NodeReport> {
    let mut seen = BTreeSet::new();
    let answers =
        |(member, m): (&MemberId, &'_ Member)| matches!(m.life, Life::Terminated(_)).then_some(*member);
    let dead: BTreeSet<MemberId> = members.iter().filter_map(answers).collect();
    let known = members
        .iter()
        .filter(|(id, _)| !dead.contains(id))
        .filter_map(|(id, m)| Some((*id, m.node.known()?)));
    known.filter(|(_, r)| seen.insert(r.id)).collect()
}

/// The largest group of members that know each other mutually, directly or through others.
fn joined(reports: &BTreeMap<MemberId, &NodeReport>) -> BTreeSet<MemberId> {
    let mut rest: BTreeSet<MemberId> = reports.keys().copied().collect();
    let mut best: Option<((usize, usize), BTreeSet<MemberId>)> = None;
    while let Some(first) = rest.pop_first() {
        let group = group_of(first, &mut rest, reports);
        let slots = group.iter().map(|m| reports[m].own_slots().len()).sum();
        let size = (slots, group.len());
        if best.as_ref().is_none_or(|(known, _)| size > *known) {
            best = Some((size, group));
        }
    }
    best.map(|(_, group)| group).unwrap_or_default()
}

fn group_of(
    first: MemberId,
    rest: &mut BTreeSet<MemberId>,
    reports: &BTreeMap<MemberId, &NodeReport>,
) -> BTreeSet<MemberId> {
    let mut group = BTreeSet::from([first]);
    let mut open = vec![first];
    while let Some(member) = open.pop() {
        let near: Vec<MemberId> =
            rest.iter().copied().filter(|m| mutual(reports[m], reports[&member])).collect();
        for m in near {
            rest.remove(&m);
            group.insert(m);
            open.push(m);
        }
    }
    group
}

fn mutual(a: &NodeReport, b: &NodeReport) -> bool {
    a.line(b.id).is_some() && b.line(a.id).is_some()
}

fn identities(
    members: &BTreeMap<MemberId, Member>,
    reports: &BTreeMap<MemberId, &NodeReport>,
    joined: &BTreeSet<MemberId>,
) -> BTreeMap<NodeId, MemberId> {
    let mut ids: BTreeMap<NodeId, MemberId> = reports.iter().map(|(m, r)| (r.id, *m)).collect();
    for (member, m) in members.iter().filter(|(m, _)| !reports.contains_key(m)) {
        let remembered = m.last_id.filter(|id| !ids.contains_key(id));
        let views = || reports.iter().filter(|(m, _)| joined.contains(m)).flat_map(|(_, r)| &r.view);
        let there = || views().filter(|l| !l.flags.handshake && same_place(m.address, l.address));
        let by_address =
            || there().filter(|l| !ids.contains_key(&l.id)).max_by_key(|l| (l.config_epoch, Reverse(l.id)));
        // A new pod that has not run yet is nobody, even where it was given a former one's address.
        let ran = !m.life.never_ran();
        if let Some(id) = remembered.or_else(|| by_address().filter(|_| ran).map(|l| l.id)) {
            ids.insert(id, *member);
        }
    }
    ids
}

/// Whether the platform or the node itself leaves any doubt about this member.
pub(crate) const fn is_silent(member: &Member) -> bool {
    !matches!(member.node, Fact::Known(_)) || matches!(member.life, Life::Terminated(_))
}

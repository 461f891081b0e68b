//! Who owns which slot, put together from what the nodes say of themselves and, of those that do not answer, what the
//! others say of them. The higher config epoch wins, as on the bus, but not over who has just finished importing.

use crate::member::MemberId;
use crate::observed::{NodeReport, OpenState, ViewLine};
use node_server_protocol::{Epoch, NodeId, Slot, SlotSet};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Two answering nodes that both say "mine".
#[derive(Clone, Debug)]
pub(crate) struct Contest {
    /// Who has the higher config epoch, or got the slots from the loser.
    pub(crate) winner: NodeId,
    /// The other one.
    pub(crate) loser: NodeId,
    /// The loser migrates them to the winner: the move has ended there, and the loser was not told.
    pub(crate) handed_over: bool,
    /// Their epochs are the same: the nodes settle that among themselves.
    pub(crate) tie: bool,
    /// Which slots.
    pub(crate) slots: SlotSet,
}

/// Every slot's owner.
#[derive(Debug, Default)]
pub(crate) struct Ownership {
    owned: BTreeMap<NodeId, SlotSet>,
    all: SlotSet,
    /// Two owners.
    pub(crate) contests: Vec<Contest>,
    /// Slots about which a joined node's view says something else.
    pub(crate) disputed: SlotSet,
}

#[derive(Debug)]
struct Claim {
    id: NodeId,
    joined: bool,
    epoch: Epoch,
    by_itself: bool,
    slots: SlotSet,
}

impl Ownership {
    pub(crate) fn new(reports: &BTreeMap<MemberId, &NodeReport>, joined: &BTreeSet<MemberId>) -> Self {
        let contests = handed_over(reports, joined);
        let mut claims = own_claims(reports, joined);
        claims.extend(claims_of_silent(reports, joined));
        for claim in &mut claims {
            let lost = contests.iter().filter(|contest| contest.loser == claim.id);
            claim.slots = lost.fold(claim.slots.clone(), |left, contest| left.difference(&contest.slots));
        }
        claims.retain(|c| !c.slots.is_empty());
        claims.sort_by_key(|c| (Reverse((c.joined, c.epoch, c.by_itself)), c.id));
        let mut out = Self { contests, ..Self::default() };
        let mut earlier: Vec<&Claim> = Vec::new();
        for claim in &claims {
            out.contests.extend(earlier.iter().filter_map(|winner| contest(winner, claim)));
            let won = claim.slots.difference(&out.all);
            out.all = out.all.union(&won);
            out.owned.insert(claim.id, won);
            earlier.push(claim);
        }
        out.owned.retain(|_, slots| !slots.is_empty());
        let views = reports.iter().filter(|(m, _)| joined.contains(m));
        out.disputed = views.fold(SlotSet::new(), |all, (_, report)| all.union(&out.differences(report)));
        out
    }

    /// What this node's view says differently.
    pub(crate) fn differences(&self, report: &NodeReport) -> SlotSet {
        let none = SlotSet::new();
        let (mut seen, mut differ) = (SlotSet::new(), SlotSet::new());
        for line in report.view.iter().filter(|l| !l.slots.is_empty()) {
            let slots = line.slot_set();
            differ = differ.union(&slots.difference(self.owned.get(&line.id).unwrap_or(&none)));
            seen = seen.union(&slots);
        }
        differ.union(&self.all.difference(&seen))
    }

    /// Every owner with its slots.
    pub(crate) fn owners(&self) -> impl Iterator<Item = (NodeId, &SlotSet)> {
        self.owned.iter().map(|(id, slots)| (*id, slots))
    }

    /// The slots of one node.
    pub(crate) fn of(&self, id: NodeId) -> SlotSet {
        self.owned.get(&id).cloned().unwrap_or_default()
    }

    pub(crate) fn owns_any(&self, id: NodeId) -> bool {
        self.owned.contains_key(&id)
    }

    /// The owner of one slot.
    pub(crate) fn owner(&self, slot: Slot) -> Option<NodeId> {
        self.owned.iter().find(|(_, slots)| slots.contains(slot)).map(|(id, _)| *id)
    }

    /// Slots that nobody claims.
    pub(crate) fn unowned(&self) -> SlotSet {
        SlotSet::full().difference(&self.all)
    }
}

fn own_claims(reports: &BTreeMap<MemberId, &NodeReport>, joined: &BTreeSet<MemberId>) -> Vec<Claim> {
    let claim = |(member, report): (&MemberId, &&NodeReport)| Claim {
        id: report.id,
        joined: joined.contains(member),
        epoch: report.config_epoch,
        by_itself: true,
        slots: report.own_slots(),
    };
    reports.iter().map(claim).collect()
}

/// Slots that their taker claims and their giver has open towards it. Whoever's epoch is the higher one, the taker has the
/// keys.
fn handed_over(reports: &BTreeMap<MemberId, &NodeReport>, joined: &BTreeSet<MemberId>) -> Vec<Contest> {
    let there = || reports.iter().filter(|(m, _)| joined.contains(m)).map(|(_, report)| *report);
    let mut pairs: BTreeMap<(NodeId, NodeId), SlotSet> = BTreeMap::new();
    for giver in there() {
        for (slot, to) in going(giver) {
            pairs.entry((giver.id, to)).or_default().insert(slot);
        }
    }
    let contest = |((loser, winner), slots): ((NodeId, NodeId), SlotSet)| {
        let (giver, taker) = (there().find(|r| r.id == loser)?, there().find(|r| r.id == winner)?);
        let back: SlotSet = going(taker).filter(|(_, to)| *to == loser).map(|(slot, _)| slot).collect();
        let slots = slots.intersection(&giver.own_slots()).intersection(&taker.own_slots()).difference(&back);
        (!slots.is_empty()).then_some(Contest { winner, loser, handed_over: true, tie: false, slots })
    };
    pairs.into_iter().filter_map(contest).collect()
}

fn going(report: &NodeReport) -> impl Iterator<Item = (Slot, NodeId)> {
    report.open_slots.iter().filter_map(|open| match open.state {
        OpenState::MigratingTo(to) => Some((open.slot, to)),
        OpenState::ImportingFrom(_) => None,
    })
}

/// The newest that joined nodes say of those that do not answer.
fn claims_of_silent(reports: &BTreeMap<MemberId, &NodeReport>, joined: &BTreeSet<MemberId>) -> Vec<Claim> {
    let answering: BTreeSet<NodeId> = reports.values().map(|r| r.id).collect();
    let mut newest: BTreeMap<NodeId, Claim> = BTreeMap::new();
    let views = reports.iter().filter(|(m, _)| joined.contains(m)).flat_map(|(_, r)| &r.view);
    for line in views.filter(|l| !answering.contains(&l.id) && !l.flags.handshake) {
        let claim = silent_claim(line);
        match newest.get_mut(&line.id) {
            Some(known) if known.epoch > claim.epoch => {}
            Some(known) if known.epoch == claim.epoch => known.slots = known.slots.union(&claim.slots),
            _ => {
                newest.insert(line.id, claim);
            }
        }
    }
    newest.into_values().collect()
}

fn silent_claim(line: &ViewLine) -> Claim {
    Claim { id: line.id, joined: true, epoch: line.config_epoch, by_itself: false, slots: line.slot_set() }
}

fn contest(winner: &Claim, loser: &Claim) -> Option<Contest> {
    let slots = winner.slots.intersection(&loser.slots);
    let both_answer = winner.by_itself && loser.by_itself && loser.joined;
    (both_answer && !slots.is_empty()).then(|| Contest {
        winner: winner.id,
        loser: loser.id,
        handed_over: false,
        tie: winner.epoch == loser.epoch,
        slots,
    })
}

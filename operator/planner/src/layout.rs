//! Who should own what, as shards and members of this observation.

use crate::distribution;
use crate::member::MemberId;
use crate::world::World;
use node_server_protocol::{NodeId, Slot, SlotSet};

/// The wanted distribution and the masters that carry it.
pub(crate) struct Layout {
    /// Master of each declared shard; `None` where there is none now.
    pub(crate) masters: Vec<Option<MemberId>>,
    /// Slots that each declared shard should own.
    pub(crate) targets: Vec<SlotSet>,
}

impl Layout {
    /// What a shard has is what its master owns, or a silent owner of the shard; what another master of the shard owns
    /// has yet to move to it.
    pub(crate) fn new(world: &World<'_>) -> Self {
        let shards = world.desired.masters();
        let masters: Vec<Option<MemberId>> = (0..shards).map(|s| world.master_of(s)).collect();
        let mut present = vec![SlotSet::new(); usize::from(shards)];
        let mut rest = SlotSet::new();
        for (id, slots) in world.ownership.owners() {
            match home(world, &masters, id).and_then(|shard| present.get_mut(usize::from(shard))) {
                Some(set) => *set = set.union(slots),
                None => rest = rest.union(slots),
            }
        }
        present.push(rest);
        Self { targets: distribution::targets(world.desired, &present), masters }
    }

    /// The declared shard that should own the slot.
    pub(crate) fn target(&self, slot: Slot) -> Option<u16> {
        (0..).zip(&self.targets).find(|(_, set)| set.contains(slot)).map(|(shard, _)| shard)
    }

    /// The member that should own the slot, if its shard has a master now.
    pub(crate) fn target_member(&self, slot: Slot) -> Option<MemberId> {
        self.masters.get(usize::from(self.target(slot)?)).copied().flatten()
    }
}

/// The shard that keeps this owner's slots as its own.
fn home(world: &World<'_>, masters: &[Option<MemberId>], id: NodeId) -> Option<u16> {
    let shard = world.shard_of(id)?;
    let master = (*masters.get(usize::from(shard))?).and_then(|m| world.reports.get(&m));
    let is_master = master.is_some_and(|r| r.id == id);
    let silent = world.report_of(id).is_none();
    (is_master || (silent && master.is_none_or(|r| !world.ownership.owns_any(r.id)))).then_some(shard)
}

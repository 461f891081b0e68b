//! Nodes in the views that are none of our members: reported, never forgotten silently.

use crate::draft::Draft;
use crate::member::MemberId;
use crate::observed::ViewLine;
use crate::safety;
use crate::unsafe_::Unsafe;
use crate::world::{World, same_place};
use node_server_protocol::NodeId;
use std::collections::BTreeMap;

pub(crate) fn plan(world: &World<'_>, draft: &mut Draft) {
    let mut seen: BTreeMap<NodeId, (MemberId, &ViewLine)> = BTreeMap::new();
    for (member, report) in world.cluster() {
        let strange = report.view.iter().filter(|l| is_stranger(world, l));
        for line in strange {
            let known = seen.entry(line.id).or_insert((member, line));
            if alive(line) && !alive(known.1) {
                *known = (member, line);
            }
        }
    }
    for (id, (seen_by, line)) in seen {
        if alive(line) && !may_be_unidentified(world, line) {
            draft.refuse(Unsafe::ForeignNode { id, address: line.address, seen_by, slots: line.slot_set() });
        } else if world.everybody_is_identified() {
            draft.refuse(Unsafe::NotProvenGone { id, address: line.address });
        }
    }
}

pub(crate) fn is_stranger(world: &World<'_>, line: &ViewLine) -> bool {
    !line.flags.handshake
        && !world.ids.contains_key(&line.id)
        && safety::proven_gone(world, line.id).is_none()
}

const fn alive(line: &ViewLine) -> bool {
    line.connected && !line.flags.fail && !line.flags.pfail
}

/// It may be a member of ours that has not told us its id.
fn may_be_unidentified(world: &World<'_>, line: &ViewLine) -> bool {
    let unidentified = |m: &MemberId| !world.reports.contains_key(m);
    world
        .members
        .iter()
        .any(|(id, m)| unidentified(id) && (!m.address.has_ip() || same_place(m.address, line.address)))
}

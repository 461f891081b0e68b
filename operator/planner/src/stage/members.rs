//! Members that should exist, and what is not as it should be with those that do.

use crate::draft::Draft;
use crate::member::MemberId;
use crate::observed::{Fact, Life, Member, Why};
use crate::step::Step;
use crate::waiting::Waiting;
use crate::world::World;

pub(crate) fn plan(world: &World<'_>, draft: &mut Draft) {
    for member in world.desired.members().filter(|m| !world.members.contains_key(m)) {
        draft.step(Step::EnsureMember { member }, Vec::new());
    }
    for (member, m) in world.members {
        if let Some(waiting) = trouble(*member, m) {
            draft.wait(waiting);
        }
    }
}

fn trouble(member: MemberId, m: &Member) -> Option<Waiting> {
    if m.leaving {
        return Some(Waiting::Leave { member });
    }
    match (&m.life, &m.node) {
        (Life::Terminated(_), _) => Some(Waiting::Restart { member }),
        (_, Fact::Known(_)) => None,
        (Life::Starting(reason) | Life::Pending(reason), _) => {
            Some(Waiting::Start { member, reason: reason.clone() })
        }
        (Life::Running, Fact::Unknown(why)) => Some(Waiting::Answer { member, why: why.clone() }),
        (Life::Unknown(reason), _) => Some(Waiting::Answer { member, why: Why::Failed(reason.clone()) }),
    }
}

//! The firewall before everything that cannot be undone: each question is answered by a proof or by a typed refusal.
//! Silence proves nothing.

use crate::member::MemberId;
use crate::observed::{Fact, Life, Member, NodeReport, Proof, ReplicaLink, Why};
use crate::unsafe_::Unsafe;
use crate::world::{Defect, World, in_sync};
use node_server_protocol::{NodeId, Role, SlotSet};

/// The longest that a replica may have been without its master while that one served, in seconds: the node timeout that is
/// configured where none is declared. Within it a replica is as good as one that asynchronous replication leaves behind.
const APART_MAX_S: u64 = 5;

/// What proves that the node `id` is dead, if anything does (design.md, "Dead is proven").
pub(crate) fn death_of(world: &World<'_>, id: NodeId) -> Option<Proof> {
    if let Some(proof) = proven_gone(world, id) {
        return Some(proof);
    }
    let member = world.members.get(world.ids.get(&id)?)?;
    match (&member.life, &member.node) {
        (Life::Terminated(proof), _) => Some(*proof),
        // One that was told to go refuses before its platform says how it ended.
        (_, Fact::Unknown(Why::Refused)) if !member.leaving => refused(world, id),
        (Life::Starting(_) | Life::Pending(_) | Life::Running | Life::Unknown(_), _) => None,
    }
}

/// What proves that no process will ever answer as `id` again. An old record does not, of a node that has come back as
/// a member (scaled down and up again over a kept directory) and is silent now.
pub(crate) fn proven_gone(world: &World<'_>, id: NodeId) -> Option<Proof> {
    if world.ids.contains_key(&id) {
        return None;
    }
    let listed = world.gone.iter().find(|g| g.id == id).map(|g| g.proof);
    listed.or_else(|| world.successor(id).map(|_| Proof::Refused))
}

/// A refused connection counts only together with the best replica's word that it has lost the link. One that never had
/// it since its start knows nothing of its master.
fn refused(world: &World<'_>, id: NodeId) -> Option<Proof> {
    let (_, best) = best_copy(world, id)?;
    (best.replication.link == ReplicaLink::Down).then_some(Proof::Refused)
}

/// The replica with the longest log that has a whole copy; the lowest ordinal of equals. Members of the master's shard
/// come first: one of another shard follows it since it lost its own slots, and its offset may still be of its former log.
/// Among them come those that were in sync: an offset read from a file may be of another log.
pub(crate) fn best_copy<'a>(world: &World<'a>, id: NodeId) -> Option<(MemberId, &'a NodeReport)> {
    let copies =
        world.replicas_of(id).filter(|(m, r)| world.joined.contains(m) && has_a_copy(world, *m, r, id));
    let shard = world.shard_of(id);
    let followed = |r: &NodeReport| r.replication.link != ReplicaLink::NeverUp;
    copies.max_by_key(|(m, r)| {
        (shard == Some(m.shard), followed(r), r.replication.offset, std::cmp::Reverse(*m))
    })
}

/// A whole copy of what `master` once had. While a full sync runs there is none; offset 0 never had one. Where the link was
/// never up, what is there may be anybody's: a member of the shard that has keys read them from its file, but one of another
/// shard, or a drained one without keys, was only told to follow.
fn has_a_copy(world: &World<'_>, member: MemberId, report: &NodeReport, master: NodeId) -> bool {
    let theirs =
        || world.shard_of(master) == Some(member.shard) && report.keys.known().is_some_and(|n| *n > 0);
    let followed = match report.replication.link {
        ReplicaLink::Syncing => false,
        ReplicaLink::NeverUp => theirs(),
        ReplicaLink::NotReplica | ReplicaLink::Up | ReplicaLink::Down => true,
    };
    followed && !report.no_copy && report.replication.offset > 0
}

/// For how long the link of a copy was down while its master served, in seconds: the time since the master's end does not
/// count. `None`: it was up, or the nodes cannot say.
fn apart_s(world: &World<'_>, master: NodeId, copy: &NodeReport) -> Option<u64> {
    copy.unreachable.as_ref()?;
    let down_s = copy.replication.down_s?;
    let told = world.reports.values().filter_map(|r| r.unreachable.as_ref()).flatten();
    // Who still seems to reach it has not heard of its end yet: it may have served until now.
    let served_s = told.filter(|u| u.id == master).filter_map(|u| u.served_s).min().unwrap_or(0);
    Some(down_s.saturating_sub(served_s))
}

/// A dead master's data waits on its volume, and the best copy is what a replica's own file had when that one started, or
/// what it had when it lost its master, which went on for a while: the master will come back with more. An administrator who gives its machine up, a master that has come back empty, or
/// the permission to lose data ends the waiting.
pub(crate) fn volume_has_more(world: &World<'_>, master: NodeId, copy: &NodeReport, proof: Proof) -> bool {
    let on_volume = world.ids.get(&master).and_then(|m| world.members.get(m)).is_some_and(|m| m.on_volume);
    let process_alone = matches!(proof, Proof::Terminated | Proof::Refused);
    let apart = || apart_s(world, master, copy).is_some_and(|s| s > APART_MAX_S);
    (copy.replication.link == ReplicaLink::NeverUp || apart())
        && on_volume
        && process_alone
        && !world.desired.allow_data_loss()
        && !world.has(Defect::OlderCopyTakesOver)
}

/// Whether a vote to replace `dead` may succeed: not so many of the masters with slots are known to be unable that the others
/// are no majority. One that does not answer us may be there for the others: they may vote for somebody else meanwhile, or have
/// forgotten whom we would promote.
pub(crate) fn vote_may_succeed(world: &World<'_>, dead: NodeId) -> bool {
    let is_out = |id| match world.report_of(id) {
        Some((_, report)) => report.closed_empty,
        None => matches!(death_of(world, id), Some(Proof::Terminated | Proof::Administrator)),
    };
    let (mut all, mut out) = (0, 0);
    for (id, _) in world.ownership.owners() {
        all += 1;
        out += usize::from(id == dead || is_out(id));
    }
    (all - out) * 2 > all
}

/// A member that copies `id` and has data, but is forgotten by the cluster: it was about to go when the others died.
pub(crate) fn copy_outside(world: &World<'_>, id: NodeId) -> Option<MemberId> {
    let outside = |(m, r): &(MemberId, &NodeReport)| {
        !world.joined.contains(m) && has_a_copy(world, *m, r, id) && has_data(r)
    };
    world.replicas_of(id).filter(outside).max_by_key(|(_, r)| r.replication.offset).map(|(m, _)| m)
}

/// Of its master, or its own: what is somebody else's is no reason to wait for it.
fn has_data(report: &NodeReport) -> bool {
    report.keys.known() != Some(&0) && !report.no_copy
}

/// Keys of these slots, which it does not own, are seen there.
fn has_strays(report: &NodeReport, slots: &SlotSet) -> bool {
    report.stray_keys.known().into_iter().flatten().any(|k| slots.contains(k.slot))
}

/// Every copy of what `master` had is seen to be empty: each member of the shard answers without keys, and no replica
/// of it is known anywhere else, by its own word, by another's, or as a silent member that nobody can speak for.
pub(crate) fn every_copy_is_empty(world: &World<'_>, shard: u16, master: NodeId) -> Result<(), Unsafe> {
    every_other_copy_is_empty(world, shard, master, None)
}

/// A master of the shard that had been deposed by `master` and still has keys of its slots, which is seen to be the only
/// copy there is.
pub(crate) fn last_copy(world: &World<'_>, shard: u16, master: NodeId, lost: &SlotSet) -> Option<MemberId> {
    let holds =
        |(_, r): &(MemberId, &NodeReport)| r.role.is_master() && !r.closed_empty && has_strays(r, lost);
    let (holder, _) = world.cluster().filter(|(m, _)| m.shard == shard).find(holds)?;
    every_other_copy_is_empty(world, shard, master, Some(holder)).ok().map(|()| holder)
}

fn every_other_copy_is_empty(
    world: &World<'_>,
    shard: u16,
    master: NodeId,
    known: Option<MemberId>,
) -> Result<(), Unsafe> {
    let said = world.report_of(master).map(|(_, r)| r.own_slots()).unwrap_or_default();
    let lost = world.ownership.of(master).union(&said);
    // Another master of the shard has the keys of its own slots. One that claims any of these is a deposed master that
    // has not heard of it: it has a copy, and is about to become a replica.
    let second = |r: &NodeReport| {
        let own = r.own_slots();
        let elsewhere = !own.is_empty() && own.intersection(&lost).is_empty() && !has_strays(r, &lost);
        r.role.is_master() && !r.closed_empty && elsewhere
    };
    for (copy, _) in world.shard(shard).filter(|(copy, _)| Some(*copy) != known) {
        match world.reports.get(&copy) {
            Some(report) if !has_data(report) || second(report) => {}
            Some(_) | None => return Err(Unsafe::CopyMayExist { shard, copy }),
        }
    }
    if let Some(copy) = copy_by_its_own_word(world, shard, master).or_else(|| forgotten_and_silent(world)) {
        return Err(Unsafe::CopyMayExist { shard, copy });
    }
    for (member, report) in &world.reports {
        let silent_copy = |id| world.report_of(id).is_none_or(|(_, r)| has_data(r));
        let copies = report.view.iter().filter(|l| l.master == Some(master) && l.id != report.id);
        let mut unseen = copies.filter(|l| silent_copy(l.id) && proven_gone(world, l.id).is_none());
        if let Some(line) = unseen.next() {
            return Err(Unsafe::CopyMayExist {
                shard,
                copy: world.ids.get(&line.id).copied().unwrap_or(*member),
            });
        }
    }
    Ok(())
}

fn copy_by_its_own_word(world: &World<'_>, shard: u16, master: NodeId) -> Option<MemberId> {
    let of_shard = |id| id == master || world.ids.get(&id).is_some_and(|m| m.shard == shard);
    let copies = |r: &NodeReport| r.role.master().is_some_and(of_shard) && has_data(r);
    world.reports.iter().find(|(_, r)| copies(r)).map(|(m, _)| *m)
}

/// A node that was once seen, that does not answer, and whom no view knows any more: it may copy anybody.
fn forgotten_and_silent(world: &World<'_>) -> Option<MemberId> {
    let known = |id| world.cluster().any(|(_, r)| r.line(id).is_some());
    let silent = |m: &MemberId| !world.reports.contains_key(m);
    world.ids.iter().find(|(id, m)| silent(m) && !known(**id)).map(|(_, m)| *m)
}

/// Whether a member that is not declared any more has nothing that is not elsewhere. `Ok(None)`: it was never a node.
pub(crate) fn may_go(world: &World<'_>, member: MemberId) -> Result<Option<NodeId>, Unsafe> {
    let Some(m) = world.members.get(&member) else {
        return Ok(None);
    };
    let id = world.ids.iter().find(|(_, who)| **who == member).map(|(id, _)| *id);
    match (id, world.reports.get(&member)) {
        (_, Some(report)) => answering_may_go(world, member, report).map(|()| Some(report.id)),
        (Some(id), None) => silent_may_go(world, member, m, id).map(|()| Some(id)),
        (None, None) if m.life.never_ran() && strangers(world) == 0 => Ok(None),
        (None, None) => Err(Unsafe::UnknownMember { subject: member, silent: member }),
    }
}

/// A replica of a shard that goes stays until its master has nothing left to copy; one of a shard that stays, until a
/// replica that stays is in sync.
fn still_needed(world: &World<'_>, member: MemberId, of: NodeId) -> Option<Unsafe> {
    let (master, its) = world.report_of(of)?;
    let goes = member.shard >= world.desired.masters();
    let stays = |(m, r): (MemberId, &NodeReport)| world.desired.wants(m) && in_sync(r);
    if !goes && world.desired.replicas_per_master() > 0 && world.desired.wants(master) {
        return (!world.replicas_of(of).any(stays)).then_some(Unsafe::NoSuccessor { member });
    }
    let same_going_shard = master.shard == member.shard && goes;
    let slots = world.ownership.of(its.id).union(&its.own_slots());
    match its.keys.known() {
        _ if !same_going_shard => None,
        _ if !slots.is_empty() => Some(Unsafe::OwnsSlots { member: master, slots }),
        Some(0) => None,
        keys => Some(Unsafe::HasKeys { member: master, keys: keys.copied() }),
    }
}

/// A replica of a master that answers and serves: whatever it has is there too.
pub(crate) fn is_spare_copy(world: &World<'_>, replica: &NodeReport) -> bool {
    let master = replica.role.master().and_then(|of| world.report_of(of));
    master.is_some_and(|(_, r)| r.role.is_master() && !r.closed_empty)
}

fn answering_may_go(world: &World<'_>, member: MemberId, report: &NodeReport) -> Result<(), Unsafe> {
    let claimed = world.ownership.of(report.id).union(&report.own_slots());
    if !claimed.is_empty() {
        return Err(Unsafe::OwnsSlots { member, slots: claimed });
    }
    if let Some(refusal) = report.role.master().and_then(|of| still_needed(world, member, of)) {
        return Err(refusal);
    }
    match report.role {
        // Its keys are its master's, which answers with them; else it may be the last copy.
        Role::Replica { .. } if is_spare_copy(world, report) => Ok(()),
        // Or there is nothing to copy.
        Role::Replica { of } if report.keys.known() == Some(&0) && !world.ownership.owns_any(of) => Ok(()),
        Role::Replica { of } => {
            Err(Unsafe::UnknownMember { subject: member, silent: *world.ids.get(&of).unwrap_or(&member) })
        }
        Role::Master => match report.keys.known() {
            Some(0) if report.open_slots.is_empty() => Ok(()),
            keys => Err(Unsafe::HasKeys { member, keys: keys.copied() }),
        },
    }
}

/// Proven dead, a replica in every view, of a master that answers.
fn silent_may_go(world: &World<'_>, member: MemberId, m: &Member, id: NodeId) -> Result<(), Unsafe> {
    let silent = Unsafe::UnknownMember { subject: member, silent: member };
    if !matches!(m.life, Life::Terminated(_)) {
        return Err(silent);
    }
    let slots = world.ownership.of(id);
    if !slots.is_empty() {
        return Err(Unsafe::OwnsSlots { member, slots });
    }
    let lines: Vec<_> = world.cluster().filter_map(|(_, r)| r.line(id)).collect();
    if let Some(refusal) = lines.iter().find_map(|l| still_needed(world, member, l.master?)) {
        return Err(refusal);
    }
    let served =
        |of: Option<NodeId>| of.is_some_and(|of| world.report_of(of).is_some_and(|(_, r)| !r.closed_empty));
    if !lines.is_empty() && lines.iter().all(|l| served(l.master)) {
        Ok(())
    } else {
        Err(Unsafe::HasKeys { member, keys: None })
    }
}

/// Nodes in the views that are nobody's we know.
fn strangers(world: &World<'_>) -> usize {
    let lines = world.cluster().flat_map(|(_, r)| &r.view).filter(|l| !l.flags.handshake);
    lines.filter(|l| !world.ids.contains_key(&l.id)).count()
}

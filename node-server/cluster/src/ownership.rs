//! Who owns which slot: claims in headers and UPDATEs, changes of role.

use crate::Cluster;
use crate::config::Mutant;
use crate::gate::Promise;
use crate::io::{Level, Output};
use crate::node::Node;
use crate::view::Imported;
use crate::wire::Message;
use node_server_protocol::bus::Header;
use node_server_protocol::{Epoch, NodeId, Slot, SlotSet};

impl Cluster {
    /// Master or replica, as the sender says; `of_its_shard` is its master if that was of one shard with it already.
    pub(crate) fn on_role(&mut self, sender: NodeId, header: &Header, of_its_shard: Option<NodeId>) {
        match header.master {
            None => self.on_master_role(sender, header),
            Some(master) => self.on_replica_role(sender, master, header, of_its_shard.is_some()),
        }
    }

    fn on_master_role(&mut self, sender: NodeId, header: &Header) {
        let Some(node) = self.view.node(sender) else { return };
        if node.is_master() {
            return;
        }
        let before = node.master;
        self.set_master_role(sender);
        self.clear_failure_of_successor(sender);
        // It took over while this shard's master had nothing but slots on their way to it: there is no slot to lose that
        // would tell.
        let master = self.view.shard_master();
        let receiving = master.slots.is_empty() && !self.view.importing.is_empty();
        if before == Some(master.id) && receiving && header.config_epoch > master.config_epoch {
            self.become_replica_of(sender);
        }
    }

    /// A node is a master from now on. If it was a replica and its master is gone, it took over its moves as well.
    pub(crate) fn set_master_role(&mut self, id: NodeId) {
        let Some(node) = self.view.node_mut(id) else { return };
        let before = node.master;
        node.make_master();
        if before.is_some() {
            self.migration.took_over(id);
        }
        if let Some(before) = before.filter(|b| self.view.same_shard(*b, id)) {
            let gone = self.view.node(before).is_none_or(|n| n.is_failed() || !n.is_master());
            if gone {
                self.view.redirect_open_slots(before, id);
            }
        }
        self.topology_changed();
    }

    /// A master with slots says that it is a replica, and it is too late or too early to believe that. Connections keep no
    /// order between them. What it goes on saying for a node timeout is so.
    ///
    /// Too late: the header was overtaken on its way, and the sender has claimed slots with a higher epoch since. Too early:
    /// it follows a master of another shard, so others have its slots, who have not been heard yet. Until then clients are
    /// sent to the one that knows who has them, and nobody is told that it owns them. True: the header is put off.
    pub(crate) fn put_off(&mut self, sender: NodeId, header: &Header, of_its_shard: Option<NodeId>) -> bool {
        let Some(node) = self.view.node(sender).filter(|_| header.master.is_some()) else { return false };
        let (epoch, drained) = (node.config_epoch, of_its_shard.is_none());
        let out_of_turn = header.config_epoch < epoch || drained;
        let has_slots = node.is_master() && !node.slots.is_empty();
        let early = self.age(node.claimed) < self.config.node_timeout_ms;
        let put_off = has_slots && out_of_turn && early;
        if put_off && drained {
            self.note_unclaimed(sender, epoch, &SlotSet::new());
        }
        put_off
    }

    fn on_replica_role(&mut self, sender: NodeId, master: NodeId, header: &Header, same_shard: bool) {
        let Some(node) = self.view.node_mut(sender) else { return };
        if node.is_replica_of(master) {
            return;
        }
        let (was_master, epoch) = (node.is_master(), node.config_epoch);
        let slots = std::mem::take(&mut node.slots);
        node.make_replica_of(master);
        self.view.unclaimed = self.view.unclaimed.difference(&slots);
        let told = self.view.node(sender).is_some_and(|n| n.told_shard_id);
        if !told && let Some(shard) = self.view.node(master).map(|n| n.shard_id) {
            self.learn_shard_of_master(sender, shard);
        }
        if was_master && same_shard {
            self.pass_on(sender, master, &slots, epoch, header.config_epoch);
        }
        self.topology_changed();
        self.leave_chain(sender, master);
    }

    fn learn_shard_of_master(&mut self, id: NodeId, shard: NodeId) {
        if let Some(node) = self.view.node_mut(id) {
            node.shard_id = shard;
        }
    }

    /// Within a shard a master gives up its slots only to the one that it now follows. (One that follows a master of
    /// another shard has lost its last slot to it; who has the others is not known here yet.)
    fn pass_on(&mut self, from: NodeId, to: NodeId, slots: &SlotSet, before: Epoch, now: Epoch) {
        self.view.redirect_open_slots(from, to);
        if to == self.view.me || now < before {
            return;
        }
        if self.view.node(to).is_some_and(Node::is_replica) {
            self.set_master_role(to);
        }
        if let Some(master) = self.view.node_mut(to) {
            master.config_epoch = master.config_epoch.max(now);
            master.slots = master.slots.union(slots);
        }
    }

    /// A replica of a replica follows the master at the end.
    fn leave_chain(&mut self, sender: NodeId, master: NodeId) {
        let me = self.view.me;
        if self.view.myself().master == Some(sender) && master != me && self.view.known(master).is_some() {
            let text = format!("I'm a sub-replica! Reconfiguring myself from {sender} to {master}");
            self.log(Level::Notice, text);
            self.become_replica_of(master);
        }
    }

    /// The slots in the sender's header: its own, or its master's. `succeeds`: whom it followed until this header.
    pub(crate) fn on_claim(&mut self, sender: NodeId, header: &Header, succeeds: Option<NodeId>) {
        let Some(node) = self.view.node(sender) else { return };
        let is_master = node.is_master();
        if !self.view.imported.is_empty() {
            self.source_says(sender, is_master, header);
        }
        let Some(node) = self.view.node(sender) else { return };
        let claimant = if is_master { Some(sender) } else { node.master };
        let Some(known) = claimant.and_then(|c| self.view.node(c)) else { return };
        let claim = &header.slots;
        if known.slots == *claim && known.slots.intersection(&self.view.unclaimed).is_empty() {
            return;
        }
        if is_master {
            self.take_slots(sender, header.config_epoch, claim, succeeds);
        }
        let firm = claim.difference(&self.view.unclaimed);
        let newer = |n: &&Node| {
            n.id != sender && n.config_epoch > header.config_epoch && !n.slots.intersection(&firm).is_empty()
        };
        if let Some(owner) = self.view.nodes.values().find(newer).map(|n| n.id) {
            let (from, about) = (self.view.label(sender), self.view.label(owner));
            let text =
                format!("Node {from} has old slots configuration, sending an UPDATE message about {about}");
            self.log(Level::Verbose, text);
            self.promise(Promise::Send(sender, Message::Update(owner)));
        }
    }

    /// A master claims slots with this epoch: it gets those that have no owner, one with a lower epoch, or one that has
    /// long given them up. `succeeds`: it was that one's replica until now. Its slots it gets with the same epoch as well:
    /// cut off, the old master has ended a move and taken the epoch without a vote in which its replica was elected.
    pub(crate) fn take_slots(
        &mut self,
        sender: NodeId,
        epoch: Epoch,
        claim: &SlotSet,
        succeeds: Option<NodeId>,
    ) {
        if sender == self.view.me {
            return;
        }
        let any_epoch = self.config.is_mutant(Mutant::LowerEpochAccepted);
        let shard_master = self.view.shard_master().id;
        let kept = self.imported_from(sender).intersection(claim).difference(&self.given_up(shard_master));
        let (returning, returned) = self.on_their_way_back(&kept);
        let outbids = returning.is_empty() && !kept.is_empty();
        let kept = kept.difference(&returned);
        let mut free = claim.difference(&kept);
        let mut losses = Vec::new();
        for owner in self.view.nodes.values().filter(|n| !n.slots.is_empty()) {
            let taken = owner.slots.intersection(claim).difference(&kept);
            free = free.difference(&taken);
            // A master that came back without its data does not outbid its successor (`on_collision`).
            let closed =
                owner.id == self.view.me && self.guard.is_closed() && self.view.same_shard(owner.id, sender);
            let concedes = closed || succeeds == Some(owner.id);
            let newer = owner.config_epoch < epoch || any_epoch || (concedes && owner.config_epoch == epoch);
            let lost = if newer { taken } else { taken.intersection(&self.given_up(owner.id)) };
            if owner.id != sender && !lost.is_empty() {
                losses.push((owner.id, lost));
            }
        }
        // Not before: what is outbid for imported slots is no older claim to the others.
        if outbids {
            self.outbid(epoch);
        }
        self.note_unclaimed(sender, epoch, claim);
        if free.is_empty() && losses.is_empty() {
            return;
        }
        let won = losses.iter().fold(free, |won, (_, slots)| won.union(slots));
        self.view.assign(&won, sender);
        for (owner, _) in &losses {
            if self.view.same_shard(*owner, sender) {
                self.view.redirect_open_slots(*owner, sender);
            }
        }
        self.topology_changed();
        if let Some((_, lost)) = losses.into_iter().find(|(owner, _)| *owner == shard_master) {
            self.on_slots_lost(shard_master, sender, &lost);
        }
    }

    /// Slots that this shard imported from that node, or its shard, which may not know yet that it has them no more.
    fn imported_from(&self, source: NodeId) -> SlotSet {
        let own = &self.view.shard_master().slots;
        let from = |i: &Imported| self.view.same_shard(i.from, source);
        let imported = self.view.imported.iter().filter(|(slot, i)| own.contains(**slot) && from(i));
        imported.map(|(slot, _)| *slot).collect()
    }

    /// Of imported slots those that were to go back where they came from: a claim of it may be an old one or the end of that
    /// move, and is neither believed nor outbid; a claim of this node's with a higher epoch would make the taker drop its
    /// keys. Whoever ends the move says so here too; should nobody do so, no claim is as old as a node timeout. The second
    /// set has those that began to go so long ago.
    fn on_their_way_back(&self, imported: &SlotSet) -> (SlotSet, SlotSet) {
        let since = |slot: &Slot| self.view.imported.get(slot)?.returns;
        let long = |slot: &Slot| since(slot).is_some_and(|at| self.age(at) >= self.config.node_timeout_ms);
        let returning = imported.iter().filter(|slot| since(slot).is_some());
        (returning.collect(), imported.iter().filter(long).collect())
    }

    /// A claim that has been overtaken came with this epoch: ours gets a higher one, or other nodes would believe it.
    fn outbid(&mut self, epoch: Epoch) {
        if !self.view.i_am_master() || epoch <= self.view.myself().config_epoch {
            return;
        }
        self.view.current_epoch = self.view.current_epoch.max(epoch);
        self.bump_epoch();
        self.broadcast_pong_once();
    }

    /// The source of imported slots speaks: what it claims no more need not be kept from it any longer, nor anything once
    /// it follows this shard and may succeed it. Should an older claim with its present epoch still be on its way, it
    /// comes too late.
    fn source_says(&mut self, source: NodeId, is_master: bool, header: &Header) {
        let shard_master = self.view.shard_master().id;
        let (given, epoch) = match self.view.node(source) {
            // Rather later than while it claims what may be its own again.
            Some(_) if is_master && self.claims_what_returns(source, header) => return,
            Some(_) if is_master => {
                (self.imported_from(source).difference(&header.slots), header.config_epoch)
            }
            Some(node) if node.is_replica_of(shard_master) => {
                let from_it = self.view.imported.iter().filter(|(_, i)| i.from == source);
                (from_it.map(|(slot, _)| *slot).collect(), node.config_epoch)
            }
            _ => return,
        };
        if !given.is_empty() {
            self.outbid(epoch);
            self.view.imported.retain(|slot, _| !given.contains(*slot));
        }
    }

    fn claims_what_returns(&self, source: NodeId, header: &Header) -> bool {
        let claimed = self.imported_from(source).intersection(&header.slots);
        !self.on_their_way_back(&claimed).0.is_empty()
    }

    /// A header with an older epoch was overtaken by one that said more.
    fn note_unclaimed(&mut self, owner: NodeId, epoch: Epoch, claim: &SlotSet) {
        let Some(node) = self.view.node(owner).filter(|n| n.config_epoch <= epoch) else { return };
        let again = node.slots.intersection(claim);
        let lacking = node.slots.difference(claim);
        self.view.unclaimed = self.view.unclaimed.difference(&again).union(&lacking);
        match self.view.lacking.get(&owner) {
            Some((known, _)) if *known == lacking => {}
            _ if lacking.is_empty() => drop(self.view.lacking.remove(&owner)),
            _ => drop(self.view.lacking.insert(owner, (lacking, self.now))),
        }
    }

    /// Slots that go to whoever claims them, however high their owner's epoch has become since by other moves: it has not
    /// claimed them for a node timeout, so for many headers. The news of their loss has passed this node by (a full sync, a
    /// crash, an operator that was killed). A header that was under way when the owner got them says nothing.
    fn given_up(&self, owner: NodeId) -> SlotSet {
        match self.view.lacking.get(&owner) {
            Some((slots, since))
                if owner != self.view.me && self.age(*since) >= self.config.node_timeout_ms =>
            {
                slots.intersection(&self.view.unclaimed)
            }
            _ => SlotSet::new(),
        }
    }

    /// This shard lost slots to `to`. Without any left it follows the new owner.
    fn on_slots_lost(&mut self, shard_master: NodeId, to: NodeId, lost: &SlotSet) {
        let to = self.successor_within_the_shard(shard_master).unwrap_or(to);
        let empty = self.view.node(shard_master).is_some_and(|n| n.slots.is_empty());
        // Not while this node may have the last copy of something: following another shard, it would lose that.
        let may_leave = self.config.allow_replica_migration && self.lost_slots.is_empty();
        let may_follow = self.view.same_shard(shard_master, to) || may_leave;
        if empty && may_follow {
            let master = self.view.label(to);
            let text =
                format!("Configuration change detected. Reconfiguring myself as a replica of {master}");
            self.log(Level::Notice, text);
            self.become_replica_of(to);
        } else if shard_master == self.view.me {
            self.log(Level::Notice, format!("Deleting keys in dirty slots {lost}: they belong to {to} now"));
            self.lost_slots.extend(lost.iter());
            if self.manual.replica() == Some(to) {
                // It did not know of the slots that are left: they are served here.
                self.end_manual_failover();
                self.handover_failed();
            }
        }
    }

    /// The other master of this shard that has slots: whoever of another shard took the last one that this node knew of, the
    /// shard's data is there.
    fn successor_within_the_shard(&self, shard_master: NodeId) -> Option<NodeId> {
        let has_slots = |n: &&Node| n.id != shard_master && n.is_master() && !n.slots.is_empty();
        let of_shard = |n: &&Node| self.view.same_shard(n.id, shard_master);
        self.view.nodes.values().filter(has_slots).find(of_shard).map(|n| n.id)
    }

    /// The keys of slots that this master has lost go when their owner says itself that it serves: one that came back
    /// without its data would take the last copy with it.
    pub(crate) fn drop_what_is_served_elsewhere(&mut self, sender: NodeId, header: &Header) {
        if self.lost_slots.is_empty() || header.cluster_down || header.master.is_some() {
            return;
        }
        let Some(owner) = self.view.node(sender) else { return };
        let served = self.lost_slots.intersection(&owner.slots).intersection(&header.slots);
        self.lost_slots = self.lost_slots.difference(&served);
        self.drop_keys.extend(served.iter());
    }

    /// This node copies `master` from now on.
    pub(crate) fn become_replica_of(&mut self, master: NodeId) {
        let me = self.view.me;
        let shard = self.view.node(master).map(|n| n.shard_id);
        self.note_whose_data(master);
        if !self.view.same_shard(me, master) {
            self.view.migrating.clear();
            self.view.importing.clear();
        }
        let myself = self.view.myself_mut();
        myself.make_replica_of(master);
        myself.shard_id = shard.unwrap_or(myself.shard_id);
        let left = myself.slots.clone();
        self.view.unassign(&left);
        self.become_master = false;
        self.drop_keys = SlotSet::new();
        self.lost_slots = SlotSet::new();
        self.stranded = SlotSet::new();
        self.open_guard();
        self.election.reset();
        self.end_manual_failover();
        self.handover_done();
        self.follow_master();
        self.topology_changed();
        // The others need to know now: the master for a manual failover, and all before this node may end.
        self.promise(Promise::Broadcast(Message::Pong));
    }

    /// Whether what this node has will be a copy of `master`'s data, however old, as soon as it follows it.
    fn note_whose_data(&mut self, master: NodeId) {
        let me = self.view.me;
        let had = self.view.i_am_master() || self.has_copy;
        if self.view.same_shard(me, master) {
            self.has_copy = had;
            return;
        }
        if had {
            self.data_of = Some(self.view.myself().master.unwrap_or(me));
        }
        // It may be told to go back before it has copied anything.
        self.has_copy = self.data_of.is_some_and(|of| self.view.same_shard(of, master));
    }

    /// Tells the shell whom to replicate from, after the slot map has said so.
    pub(crate) fn follow_master(&mut self) {
        let Some(master) = self.view.my_master() else { return };
        let same_shard = self.view.same_shard(self.view.me, master.id);
        let follow = Output::Follow { master: master.id, address: master.address, same_shard };
        self.after_publish.retain(|o| !matches!(o, Output::Follow { .. }));
        self.after_publish.push(follow);
    }

    /// This replica takes its master's place.
    pub(crate) fn replace_master(&mut self) {
        let me = self.view.me;
        let Some(old) = self.view.myself().master else { return };
        let slots = self.view.node(old).map(|n| n.slots.clone()).unwrap_or_default();
        self.view.myself_mut().make_master();
        self.view.assign(&slots, me);
        if self.config.is_mutant(Mutant::OpenSlotsLostAtFailover) {
            self.view.migrating.clear();
            self.view.importing.clear();
        }
        self.after_publish.retain(|o| !matches!(o, Output::Follow { .. }));
        self.become_master = true;
        self.election.reset();
        self.end_manual_failover();
        self.topology_changed();
        self.promise(Promise::Broadcast(Message::Pong));
    }
}

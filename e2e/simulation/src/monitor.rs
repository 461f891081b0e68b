//! Who watches a run. What must never happen is checked at every step, what must hold in the end when all has healed.

use crate::client::{KEYS, slot_of};
use crate::dataset::{Dataset, History, Key, Version};
use crate::network::{Party, Weather};
use crate::node::{Life, Node};
use crate::operator::Crossing;
use crate::replication::LINK_LOST_MS;
use crate::world::{Violation, World};
use node_server_cluster::NodesConf;
use node_server_protocol::bus::{Body, NodeFlags, Packet};
use node_server_protocol::{Epoch, NodeId, Role, Slot};
use operator_planner::{MemberId, NodeReport, Step};
use std::collections::{BTreeMap, BTreeSet};

/// The network has to have been quiet for so long before a stale read or a stale replica's victory is a defect: until
/// then asynchronous replication and a master that has not noticed its deposition may explain it.
const CALM_MS: u64 = 3_000;

/// A write that was applied, until every replica in sync has it.
#[derive(Clone, Copy, Debug)]
struct Applied {
    node: usize,
    history: History,
    offset: u64,
    key: Key,
    version: Version,
}

/// What has been seen in a run.
#[derive(Default)]
pub struct Monitor {
    /// Defects; the first ends the run.
    pub violations: Vec<Violation>,
    applied: Vec<Applied>,
    acknowledged: BTreeMap<Key, Version>,
    /// The newest acknowledged version that every replica in sync had, and that must never be lost while one of its
    /// holders lives.
    protected: BTreeMap<Key, Version>,
    replicated: BTreeMap<Key, Version>,
    /// Which shard gave a key away last, and at which version.
    given: BTreeMap<Key, (u16, Version)>,
    /// When each version was last written, by a client or by a move.
    pub(crate) written_at: BTreeMap<(Key, Version), u64>,
    votes: BTreeMap<(NodeId, Epoch), NodeId>,
    candidates: BTreeSet<(NodeId, Epoch)>,
    last_disturbed: u64,
    known: BTreeMap<(usize, u32), BTreeSet<NodeId>>,
    told_to_forget: BTreeSet<NodeId>,
    owner_epochs: BTreeMap<usize, BTreeMap<Slot, (Epoch, NodeId)>>,
    /// When a node was last told anything of a slot by SETSLOT, or to reset itself.
    told_slots: BTreeMap<(usize, Slot), u64>,
    told_reset: BTreeMap<usize, u64>,
    /// What the operator told whom about owners, which needs no epoch.
    told_owners: BTreeSet<(usize, Slot, NodeId)>,
}

impl Monitor {
    /// Network or processes are not as they should be just now.
    pub fn disturbed(&mut self, now: u64) {
        self.last_disturbed = now;
    }

    /// The version that a read may not fall behind.
    #[must_use]
    pub fn protected(&self, key: Key) -> Version {
        self.protected.get(&key).copied().unwrap_or(0)
    }

    /// The version may be lost by now: `left` is what there is.
    pub(crate) fn release(&mut self, key: Key, left: Version) {
        for versions in [&mut self.protected, &mut self.replicated] {
            if let Some(version) = versions.get_mut(&key) {
                *version = (*version).min(left);
            }
        }
    }

    fn protect(&mut self, key: Key) {
        let acknowledged = self.acknowledged.get(&key).copied().unwrap_or(0);
        let replicated = self.replicated.get(&key).copied().unwrap_or(0);
        let both = acknowledged.min(replicated);
        let protected = self.protected.entry(key).or_default();
        *protected = (*protected).max(both);
    }
}

impl World {
    fn is_calm(&self) -> bool {
        let quiet = self.now.saturating_sub(self.monitor.last_disturbed) > CALM_MS;
        quiet
            && self.nodes.iter().all(|n| !n.paused)
            && self.network.weather.delay_max_ms <= Weather::FAIR.delay_max_ms
    }

    /// A node applied a client's write.
    pub(crate) fn watch_written(&mut self, node: usize, key: Key, version: Version) {
        let (history, offset) = (self.nodes[node].data.history(), self.nodes[node].data.offset());
        let member = self.nodes[node].member;
        self.log(|| format!("{member} wrote key {key} at version {version}, offset {offset}"));
        self.monitor.applied.push(Applied { node, history, offset, key, version });
        self.monitor.written_at.insert((key, version), self.now);
    }

    /// A key has crossed and its source has deleted it: the target's shard answers for it from now on.
    pub(crate) fn watch_crossed(&mut self, crossing: &Crossing) {
        let Some((history, offset)) = crossing.restored else { return };
        let (node, key, version) = (crossing.target.0, crossing.key, crossing.version);
        self.monitor.given.insert(key, (self.nodes[crossing.source.0].member.shard, version));
        // The target has none of the versions before for longer than this one.
        let older = self.monitor.written_at.range_mut((key, 0)..=(key, version));
        older.for_each(|(_, at)| *at = self.now);
        self.monitor.written_at.insert((key, version), self.now);
        self.monitor.applied.push(Applied { node, history, offset, key, version });
        let (target, incarnation) = crossing.target;
        let lives = self.nodes[target].life == Life::Up && self.nodes[target].incarnation == incarnation;
        if !lives {
            // Its process was killed while its acknowledgement was on its way.
            self.watch_crash();
        }
    }

    /// A client heard that its write was done.
    pub(crate) fn watch_acknowledged_write(&mut self, key: Key, version: Version) {
        self.monitor.acknowledged.insert(key, version);
        self.monitor.protect(key);
    }

    /// A replica said how far it is: writes that all of the shard have are protected from now on.
    pub(crate) fn watch_acknowledged(&mut self, master: usize) {
        let Some(least) = self.least_of_shard(master) else { return };
        // Offsets count within one history: what was applied in an earlier mastership is not what is asked for now.
        let history = self.nodes[master].data.history();
        let has = |a: &mut Applied| a.node == master && (a.history != history || a.offset <= least);
        let done: Vec<Applied> = self.monitor.applied.extract_if(.., has).collect();
        // What has moved on meanwhile is in nobody's snapshot: whoever took it answers for it.
        let data = &self.nodes[master].data;
        let still_has = |a: &Applied| data.get(slot_of(a.key), a.key).is_some_and(|v| v >= a.version);
        let done: Vec<Applied> = done.into_iter().filter(|a| a.history == history && still_has(a)).collect();
        for applied in done {
            let replicated = self.monitor.replicated.entry(applied.key).or_default();
            *replicated = (*replicated).max(applied.version);
            self.monitor.protect(applied.key);
        }
    }

    /// The offset that the whole shard has. `None`: somebody of it is silent or does not follow this master (it may be
    /// master itself on the other side of a partition), or the master has no replica.
    fn least_of_shard(&self, master: usize) -> Option<u64> {
        let id = self.nodes[master].id()?;
        let shard = self.nodes[master].member.shard;
        if self.another_may_come_back(master) {
            return None;
        }
        let (seen, nodes) = (&self.nodes[master].replicas, &self.nodes);
        let follows = |n: usize| nodes[n].following.is_some_and(|f| f.master == id);
        let others = (0..nodes.len())
            .filter(|n| *n != master && nodes[*n].life == Life::Up)
            .filter(|n| nodes[*n].member.shard == shard || follows(*n));
        let offset = |n: usize| {
            let fresh = seen.get(&n).filter(|s| follows(n) && self.now - s.at <= LINK_LOST_MS);
            fresh.map(|s| s.offset)
        };
        let offsets: Option<Vec<u64>> = others.map(offset).collect();
        offsets.and_then(|o| o.into_iter().min())
    }

    fn is_held_anywhere(&self, key: Key, version: Version) -> bool {
        let held = |data: &Dataset| data.get(slot_of(key), key).is_some_and(|v| v >= version);
        self.nodes.iter().filter_map(Node::keys).any(held)
    }

    /// Whether anybody has it who answers for it. A shard that has given the key away does not, whatever a deposed master
    /// of it, which has not heard of that, still holds.
    fn is_answered_for(&self, key: Key, version: Version) -> bool {
        let given = self.monitor.given.get(&key);
        let answers = |n: &Node, held: Version| {
            held >= version && given.is_none_or(|(shard, at)| n.member.shard != *shard || held > *at)
        };
        let held = |n: &Node| n.keys().and_then(|data| data.get(slot_of(key), key));
        self.nodes.iter().any(|n| held(n).is_some_and(|version| answers(n, version)))
    }

    /// A process was killed: what only it had is lost, and asynchronous replication in memory may lose it.
    pub(crate) fn watch_crash(&mut self) {
        for key in 0..KEYS {
            let replicated = self.monitor.replicated.get(&key).copied().unwrap_or(0);
            let version = self.monitor.protected(key);
            if version > 0 && !self.is_answered_for(key, version) {
                self.monitor.protected.remove(&key);
                self.stats.lost += 1;
            }
            // Also where the client has yet to hear of it.
            if replicated > 0 && !self.is_answered_for(key, replicated) {
                self.monitor.replicated.remove(&key);
            }
        }
    }

    /// Keys were dropped, or replaced by a full sync: a protected one must still be somewhere.
    pub(crate) fn watch_keys_dropped(&mut self, node: usize) {
        for key in 0..KEYS {
            let version = self.monitor.protected(key);
            if version > 0 && !self.is_held_anywhere(key, version) {
                let member = self.nodes[node].member;
                self.violation(format!(
                    "{member} dropped the last copy of key {key} (slot {}) at version {version}",
                    slot_of(key)
                ));
                return;
            }
        }
    }

    /// A read was answered.
    pub(crate) fn watch_read(&mut self, node: usize, key: Key, found: Option<Version>, at_least: Version) {
        let stale = found.unwrap_or(0) < at_least && at_least <= self.monitor.protected(key);
        if stale && self.is_calm() {
            let member = self.nodes[node].member;
            self.violation(format!(
                "{member} answered key {key} with {found:?}; {at_least} was acknowledged and replicated"
            ));
        }
    }

    /// A node sends a frame: what it promises must be on its disk.
    pub(crate) fn watch_send(&mut self, node: usize, receiver: Option<usize>, frame: &[u8]) {
        let member = self.nodes[node].member;
        let packet = match node_server_protocol::bus::decode(frame) {
            Ok(packet) => packet,
            Err(error) => return self.violation(format!("{member} sends what cannot be decoded: {error}")),
        };
        if matches!(packet.body, Body::AuthRequest) {
            self.monitor.candidates.insert((packet.header.sender, packet.header.current_epoch));
            self.stats.elections = self.monitor.candidates.len() as u64;
        }
        let candidate = receiver.and_then(|r| self.nodes[r].id());
        if let (Body::AuthAck, Some(candidate)) = (&packet.body, candidate) {
            self.watch_vote(packet.header.sender, packet.header.current_epoch, candidate);
        }
        let Some(disk) = self.nodes[node].disk_conf.take() else { return };
        self.watch_promises(member, &packet, &disk);
        self.nodes[node].disk_conf = Some(disk);
    }

    fn watch_promises(&mut self, member: MemberId, packet: &Packet, disk: &NodesConf) {
        let header = &packet.header;
        if matches!(packet.body, Body::AuthAck) && disk.last_vote_epoch < header.current_epoch {
            let epoch = header.current_epoch;
            return self.violation(format!("{member} sends its vote of epoch {epoch} before it is on disk"));
        }
        let myself = disk.nodes.iter().find(|l| l.is_myself());
        let is_master = header.flags.contains(NodeFlags::MASTER);
        let Some(myself) = myself.filter(|l| is_master && l.master.is_none()) else { return };
        if header.config_epoch > myself.config_epoch {
            let (sent, stored) = (header.config_epoch, myself.config_epoch);
            return self.violation(format!("{member} claims with epoch {sent}; its disk says {stored}"));
        }
        let unsaved = header.slots.difference(&myself.slots);
        if !unsaved.is_empty() {
            self.violation(format!("{member} claims {unsaved}, which are not on its disk"));
        }
    }

    /// A vote arrives (it was sent): one voter, one epoch, one candidate.
    pub(crate) fn watch_vote(&mut self, voter: NodeId, epoch: Epoch, candidate: NodeId) {
        let first = *self.monitor.votes.entry((voter, epoch)).or_insert(candidate);
        if first != candidate {
            self.violation(format!("{voter} voted for {first} and for {candidate} in epoch {epoch}"));
        }
    }

    /// A replica has become master: the moves of its master's that it knew of are its own now, unless they are settled,
    /// their other end is forgotten, or somebody told it otherwise.
    pub(crate) fn watch_open_slots(&mut self, node: usize, now: &NodesConf) {
        let Some(before) = &self.nodes[node].disk_conf else { return };
        let (old, new) = (before.myself(), now.myself());
        let made = self.nodes[node].disk_made;
        let reset = self.monitor.told_reset.get(&node).is_some_and(|at| *at >= made);
        if old.master.is_none() || new.master.is_some() || reset {
            return;
        }
        let going = old.migrating.iter().filter(|(slot, _)| new.slots.contains(*slot));
        let coming = old.importing.iter().filter(|(slot, _)| !new.slots.contains(*slot));
        let still_open = |slot: Slot| new.migrating.iter().chain(&new.importing).any(|(s, _)| *s == slot);
        let told = |slot: Slot| self.monitor.told_slots.get(&(node, slot)).is_some_and(|at| *at >= made);
        let knows = |end: NodeId| now.nodes.iter().any(|l| l.id == end);
        let mut open = going.chain(coming);
        if let Some((slot, _)) = open.find(|(s, end)| knows(*end) && !still_open(*s) && !told(*s)) {
            let (member, slot) = (self.nodes[node].member, *slot);
            self.violation(format!("{member} forgot at its promotion that slot {slot} is on its way"));
        }
    }

    /// In one view, a slot never goes to a claim with a lower epoch.
    pub(crate) fn watch_owner_epochs(&mut self, node: usize) {
        let Some(conf) = &self.nodes[node].disk_conf else {
            return;
        };
        let mut now: BTreeMap<Slot, (Epoch, NodeId)> = BTreeMap::new();
        for line in &conf.nodes {
            for key in 0..KEYS {
                if line.slots.contains(slot_of(key)) {
                    now.insert(slot_of(key), (line.config_epoch, line.id));
                }
            }
        }
        let before = self.monitor.owner_epochs.get(&node).cloned().unwrap_or_default();
        let told = &self.monitor.told_owners;
        let lower = now.iter().find(|(slot, (epoch, id))| {
            let falls =
                before.get(slot).is_some_and(|(was, owner)| epoch < was && !self.gave_up(*owner, **slot));
            falls && !told.contains(&(node, **slot, *id))
        });
        let lower = lower.map(|(slot, (epoch, id))| (*slot, *epoch, *id, before.get(slot).map(|b| b.0)));
        self.monitor.owner_epochs.insert(node, now);
        if let Some((slot, epoch, id, Some(was))) = lower {
            let member = self.nodes[node].member;
            self.violation(format!(
                "{member} gave slot {slot} of epoch {was} to {id}, which claims it with epoch {epoch}"
            ));
        }
    }

    /// The former owner itself says on its disk that the slot is not its own: then the claim of the next owner counts,
    /// however high the former owner's epoch has become since by other moves.
    fn gave_up(&self, owner: NodeId, slot: Slot) -> bool {
        let disks =
            self.nodes.iter().filter(|n| n.life != Life::Removed).filter_map(|n| n.disk_conf.as_ref());
        let mut own = disks.flat_map(|d| &d.nodes).filter(|l| l.is_myself() && l.id == owner);
        own.any(|line| !line.slots.contains(slot))
    }

    /// A replica has become master: with all well between them, it is the one that had most.
    pub(crate) fn watch_promotion(&mut self, winner: usize, master: NodeId) {
        self.watch_keys_dropped(winner);
        self.watch_older_copy(winner, master);
        let since = self.now.saturating_sub(CALM_MS);
        let mine = self.nodes[winner].data.offset();
        let calm_with = |n: usize| {
            let (a, b) = (Party::Node(n), Party::Node(winner));
            self.network.together_since(a, b, since)
        };
        let better = (0..self.nodes.len()).find(|n| {
            let node = &self.nodes[*n];
            let same = node.following.is_some_and(|f| f.master == master);
            *n != winner
                && node.is_awake()
                && same
                && node.link_up
                && node.data.offset() > mine + STALE_RECORDS
                && calm_with(*n)
        });
        if let Some(better) = better.filter(|_| self.is_calm()) {
            let (a, b) = (self.nodes[winner].member, self.nodes[better].member);
            let more = self.nodes[better].data.offset() - mine;
            self.violation(format!(
                "{a} was elected although {b} has {more} records more and was there all the time"
            ));
        }
    }

    /// A node said whom it knows: nobody vanishes whom the operator did not have forgotten.
    pub(crate) fn watch_report(&mut self, node: usize, report: &NodeReport) {
        let known: BTreeSet<NodeId> =
            report.view.iter().filter(|l| !l.flags.handshake).map(|l| l.id).collect();
        let life = (node, self.nodes[node].incarnation);
        let before = self.monitor.known.insert(life, known.clone()).unwrap_or_default();
        let vanished = before.difference(&known).find(|id| !self.monitor.told_to_forget.contains(*id));
        if let Some(id) = vanished.copied() {
            let member = self.nodes[node].member;
            self.violation(format!("{member} does not know {id} any more, and nobody told it to forget"));
        }
    }

    /// The operator tells a node something.
    pub(crate) fn watch_command(&mut self, node: usize, args: &[Vec<u8>]) {
        if let [_, sub, slot, ..] = args
            && sub.eq_ignore_ascii_case(b"SETSLOT")
            && let Some(slot) = parse_slot(slot)
        {
            self.monitor.told_slots.insert((node, slot), self.now);
        }
        match args {
            [_, sub, id] if sub.eq_ignore_ascii_case(b"FORGET") => {
                if let Ok(id) = NodeId::from_hex(id) {
                    self.monitor.told_to_forget.insert(id);
                }
            }
            [_, sub, ..] if sub.eq_ignore_ascii_case(b"RESET") => {
                self.monitor.known.remove(&(node, self.nodes[node].incarnation));
                self.monitor.told_reset.insert(node, self.now);
            }
            [_, sub, slot, kind, id, ..]
                if sub.eq_ignore_ascii_case(b"SETSLOT") && kind.eq_ignore_ascii_case(b"NODE") =>
            {
                if let (Some(slot), Ok(id)) = (parse_slot(slot), NodeId::from_hex(id)) {
                    self.monitor.told_owners.insert((node, slot, id));
                }
            }
            _ => {}
        }
    }

    /// A step begins: nobody who is wanted and alive is removed or forgotten.
    pub(crate) fn watch_step(&mut self, step: &Step) {
        let Step::Forget { id, .. } = step else { return };
        let alive = self.nodes.iter().find(|n| n.life == Life::Up && n.id() == Some(*id));
        if let Some(node) = alive.filter(|n| self.operator.desired.wants(n.member)) {
            let member = node.member;
            self.violation(format!("the operator has {member} forgotten, which is wanted and lives"));
        }
    }

    /// When all has healed: every key that must be there is there, at the one owner of its slot.
    pub(crate) fn watch_end(&mut self) {
        for key in 0..KEYS {
            let slot = slot_of(key);
            let owner = self.nodes.iter().find(|n| {
                let mine = |r: &std::sync::Arc<node_server_protocol::routing::Routing>| {
                    r.role == Role::Master && r.is_mine(slot)
                };
                n.life == Life::Up && n.routing.as_ref().is_some_and(mine)
            });
            let found = owner.and_then(|n| n.data.get(slot, key)).unwrap_or(0);
            let protected = self.monitor.protected(key);
            if found < protected {
                let where_ = owner.map_or_else(|| "nobody".to_owned(), |n| n.member.to_string());
                self.violation(format!("key {key} (slot {slot}) is at {found} on {where_}; {protected} was acknowledged and replicated"));
                return;
            }
            if found < self.monitor.acknowledged.get(&key).copied().unwrap_or(0) {
                self.stats.lost += 1;
            }
        }
    }
}

fn parse_slot(text: &[u8]) -> Option<Slot> {
    std::str::from_utf8(text).ok().and_then(|s| s.parse().ok()).and_then(Slot::new)
}

/// A lead smaller than this is gossip's age, in which a batch of moved slots may be logged at once, 128 records.
const STALE_RECORDS: u64 = 160;

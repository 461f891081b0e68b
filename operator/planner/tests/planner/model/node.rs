use node_server_protocol::{Address, NodeId, Role, Slot, SlotSet};
use operator_planner::observed::OpenState;
use operator_planner::{Life, Why};
use std::collections::{BTreeMap, BTreeSet};

/// What a node knows of one node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) address: Address,
    pub(crate) master: Option<NodeId>,
    pub(crate) epoch: u64,
    pub(crate) slots: SlotSet,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) address: Address,
    pub(crate) life: Life,
    /// Why it does not answer although it may run.
    pub(crate) silent: Option<Why>,
    pub(crate) role: Role,
    pub(crate) current_epoch: u64,
    /// Itself included.
    pub(crate) view: BTreeMap<NodeId, Line>,
    pub(crate) keys: BTreeMap<Slot, BTreeSet<String>>,
    pub(crate) open: BTreeMap<Slot, OpenState>,
    pub(crate) offset: u64,
    pub(crate) closed_empty: bool,
    pub(crate) banned: BTreeSet<NodeId>,
}

impl Node {
    pub(crate) fn new(number: u8, address: Address) -> Self {
        let id = NodeId::from_bytes([number; 20]);
        let line = Line { address, master: None, epoch: 0, slots: SlotSet::new() };
        Self {
            id,
            address,
            life: Life::Running,
            silent: None,
            role: Role::Master,
            current_epoch: 0,
            view: BTreeMap::from([(id, line)]),
            keys: BTreeMap::new(),
            open: BTreeMap::new(),
            offset: 1,
            closed_empty: false,
            banned: BTreeSet::new(),
        }
    }

    pub(crate) fn running(&self) -> bool {
        self.life == Life::Running && self.silent.is_none()
    }

    pub(crate) fn me(&self) -> &Line {
        &self.view[&self.id]
    }

    pub(crate) fn me_mut(&mut self) -> &mut Line {
        self.view.get_mut(&self.id).unwrap()
    }

    pub(crate) fn slots(&self) -> SlotSet {
        self.me().slots.clone()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.me().epoch
    }

    pub(crate) fn key_count(&self) -> u64 {
        self.keys.values().map(|k| k.len() as u64).sum()
    }

    pub(crate) fn key_count_in(&self, slot: Slot) -> u64 {
        self.keys.get(&slot).map_or(0, |k| k.len() as u64)
    }

    /// The owner of a slot as this node sees it.
    pub(crate) fn owner(&self, slot: Slot) -> Option<NodeId> {
        self.view.iter().find(|(_, l)| l.slots.contains(slot)).map(|(id, _)| *id)
    }

    pub(crate) fn set_owner(&mut self, slot: Slot, owner: NodeId) {
        for line in self.view.values_mut() {
            line.slots.remove(slot);
        }
        if let Some(line) = self.view.get_mut(&owner) {
            line.slots.insert(slot);
        }
    }

    pub(crate) fn max_epoch(&self) -> u64 {
        self.view.values().map(|l| l.epoch).chain([self.current_epoch]).max().unwrap_or(0)
    }

    pub(crate) fn become_master(&mut self) {
        self.role = Role::Master;
        self.me_mut().master = None;
    }

    pub(crate) fn follow(&mut self, master: NodeId) {
        self.role = Role::Replica { of: master };
        self.closed_empty = false;
        self.open.clear();
        let me = self.me_mut();
        me.master = Some(master);
        me.slots = SlotSet::new();
    }
}

//! The operator in the simulation: the real planner, fed and obeyed over the seeded network.

use crate::dataset::{History, Key, Version};
use crate::disk::End;
use crate::network::Party;
use crate::node::{Life as NodeLife, Node};
use crate::world::{Event, World};
use node_server_cluster::command::{Parsed, parse};
use node_server_cluster::{Asker, DatasetInfo, Input, Token};
use node_server_protocol::resp::{Reply, parse_reply};
use node_server_protocol::{NodeId, Slot, SlotSet};
use operator_planner::commands::{Errors, NodeCommand, Phase};
use operator_planner::observed::Gone;
use operator_planner::plan::{Defect, plan_with_defect};
use operator_planner::report::Replies;
use operator_planner::{
    Desired, Fact, Life, Member, MemberId, NodeReport, Observed, Plan, PlannedStep, Proof, Step, Why, plan,
};
use std::collections::{BTreeMap, BTreeSet};

/// Time between two looks.
const LOOK_MS: u64 = 300;
/// How long a look waits for answers.
const ANSWER_MS: u64 = 150;
/// How long an attempt at a step may take.
const STEP_MS: u64 = 4_000;
/// The same failover is not sent again earlier.
const FAILOVER_AGAIN_MS: u64 = 1_000;

/// Something of the operator's.
#[derive(Debug)]
pub enum OperatorEvent {
    /// Time to look.
    Look,
    /// The question of a look arrives at a node.
    Asked { look: u64, node: usize },
    /// The answer arrives.
    Answered { look: u64, member: MemberId, report: Box<NodeReport> },
    /// Whoever has not answered is unknown.
    LookOver { look: u64 },
    /// Commands arrive at a node.
    Commands { run: u64, node: usize, commands: Vec<Vec<Vec<u8>>> },
    /// Replies arrive.
    Replied { run: u64, error: Option<String> },
    /// A round of MIGRATE begins at the source.
    MoveRound { run: u64, node: usize, slots: Box<SlotSet>, target: NodeId, replace: bool, round: u32 },
    /// A key arrives at its target.
    Crossing(Crossing),
    /// Its acknowledgement arrives at the source.
    Crossed { crossing: Crossing, taken: bool },
    /// MIGRATE gives a key up.
    CrossingOver { node: usize, incarnation: u32, key: Key, id: u64 },
    /// The attempt has taken too long.
    StepOver { run: u64 },
}

impl OperatorEvent {
    /// The node that has to be awake for it.
    #[must_use]
    pub fn node(&self) -> Option<usize> {
        match self {
            Self::Asked { node, .. } | Self::Commands { node, .. } | Self::MoveRound { node, .. } => {
                Some(*node)
            }
            Self::CrossingOver { node, .. } => Some(*node),
            Self::Crossing(crossing) => Some(crossing.target.0),
            Self::Crossed { crossing, .. } => Some(crossing.source.0),
            Self::Look
            | Self::Answered { .. }
            | Self::LookOver { .. }
            | Self::Replied { .. }
            | Self::StepOver { .. } => None,
        }
    }
}

/// A key on its way.
#[derive(Clone, Debug)]
pub struct Crossing {
    /// Node and life.
    pub(crate) source: (usize, u32),
    /// Node and life.
    pub(crate) target: (usize, u32),
    pub(crate) slot: Slot,
    pub(crate) key: Key,
    pub(crate) version: Version,
    pub(crate) replace: bool,
    pub(crate) id: u64,
    /// Where in the target's log it is, once it is.
    pub(crate) restored: Option<(History, u64)>,
}

/// An attempt at a step.
pub(crate) struct Run {
    step: Step,
    phases: Vec<Phase>,
    phase: usize,
    outstanding: usize,
}

/// The operator.
pub struct Operator {
    /// What is declared.
    pub desired: Desired,
    /// A deliberate defect.
    pub defect: Option<Defect>,
    /// The last plan.
    pub plan: Plan,
    /// What was seen last.
    pub observed: Observed,
    look: u64,
    answers: BTreeMap<MemberId, NodeReport>,
    pub(crate) runs: BTreeMap<u64, Run>,
    next_run: u64,
    tokens: BTreeMap<Token, (u64, usize)>,
    captured: BTreeMap<Token, Vec<u8>>,
    last_ids: BTreeMap<String, NodeId>,
    gone: Vec<Gone>,
    failovers: BTreeMap<MemberId, u64>,
    pub(crate) next_crossing: u64,
}

impl Operator {
    /// Follows a declaration.
    #[must_use]
    pub fn new(desired: Desired, defect: Option<Defect>) -> Self {
        Self {
            desired,
            defect,
            plan: Plan::default(),
            observed: Observed { members: Fact::Unknown(Why::NotAsked), gone: Vec::new() },
            look: 0,
            answers: BTreeMap::new(),
            runs: BTreeMap::new(),
            next_run: 0,
            tokens: BTreeMap::new(),
            captured: BTreeMap::new(),
            last_ids: BTreeMap::new(),
            gone: Vec::new(),
            failovers: BTreeMap::new(),
            next_crossing: 0,
        }
    }

    /// The operator's process is killed and started again: what it was doing is left as it is.
    pub fn restart(&mut self) {
        self.runs.clear();
        self.tokens.clear();
        self.answers.clear();
        self.failovers.clear();
    }
}

impl World {
    pub(crate) fn operator_event(&mut self, event: OperatorEvent) {
        match event {
            OperatorEvent::Look => self.look(),
            OperatorEvent::Asked { look, node } => self.asked(look, node),
            OperatorEvent::Answered { look, member, report } => {
                if look == self.operator.look {
                    self.operator.answers.insert(member, *report);
                }
            }
            OperatorEvent::LookOver { look } => self.look_over(look),
            OperatorEvent::Commands { run, node, commands } => self.commands(run, node, commands),
            OperatorEvent::Replied { run, error } => self.replied(run, error),
            OperatorEvent::MoveRound { run, node, slots, target, replace, round } => {
                self.move_round(run, node, *slots, target, replace, round);
            }
            OperatorEvent::Crossing(crossing) => self.crossing(crossing),
            OperatorEvent::Crossed { crossing, taken } => self.crossed_back(&crossing, taken),
            OperatorEvent::CrossingOver { node, incarnation, key, id } => {
                let node = &mut self.nodes[node];
                if node.incarnation == incarnation && node.leaving.get(&key) == Some(&id) {
                    node.leaving.remove(&key);
                }
            }
            OperatorEvent::StepOver { run } => {
                self.operator.runs.remove(&run);
            }
        }
    }

    fn look(&mut self) {
        self.at(self.now + LOOK_MS, Event::Operator(OperatorEvent::Look));
        self.operator.look += 1;
        self.operator.answers.clear();
        let look = self.operator.look;
        for node in 0..self.nodes.len() {
            if self.nodes[node].life != NodeLife::Up {
                continue;
            }
            if let Some(arrival) = self.network.datagram(self.now, Party::Operator, Party::Node(node)) {
                self.at(arrival, Event::Operator(OperatorEvent::Asked { look, node }));
            }
        }
        self.at(self.now + ANSWER_MS, Event::Operator(OperatorEvent::LookOver { look }));
    }

    /// A node says what it says, and the same reader reads it as in the operator.
    fn asked(&mut self, look: u64, node: usize) {
        let Some(report) = self.report_of(node) else { return };
        self.watch_report(node, &report);
        if let Some(arrival) = self.network.datagram(self.now, Party::Node(node), Party::Operator) {
            let member = self.nodes[node].member;
            self.at(
                arrival,
                Event::Operator(OperatorEvent::Answered { look, member, report: Box::new(report) }),
            );
        }
    }

    /// What a running node says of itself.
    pub(crate) fn report_of(&mut self, node: usize) -> Option<NodeReport> {
        self.nodes[node].cluster.as_ref()?;
        let nodes = self.ask_text(node, &[b"CLUSTER", b"NODES"])?;
        let cluster_info = self.ask_text(node, &[b"CLUSTER", b"INFO"])?;
        let data = &self.nodes[node].data;
        let keys: u64 = data.slots().iter().map(|s| data.keys_in(*s).count() as u64).sum();
        let replication = info_replication(&self.nodes[node], self.now);
        let nothing = BTreeMap::new();
        let read = Replies {
            nodes: &nodes,
            cluster_info: &cluster_info,
            replication: &replication,
            keys: Some(keys),
            reopen: true,
            counts: &nothing,
        };
        let count = |slot: Slot| (slot, self.nodes[node].data.keys_in(slot).count() as u64);
        let parsed = read.slots_to_count().map(|slots| slots.iter().map(count).collect::<BTreeMap<_, _>>());
        // A node between two roles gives replies that do not fit each other: unknown, as in the operator.
        parsed.and_then(|counts| NodeReport::parse(&Replies { counts: &counts, ..read })).ok()
    }

    fn ask_text(&mut self, node: usize, args: &[&[u8]]) -> Option<String> {
        let token = self.token();
        self.operator.tokens.insert(token, (u64::MAX, 0));
        let args: Vec<Vec<u8>> = args.iter().map(|a| a.to_vec()).collect();
        self.tell_core(node, token, &args)?;
        let bytes = self.operator.captured.remove(&token)?;
        match parse_reply(&bytes) {
            Ok(Some((Reply::Bulk(text), _))) => Some(String::from_utf8_lossy(&text).into_owned()),
            _ => None,
        }
    }

    /// Hands a CLUSTER command to a node's core. `None`: it is none.
    fn tell_core(&mut self, node: usize, token: Token, args: &[Vec<u8>]) -> Option<()> {
        let slices: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let Ok(Parsed::Core(command)) = parse(&slices) else { return None };
        let data = &self.nodes[node].data;
        let total = data.slots().iter().map(|s| data.keys_in(*s).count() as u64).sum();
        let in_slot = command.slot_to_count().map_or(0, |s| data.keys_in(s).count() as u64);
        let keys = DatasetInfo { total, in_slot, ..DatasetInfo::default() };
        self.input(node, Input::Command { token, command, asker: Asker::default(), keys });
        Some(())
    }

    fn look_over(&mut self, look: u64) {
        if look != self.operator.look {
            return;
        }
        let observed = self.observe();
        let made = plan_of(&self.operator, &observed);
        for planned in made.due() {
            self.begin(planned);
        }
        self.operator.plan = made;
        self.operator.observed = observed;
    }

    fn observe(&mut self) -> Observed {
        let mut members = BTreeMap::new();
        for node in self.nodes.iter().filter(|n| n.life != NodeLife::Removed) {
            let life = match node.life {
                NodeLife::Up => Life::Running,
                NodeLife::Down | NodeLife::Removed => Life::Terminated(Proof::Terminated),
            };
            let said = match self.operator.answers.get(&node.member) {
                Some(report) if node.life == NodeLife::Up => Fact::Known(report.clone()),
                _ if node.life == NodeLife::Up => Fact::Unknown(Why::TimedOut),
                _ => Fact::Unknown(Why::NotRunning),
            };
            if let Fact::Known(report) = &said {
                self.operator.last_ids.insert(node.uid.clone(), report.id);
            }
            let last_id = self.operator.last_ids.get(&node.uid).copied();
            let (uid, address, on_volume) = (node.uid.clone(), node.address, node.volume.exists());
            let member = Member { uid, address, life, leaving: false, on_volume, last_id, node: said };
            members.insert(node.member, member);
        }
        Observed { members: Fact::Known(members), gone: self.operator.gone.clone() }
    }

    fn begin(&mut self, planned: &PlannedStep) {
        match &planned.step {
            Step::EnsureMember { member } => return self.ensure(*member),
            Step::RemoveMember { member, uid } => return self.remove(*member, &uid.clone()),
            Step::ReportLoss { .. } => return,
            Step::Failover { replica, .. } => {
                let last = self.operator.failovers.get(&replica.member).copied();
                if last.is_some_and(|t| self.now - t < FAILOVER_AGAIN_MS) {
                    return;
                }
                self.operator.failovers.insert(replica.member, self.now);
            }
            _ => {}
        }
        let busy = self.operator.runs.values().any(|r| is_in_the_way(&r.step, &planned.step));
        // The expectations are checked against fresh reports, as the operator does just before it sends.
        let holds = planned.expect.iter().all(|expect| {
            let node =
                self.member(expect.member).filter(|n| self.both_ways(Party::Operator, Party::Node(*n)));
            let report = node.filter(|n| self.nodes[*n].is_awake()).and_then(|n| self.report_of(n));
            report.is_some_and(|r| expect.violated_by(&r).is_none())
        });
        if busy || !holds {
            return;
        }
        self.log(|| format!("operator: {:?}", planned.step));
        self.operator.next_run += 1;
        let run = self.operator.next_run;
        let (step, phases) = (planned.step.clone(), planned.step.commands());
        self.watch_step(&step);
        self.operator.runs.insert(run, Run { step, phases, phase: 0, outstanding: 0 });
        self.at(self.now + STEP_MS, Event::Operator(OperatorEvent::StepOver { run }));
        self.run_phase(run);
    }

    fn run_phase(&mut self, number: u64) {
        let Some(run) = self.operator.runs.get_mut(&number) else { return };
        let Some(phase) = run.phases.get(run.phase).cloned() else {
            let Some(run) = self.operator.runs.remove(&number) else { return };
            return self.step_done(&run.step);
        };
        match phase {
            Phase::Send { commands, .. } => {
                let mut by_node: BTreeMap<MemberId, Vec<Vec<Vec<u8>>>> = BTreeMap::new();
                for NodeCommand { to, args } in commands {
                    let args = args.into_iter().map(String::into_bytes).collect();
                    by_node.entry(to.member).or_default().push(args);
                }
                run.outstanding = by_node.values().map(Vec::len).sum();
                if run.outstanding == 0 {
                    run.phase += 1;
                    return self.run_phase(number);
                }
                for (member, commands) in by_node {
                    self.send_commands(number, member, commands);
                }
            }
            Phase::MoveKeys { source, target, slots, replace } => {
                run.outstanding = 1;
                let Some(node) = self.member(source.member) else { return };
                let event = OperatorEvent::MoveRound {
                    run: number,
                    node,
                    slots: Box::new(slots),
                    target: target.id,
                    replace,
                    round: 0,
                };
                if let Some(arrival) = self.network.datagram(self.now, Party::Operator, Party::Node(node)) {
                    self.at(arrival, Event::Operator(event));
                }
            }
            Phase::Platform | Phase::Report => {
                run.phase += 1;
                self.run_phase(number);
            }
        }
    }

    fn send_commands(&mut self, run: u64, member: MemberId, commands: Vec<Vec<Vec<u8>>>) {
        let Some(node) = self.member(member) else { return };
        if let Some(arrival) = self.network.datagram(self.now, Party::Operator, Party::Node(node)) {
            self.at(arrival, Event::Operator(OperatorEvent::Commands { run, node, commands }));
        }
    }

    fn commands(&mut self, run: u64, node: usize, commands: Vec<Vec<Vec<u8>>>) {
        if self.nodes[node].life != NodeLife::Up {
            return;
        }
        for args in commands {
            self.watch_command(node, &args);
            let token = self.token();
            self.operator.tokens.insert(token, (run, node));
            if self.tell_core(node, token, &args).is_none() {
                self.violation(format!("the planner sends what no node understands: {args:?}"));
            }
        }
    }

    /// A node's reply leaves for the operator.
    pub(crate) fn operator_reply(&mut self, node: usize, token: Token, bytes: Vec<u8>) {
        match self.operator.tokens.remove(&token) {
            Some((u64::MAX, _)) => {
                self.operator.captured.insert(token, bytes);
            }
            Some((run, _)) => {
                let error = match parse_reply(&bytes) {
                    Ok(Some((Reply::Error(text), _))) => Some(text),
                    _ => None,
                };
                if let Some(arrival) = self.network.datagram(self.now, Party::Node(node), Party::Operator) {
                    self.at(arrival, Event::Operator(OperatorEvent::Replied { run, error }));
                }
            }
            None => {}
        }
    }

    fn replied(&mut self, number: u64, error: Option<String>) {
        let Some(run) = self.operator.runs.get_mut(&number) else { return };
        let ignore = matches!(run.phases.get(run.phase), Some(Phase::Send { errors: Errors::Ignore, .. }));
        if let Some(error) = error.filter(|_| !ignore) {
            let step = run.step.clone();
            self.operator.runs.remove(&number);
            return self.log(|| format!("operator: not done: {error}: {step:?}"));
        }
        run.outstanding = run.outstanding.saturating_sub(1);
        if run.outstanding == 0 {
            run.phase += 1;
            self.run_phase(number);
        }
    }

    fn step_done(&mut self, step: &Step) {
        if let Step::MigrateSlots { slots, .. } = step {
            self.stats.slots_moved += slots.len() as u64;
        }
    }

    fn ensure(&mut self, member: MemberId) {
        if self.member(member).is_some() {
            return;
        }
        let index = self.nodes.len();
        self.nodes.push(Node::new(member, index, self.volumes));
        self.start_node(index);
    }

    fn remove(&mut self, member: MemberId, uid: &str) {
        let Some(node) = self.member(member).filter(|n| self.nodes[*n].uid == uid) else { return };
        self.log(|| format!("platform: {member} removed"));
        if let Some(id) = self.operator.last_ids.get(uid) {
            self.operator.gone.push(Gone { id: *id, member, proof: Proof::Terminated });
        }
        self.kill(node, End::Killed);
        self.nodes[node].life = NodeLife::Removed;
        self.watch_keys_dropped(node);
    }
}

fn plan_of(operator: &Operator, observed: &Observed) -> Plan {
    match operator.defect {
        Some(defect) => plan_with_defect(&operator.desired, observed, defect),
        None => plan(&operator.desired, observed),
    }
}

fn info_replication(node: &Node, now: u64) -> String {
    let offset = node.data.offset();
    match node.following {
        None => format!("role:master\r\nmaster_repl_offset:{offset}\r\n"),
        Some(_) => {
            let link = if node.link_up { "up" } else { "down" };
            let since = match (node.link_up, node.link_was_up) {
                (true, _) => String::new(),
                (false, false) => "master_link_down_since_seconds:-1\r\n".into(),
                (false, true) => {
                    format!("master_link_down_since_seconds:{}\r\n", (now - node.link_lost) / 1000)
                }
            };
            format!(
                "role:slave\r\nmaster_link_status:{link}\r\nmaster_sync_in_progress:0\r\nslave_repl_offset:{offset}\r\n\
                 {since}"
            )
        }
    }
}

/// Whether two steps touch the same thing.
fn is_in_the_way(running: &Step, next: &Step) -> bool {
    if running == next {
        return true;
    }
    let heals = matches!(next, Step::Failover { .. });
    let (a, b) = (touched(running), touched(next));
    match (running, next) {
        (Step::MigrateSlots { .. }, Step::MigrateSlots { .. }) => a == b,
        _ if heals => matches!(running, Step::Failover { .. }) && !a.is_disjoint(&b),
        _ => !a.is_disjoint(&b),
    }
}

fn touched(step: &Step) -> BTreeSet<MemberId> {
    match step {
        Step::MigrateSlots { source, target, .. } => [source.member, target.member].into(),
        Step::SetConfigEpoch { node, .. } | Step::CloseSlots { node, .. } => [node.member].into(),
        Step::Reset { node } | Step::Reopen { node } => [node.member].into(),
        Step::AssignSlots { owner, .. } | Step::ReplaceOwner { owner, .. } => [owner.member].into(),
        Step::Replicate { replica, .. } | Step::Failover { replica, .. } => [replica.member].into(),
        Step::EnsureMember { member } | Step::RemoveMember { member, .. } => [*member].into(),
        Step::Meet { .. } | Step::Forget { .. } | Step::ReportLoss { .. } => BTreeSet::new(),
    }
}

//! The only room that changes the world. One attempt at a step, with its expectations checked again just before; the
//! next look decides how to go on.

mod children;
mod connections;
mod execute;
mod move_keys;
mod removal;
mod steward;

pub use children::FIELD_MANAGER;
pub use connections::Connections;
pub use steward::{Objects, Order, Steward, Tools};

use node_server_protocol::Slot;
use operator_planner::{MemberId, Names, PlannedStep, Step};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, mpsc};

/// Most steps that run at a time.
const STEPS_MAX: usize = 64;
/// Most moves of slots that run or queue at a time. Those of one source and target run one after the other.
const MOVES_MAX: usize = 32;
/// For so long one and the same failover is not asked for again. (A node goes on with one that is under way; Redis begins anew.)
const FAILOVER_PAUSE: Duration = Duration::from_secs(1);
/// Why a queued move did not begin.
pub const DROPPED: &str = "another plan was made meanwhile";
/// Ends of steps that may wait to be read.
const ENDED_QUEUE: usize = 256;

/// How an attempt ended.
#[derive(Clone, Debug)]
pub struct Ended {
    claim: Claim,
    /// What was tried.
    pub step: Step,
    /// The same in words.
    pub words: String,
    /// What came of it, or why it did not work.
    pub result: Result<Moved, String>,
    /// How long it took.
    pub took: Duration,
}

/// What a step moved between nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Keys that were asked to go; one that went away meanwhile counts too.
    pub keys: u64,
}

/// Runs steps beside each other. A step that runs keeps others from touching what it touches.
pub struct Executor {
    connections: Connections,
    running: BTreeMap<Claim, Running>,
    failovers: BTreeMap<MemberId, (Step, Instant)>,
    /// Held by the move that runs between two members; others queue for it in order.
    turns: BTreeMap<(MemberId, MemberId), Arc<Mutex<()>>>,
    ended: mpsc::Receiver<Ended>,
    report: mpsc::Sender<Ended>,
}

/// A step that was begun, or a move that waits for its turn.
struct Running {
    step: Step,
    /// A move that has not had its turn yet is not made any more.
    called_off: Arc<AtomicBool>,
}

/// What a running step is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// Slots on their way between two members, the lowest of them named.
    Move(MemberId, MemberId, u16),
    /// One member is told something.
    Member(MemberId),
    /// One member is told of another.
    Pair(MemberId, MemberId),
    /// An identity is forgotten by all.
    Identity(String),
}

impl Executor {
    /// Nothing runs yet.
    #[must_use]
    pub fn new(connections: Connections) -> Self {
        let (report, ended) = mpsc::channel(ENDED_QUEUE);
        Self {
            connections,
            running: BTreeMap::new(),
            failovers: BTreeMap::new(),
            turns: BTreeMap::new(),
            ended,
            report,
        }
    }

    /// Begins a step unless it, or something in its way, runs already. True when it was begun.
    pub fn begin(
        &mut self,
        planned: &PlannedStep,
        names: &Names<'_>,
        addresses: &BTreeMap<MemberId, SocketAddr>,
    ) -> bool {
        let Some(claim) = claim(&planned.step) else { return false };
        let moves = self.running.keys().filter(|c| matches!(c, Claim::Move(..))).count();
        let full =
            self.running.len() >= STEPS_MAX || (matches!(claim, Claim::Move(..)) && moves >= MOVES_MAX);
        if full || self.is_in_the_way(&claim, &planned.step) || self.is_too_soon(&planned.step) {
            return false;
        }
        let called_off = Arc::new(AtomicBool::new(false));
        let running = Running { step: planned.step.clone(), called_off: Arc::clone(&called_off) };
        self.running.insert(claim.clone(), running);
        let attempt = Attempt {
            connections: self.connections.clone(),
            words: names.step(&planned.step),
            addresses: addresses.clone(),
            planned: planned.clone(),
            turn: self.turn(&claim),
            called_off,
            claim,
        };
        let report = self.report.clone();
        tokio::spawn(async move {
            if report.send(attempt.run().await).await.is_err() {
                tracing::debug!("a step ended after the operator");
            }
        });
        true
    }

    fn turn(&mut self, claim: &Claim) -> Option<Arc<Mutex<()>>> {
        match claim {
            Claim::Move(from, to, _) => Some(Arc::clone(self.turns.entry((*from, *to)).or_default())),
            _ => None,
        }
    }

    /// Moves that wait for their turn and are not wanted any more will not begin.
    pub fn call_off(&mut self, still_want: impl Fn(&Step) -> bool) {
        for running in self.running.values().filter(|r| !still_want(&r.step)) {
            running.called_off.store(true, Ordering::Relaxed);
        }
    }

    /// Waits for the end of a step; forever when none runs.
    pub async fn next_ended(&mut self) -> Ended {
        match self.ended.recv().await {
            Some(ended) => {
                self.running.remove(&ended.claim);
                ended
            }
            // The executor itself holds a sender, so the channel never ends.
            None => std::future::pending().await,
        }
    }

    /// Ends of steps that are there already.
    pub fn take_ended(&mut self) -> Vec<Ended> {
        let mut all = Vec::new();
        while let Ok(ended) = self.ended.try_recv() {
            self.running.remove(&ended.claim);
            all.push(ended);
        }
        all
    }

    /// What runs.
    pub fn running(&self) -> impl Iterator<Item = &Step> {
        self.running.values().map(|r| &r.step)
    }

    /// Whether slots are on their way.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.running.keys().any(|c| matches!(c, Claim::Move(..)))
    }

    /// Healing a shard waits for no move; everything else waits for the moves of the members that it touches. Nodes
    /// are introduced when nothing is being done to either: a node's epoch is given while it knows nobody.
    fn is_in_the_way(&self, claim: &Claim, step: &Step) -> bool {
        if self.running.contains_key(claim) || self.overlaps(step) || self.turns_round(step) {
            return true;
        }
        let heals = matches!(step, Step::Failover { .. });
        let moves = |c: &Claim, m: MemberId| matches!(c, Claim::Move(from, to, _) if *from == m || *to == m);
        match claim {
            Claim::Member(member) if !heals => self.running.keys().any(|c| moves(c, *member)),
            Claim::Pair(at, peer) => {
                [at, peer].iter().any(|m| self.running.contains_key(&Claim::Member(**m)))
            }
            _ => false,
        }
    }

    /// Two nodes that are told to follow each other at the same time both do: each still was a master when the other looked.
    fn turns_round(&self, step: &Step) -> bool {
        let Step::Replicate { replica, master } = step else { return false };
        self.running().any(|running| match running {
            Step::Replicate { replica: other, master: followed } => {
                other.member == master.member || followed.member == replica.member
            }
            Step::Reset { node } => node.member == master.member,
            _ => false,
        })
    }

    /// A move of slots that are on their way already.
    fn overlaps(&self, step: &Step) -> bool {
        let Step::MigrateSlots { slots, .. } = step else { return false };
        let shares = |running: &Step| matches!(running, Step::MigrateSlots { slots: going, .. } if !going.intersection(slots).is_empty());
        self.running().any(shares)
    }

    /// Notes a failover, and says whether the same was asked for just now.
    fn is_too_soon(&mut self, step: &Step) -> bool {
        let Step::Failover { replica, .. } = step else { return false };
        let asked = self.failovers.get(&replica.member);
        if asked.is_some_and(|(before, when)| before == step && when.elapsed() < FAILOVER_PAUSE) {
            return true;
        }
        self.failovers.insert(replica.member, (step.clone(), Instant::now()));
        false
    }
}

/// One attempt at a step, on a task of its own.
struct Attempt {
    connections: Connections,
    claim: Claim,
    planned: PlannedStep,
    words: String,
    addresses: BTreeMap<MemberId, SocketAddr>,
    turn: Option<Arc<Mutex<()>>>,
    called_off: Arc<AtomicBool>,
}

impl Attempt {
    async fn run(self) -> Ended {
        let turn = self.turn.clone();
        let _held = match &turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let begun = Instant::now();
        let result = if turn.is_some() && self.called_off.load(Ordering::Relaxed) {
            Err(DROPPED.to_owned())
        } else {
            execute::execute(&self.connections, &self.planned, &self.addresses).await
        };
        let took = begun.elapsed();
        Ended { claim: self.claim, step: self.planned.step, words: self.words, result, took }
    }
}

/// What a step is about; `None` for those that are not a node's business.
fn claim(step: &Step) -> Option<Claim> {
    Some(match step {
        Step::EnsureMember { .. } | Step::RemoveMember { .. } | Step::ReportLoss { .. } => return None,
        Step::SetConfigEpoch { node, .. } | Step::CloseSlots { node, .. } => Claim::Member(node.member),
        Step::Reset { node } | Step::Reopen { node } => Claim::Member(node.member),
        Step::Meet { at, peer } => Claim::Pair(at.member, peer.member),
        Step::AssignSlots { owner, .. } | Step::ReplaceOwner { owner, .. } => Claim::Member(owner.member),
        Step::Replicate { replica, .. } | Step::Failover { replica, .. } => Claim::Member(replica.member),
        Step::MigrateSlots { source, target, slots, .. } => {
            Claim::Move(source.member, target.member, slots.iter().next().map_or(0, Slot::number))
        }
        Step::Forget { id, .. } => Claim::Identity(id.to_string()),
    })
}

#[cfg(test)]
mod tests;

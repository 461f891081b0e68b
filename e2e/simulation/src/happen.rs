//! Faults as they happen: to the network, to processes, to clocks, to the declaration.

use crate::dataset::History;
use crate::disk::End;
use crate::faults::{Fault, Scheduled};
use crate::network::{Party, Weather};
use crate::node::{Life, address};
use crate::rng::Rng;
use crate::world::{Event, World};
use operator_planner::{Desired, Distribution, Spec};

/// Least time until the platform starts an ended process again.
const RESTART_MIN_MS: u64 = 300;
/// So many of a hundred ends of a process with a volume are its machine's.
const POWER_LOST_PERCENT: u64 = 30;
/// A fault without a victim strikes again after this time.
const STRIKE_AGAIN_MS: u64 = 200;
/// Most nodes of a declaration.
const NODES_MAX: u16 = 9;

/// The end of a fault.
#[derive(Debug)]
pub enum Ending {
    /// Cuts between these are mended.
    Mend(Vec<(Party, Party)>),
    /// The weather is fair again.
    Fair,
    /// A process goes on.
    Wake { node: usize, incarnation: u32 },
    /// The platform starts an ended process.
    Restart { node: usize },
}

/// A declaration of the simulated cluster.
///
/// # Panics
/// Never: the shapes are within the bounds.
#[must_use]
pub fn desired(masters: u16, replicas: u16, volumes: bool) -> Desired {
    let spec = Spec {
        name: "sim".into(),
        masters,
        replicas_per_master: replicas,
        distribution: Distribution::Balanced,
        // As the operator has it by default.
        allow_data_loss: !volumes,
        paused: false,
    };
    Desired::parse(spec).expect("a shape within the bounds")
}

/// A shape of 3 to 9 nodes.
pub fn shape(rng: &mut Rng) -> (u16, u16) {
    loop {
        let (masters, replicas) = (rng.between(1, 5) as u16, rng.below(3) as u16);
        if (3..=NODES_MAX).contains(&(masters * (1 + replicas))) {
            return (masters, replicas);
        }
    }
}

impl World {
    pub(crate) fn fault_begins(&mut self, scheduled: Scheduled) {
        if self.strike(&scheduled) {
            self.stats.faults += 1;
        } else {
            // Nobody was there to be struck.
            self.at(self.now + STRIKE_AGAIN_MS, Event::FaultBegins(scheduled));
        }
    }

    /// False when there is no victim.
    fn strike(&mut self, scheduled: &Scheduled) -> bool {
        let mut rng = Rng::new(scheduled.salt);
        let end = self.now + scheduled.lasts_ms;
        self.log(|| format!("fault: {:?} for {} ms", scheduled.fault, scheduled.lasts_ms));
        match scheduled.fault {
            Fault::Delay { max_ms } => self.weather(end, |w| w.delay_max_ms = max_ms),
            Fault::Loss { percent } => self.weather(end, |w| w.loss_percent = percent),
            Fault::Duplication { percent } => self.weather(end, |w| w.duplicate_percent = percent),
            Fault::OneWayCut => return self.one_way(end, &mut rng),
            Fault::Partition => self.partition(end, &mut rng),
            Fault::Pause => return self.pause(end, &mut rng),
            Fault::Crash { new_address } => return self.crash(scheduled.lasts_ms, new_address, &mut rng),
            Fault::ClockDrift { jump_ms, percent_fast } => {
                return self.drift(jump_ms, percent_fast, &mut rng);
            }
            Fault::OperatorRestart => self.operator.restart(),
            Fault::SpecEdit => {
                let (masters, replicas) = shape(&mut rng);
                self.log(|| format!("the user declares {masters} masters with {replicas} replicas"));
                self.operator.desired = desired(masters, replicas, self.volumes);
                self.stats.edits += 1;
            }
        }
        true
    }

    pub(crate) fn fault_ends(&mut self, ending: Ending) {
        match ending {
            Ending::Mend(cuts) => {
                self.monitor.disturbed(self.now);
                for (from, to) in cuts {
                    self.network.mend(from, to, self.now);
                }
            }
            Ending::Fair => {
                self.monitor.disturbed(self.now);
                self.network.weather = Weather::FAIR;
            }
            Ending::Wake { node, incarnation } => {
                if self.nodes[node].incarnation == incarnation && self.nodes[node].paused {
                    self.monitor.disturbed(self.now);
                    self.wake(node);
                }
            }
            Ending::Restart { node } => {
                if self.nodes[node].life == Life::Down {
                    self.start_node(node);
                }
            }
        }
    }

    fn weather(&mut self, end: u64, change: impl FnOnce(&mut Weather)) {
        self.monitor.disturbed(self.now);
        change(&mut self.network.weather);
        self.at(end, Event::FaultEnds(Ending::Fair));
    }

    fn up(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|n| self.nodes[*n].life == Life::Up).collect()
    }

    fn one_way(&mut self, end: u64, rng: &mut Rng) -> bool {
        let mut up = self.up();
        let Some(from) = rng.pick(&up).copied() else { return false };
        up.retain(|n| *n != from);
        let Some(to) = rng.pick(&up).copied() else { return false };
        self.cut_all(end, vec![(Party::Node(from), Party::Node(to))]);
        true
    }

    fn partition(&mut self, end: u64, rng: &mut Rng) {
        let mut parties: Vec<Party> = self.up().into_iter().map(Party::Node).collect();
        parties.extend([Party::Operator, Party::Client]);
        let (mut one, mut other): (Vec<Party>, Vec<Party>) =
            parties.into_iter().partition(|_| rng.percent(35));
        // Nobody on one side is no partition.
        if one.is_empty() || other.is_empty() {
            let (full, empty) = if one.is_empty() { (&mut other, &mut one) } else { (&mut one, &mut other) };
            empty.extend(full.pop());
        }
        let pairs = one.iter().flat_map(|a| other.iter().flat_map(move |b| [(*a, *b), (*b, *a)])).collect();
        self.cut_all(end, pairs);
    }

    fn cut_all(&mut self, end: u64, cuts: Vec<(Party, Party)>) {
        self.stats.partitions += 1;
        self.monitor.disturbed(self.now);
        for (from, to) in &cuts {
            self.network.cut(*from, *to);
        }
        self.at(end, Event::FaultEnds(Ending::Mend(cuts)));
    }

    fn pause(&mut self, end: u64, rng: &mut Rng) -> bool {
        let awake: Vec<usize> = self.up().into_iter().filter(|n| !self.nodes[*n].paused).collect();
        let Some(node) = rng.pick(&awake).copied() else { return false };
        self.monitor.disturbed(self.now);
        self.stats.pauses += 1;
        let member = self.nodes[node].member;
        self.log(|| format!("{member} stands still"));
        self.nodes[node].paused = true;
        let incarnation = self.nodes[node].incarnation;
        self.at(end, Event::FaultEnds(Ending::Wake { node, incarnation }));
        true
    }

    fn crash(&mut self, lasts_ms: u64, new_address: bool, rng: &mut Rng) -> bool {
        let up = self.up();
        let Some(node) = rng.pick(&up).copied() else { return false };
        self.stats.restarts += 1;
        let member = self.nodes[node].member;
        self.log(|| format!("{member} is killed"));
        let new_address_at = new_address.then(|| address(node, rng.between(1, 200) as u8));
        // A quick restart is the dangerous one: before anybody has noticed.
        let back = if rng.percent(50) { RESTART_MIN_MS } else { RESTART_MIN_MS + lasts_ms };
        let end = if self.volumes && rng.percent(POWER_LOST_PERCENT) { End::PowerLost } else { End::Killed };
        if end == End::PowerLost {
            self.log(|| format!("{member} loses its power"));
            self.stats.power_losses += 1;
            self.watch_power_loss(node);
        }
        self.kill(node, end);
        self.watch_crash();
        if let Some(address) = new_address_at {
            self.nodes[node].address = address;
        }
        self.at(self.now + back, Event::FaultEnds(Ending::Restart { node }));
        true
    }

    fn drift(&mut self, jump_ms: u64, percent: u64, rng: &mut Rng) -> bool {
        let up = self.up();
        let Some(node) = rng.pick(&up).copied() else { return false };
        self.monitor.disturbed(self.now);
        let now = self.now;
        self.nodes[node].clock.drift(now, jump_ms, percent);
        // The deadline that is scheduled was computed by the old clock.
        self.nodes[node].deadline = None;
        self.drain(node);
        true
    }

    /// A process ends: its connections break and what was not on disk is gone.
    pub(crate) fn kill(&mut self, node: usize, end: End) {
        self.close_all(node);
        self.drop_stalled(node);
        self.nodes[node].crash(end);
    }

    /// The platform starts a process.
    pub(crate) fn start_node(&mut self, node: usize) {
        let (now, config) = (self.now, self.config.clone());
        let started = self.nodes[node].start(now, config, &mut self.rng);
        let member = self.nodes[node].member;
        self.log(|| format!("{member} starts"));
        if let Err(error) = started {
            return self.violation(format!("{member} cannot read its own nodes.conf: {error}"));
        }
        let incarnation = self.nodes[node].incarnation;
        self.at(self.now + 1, Event::ReplicationTick { node, incarnation });
        self.drain(node);
    }

    /// Everything is mended: what still lasts ends now.
    pub(crate) fn heal(&mut self) {
        self.healed = true;
        self.monitor.disturbed(self.now);
        self.network.heal(self.now);
        for node in 0..self.nodes.len() {
            let now = self.now;
            self.nodes[node].clock.drift(now, 0, 100);
            self.nodes[node].deadline = None;
            if self.nodes[node].paused {
                self.wake(node);
            }
            if self.nodes[node].life == Life::Down {
                self.start_node(node);
            }
            self.drain(node);
        }
    }

    /// A history's number that no other has.
    pub(crate) fn new_history(&mut self) -> History {
        History(self.rng.word())
    }
}

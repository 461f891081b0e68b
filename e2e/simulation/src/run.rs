//! One run: form the cluster, let things go wrong for a minute, mend everything, and see that it converges.

use crate::client::ClientEvent;
use crate::faults::{FAULT_WINDOW_MS, FAULTS_MIN, schedule};
use crate::happen::{desired, shape};
use crate::operator::{Operator, OperatorEvent};
use crate::rng::Rng;
use crate::stats::Stats;
use crate::world::{Event, Violation, World};
use node_server_cluster::Config;
use node_server_cluster::config::Mutant;
use operator_planner::MemberId;
use operator_planner::check::check;
use operator_planner::plan::Defect;

/// The cluster has to stand within this time.
const FORMED_MS: u64 = 30_000;
/// After the last fault has ended and all is mended, everything has to be as declared within this time.
const HEALED_MS: u64 = 90_000;
/// How often the invariant is looked at meanwhile.
const CHECK_MS: u64 = 500;

/// What is run.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// A defect in the nodes.
    pub mutant: Option<Mutant>,
    /// A defect in the operator.
    pub planner: Option<Defect>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What was done.
    pub stats: Stats,
    /// What must not have happened.
    pub violation: Option<Violation>,
}

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, settings: &Settings, verbose: bool) -> Outcome {
    let mut rng = Rng::new(seed ^ 0x5107_0000);
    let (masters, replicas) = shape(&mut rng);
    let config = Config { mutant: settings.mutant, ..Config::default() };
    // Of a generator of its own: what else a seed draws does not depend on it.
    let volumes = Rng::new(seed ^ 0x00d1_5c00).percent(50);
    let operator = Operator::new(desired(masters, replicas, volumes), settings.planner);
    let mut world = World::new(seed, config, operator, volumes, verbose);
    world.stats.seeds = 1;
    world.at(0, Event::Operator(OperatorEvent::Look));
    if world.converge(FORMED_MS, "the cluster was not formed") {
        world.at(world.now, Event::Client(ClientEvent::Tick));
        let begin = world.now + 2_000;
        for scheduled in schedule(&mut rng, begin) {
            world.at(scheduled.at, Event::FaultBegins(scheduled));
        }
        world.run_until(begin + FAULT_WINDOW_MS);
        world.strike_enough();
        world.heal();
        let healed = world.now;
        if world.converge(HEALED_MS, "not as declared after everything was mended") {
            world.stats.longest_heal_ms = world.now - healed;
            // What is still under way comes to its end.
            let until = world.now + 2_000;
            world.run_until(until);
            world.watch_end();
        }
    }
    Outcome { seed, stats: world.stats, violation: world.monitor.violations.first().cloned() }
}

impl World {
    /// Faults that found no victim struck late: the run goes on until there were enough.
    fn strike_enough(&mut self) {
        let deadline = self.now + FAULT_WINDOW_MS;
        while self.stats.faults < FAULTS_MIN as u64 && self.monitor.violations.is_empty() {
            if self.now >= deadline {
                return self.violation(format!("only {} faults struck: an idle run", self.stats.faults));
            }
            self.run_until(self.now + CHECK_MS);
        }
    }

    /// Runs until the invariant holds; a violation when it does not within the bound.
    fn converge(&mut self, bound_ms: u64, what: &str) -> bool {
        let deadline = self.now + bound_ms;
        while self.monitor.violations.is_empty() {
            let until = self.now + CHECK_MS;
            self.run_until(until);
            let (converged, findings) = self.findings();
            if converged {
                return true;
            }
            if self.now >= deadline {
                self.log_views();
                self.violation(format!("{what} within {bound_ms} ms: {}", findings.join("; ")));
            }
        }
        false
    }

    /// How every node sees the cluster, for whoever replays a seed.
    fn log_views(&self) {
        for node in &self.nodes {
            if let Some(cluster) = &node.cluster {
                self.log(|| format!("{} sees\n{}", node.member, cluster.nodes_text()));
            }
        }
    }

    /// Whether plan and invariant say that all is well, or else why not.
    fn findings(&self) -> (bool, Vec<String>) {
        let mut findings: Vec<String> =
            check(&self.operator.desired, &self.operator.observed).iter().map(ToString::to_string).collect();
        let plan = &self.operator.plan;
        findings.extend(plan.steps.iter().map(|s| format!("to do: {:?}", s.step)));
        findings.extend(plan.waiting.iter().map(|w| format!("waiting: {w:?}")));
        findings.extend(plan.unsafe_.iter().map(|u| format!("refused: {u:?}")));
        let missing: Vec<MemberId> =
            self.operator.desired.members().filter(|m| self.member(*m).is_none()).collect();
        findings.extend(missing.iter().map(|m| format!("{m} does not exist")));
        findings.truncate(12);
        (findings.is_empty(), findings)
    }
}

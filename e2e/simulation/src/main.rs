//! The simulation: the real planner and the real cluster state machines in one process, with a seeded network, clients,
//! and faults. `--reproduce SEED` replays one run with its log.

use anyhow::bail;
use clap::Parser;
use e2e_simulation::run::{self, Outcome, Settings};
use e2e_simulation::stats::Stats;
use node_server_cluster::config::Mutant;
use operator_planner::plan;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Seeds within which a mutant has to be caught.
const MUTANT_SEEDS: u64 = 2_000;
/// Seeds, from the one that is known to catch it on, within which `--known-mutants` expects it: a change of anything
/// shifts the numbers of all that follows, and the monitors have to stand that.
const KNOWN_SEEDS: u64 = 25;

/// Runs seeded simulations of whole clusters and reports what must never happen.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Replays one seed with its log.
    #[arg(long)]
    reproduce: Option<u64>,
    /// Runs every deliberate defect until it is caught, within 2,000 seeds each.
    #[arg(long)]
    mutants: bool,
    /// Runs every deliberate defect from a seed that is known to catch it. Takes seconds.
    #[arg(long)]
    known_mutants: bool,
    /// With --reproduce: the deliberate defect to replay.
    #[arg(long)]
    mutant: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.reproduce {
        let settings = match &arguments.mutant {
            Some(name) => find_mutant(name)?,
            None => Settings::default(),
        };
        let outcome = run::run(seed, &settings, true);
        if let Some(violation) = &outcome.violation {
            say(&format!("seed {seed} at {} ms: {}", violation.at, violation.what));
        }
        say(&outcome.stats.to_string());
        return Ok(());
    }
    if arguments.mutants {
        let all = defects().into_iter().map(|d| (d.name, d.settings, arguments.from));
        return mutants(all, MUTANT_SEEDS);
    }
    if arguments.known_mutants {
        let known = defects().into_iter().map(|d| (d.name, d.settings, d.caught_by));
        return mutants(known, KNOWN_SEEDS);
    }
    let outcomes = run_all(arguments.from, arguments.seeds, &Settings::default(), false);
    report(&outcomes)
}

/// A deliberate defect.
struct Defect {
    name: &'static str,
    settings: Settings,
    /// A seed that is known to catch it.
    caught_by: u64,
}

/// The eight kinds of proof.md, the removal of what is silent in the node and in the operator, and the takeover by an older
/// copy.
fn defects() -> Vec<Defect> {
    let in_node = |name, mutant, caught_by| {
        let settings = Settings { mutant: Some(mutant), ..Settings::default() };
        Defect { name, settings, caught_by }
    };
    let in_operator = |name, defect, caught_by| {
        let settings = Settings { planner: Some(defect), ..Settings::default() };
        Defect { name, settings, caught_by }
    };
    vec![
        in_node("two-votes-in-an-epoch", Mutant::TwoVotesInAnEpoch, 44),
        in_node("vote-before-persisted", Mutant::VoteBeforePersisted, 1),
        in_node("lower-epoch-accepted", Mutant::LowerEpochAccepted, 1),
        in_node("promise-before-persisted", Mutant::PromiseBeforePersisted, 1),
        in_node("silent-removed-by-node", Mutant::SilentRemoved, 1),
        in_operator("silent-removed-by-operator", plan::Defect::SilenceIsDeath, 1),
        in_operator("older-copy-takes-over", plan::Defect::OlderCopyTakesOver, 223),
        in_node("open-slots-lost-at-failover", Mutant::OpenSlotsLostAtFailover, 10),
        in_node("empty-master-serves", Mutant::EmptyMasterServes, 4),
        in_node("staler-replica-elected", Mutant::StalerReplicaElected, 84),
    ]
}

fn find_mutant(name: &str) -> anyhow::Result<Settings> {
    let all = defects();
    let names: Vec<&str> = all.iter().map(|d| d.name).collect();
    match all.iter().find(|d| d.name == name) {
        Some(defect) => Ok(defect.settings.clone()),
        None => bail!("no mutant {name:?}; there are {}", names.join(", ")),
    }
}

/// Each mutant from its seed on, until it is caught.
fn mutants(all: impl Iterator<Item = (&'static str, Settings, u64)>, bound: u64) -> anyhow::Result<()> {
    let mut missed = Vec::new();
    for (name, settings, from) in all {
        let outcomes = run_all(from, bound, &settings, true);
        match outcomes.iter().find(|o| o.violation.is_some()) {
            Some(Outcome { seed, violation: Some(violation), .. }) => {
                let tried = outcomes.len();
                say(&format!("mutant {name}: caught by seed {seed} after {tried} seeds: {}", violation.what));
            }
            _ => {
                say(&format!("mutant {name}: NOT caught in {bound} seeds"));
                missed.push(name);
            }
        }
    }
    if missed.is_empty() { Ok(()) } else { bail!("not caught: {}", missed.join(", ")) }
}

/// Runs seeds on all cores; stops at the first violation where that is asked for.
fn run_all(from: u64, count: u64, settings: &Settings, stop_at_first: bool) -> Vec<Outcome> {
    let next = AtomicU64::new(from);
    let stop = AtomicBool::new(false);
    let outcomes = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count || stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let outcome = run::run(seed, settings, false);
                    if let Some(violation) = outcome.violation.as_ref().filter(|_| !stop_at_first) {
                        say(&format!("seed {seed} at {} ms: {}", violation.at, violation.what));
                    }
                    if stop_at_first && outcome.violation.is_some() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    outcomes.lock().expect("no thread panics with the lock").push(outcome);
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().expect("no thread panics with the lock");
    outcomes.sort_by_key(|o| o.seed);
    outcomes
}

fn report(outcomes: &[Outcome]) -> anyhow::Result<()> {
    let mut total = Stats::default();
    for chunk in outcomes.chunks(1000) {
        let mut stats = Stats::default();
        chunk.iter().for_each(|o| stats += o.stats);
        say(&stats.to_string());
        total += stats;
    }
    let bad: Vec<&Outcome> = outcomes.iter().filter(|o| o.violation.is_some()).collect();
    if bad.is_empty() {
        say(&format!("{} seeds, no violation", total.seeds));
        return Ok(());
    }
    bail!("{} of {} seeds violated an invariant; replay one with --reproduce SEED", bad.len(), total.seeds)
}

#[allow(clippy::print_stdout, reason = "the report is what this program is for")]
fn say(line: &str) {
    println!("{line}");
}

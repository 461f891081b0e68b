//! The node, redis-server and valkey-server side by side: same requests, same settings, taking turns within every round.
//! Prints Markdown: medians, spreads, and the median of the rounds' ratios of ours to each of the others.

mod alone;
mod client;
mod contender;
mod machine;
mod sections;
mod statistics;
mod table;

use crate::summary::say;
use anyhow::{Result, ensure};
use clap::ValueEnum;
use client::requests::KEYS_MAX;
use contender::Contender;
use table::Table;

/// Connections of every load.
const CONNECTIONS: usize = 50;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What to measure [default: everything].
    sections: Vec<Section>,
    /// Requests of a measurement at pipeline 1; other measurements take what lasts about as long.
    #[arg(long, env = "REQUESTS", default_value_t = 200_000)]
    requests: u64,
    /// Keys, of 10 bytes.
    #[arg(long, env = "KEYS", default_value_t = KEYS_MAX)]
    keys: u64,
    /// Only the node, without those it is compared to.
    #[arg(long)]
    alone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    /// SET and GET at pipeline 1 and 16, saturated: requests per second, CPU per request.
    Throughput,
    /// SET with `appendfsync always`.
    Always,
    /// SET p99.9 while a file is saved and while a replica copies everything.
    Snapshot,
    /// Bytes per key.
    Memory,
    /// Seconds until the keys are loaded at the start.
    Load,
    /// Seconds from SIGKILL of a master until its slots take writes.
    Failover,
}

/// What all sections need to know.
struct Settings {
    rounds: usize,
    requests: u64,
    keys: u64,
}

pub(crate) fn run(rounds: usize, arguments: &Arguments) -> Result<()> {
    let settings = Settings { rounds, requests: arguments.requests, keys: arguments.keys };
    ensure!(rounds > 0 && settings.requests > 0, "at least one round and one request");
    ensure!((1..=KEYS_MAX).contains(&settings.keys), "1 to {KEYS_MAX} keys");
    let contenders = contender::all(arguments.alone)?;
    e2e::interrupt::watch()?;
    let sections =
        if arguments.sections.is_empty() { Section::value_variants() } else { &arguments.sections[..] };
    say(&machine::header(&contenders, &command(&settings, sections)));
    for section in sections {
        say(&section.measure(&settings, &contenders)?.markdown());
    }
    say(&format!("At the end: {}.", machine::load()));
    Ok(())
}

fn command(settings: &Settings, sections: &[Section]) -> String {
    let names: Vec<String> = sections.iter().map(|section| format!("{section:?}").to_lowercase()).collect();
    let Settings { rounds, requests, keys } = settings;
    format!("ROUNDS={rounds} REQUESTS={requests} KEYS={keys} e2e/bench/compare {}", names.join(" "))
}

impl Section {
    fn measure(self, settings: &Settings, contenders: &[Contender]) -> Result<Table> {
        use sections::{always, failover, load, memory, snapshot, throughput};
        let measure = match self {
            Self::Throughput => throughput::run,
            Self::Always => always::run,
            Self::Snapshot => snapshot::run,
            Self::Memory => memory::run,
            Self::Load => load::run,
            Self::Failover => failover::run,
        };
        measure(settings, contenders)
    }
}

/// Says on stderr how far it is.
fn progress(section: &str, round: usize, settings: &Settings) {
    eprintln!("{section}: round {} of {} done", round + 1, settings.rounds);
}

//! The same stream of commands to a node-server and to an unmodified redis-server 7.0.15, both masters of all slots:
//! every reply has to be the same, byte for byte, except where `allowed.rs` says why not.
//!
//! The stream is made from seeds. `DIFFERENTIAL_SEED` sets the first, `DIFFERENTIAL_COMMANDS` how many commands are
//! sent in all. A difference prints the seed, the command and the last commands before it.

mod allowed;
mod generate;
mod pair;

use anyhow::{Result, ensure};
use generate::Generator;
use pair::Pair;
use std::collections::HashSet;

/// Commands in one run of `./test`.
const COMMANDS: usize = 60_000;
/// Of so many commands of the default run one is distinct at least: the streams are not all the same.
const DISTINCT: usize = 4;
/// Commands of one seed; each begins with empty nodes and fresh connections.
const COMMANDS_PER_SEED: usize = 250;

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn replies_are_those_of_redis() -> Result<()> {
    let mut pair = Pair::start()?;
    let first = number("DIFFERENTIAL_SEED", 1) as u64;
    let seeds = number("DIFFERENTIAL_COMMANDS", COMMANDS).div_ceil(COMMANDS_PER_SEED) as u64;
    let mut differences = Vec::new();
    let mut compared = 0;
    let mut distinct = HashSet::new();
    for seed in first..first + seeds {
        pair.begin()?;
        let mut generator = Generator::new(seed);
        for _ in 0..COMMANDS_PER_SEED {
            let step = generator.next();
            match pair.step(&step)? {
                None => {
                    compared += 1;
                    distinct.insert(step.args);
                }
                Some(difference) => {
                    differences.push(format!("seed {seed}: {difference}"));
                    break;
                }
            }
        }
        if differences.len() >= number("DIFFERENTIAL_SHOWN", 20) {
            break;
        }
    }
    println!("{compared} commands compared, {} distinct, {} differences", distinct.len(), differences.len());
    ensure!(differences.is_empty(), "replies differ from redis-server's:\n{}", differences.join("\n"));
    ensure!(compared == seeds as usize * COMMANDS_PER_SEED, "only {compared} commands were compared");
    let floor = compared.min(COMMANDS) / DISTINCT;
    ensure!(distinct.len() >= floor, "only {} commands were distinct, not {floor}", distinct.len());
    Ok(())
}

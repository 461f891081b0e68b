//! Create to Ready.

use crate::summary::{say, summarize};
use anyhow::Result;
use e2e::Declared;
use std::time::Instant;

pub(crate) fn run(rounds: usize) -> Result<()> {
    let mut all = Vec::new();
    for round in 1..=rounds {
        let mut cluster = Declared::with_spec("masters: 3, replicasPerMaster: 1")?;
        let begun = Instant::now();
        cluster.start_operator()?;
        cluster.wait_converged()?;
        let took = begun.elapsed().as_secs_f64();
        say(&format!("round {round}: six processes Ready after {took:.2} s"));
        all.push(took);
    }
    summarize("create to Ready", "s", &all);
    Ok(())
}

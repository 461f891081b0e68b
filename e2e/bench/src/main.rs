//! Measures with real processes: `compare` puts the node beside Redis and Valkey (`e2e/bench/compare` builds and calls
//! it); the others measure `operator local`. For those build both programs with tools/build-static.sh, name them by
//! NODE_SERVER_BIN and OPERATOR_BIN, then for example
//!
//!     cargo run --release -p e2e-bench -- reshard --keys 1000000 --rounds 5
//!
//! Every round is printed, then median and spread. What is measured is checked as well: nothing may be lost or fail.

mod compare;
#[cfg(feature = "operator")]
mod create;
#[cfg(feature = "operator")]
mod kill;
#[cfg(feature = "operator")]
mod reshard;
mod summary;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// How often.
    #[arg(long, env = "ROUNDS", default_value_t = 5, global = true)]
    rounds: usize,
}

#[derive(Subcommand)]
enum What {
    /// The node, redis-server and valkey-server side by side; prints Markdown.
    Compare(compare::Arguments),
    /// Seconds from the start of the operator until six processes are a cluster that is Ready.
    #[cfg(feature = "operator")]
    Create,
    /// 4096 slots with all the keys from three masters to a fourth, under the checked writer.
    #[cfg(feature = "operator")]
    Reshard {
        /// Keys in these 4096 slots.
        #[arg(long, default_value_t = 1_000_000)]
        keys: u64,
        /// Bytes of a value.
        #[arg(long, default_value_t = 100)]
        len: usize,
        /// Commands per second of the writer.
        #[arg(long, default_value_t = 2000)]
        rate: u64,
    },
    /// Milliseconds from SIGKILL of a master until its replica takes a write.
    #[cfg(feature = "operator")]
    Kill {
        /// End the operator first: the nodes elect by themselves.
        #[arg(long)]
        alone: bool,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.what {
        What::Compare(how) => compare::run(arguments.rounds, &how),
        #[cfg(feature = "operator")]
        What::Create => create::run(arguments.rounds),
        #[cfg(feature = "operator")]
        What::Reshard { keys, len, rate } => {
            tokio::runtime::Runtime::new()?.block_on(reshard::run(arguments.rounds, keys, len, rate))
        }
        #[cfg(feature = "operator")]
        What::Kill { alone } => kill::run(arguments.rounds, alone),
    }
}

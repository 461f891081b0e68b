//! Measures `operator local` with real processes. Build both programs with tools/build-static.sh, name them by
//! NODE_SERVER_BIN and OPERATOR_BIN, then for example
//!
//!     cargo run --release -p e2e-bench -- reshard --keys 1000000 --rounds 5
//!
//! Every round is printed, then median and spread. What is measured is checked as well: nothing may be lost or fail.

mod create;
mod kill;
mod reshard;
mod summary;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// How often.
    #[arg(long, default_value_t = 5, global = true)]
    rounds: usize,
}

#[derive(Subcommand)]
enum What {
    /// Seconds from the start of the operator until six processes are a cluster that is Ready.
    Create,
    /// 4096 slots with all the keys from three masters to a fourth, under the checked writer.
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
    Kill {
        /// End the operator first: the nodes elect by themselves.
        #[arg(long)]
        alone: bool,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.what {
        What::Create => create::run(arguments.rounds),
        What::Reshard { keys, len, rate } => reshard::run(arguments.rounds, keys, len, rate).await,
        What::Kill { alone } => kill::run(arguments.rounds, alone),
    }
}

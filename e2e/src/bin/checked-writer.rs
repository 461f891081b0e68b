//! The checked writer by hand, against any cluster: `checked-writer --seconds 10 127.0.0.1:7001`.
//! Ends with status 1 when a promise was broken.

use anyhow::Result;
use clap::Parser;
use e2e::writer::{Loss, Options, Writer};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser)]
struct Args {
    /// Nodes to begin with, as host:port.
    #[arg(required = true)]
    seeds: Vec<String>,
    /// How long to write.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Connections that write.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Commands per second of all connections together.
    #[arg(long, default_value_t = 2000)]
    rate: u64,
    /// A master may be killed: a suffix of the writes to it may be lost and is counted.
    #[arg(long)]
    may_lose: bool,
    /// For AUTH.
    #[arg(long, env = "REDISCLI_AUTH")]
    password: Option<String>,
    /// First part of every key's name; by default one that was not used before.
    #[arg(long)]
    prefix: Option<String>,
    /// Chooses the commands.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let options = Options {
        connections: args.connections,
        operations_per_second: args.rate,
        loss: if args.may_lose { Loss::Suffix } else { Loss::None },
        prefix: args.prefix.unwrap_or_else(|| format!("checked:{}", std::process::id())),
        seed: args.seed,
        password: args.password,
        ..Options::new(&args.seeds)
    };
    let writer = Writer::start(options).await?;
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let report = writer.finish().await?;
    let text = if args.json { report.to_json() } else { report.to_string() };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

//! The checked writer by hand, against any cluster: `checked-writer write --seconds 10 127.0.0.1:7001`. And in a pod of
//! the tests on Kubernetes, whose machine may not reach pods: `serve` waits there for `start`, `progress` and `stop`,
//! which `kubectl exec` runs beside it.

mod control;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use control::Request;
use e2e::Client;
use e2e::answers::{Answers, Count};
use e2e::writer::{Keys, Loss, Options, Writer};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::ToSocketAddrs;
use std::process::ExitCode;
use std::time::Duration;

/// How long a reply may take where nodes may be lost.
const LOST_REPLY_LIMIT: Duration = Duration::from_secs(5);

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write for some time, check, and print the report; status 1 when a promise was broken.
    Write {
        #[command(flatten)]
        how: How,
        /// How long to write.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Print the report as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Wait for commands on 127.0.0.1 until SIGTERM.
    Serve,
    /// Have the one that serves begin to write.
    Start(How),
    /// Print as JSON what the one that serves has written until now, and its longest gap since this was last asked.
    Progress,
    /// Have the one that serves stop and check; prints the report as JSON.
    Stop,
    /// Set many keys.
    Set(Many),
    /// Look whether keys that were set are all there; prints what was found as JSON.
    Verify(Many),
    /// Print as JSON what each of these nodes says of itself and the cluster.
    Look {
        /// Nodes, as host:port.
        nodes: Vec<String>,
    },
}

/// How to write.
#[derive(clap::Args, Clone, Debug, Serialize, Deserialize)]
struct How {
    /// Nodes to begin with, as host:port.
    #[arg(required = true)]
    seeds: Vec<String>,
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
    /// How much later than it should a key may expire, in milliseconds.
    #[arg(long, default_value_t = 2000)]
    expiry_slack_ms: u64,
}

impl How {
    fn options(self) -> Options {
        let defaults = Options::new(&self.seeds);
        Options {
            connections: self.connections,
            operations_per_second: self.rate,
            loss: if self.may_lose { Loss::Suffix } else { Loss::None },
            prefix: self.prefix.unwrap_or_else(|| format!("checked:{}", std::process::id())),
            seed: self.seed,
            password: self.password,
            // Where nodes are lost, replies are: no use in waiting for them.
            reply_limit: if self.may_lose { LOST_REPLY_LIMIT } else { defaults.reply_limit },
            expiry_slack_ms: self.expiry_slack_ms,
            ..defaults
        }
    }
}

/// Keys to set or to look for.
#[derive(clap::Args)]
struct Many {
    /// Nodes to begin with, as host:port.
    #[arg(required = true)]
    seeds: Vec<String>,
    /// How many keys.
    #[arg(long)]
    count: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 100)]
    len: usize,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    match Args::parse().command {
        Command::Write { how, seconds, json } => return write(how, seconds, json).await,
        Command::Serve => control::serve().await?,
        Command::Start(how) => say(&control::ask(&Request::Start(how))?)?,
        Command::Progress => say(&control::ask(&Request::Progress)?)?,
        Command::Stop => say(&control::ask(&Request::Stop)?)?,
        Command::Set(many) => Keys::spread(many.count, many.len).set(&Options::new(&many.seeds)).await?,
        Command::Verify(many) => {
            let found = Keys::spread(many.count, many.len).verify(&Options::new(&many.seeds)).await?;
            say(&serde_json::to_string(&found)?)?;
        }
        Command::Look { nodes } => say(&serde_json::to_string(&look(&nodes))?)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn write(how: How, seconds: u64, json: bool) -> Result<ExitCode> {
    let writer = Writer::start(how.options()).await?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let report = writer.finish().await?;
    say(&if json { report.to_json() } else { report.to_string() })?;
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn say(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("could not print")
}

/// All at the same time: a node that is frozen takes its whole time limit.
fn look(nodes: &[String]) -> BTreeMap<&String, std::result::Result<Answers, String>> {
    let one = |node: &String| ask(node).map_err(|error| format!("{error:#}"));
    std::thread::scope(|scope| {
        let asked: Vec<_> = nodes.iter().map(|node| (node, scope.spawn(move || one(node)))).collect();
        let answer = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err("asking it panicked".into()))
        };
        asked.into_iter().map(|(node, thread)| (node, answer(thread))).collect()
    })
}

fn ask(node: &str) -> Result<Answers> {
    let address = node.to_socket_addrs()?.next().with_context(|| format!("{node} has no address"))?;
    Answers::ask(&mut Client::connect(address)?, Count::Foreign)
}

//! Long runs that break things; `e2e/soak` builds and calls it. Status 1 when a promise was broken; the nodes' directories
//! and logs stay then.

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use e2e::crashes::{Crashes, Mode, Options, Summary};
use e2e::interrupt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// How many kills are between two lines on stderr.
const SAY_EVERY: u64 = 20;

#[derive(Parser)]
struct Args {
    /// SIGKILL of a node at random moments under the checked writer. (There is nothing else to do yet.)
    #[arg(long, required = true)]
    crash: bool,
    /// Kills per mode.
    #[arg(long, default_value_t = 200)]
    kills: u64,
    /// `appendfsync`.
    #[arg(long, value_enum, default_value_t = Modes::Both)]
    mode: Modes,
    /// Masters, without replicas; one is a server outside cluster mode.
    #[arg(long, default_value_t = 1)]
    masters: u16,
    /// Decides moments, victims and what is written [default: the clock].
    #[arg(long)]
    seed: Option<u64>,
    /// Where the nodes' directories are made, and stay [default: a temporary one, which stays when a promise was broken or it was interrupted].
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Modes {
    Always,
    Everysec,
    Both,
}

impl Modes {
    const fn all(self) -> &'static [Mode] {
        match self {
            Self::Always => &[Mode::Always],
            Self::Everysec => &[Mode::EverySecond],
            Self::Both => &[Mode::Always, Mode::EverySecond],
        }
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    interrupt::watch()?;
    let seed = args.seed.map_or_else(clock, Ok)?;
    let mut broken = 0;
    for mode in args.mode.all() {
        broken += crash(&args, *mode, seed).await?;
    }
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Gives the number of broken promises.
async fn crash(args: &Args, mode: Mode, seed: u64) -> Result<u64> {
    let temporary = tempfile::Builder::new().prefix("slotkeeper-soak-").tempdir()?;
    let dir = args.dir.as_deref().unwrap_or(temporary.path()).join(mode.name());
    if dir.exists() {
        bail!("{} exists: name another directory", dir.display());
    }
    say(&format!("seed {seed}, {} kills with appendfsync {} in {}", args.kills, mode.name(), dir.display()))?;
    let options = Options { mode, masters: args.masters, kills: args.kills, seed, dir: dir.clone() };
    let progress = |summary: &Summary| {
        if summary.kills.is_multiple_of(SAY_EVERY) {
            eprintln!("{summary}");
        }
    };
    let done = async { Crashes::start(options).await?.run(progress).await }.await;
    let broken = match &done {
        Ok(summary) => summary.broken_count,
        Err(_) => 1,
    };
    if broken > 0 {
        let _ = temporary.keep();
        say(&format!("the nodes' directories stay in {}", dir.display()))?;
    }
    say(&done?.to_string())?;
    Ok(broken)
}

fn clock() -> Result<u64> {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(u64::from(passed.subsec_nanos()) ^ passed.as_secs())
}

fn say(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("could not print")
}

//! `operator`: forms, reshards and heals Redis Clusters.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use operator::controller::{Controller, settings};
use operator::platform::local::{Layout, Local};
use operator::terminal::Terminal;
use operator::{dump, manifest, plan_command};
use std::io::IsTerminal as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use tokio::signal::unix::{SignalKind, signal};

/// Threads of `run`: one cluster's long look delays no other.
const RUN_THREADS: usize = 2;
/// How often the manifest's file is looked at.
const FILE_POLL: Duration = Duration::from_millis(200);

/// Redis Cluster that never loses a slot.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// How logs look.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, global = true)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Runs on Kubernetes: follows every RedisCluster.
    Run(operator::run::Arguments),
    /// Runs a declared cluster as processes on this machine and follows edits of the file.
    Local(LocalArguments),
    /// Prints, in words, the plan of a state that `local --dump` wrote.
    Plan {
        /// The dumped state.
        #[arg(long)]
        from: PathBuf,
    },
    /// Prints the CustomResourceDefinitions.
    Crds {
        /// Prints their fields as Markdown instead, for people.
        #[arg(long)]
        reference: bool,
    },
}

#[derive(clap::Args)]
struct LocalArguments {
    /// The manifest: one RedisCluster.
    file: PathBuf,
    /// Where the processes' files go [default: ./NAME].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Ports are this plus 1, 2, 3, …
    #[arg(long, default_value_t = 7000)]
    port_base: u16,
    /// Leave the processes running at the end; the next `local` with this directory takes them over.
    #[arg(long)]
    keep: bool,
    /// The server program [default: node-server beside this program].
    #[arg(long)]
    node_server: Option<PathBuf>,
    /// Write what is seen to this file whenever it changes.
    #[arg(long)]
    dump: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log(&arguments);
    let threads = if matches!(arguments.command, Command::Run(_)) { RUN_THREADS } else { 1 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(arguments.command)),
        Err(error) => Err(error).context("could not start threads"),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// On Kubernetes what is done is logged; elsewhere the terminal says it.
fn start_log(arguments: &Arguments) {
    let level = if matches!(arguments.command, Command::Run(_)) { "info" } else { "error" };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| level.into());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match arguments.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

async fn dispatch(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run(arguments) => operator::run::run(arguments).await,
        Command::Local(arguments) => local(arguments).await,
        Command::Plan { from } => {
            dump::Dump::read(&from).and_then(|d| plan_command::describe(&d)).map(|text| print(&text))
        }
        Command::Crds { reference: true } => {
            print(&operator_api::reference::markdown(&operator_api::crd::crd()));
            Ok(())
        }
        Command::Crds { reference: false } => {
            serde_yaml::to_string(&operator_api::crd::crd()).map(|text| print(&text)).map_err(Into::into)
        }
    }
}

#[allow(clippy::print_stdout, reason = "what the user asked for goes to standard output")]
fn print(text: &str) {
    print!("{text}");
}

async fn local(arguments: LocalArguments) -> anyhow::Result<()> {
    // Before it is read: an edit while this program starts is one that has not been seen.
    let seen = stamp(&arguments.file);
    let manifest = manifest::read(&arguments.file)?;
    let name = manifest.desired.name().to_owned();
    let dir = arguments.dir.clone().unwrap_or_else(|| PathBuf::from(&name));
    let layout = Layout {
        dir: std::path::absolute(&dir).with_context(|| format!("--dir {}", dir.display()))?,
        port_base: arguments.port_base,
        program: program(arguments.node_server.as_deref())?,
        cluster: name,
        settings: settings(&manifest),
    };
    let platform = Local::open(layout)?;
    let mut controller =
        Controller::new(manifest, platform, Terminal::new(std::io::stdout()), arguments.dump);
    let followed = follow(&mut controller, &arguments.file, seen).await;
    if arguments.keep {
        controller.terminal.line("left running; the same command takes over again");
    } else {
        controller.terminal.line("stopping what was started");
        controller.stop_all().await;
        controller.terminal.line("stopped");
    }
    followed
}

/// Runs until Ctrl-C or SIGTERM.
async fn follow(
    controller: &mut Controller<std::io::Stdout>,
    file: &Path,
    mut seen: Option<Stamp>,
) -> anyhow::Result<()> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    loop {
        let again = controller.reconcile().await;
        let look = tokio::time::sleep(again);
        tokio::pin!(look);
        loop {
            tokio::select! {
                () = &mut look => break,
                () = controller.changed() => break,
                () = tokio::time::sleep(FILE_POLL) => {}
                _ = interrupted.recv() => return Ok(()),
                _ = terminated.recv() => return Ok(()),
            }
            if stamp(file) != seen {
                break;
            }
        }
        let now = stamp(file);
        if now != seen {
            seen = now;
            edited(controller, file);
        }
    }
}

/// The file was edited: follow it, or say why not and follow what was declared before.
fn edited(controller: &mut Controller<std::io::Stdout>, file: &Path) {
    match manifest::read(file) {
        Ok(manifest) if manifest.desired.name() != controller.manifest.desired.name() => {
            let now = manifest.desired.name();
            let was = controller.manifest.desired.name().to_owned();
            controller
                .terminal
                .line(&format!("metadata.name: {now}: was {was} and cannot change; nothing touched"));
        }
        Ok(manifest) if manifest.cluster.spec == controller.manifest.cluster.spec => {}
        Ok(manifest) => {
            controller.terminal.line(&format!("{} changed", file.display()));
            controller.follow(manifest);
        }
        Err(error) => controller.terminal.line(&format!("{error}; nothing touched")),
    }
}

/// What changes with every edit, also of an editor that replaces the file: time, length and inode.
type Stamp = (SystemTime, u64, u64);

fn stamp(file: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

fn program(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let program = match given {
        Some(program) => program.to_owned(),
        None => std::env::current_exe().context("where is this program?")?.with_file_name("node-server"),
    };
    anyhow::ensure!(
        program.is_file(),
        "there is no server program {}: build it with `cargo build -p node-server`, or name one with --node-server",
        program.display()
    );
    Ok(program)
}

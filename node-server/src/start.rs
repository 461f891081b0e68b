//! From the command line to a serving node.

use crate::client_link::{Acceptor, DataThread, MAIL_TOKEN};
use crate::config::grammar::{CommandLine, ConfigError};
use crate::config::load::{fatal_block, load};
use crate::config::rules;
use crate::config::{ConfigStore, Loaded, Settings};
use crate::host::NodeHost;
use crate::huge_pages;
use crate::info::REDIS_VERSION;
use crate::mailbox::Mailboxes;
use crate::node::{Node, Parts, Receivers, now};
use crate::process::{Invocation, PidFile, allow_clients, leave_session, read_standard_input, title};
use crate::shutdown::{self, Request, ShutdownHandle};
use crate::workers::Workers;
use crate::{admin, check, cli, cron, links, listener, log, persistence};
use anyhow::Context as _;
use mio::{Poll, Waker};
use node_server_engine::{Engine, Options};
use node_server_protocol::NodeId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const USAGE: &str = "\
Usage: node-server [/path/to/redis.conf] [options] [-]
       node-server - (read config from stdin)
       node-server -v or --version
       node-server -h or --help
       node-server cli [-c] [-h HOST] [-p PORT] [-a PASSWORD] COMMAND [ARGUMENT...] (like redis-cli)
       node-server check rdb FILE (like redis-check-rdb)
       node-server check aof FILE [--fix] (like redis-check-aof)
       node-server check aof --truncate-to-timestamp SECONDS FILE

A Redis Cluster compatible server. Options are redis.conf's directives with two dashes before them.

Examples:
       node-server (run the server with default conf)
       echo 'maxmemory 128mb' | node-server -
       node-server /etc/redis/6379.conf
       node-server --port 7777 --cluster-enabled yes
       node-server /etc/myredis.conf --loglevel verbose -
";

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    let invocation = Invocation::of_this_process();
    if let Some(text) = asked_for(&invocation.args) {
        // Nothing can be done for a reader that has gone.
        let _ = std::io::stdout().write_all(text.as_bytes());
        return ExitCode::SUCCESS;
    }
    match invocation.args.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        Some(("cli", args)) => return cli::main(args),
        Some(("check", args)) => return check::main(args),
        _ => {}
    }
    let (loaded, standard_input) = match configuration(&invocation) {
        Ok(configuration) => configuration,
        Err(error) => return refuse(&error),
    };
    if !invocation.restarted
        && let Some(ended) = restart(&invocation, &loaded, &standard_input)
    {
        return ended;
    }
    match prepare_process(&invocation, &loaded) {
        Ok(()) => {}
        Err(error) => return refuse(&error),
    }
    match serve(loaded) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What to print instead of serving.
fn asked_for(args: &[String]) -> Option<String> {
    match args.first().map(String::as_str) {
        Some("-v" | "--version") => {
            Some(format!("Slotkeeper node server v={VERSION} redis={REDIS_VERSION} bits=64\n"))
        }
        Some("-h" | "--help") => Some(USAGE.into()),
        _ => None,
    }
}

fn refuse(error: &ConfigError) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{}", fatal_block(error));
    ExitCode::FAILURE
}

fn configuration(invocation: &Invocation) -> Result<(Loaded, String), ConfigError> {
    let command_line = CommandLine::parse(&invocation.args)?;
    let mut text = String::new();
    if command_line.standard_input {
        let unreadable =
            |error: std::io::Error| ConfigError::Unreadable { file: "-".into(), reason: error.to_string() };
        text = read_standard_input().map_err(unreadable)?;
    }
    Ok((load(&command_line, &text)?, text))
}

/// Starts anew under the title, in the background if told to. `None`: this process goes on itself.
fn restart(invocation: &Invocation, loaded: &Loaded, standard_input: &str) -> Option<ExitCode> {
    let background = loaded.values.is_yes("daemonize");
    let title = title(&invocation.program, &loaded.values, loaded.file.as_deref());
    let name = match title {
        Some(title) => title,
        None if background => invocation.program.clone(),
        None => return None,
    };
    match invocation.restart(&name, background, standard_input) {
        // The child writes its pid file and log itself.
        Ok(_) => Some(ExitCode::SUCCESS),
        Err(error) if background => {
            let _ = writeln!(std::io::stderr(), "could not go to the background: {error}");
            Some(ExitCode::FAILURE)
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "could not set the process title: {error}");
            None
        }
    }
}

/// Session, working directory, log.
fn prepare_process(invocation: &Invocation, loaded: &Loaded) -> Result<(), ConfigError> {
    if invocation.background {
        // Fails only for a process that leads a group already, which then has no terminal to leave.
        let _ = leave_session();
    }
    let settings = Settings::from_values(&loaded.values);
    huge_pages::refuse(settings.disable_thp);
    let reason =
        |error: std::io::Error| error.to_string().split(" (os error").next().unwrap_or_default().to_string();
    std::env::set_current_dir(&settings.dir).map_err(|e| {
        ConfigError::Rule(format!("Can't chdir to '{}': {}", settings.dir.display(), reason(e)))
    })?;
    let logfile = loaded.values.get("logfile");
    let logfile = (!logfile.is_empty()).then(|| PathBuf::from(logfile));
    log::start(logfile, &settings.loglevel)
        .map_err(|e| ConfigError::Rule(format!("Can't open the log file: {}", reason(e))))?;
    tracing::info!("oO0OoO0OoO0Oo Slotkeeper is starting oO0OoO0OoO0Oo");
    tracing::info!(
        "Slotkeeper version={VERSION}, Redis compatible={REDIS_VERSION}, bits=64, pid={}",
        std::process::id()
    );
    tracing::info!("Configuration loaded");
    let without_effect = rules::without_effect(&loaded.values);
    if !without_effect.is_empty() {
        tracing::warn!("These directives have no effect in this version: {}", without_effect.join(", "));
    }
    Ok(())
}

fn serve(loaded: Loaded) -> anyhow::Result<ExitCode> {
    let settings = Settings::from_values(&loaded.values);
    let pidfile = pid_file_path(&loaded);
    let (shutdown, requests) = ShutdownHandle::new();
    watch_signals(shutdown.clone())?;
    let clients_max = allow_clients(settings.maxclients);
    let mut storage = links::open(&settings)?;
    let listeners = match settings.port {
        0 => Vec::new(),
        port => listener::listen_all(&settings.bind, port, settings.tcp_backlog)?,
    };
    let admin = admin::listen(&settings.bind, settings.admin_port, settings.tcp_backlog)?;
    let pidfile = pidfile.and_then(|path| PidFile::write(&path));
    let polls = (0..settings.data_threads).map(|_| Poll::new()).collect::<Result<Vec<_>, _>>()?;
    let wakers =
        polls.iter().map(|poll| Waker::new(poll.registry(), MAIL_TOKEN)).collect::<Result<Vec<_>, _>>()?;
    let host = Arc::new(NodeHost::default());
    let engine = Arc::new(Engine::new(engine_options(&settings)?, Arc::clone(&host) as _));
    // As Redis: who waits for these lines knows that what follows is the data, or why it was refused.
    tracing::info!("Running mode={}, port={}, PID: {}.", mode(&settings), settings.port, std::process::id());
    tracing::warn!("Server initialized");
    if settings.replicaof.is_some() {
        engine.set_replica(true);
    }
    let plan = persistence::plan(Arc::new(settings.clone())).context("Fatal error loading the DB")?;
    let is_replica = storage.is_replica();
    storage.set_has_data(plan.has_data());
    let parts = Parts {
        config: ConfigStore::new(loaded),
        mailboxes: Mailboxes::new(wakers),
        loading: plan.loading(),
        engine,
        shutdown,
        started: now(),
        run_id: random_id()?,
        clients_max,
    };
    let (node, receivers) = Node::new(parts, &host);
    node.set_refusals();
    node.set_rdb_form();
    // With data to load: it answers from here on, with LOADING. Without, it is there before anybody asks.
    let plan = match plan.has_data() {
        true => Some(plan),
        false => {
            persistence::load(&node, plan, is_replica)?;
            None
        }
    };
    start_threads(&node, receivers, &mut storage, polls, listeners)?;
    admin::start(Arc::clone(&node), admin)?;
    match plan {
        Some(plan) => persistence::load(&node, plan, is_replica).context("the thread that loads the data")?,
        None => tracing::info!("{}", persistence::READY),
    }
    let code = shutdown::run(&node, &requests);
    drop(pidfile);
    Ok(code)
}

fn mode(settings: &Settings) -> &'static str {
    if settings.cluster_enabled { "cluster" } else { "standalone" }
}

/// As in Redis: a background process writes a pid file even when nobody named one.
fn pid_file_path(loaded: &Loaded) -> Option<PathBuf> {
    let named = loaded.values.get("pidfile");
    let fallback = loaded.values.is_yes("daemonize").then(|| PathBuf::from("/var/run/redis.pid"));
    if named.is_empty() { fallback } else { Some(PathBuf::from(named)) }
}

fn engine_options(settings: &Settings) -> anyhow::Result<Options> {
    Ok(Options {
        cluster: settings.cluster_enabled,
        databases: u16::try_from(settings.databases).unwrap_or(u16::MAX),
        backlog_size: settings.repl_backlog_size as usize,
        seed: random_u64()?,
        replid: random_id()?.to_string(),
        version: REDIS_VERSION.into(),
    })
}

fn start_threads(
    node: &Arc<Node>,
    receivers: Receivers,
    storage: &mut links::Storage,
    polls: Vec<Poll>,
    listeners: Vec<std::net::TcpListener>,
) -> anyhow::Result<()> {
    let workers = Arc::new(Workers::default());
    workers.start(node)?;
    links::start(node, receivers, storage)?;
    let mut listeners = Some(listeners);
    for (index, poll) in polls.into_iter().enumerate() {
        let acceptor = listeners.take().map(|l| Acceptor::new(l, poll.registry())).transpose()?;
        let thread = DataThread::new(index, poll, Arc::clone(node), Arc::clone(&workers), acceptor);
        let node = Arc::clone(node);
        std::thread::Builder::new().name(format!("data-{index}")).spawn(move || {
            if let Err(error) = thread.run() {
                let message = format!("a data thread cannot go on: {error}");
                node.shutdown.request(Request::Fatal(message));
            }
        })?;
    }
    cron::start(Arc::clone(node))?;
    Ok(())
}

/// Before the node listens: who was answered once may send a signal that is heard.
fn watch_signals(shutdown: ShutdownHandle) -> anyhow::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP]).context("signals")?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            // SIGHUP: a closed terminal is no reason to stop serving.
            if signal != SIGHUP {
                shutdown.request(Request::Signal(signal));
            }
        }
    })?;
    Ok(())
}

fn random_bytes<const N: usize>() -> anyhow::Result<[u8; N]> {
    use std::io::Read as _;
    let mut bytes = [0; N];
    let mut source = std::fs::File::open("/dev/urandom").context("could not open /dev/urandom")?;
    source.read_exact(&mut bytes).context("could not read /dev/urandom")?;
    Ok(bytes)
}

/// A random node id, run id or replication id.
///
/// # Errors
/// /dev/urandom cannot be read.
pub fn random_id() -> anyhow::Result<NodeId> {
    Ok(NodeId::from_bytes(random_bytes()?))
}

/// A random seed.
///
/// # Errors
/// /dev/urandom cannot be read.
pub fn random_u64() -> anyhow::Result<u64> {
    Ok(u64::from_le_bytes(random_bytes()?))
}

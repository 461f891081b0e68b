//! SIGKILL of a node at random moments under the checked writer: what was acknowledged must be there after the restart,
//! as far as `appendfsync` promises. The kernel goes on; what a loss of power takes is not tried here.
//!
//! A kill is one run of the writer on fresh keys: it writes for a while, a master is killed, the writer is halted, the
//! master starts again (sometimes it is killed once more while it loads), and every key is read before anything is
//! written over it.

use crate::random::Random;
use crate::writer::{Keys, Loss, Options as WriterOptions, Report, Stopped, Writer};
use crate::{Binary, LocalCluster, PortBlock, Server, ServerSpec, Shape};
use anyhow::{Context, Result, ensure};
use node_server_protocol::resp::Reply;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

/// What `everysec` may lose.
const AGE_MAX: Duration = Duration::from_secs(2);
/// Most kills come within this time, in milliseconds: a writer's first writes, and rewrites that they cause.
const SOON_MS: u64 = 400;
/// One in four comes within this time, in milliseconds: past a sync of `everysec`, and past what it may lose.
const LATE_MS: u64 = 2600;
const LATE_ONE_IN: u64 = 4;
/// One start in four is killed as well, within this time, in milliseconds.
const STARTING_MS: u64 = 40;
const STARTING_ONE_IN: u64 = 4;
/// After so many kills all keys are deleted, so that files and memory do not grow without end.
const EMPTY_EVERY: u64 = 20;
/// Keys that stay from one emptying to the next, and the bytes of their values.
const STAYING: u64 = 2000;
const STAYING_LEN: usize = 100;
/// A kill takes something: with `always` on a slow disk this lasts longer than the moment it was drawn for.
const WRITES_MIN: u64 = 20;
const WRITE_LIMIT: Duration = Duration::from_secs(60);
const COMMANDS_PER_S: u64 = 4000;
/// Rewrites are frequent: their moments are hit as well.
const REWRITE_MIN_SIZE: &str = "1mb";
/// Of a cluster, in milliseconds: a killed master is to be back before it is given up, and waits for so long until it serves.
const NODE_TIMEOUT_MS: u32 = 4000;
/// Broken promises that are kept word for word; all are counted.
const BROKEN_KEPT: usize = 20;

/// `appendfsync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing that was acknowledged may be lost.
    Always,
    /// Nothing that was acknowledged more than 2 s before the kill may be lost.
    EverySecond,
}

impl Mode {
    /// As redis.conf has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::EverySecond => "everysec",
        }
    }

    const fn loss(self) -> Loss {
        match self {
            Self::Always => Loss::None,
            Self::EverySecond => Loss::Suffix,
        }
    }
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is promised.
    pub mode: Mode,
    /// Masters without replicas, of which any is killed. One is a server outside cluster mode: in cluster mode a master
    /// takes no writes for two seconds after its start, as in Redis.
    pub masters: u16,
    /// How often.
    pub kills: u64,
    /// Decides moments, victims and what is written. (What the moment hits is the machine's matter.)
    pub seed: u64,
    /// Where the nodes' directories are made; they stay.
    pub dir: PathBuf,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Summary {
    options: Options,
    /// Kills under the writer.
    pub kills: u64,
    /// Kills of a node that was starting.
    pub kills_while_starting: u64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Of these, found missing.
    pub lost: u64,
    /// From the acknowledgement of the oldest lost write to the kill.
    pub longest_lost_age: Duration,
    /// Promises that were broken.
    pub broken_count: u64,
    /// The first of them in words.
    pub broken: Vec<String>,
}

impl Summary {
    fn broke(&mut self, what: String) {
        self.broken_count += 1;
        if self.broken.len() < BROKEN_KEPT {
            self.broken.push(format!("kill {}: {what}", self.kills));
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { mode, masters, seed, .. } = &self.options;
        write!(
            f,
            "appendfsync {}, {masters} master(s), seed {seed}: {} kills and {} more while starting, {} writes acknowledged, {} lost, longest lost age {} ms, {} broken promises",
            mode.name(),
            self.kills,
            self.kills_while_starting,
            self.acknowledged,
            self.lost,
            self.longest_lost_age.as_millis(),
            self.broken_count
        )?;
        self.broken.iter().try_for_each(|what| write!(f, "\n  ! {what}"))
    }
}

/// What runs.
enum Nodes {
    Alone { server: Box<Server>, _ports: PortBlock },
    Cluster(LocalCluster),
}

impl Nodes {
    fn start(options: &Options) -> Result<Self> {
        let directives = [
            ("appendonly", "yes"),
            ("appendfsync", options.mode.name()),
            ("auto-aof-rewrite-min-size", REWRITE_MIN_SIZE),
        ];
        if options.masters > 1 {
            let shape = Shape::new(options.masters, 0).with("cluster-node-timeout", NODE_TIMEOUT_MS);
            let shape = shape.in_dir(&options.dir);
            let shape = directives.iter().fold(shape, |shape, (name, value)| shape.with(name, value));
            return Ok(Self::Cluster(LocalCluster::start(Binary::NodeServer, &shape)?));
        }
        let ports = PortBlock::reserve(1)?;
        let spec = ServerSpec::new(Binary::NodeServer, ports.port(0));
        let mut spec = directives.iter().fold(spec, |spec, (name, value)| spec.with(name, value));
        std::fs::create_dir_all(&options.dir)
            .with_context(|| format!("could not make {}", options.dir.display()))?;
        spec.dir = Some(options.dir.clone());
        Ok(Self::Alone { server: Box::new(Server::start(spec)?), _ports: ports })
    }

    fn all(&self) -> &[Server] {
        match self {
            Self::Alone { server, .. } => std::slice::from_ref(server),
            Self::Cluster(cluster) => &cluster.nodes,
        }
    }

    fn get_mut(&mut self, i: usize) -> &mut Server {
        match self {
            Self::Alone { server, .. } => server,
            Self::Cluster(cluster) => &mut cluster.nodes[i],
        }
    }

    fn wait_serving(&self) -> Result<()> {
        match self {
            Self::Alone { .. } => Ok(()),
            Self::Cluster(cluster) => cluster.wait_agreed(),
        }
    }
}

/// A node that was killed, and the writer that was at work on it.
pub struct Killed {
    victim: usize,
    dir: PathBuf,
    writer: Stopped,
    at: Instant,
    /// The same in milliseconds of the writer's run.
    at_ms: u64,
}

impl Killed {
    /// The directory of the node.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Nodes that are killed over and over.
pub struct Crashes {
    nodes: Nodes,
    random: Random,
    summary: Summary,
    /// Since when the keys that stay are there.
    staying_since: Instant,
}

impl Crashes {
    /// Starts the nodes.
    ///
    /// # Errors
    /// One does not start.
    pub async fn start(options: Options) -> Result<Self> {
        let nodes = block_in_place(|| Nodes::start(&options))?;
        let random = Random(options.seed);
        let summary = Summary {
            options,
            kills: 0,
            kills_while_starting: 0,
            acknowledged: 0,
            lost: 0,
            longest_lost_age: Duration::ZERO,
            broken_count: 0,
            broken: Vec::new(),
        };
        let mut crashes = Self { nodes, random, summary, staying_since: Instant::now() };
        crashes.empty().await?;
        Ok(crashes)
    }

    /// Kills as often as the options say. `progress` is told what was found so far after every kill.
    ///
    /// # Errors
    /// A node does not start again, or does not serve its slots.
    pub async fn run(mut self, mut progress: impl FnMut(&Summary)) -> Result<Summary> {
        while self.summary.kills < self.summary.options.kills {
            let killed = self.kill().await?;
            self.recover(killed).await?;
            progress(&self.summary);
        }
        Ok(self.summary)
    }

    /// Writes for a while and kills a node.
    ///
    /// # Errors
    /// No node answers the writer.
    pub async fn kill(&mut self) -> Result<Killed> {
        let late = self.random.below(LATE_ONE_IN) == 0;
        let moment = Duration::from_millis(self.random.below(if late { LATE_MS } else { SOON_MS }));
        let victim = self.random.below(self.nodes.all().len() as u64) as usize;
        self.summary.kills += 1;
        let options = WriterOptions {
            operations_per_second: COMMANDS_PER_S,
            loss: self.summary.options.mode.loss(),
            prefix: format!("crash{}", self.summary.kills),
            seed: self.random.next(),
            ..self.writer_options()
        };
        let writer = Writer::start(options).await?;
        // The moment is what is tested: there is nothing to wait for.
        tokio::time::sleep(moment).await;
        writer.wait_for_writes(WRITES_MIN, WRITE_LIMIT).await?;
        let (at, started) = (Instant::now(), writer.started());
        block_in_place(|| self.nodes.get_mut(victim).kill())?;
        let writer = writer.halt().await?;
        let at_ms = u64::try_from(at.duration_since(started).as_millis())?;
        let dir = self.nodes.all()[victim].dir().to_owned();
        Ok(Killed { victim, dir, writer, at, at_ms })
    }

    /// Starts the node again and looks whether everything is there that must be.
    ///
    /// # Errors
    /// It does not start, or does not serve its slots.
    pub async fn recover(&mut self, killed: Killed) -> Result<&Summary> {
        let again = self.random.below(STARTING_ONE_IN) == 0;
        let moment = Duration::from_millis(self.random.below(STARTING_MS));
        block_in_place(|| {
            let node = self.nodes.get_mut(killed.victim);
            if again {
                node.restart_and_kill(moment)?;
            }
            node.restart()?;
            self.nodes.wait_serving()
        })
        .with_context(|| format!("after kill {} of node {}", self.summary.kills, killed.victim))?;
        self.summary.kills_while_starting += u64::from(again);
        self.summary.acknowledged += killed.writer.acknowledged();
        let report = killed.writer.check().await;
        self.judge(&report, killed.at_ms);
        self.check_staying(killed.at).await?;
        if self.summary.kills.is_multiple_of(EMPTY_EVERY) {
            self.empty().await?;
        }
        Ok(&self.summary)
    }

    fn judge(&mut self, report: &Report, killed_ms: u64) {
        let summary = &mut self.summary;
        summary.lost += report.lost;
        let ages = report.lost_writes.iter().map(|lost| killed_ms.saturating_sub(lost.first_at_ms));
        let age = Duration::from_millis(ages.max().unwrap_or(0));
        summary.longest_lost_age = summary.longest_lost_age.max(age);
        if !report.is_clean() {
            summary.broke(report.to_string());
        } else if report.lost > 0 && (summary.options.mode == Mode::Always || age > AGE_MAX) {
            summary.broke(format!("lost what was acknowledged {} ms before\n{report}", age.as_millis()));
        }
    }

    /// The keys that were there long before the writer are all there.
    async fn check_staying(&mut self, killed_at: Instant) -> Result<()> {
        let keys = staying();
        let found = keys.verify(&self.writer_options()).await?;
        if found.is_complete() {
            return Ok(());
        }
        let age = killed_at.duration_since(self.staying_since);
        self.summary.lost += found.missing + found.wrong;
        self.summary.longest_lost_age = self.summary.longest_lost_age.max(age);
        if self.summary.options.mode == Mode::Always || age > AGE_MAX {
            self.summary.broke(format!("keys that were set {} ms before: {found:?}", age.as_millis()));
        }
        keys.set(&self.writer_options()).await?;
        self.staying_since = Instant::now();
        Ok(())
    }

    /// Deletes all keys and sets those that stay.
    async fn empty(&mut self) -> Result<()> {
        for node in self.nodes.all() {
            let flushed = block_in_place(|| node.client()?.call(&["FLUSHALL"]))?;
            ensure!(flushed == Reply::Simple("OK".into()), "FLUSHALL: {flushed:?}");
        }
        staying().set(&self.writer_options()).await?;
        self.staying_since = Instant::now();
        Ok(())
    }

    fn writer_options(&self) -> WriterOptions {
        let seeds: Vec<_> = self.nodes.all().iter().map(Server::address).collect();
        WriterOptions { standalone: matches!(self.nodes, Nodes::Alone { .. }), ..WriterOptions::new(&seeds) }
    }
}

fn staying() -> Keys {
    Keys::spread(STAYING, STAYING_LEN)
}

//! At the start: the files are read into the engine, beside the threads that answer LOADING meanwhile.

use super::Files;
use super::key_delay::KeyDelay;
use super::loading::Loading;
use crate::append_only::{AppendOnly, RealFiles};
use crate::config::Settings;
use crate::node::{Node, now};
use anyhow::{Context as _, bail};
use node_server_engine::{Applier, ApplyError, Engine, LoadStep, Loader};
use node_server_rdb::aof::{Ending, Item, Names, Record, Resume, Scanner, Seal};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Behind `appendfilename`: the file beside the others that has what was last cut off one of them.
const CUT_OFF: &str = ".cut-off";
/// Bytes that are read at a time.
const READ_LEN: usize = 1 << 20;

/// What there was.
#[derive(Debug, Default)]
pub struct Found {
    /// The append-only file, if it is on.
    pub files: Option<Files>,
    /// Whether there was data, be it empty: a master that has none must not serve what it once owned.
    pub has_data: bool,
    /// The history that the data belongs to and the offset where it stands in it.
    pub history: Option<(String, u64)>,
    /// The database that is selected there.
    pub stream_db: u16,
    /// The append-only file does not lead to what is in memory: a base is to be written.
    pub needs_base: bool,
}

/// What is to be loaded.
#[derive(Debug)]
pub struct Plan {
    found: Found,
    settings: Arc<Settings>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Nothing,
    AppendOnly(Vec<PathBuf>),
    Rdb(File, PathBuf),
}

/// Looks what there is in the working directory: the append-only file if it is on and there is one, else the RDB file.
///
/// # Errors
/// What should be there is not, or cannot be opened; nothing is changed on the disk then.
pub fn plan(settings: Arc<Settings>) -> anyhow::Result<Plan> {
    plan_in(Path::new("."), settings)
}

/// The same for the append-only file of another directory.
///
/// # Errors
/// As [`plan`].
pub fn plan_in(dir: &Path, settings: Arc<Settings>) -> anyhow::Result<Plan> {
    let mut found = Found::default();
    let mut source = Source::Nothing;
    if settings.appendonly {
        let names = Names::new(&settings.appendfilename)?;
        let (mut files, paths) = AppendOnly::open(RealFiles, dir, &settings.appenddirname, names)?;
        if files.manifest().base.is_none() && files.size() == 0 {
            // Of a start whose first base was not completed: nothing was ever written here.
            files.leave_unloaded()?;
        } else if !paths.is_empty() {
            source = Source::AppendOnly(paths);
        }
        found.files = Some(files);
    }
    if matches!(source, Source::Nothing) {
        found.needs_base = true;
        if let Some((file, path)) = open_rdb_file(&settings)? {
            source = Source::Rdb(file, path);
        }
    }
    found.has_data = !matches!(source, Source::Nothing);
    if !found.has_data && settings.appendonly {
        // The first start; or the files have gone, and nothing else says so.
        let (parts, rdb) = (dir.join(&settings.appenddirname), &settings.dbfilename);
        let parts = parts.display();
        tracing::warn!(
            "There is no append only file in {parts} and no RDB file {rdb}: it begins without data"
        );
    }
    Ok(Plan { found, settings, source })
}

impl Plan {
    /// Whether there is data, be it empty. If it turns out to be damaged the process ends.
    #[must_use]
    pub fn has_data(&self) -> bool {
        self.found.has_data
    }

    /// How the load stands before it has begun.
    #[must_use]
    pub fn loading(&self) -> Loading {
        // What cannot be measured cannot be read either, which is told then.
        let len = |path: &PathBuf| path.metadata().map_or(0, |file| file.len());
        match &self.source {
            Source::Nothing => Loading::nothing(),
            Source::AppendOnly(paths) => Loading::of(paths.iter().map(len).sum()),
            Source::Rdb(file, _) => Loading::of(file.metadata().map_or(0, |file| file.len())),
        }
    }

    /// Loads it.
    ///
    /// # Errors
    /// A file cannot be read, or is damaged; nothing is changed on the disk then. Or the load was given up.
    pub(super) fn load(self, node: &Node) -> anyhow::Result<Found> {
        let Self { mut found, settings, source } = self;
        let reading = Reading::new(node, &node.engine, &settings);
        match source {
            Source::Nothing => {}
            Source::AppendOnly(paths) => reading.all(&paths, &mut found)?,
            Source::Rdb(file, path) => reading.rdb_alone(file, &path, &mut found)?,
        }
        if let Some(files) = found.files.as_mut().filter(|_| !settings.aof.keeps_history)
            && let Err(error) = files.remove_history()
        {
            tracing::warn!("{error}");
        }
        if found.has_data {
            tracing::info!("DB loaded from disk: {} keys", node.engine.keyspace().len());
        }
        Ok(found)
    }
}

/// `None`: there is no such file.
fn open_rdb_file(settings: &Settings) -> anyhow::Result<Option<(File, PathBuf)>> {
    let path = PathBuf::from(&settings.dbfilename);
    match File::open(&path) {
        Ok(file) => Ok(Some((file, path))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("could not open {}", path.display())),
    }
}

/// Reads the RDB file again, in the place of what is there; false when there is none.
pub(super) fn rdb_file(node: &Node, settings: &Settings) -> anyhow::Result<bool> {
    let Some((file, path)) = open_rdb_file(settings)? else { return Ok(false) };
    Reading::new(node, &node.engine, settings).rdb_alone(file, &path, &mut Found::default())?;
    Ok(true)
}

/// Reads the parts of an append-only file into `engine`, which nobody else uses.
pub(super) fn append_only(
    node: &Node,
    engine: &Arc<Engine>,
    settings: &Settings,
    paths: &[PathBuf],
) -> anyhow::Result<()> {
    Reading::new(node, engine, settings).all(paths, &mut Found::default())
}

/// What an increment may begin with before its first seal.
fn is_beginning(record: &Record) -> bool {
    match record {
        Record::Command(args) => args.first().is_some_and(|name| name.eq_ignore_ascii_case(b"SELECT")),
        Record::Timestamp(_) => true,
    }
}

fn truncate(path: &Path, len: u64) -> std::io::Result<()> {
    let file = File::options().write(true).open(path)?;
    file.set_len(len)?;
    file.sync_all()
}

/// Reading the files of a manifest, one after the other.
struct Reading<'n> {
    node: &'n Node,
    /// Where it goes: the node's, or one aside.
    engine: &'n Arc<Engine>,
    settings: &'n Settings,
    applier: Applier,
    /// What the last seal said, over all files.
    last_seal: Option<Seal>,
    /// Something stands behind the last seal.
    unsealed: bool,
    delay: KeyDelay,
}

impl<'n> Reading<'n> {
    fn new(node: &'n Node, engine: &'n Arc<Engine>, settings: &'n Settings) -> Self {
        let delay = KeyDelay::new(&node.config);
        Self { node, engine, settings, applier: Applier::default(), last_seal: None, unsealed: false, delay }
    }

    fn rdb_alone(mut self, file: File, path: &Path, found: &mut Found) -> anyhow::Result<()> {
        let rest = self.rdb(file, Vec::new(), path, found)?;
        if rest.is_empty() {
            Ok(())
        } else {
            bail!("{}: bytes behind the end of the RDB file", path.display())
        }
    }

    fn all(mut self, paths: &[PathBuf], found: &mut Found) -> anyhow::Result<()> {
        // A file that was begun and not written to says nothing about whether the one before it was left in order.
        let is_empty = |path: &PathBuf| path.metadata().is_ok_and(|file| file.len() == 0);
        let last = paths.iter().rposition(|path| !is_empty(path)).unwrap_or(0);
        let mut cuts = Vec::new();
        for (n, path) in paths.iter().enumerate() {
            let (resume, torn) = self.file(path, n >= last, found)?;
            let is_torn = torn.is_some();
            if let Some(wrong) = torn {
                self.keep_cut_off(path, resume.len, wrong)?;
            }
            let is_increment = found.files.as_ref().is_some_and(|f| f.is_increment(path));
            if let Some(files) = found.files.as_mut().filter(|_| is_increment) {
                files.resume(resume)?;
            } else if is_torn {
                cuts.push((path, resume.len));
            }
        }
        // Behind it another file is written from now on.
        for (path, len) in cuts {
            truncate(path, len).with_context(|| format!("could not truncate {}", path.display()))?;
        }
        if self.unsealed {
            found.history = None;
        } else if let Some(seal) = self.last_seal {
            found.history = Some((seal.replid.as_str().to_owned(), seal.offset));
            found.stream_db = self.applier.database();
        }
        Ok(())
    }

    /// Where writing goes on; `Some`: what is behind that is to be cut off, and whether it is wrong ([`Ending::wrong`]).
    fn file(
        &mut self,
        path: &Path,
        is_last: bool,
        found: &mut Found,
    ) -> anyhow::Result<(Resume, Option<bool>)> {
        // As a server that begins a file: its first record is in database 0, or says in which.
        self.applier = Applier::default();
        let mut file = File::open(path).with_context(|| format!("could not open {}", path.display()))?;
        let mut first = Vec::new();
        (&mut file)
            .take(9)
            .read_to_end(&mut first)
            .with_context(|| format!("could not read {}", path.display()))?;
        let is_rdb = first.starts_with(b"REDIS") || first.starts_with(b"VALKEY");
        let mut scanner = if is_rdb {
            let rest = self.rdb(&mut file, first, path, found)?;
            let mut scanner = Scanner::new(std::io::Seek::stream_position(&mut file)? - rest.len() as u64);
            scanner.feed(&rest);
            scanner
        } else {
            let mut scanner = Scanner::new(0);
            self.node.loading.add(first.len() as u64);
            scanner.feed(&first);
            scanner
        };
        let mut buffer = vec![0; READ_LEN];
        let mut at_begin = true;
        loop {
            while let Some(item) = scanner.next_item().with_context(|| path.display().to_string())? {
                self.item(item, path, at_begin)?;
                at_begin = false;
            }
            let len = self.read(&mut file, &mut buffer, path)?;
            if len == 0 {
                break;
            }
            scanner.feed(&buffer[..len]);
        }
        let ending = scanner.finish().with_context(|| path.display().to_string())?;
        let torn = ending.torn.map(|_| ending.wrong);
        self.end(ending, path, is_last).map(|resume| (resume, torn))
    }

    /// Keeps what is about to be cut off, in the place of what was cut off before. Bytes that are only missing their end
    /// are nobody's; where others are wrong, somebody may want to look at them.
    fn keep_cut_off(&self, path: &Path, from: u64, wrong: bool) -> anyhow::Result<()> {
        let kept = path.with_file_name(format!("{}{CUT_OFF}", self.settings.appendfilename));
        let copy = || {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(from))?;
            let mut copy = File::create(&kept)?;
            let len = std::io::copy(&mut file, &mut copy)?;
            copy.sync_all().map(|()| len)
        };
        let (path, kept) = (path.display(), kept.display());
        match copy() {
            Ok(len) => tracing::warn!("The last {len} bytes of {path} are cut off and kept in {kept}"),
            Err(error) if wrong => bail!("{path}: could not keep what is to be cut off in {kept}: {error}"),
            Err(error) => tracing::warn!("{path}: what is cut off could not be kept in {kept}: {error}"),
        }
        Ok(())
    }

    fn item(&mut self, item: Item, path: &Path, at_begin: bool) -> anyhow::Result<()> {
        match item {
            Item::Sealed { records, seal } => {
                // An increment begins with what the one before it ended with.
                if let Some(last) = self.last_seal.filter(|_| at_begin && records.iter().all(is_beginning))
                    && (last.offset, last.replid) != (seal.offset, seal.replid)
                {
                    bail!(
                        "{}: it begins at log offset {} and the file before it ends at {}: bytes are missing \
                         between them; restore the files from a backup",
                        path.display(),
                        seal.offset,
                        last.offset
                    );
                }
                self.replay(&records, path)?;
                (self.last_seal, self.unsealed) = (Some(seal), false);
            }
            Item::Loose(records) => {
                self.unsealed = true;
                self.replay(&records, path)?;
            }
        }
        Ok(())
    }

    fn end(&mut self, ending: Ending, path: &Path, is_last: bool) -> anyhow::Result<Resume> {
        if let Some(torn) = ending.torn {
            let path = path.display();
            let wrong = if ending.wrong { " (the checksum of what was sealed there is wrong)" } else { "" };
            if !is_last {
                bail!(
                    "{path}: it ends in the middle of a record at byte {}{wrong}, and it is not the last file: \
                     run node-server check aof {path} --fix, or restore it from a backup",
                    torn.at
                );
            }
            if !self.settings.aof_load_truncated {
                bail!(
                    "Unexpected end of file reading the append only file {path} at byte {}{wrong}. You can: 1) Make a \
                     backup of your AOF file, then use node-server check aof {path} --fix. 2) Alternatively you \
                     can set the 'aof-load-truncated' configuration option to yes and restart the server.",
                    torn.at
                );
            }
            tracing::warn!("!!! Warning: short read while loading the AOF file {path} !!!");
            tracing::warn!(
                "AOF loaded anyway because aof-load-truncated is enabled; cut at byte {}{wrong}",
                torn.complete_until
            );
        }
        self.unsealed |= !ending.tail.is_empty();
        self.replay(&ending.tail, path)?;
        Ok(ending.resume)
    }

    fn replay(&mut self, records: &[Record], path: &Path) -> anyhow::Result<()> {
        let commands: Vec<Vec<Vec<u8>>> = records
            .iter()
            .filter_map(|record| match record {
                Record::Command(args) => Some(args.clone()),
                Record::Timestamp(_) => None,
            })
            .collect();
        let mut commands = commands.as_slice();
        while self.delay.is_on()
            && let Some((first, others)) = commands.split_first()
        {
            self.run(std::slice::from_ref(first), path)?;
            commands = others;
            self.pause()?;
        }
        self.run(commands, path)
    }

    fn run(&mut self, commands: &[Vec<Vec<u8>>], path: &Path) -> anyhow::Result<()> {
        self.engine.replay(&mut self.applier, commands, now()).map_err(|error| match error {
            ApplyError::Unknown(name) => anyhow::anyhow!(
                "{}: unknown command '{name}': this version does not have it. Let the server that wrote it \
                 rewrite its append only file (BGREWRITEAOF), so that it begins with an RDB base",
                path.display()
            ),
            ApplyError::Failed { command, error } => {
                anyhow::anyhow!("{}: the command '{command}' in it fails: {error}", path.display())
            }
            other => anyhow::Error::from(other).context(path.display().to_string()),
        })
    }

    /// Loads an RDB stream that begins with `first`; returns what stands behind it in what was read.
    fn rdb(
        &mut self,
        mut file: impl std::io::Read,
        first: Vec<u8>,
        path: &Path,
        found: &mut Found,
    ) -> anyhow::Result<Vec<u8>> {
        let mut loader = self.engine.begin_load(now());
        let mut buffer = vec![0; READ_LEN];
        self.node.loading.add(first.len() as u64);
        loader.push(&first);
        while !self.feed(&mut loader, path)? {
            let len = self.read(&mut file, &mut buffer, path)?;
            if len == 0 {
                bail!("{}: the RDB file ends before its end mark: restore it from a backup", path.display());
            }
            loader.push(&buffer[..len]);
        }
        let (keys, (_, empty)) = (loader.keys(), loader.take_empty_keys());
        tracing::info!("Done loading RDB, keys loaded: {keys}, empty keys skipped: {empty}.");
        if loader.libraries() > 0 {
            let count = loader.libraries();
            tracing::info!("{count} function libraries are kept, and not run: this version runs none");
        }
        found.stream_db = loader.stream_db();
        found.history = loader.history().map(|(replid, offset)| (replid.to_owned(), offset));
        let rest = loader.take_rest();
        loader.commit_file().with_context(|| path.display().to_string())?;
        Ok(rest)
    }

    /// True: the stream has ended.
    fn feed(&mut self, loader: &mut Loader, path: &Path) -> anyhow::Result<bool> {
        let ended = loop {
            match loader.step().with_context(|| path.display().to_string())? {
                LoadStep::Key => self.pause()?,
                LoadStep::Hungry => break false,
                LoadStep::Ended => break true,
            }
        };
        for name in loader.take_empty_keys().0 {
            tracing::info!("skipping empty key: {}", name.escape_ascii());
        }
        Ok(ended)
    }

    /// A piece of a file, unless the process leaves.
    fn read(
        &mut self,
        file: &mut impl std::io::Read,
        buffer: &mut [u8],
        path: &Path,
    ) -> anyhow::Result<usize> {
        self.unless_given_up()?;
        self.delay.look(&self.node.config);
        let len = file.read(buffer).with_context(|| format!("could not read {}", path.display()))?;
        self.node.loading.add(len as u64);
        Ok(len)
    }

    fn unless_given_up(&self) -> anyhow::Result<()> {
        if self.node.loading.is_given_up() { bail!("the process leaves") } else { Ok(()) }
    }

    /// `key-load-delay`.
    fn pause(&mut self) -> anyhow::Result<()> {
        let pause = self.delay.next();
        if pause.is_zero() {
            return Ok(());
        }
        std::thread::sleep(pause);
        self.delay.look(&self.node.config);
        self.unless_given_up()
    }
}

//! At whatever operation the power goes: the directory opens again, and what it yields is the beginning of what was
//! written, with everything that was synced.

use super::crash_files::{CrashFiles, Random};
use super::layer::FileLayer;
use super::tests::{DIR, names, number_of, open, replid, set};
use super::*;
use node_server_rdb::aof::{Ending, Item, Record, Scanner};

const SEEDS: u64 = 2000;

/// What the data set is, as numbers that were set.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) proved: Vec<u64>,
    pub(super) tail: Vec<u64>,
    pub(super) last: Ending,
}

impl Loaded {
    fn all(&self) -> Vec<u64> {
        [&self.proved[..], &self.tail].concat()
    }
}

/// Loads files as a server does: only the last one may be torn.
pub(super) fn load(layer: &CrashFiles, files: &[PathBuf]) -> Loaded {
    let mut loaded = Loaded::default();
    for path in files {
        assert_eq!(loaded.last.torn, None, "a file before {} is torn", path.display());
        loaded.proved.append(&mut loaded.tail);
        let mut scanner = Scanner::new(0);
        scanner.feed(&layer.read(path).unwrap());
        while let Some(item) = scanner.next_item().unwrap() {
            let (Item::Sealed { records, .. } | Item::Loose(records)) = item;
            loaded.proved.extend(records.iter().filter_map(number));
        }
        loaded.last = scanner.finish().unwrap();
        loaded.tail = loaded.last.tail.iter().filter_map(number).collect();
    }
    loaded
}

/// The same number in a value that takes more than two blocks.
fn large(number: u64) -> Vec<u8> {
    let value = format!("{number:0>1200}");
    format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n{value}\r\n", value.len()).into_bytes()
}

fn number(record: &Record) -> Option<u64> {
    match record {
        Record::Command(args) => Some(number_of(args)),
        Record::Timestamp(_) => None,
    }
}

#[derive(Debug, Default)]
struct Model {
    written: Vec<u64>,
    synced: usize,
    next: u64,
    offset: u64,
}

impl Model {
    /// A start of a server and what it then does, until the disk is dead.
    fn live(&mut self, layer: &CrashFiles, random: &mut Random) -> Result<(), AofError> {
        let (mut aof, files) = insist(layer, || open(layer))?;
        let loaded = load(layer, &files);
        let ends_in_increment = files.last().is_some_and(|path| path.ends_with(aof.last_name()));
        self.resume(&mut aof, loaded, ends_in_increment, random)?;
        insist(layer, || aof.seal(self.offset, &replid()))?;
        for _ in 0..20 {
            let done = match random.below(6) {
                0 => self.rewrite(layer, &mut aof, random),
                1 => aof.remove_history().map(|_| ()),
                _ => self.batch(layer, &mut aof, random),
            };
            if layer.is_dead() {
                return done;
            }
        }
        Ok(())
    }

    fn resume(
        &mut self,
        aof: &mut AppendOnly<CrashFiles>,
        loaded: Loaded,
        ends_in_increment: bool,
        random: &mut Random,
    ) -> Result<(), AofError> {
        let drop_tail = ends_in_increment && loaded.last.proved.len > 0 && random.below(2) == 0;
        if ends_in_increment {
            aof.resume(if drop_tail { loaded.last.proved } else { loaded.last.resume })?;
        }
        self.written = if drop_tail { loaded.proved } else { loaded.all() };
        assert!(self.written.len() >= self.synced);
        Ok(())
    }

    fn batch(
        &mut self,
        layer: &CrashFiles,
        aof: &mut AppendOnly<CrashFiles>,
        random: &mut Random,
    ) -> Result<(), AofError> {
        aof.set_second((random.below(2) == 0).then_some(self.next / 3));
        for _ in 0..1 + random.below(3) {
            self.next += 1;
            self.written.push(self.next);
            // A value of several blocks now and then.
            let bytes = if random.below(8) == 0 { large(self.next) } else { set(self.next) };
            self.offset += bytes.len() as u64;
            insist(layer, || aof.append(&bytes))?;
        }
        insist(layer, || aof.seal(self.offset, &replid()))?;
        if random.below(2) == 0 {
            aof.sync()?;
            self.synced = self.written.len();
        }
        Ok(())
    }

    fn rewrite(
        &mut self,
        layer: &CrashFiles,
        aof: &mut AppendOnly<CrashFiles>,
        random: &mut Random,
    ) -> Result<(), AofError> {
        let mut base = aof.begin_rewrite()?;
        let content: Vec<u8> = self.written.iter().flat_map(|number| set(*number)).collect();
        for _ in 0..random.below(3) {
            // A sync that fails is not the rewrite's matter.
            let _ = self.batch(layer, aof, random);
        }
        let is_whole = base.write(&content).is_ok();
        if !is_whole || random.below(4) == 0 {
            aof.abandon_rewrite(base);
            return Ok(());
        }
        aof.finish_rewrite(base)
    }

    /// After a crash or the death of the process.
    fn check(&self, layer: &CrashFiles, seed: u64) {
        let found = open(layer).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let loaded = load(layer, &found.1).all();
        assert!(self.written.starts_with(&loaded), "seed {seed}: {:?} gave {loaded:?}", self.written);
        assert!(loaded.len() >= self.synced, "seed {seed}: {} synced, {} left", self.synced, loaded.len());
    }
}

/// Tries again until it works or the disk is dead.
fn insist<T>(layer: &CrashFiles, mut what: impl FnMut() -> Result<T, AofError>) -> Result<T, AofError> {
    loop {
        let result = what();
        if result.is_ok() || layer.is_dead() {
            return result;
        }
    }
}

#[test]
fn a_crash_at_any_operation_loses_only_what_was_not_synced() {
    crash_often(false);
}

#[test]
fn so_it_is_where_operations_fail_before() {
    crash_often(true);
}

fn crash_often(flaky: bool) {
    let (mut crashes, mut rewrites) = (0, 0);
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let layer = CrashFiles::default();
        let mut model = Model::default();
        for _ in 0..4 {
            layer.crash_after(Some(random.below(120)));
            layer.flaky(flaky.then(|| random.clone()));
            crashes += u64::from(model.live(&layer, &mut random).is_err());
            // Sometimes only the process dies, and what it wrote is still there, synced or not.
            layer.crash_after(None);
            layer.flaky(None);
            if random.below(3) > 0 {
                layer.crash(&mut random);
            }
            model.check(&layer, seed);
        }
        rewrites += open(&layer).unwrap().0.manifest().base.as_ref().map_or(0, |base| base.seq);
    }
    assert!(
        crashes > SEEDS && rewrites > SEEDS / 2,
        "the test reaches {crashes} crashes, {rewrites} rewrites"
    );
}

#[test]
fn a_crash_in_the_upgrade_of_a_single_file_loses_nothing() {
    for seed in 0..500 {
        let mut random = Random(seed);
        let layer = CrashFiles::default();
        let single = Path::new(DIR).join(names().single());
        layer.put(&single, &[set(1), set(2)].concat());
        layer.crash_after(Some(random.below(30)));
        layer.flaky((seed % 2 == 0).then(|| random.clone()));
        let _ = open(&layer).or_else(|_| open(&layer));
        layer.crash_after(None);
        layer.flaky(None);
        layer.crash(&mut random);
        let (_, files) = open(&layer).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(load(&layer, &files).all(), [1, 2], "seed {seed}");
        assert!(layer.len(&single).is_err(), "it was moved");
    }
}

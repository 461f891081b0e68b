//! Files in memory that crash: what was not synced may be lost, whole or in part.

use super::layer::FileLayer;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// Numbers that a seed decides.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit.max(1) as u64) as usize
    }
}

#[derive(Clone, Debug, Default)]
struct Inode {
    now: Vec<u8>,
    synced: Vec<u8>,
}

/// A change of names that is not synced.
#[derive(Clone, Debug)]
enum Change {
    Link(PathBuf, usize),
    Move(PathBuf, PathBuf, usize),
    Unlink(PathBuf, usize),
}

impl Change {
    /// A path without one is in the working directory.
    fn dir(&self) -> Option<&Path> {
        let (Self::Link(path, _) | Self::Unlink(path, _) | Self::Move(_, path, _)) = self;
        path.parent().map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir })
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        let mut unlink = |path: &Path, inode: usize| {
            if names.get(path) == Some(&inode) {
                names.remove(path);
            }
        };
        match self {
            Self::Unlink(path, inode) => unlink(path, *inode),
            Self::Link(path, inode) => _ = names.insert(path.clone(), *inode),
            Self::Move(from, to, inode) => {
                unlink(from, *inode);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

/// What fails from now on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Failing {
    /// Writes, after this many of their bytes.
    pub(crate) write_after: Option<usize>,
    pub(crate) truncate: bool,
    pub(crate) sync: bool,
    /// Syncs of directories, after this many that work.
    pub(crate) sync_dir_after: Option<usize>,
    pub(crate) rename: bool,
}

#[derive(Debug, Default)]
struct Disk {
    inodes: Vec<Inode>,
    now: BTreeMap<PathBuf, usize>,
    synced: BTreeMap<PathBuf, usize>,
    changes: Vec<Change>,
    /// Operations until nothing works any more.
    left: Option<usize>,
    failing: Failing,
    /// Now and then a write, a rename or a sync of a directory fails, and works when it is tried again.
    flaky: Option<Random>,
}

impl Disk {
    fn step(&mut self) -> io::Result<()> {
        match &mut self.left {
            Some(0) => Err(io::Error::other("crashed")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn hiccup(&mut self) -> io::Result<()> {
        let fails = self.flaky.as_mut().is_some_and(|random| random.below(12) == 0);
        if fails { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.changes.push(change);
    }

    fn inode(&self, path: &Path) -> io::Result<usize> {
        self.now.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// The disk; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct CrashFiles(Arc<Mutex<Disk>>);

impl CrashFiles {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }

    /// Everything fails after `operations`; `None`: nothing does.
    pub(crate) fn crash_after(&self, operations: Option<usize>) {
        self.disk().left = operations;
    }

    /// Whether nothing works any more.
    pub(crate) fn is_dead(&self) -> bool {
        self.disk().left == Some(0)
    }

    pub(crate) fn flaky(&self, random: Option<Random>) {
        self.disk().flaky = random;
    }

    pub(crate) fn fail(&self, failing: Failing) {
        self.disk().failing = failing;
    }

    /// The power goes. What was synced is there afterwards; of the rest, some.
    pub(crate) fn crash(&self, random: &mut Random) {
        let disk = &mut *self.disk();
        for change in std::mem::take(&mut disk.changes) {
            if random.below(2) == 0 {
                change.apply(&mut disk.synced);
            }
        }
        disk.now = disk.synced.clone();
        for inode in &mut disk.inodes {
            let left = survivors(inode, random);
            *inode = Inode { now: left.clone(), synced: left };
        }
        disk.left = None;
    }

    /// Puts a file there, safely.
    pub(crate) fn put(&self, path: &Path, bytes: &[u8]) {
        let disk = &mut *self.disk();
        disk.inodes.push(Inode { now: bytes.into(), synced: bytes.into() });
        let inode = disk.inodes.len() - 1;
        disk.now.insert(path.into(), inode);
        disk.synced.insert(path.into(), inode);
    }
}

/// Bytes that a disk writes together: a sector.
const BLOCK: usize = 512;

fn survivors(inode: &Inode, random: &mut Random) -> Vec<u8> {
    let common = inode.now.iter().zip(&inode.synced).take_while(|(a, b)| a == b).count();
    if common < inode.synced.len() && random.below(2) == 0 {
        return inode.synced.clone();
    }
    let kept = common + random.below(inode.now.len() - common + 1);
    let mut left = inode.now[..kept].to_vec();
    if random.below(4) == 0 {
        left.resize(inode.now.len(), 0);
    }
    // Blocks reach the disk in any order: one that did not has what was synced of it, and zeros.
    if random.below(2) == 0 {
        for block in common / BLOCK..left.len().div_ceil(BLOCK) {
            let to = ((block + 1) * BLOCK).min(left.len());
            if random.below(3) == 0 {
                left[(block * BLOCK).max(common).min(to)..to].fill(0);
            }
        }
    }
    left
}

impl FileLayer for CrashFiles {
    type File = usize;

    fn open_append(&self, path: &Path) -> io::Result<usize> {
        let disk = &mut *self.disk();
        if let Ok(inode) = disk.inode(path) {
            return Ok(inode);
        }
        disk.step()?;
        disk.inodes.push(Inode::default());
        let inode = disk.inodes.len() - 1;
        disk.change(Change::Link(path.into(), inode));
        Ok(inode)
    }

    fn write(&self, file: &mut usize, bytes: &[u8]) -> io::Result<()> {
        let disk = &mut *self.disk();
        let (part, result) = match (disk.left, disk.failing.write_after) {
            (Some(0), _) => (0, disk.step()),
            (Some(1), _) => (bytes.len() / 2, disk.step().and(Err(io::Error::other("crashed")))),
            (_, Some(after)) => (after.min(bytes.len()), Err(io::ErrorKind::StorageFull.into())),
            _ => match disk.step().and(disk.hiccup()) {
                Ok(()) => (bytes.len(), Ok(())),
                Err(error) => (bytes.len() / 3, Err(error)),
            },
        };
        disk.inodes[*file].now.extend(&bytes[..part]);
        result
    }

    fn sync(&self, file: &mut usize) -> io::Result<()> {
        let disk = &mut *self.disk();
        disk.step()?;
        if disk.failing.sync {
            return Err(io::Error::other("sync fails"));
        }
        let inode = &mut disk.inodes[*file];
        inode.synced = inode.now.clone();
        Ok(())
    }

    fn truncate(&self, file: &mut usize, len: u64) -> io::Result<()> {
        let disk = &mut *self.disk();
        disk.step()?;
        if disk.failing.truncate {
            return Err(io::Error::other("truncate fails"));
        }
        disk.inodes[*file].now.truncate(len as usize);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let disk = &mut *self.disk();
        disk.step()?;
        if disk.failing.rename {
            return Err(io::Error::other("rename fails"));
        }
        disk.hiccup()?;
        let inode = disk.inode(from)?;
        disk.change(Change::Move(from.into(), to.into(), inode));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let disk = &mut *self.disk();
        disk.step()?;
        match &mut disk.failing.sync_dir_after {
            Some(0) => return Err(io::Error::other("sync_dir fails")),
            Some(after) => *after -= 1,
            None => disk.hiccup()?,
        }
        let (here, elsewhere) =
            std::mem::take(&mut disk.changes).into_iter().partition(|change| change.dir() == Some(dir));
        disk.changes = elsewhere;
        let here: Vec<Change> = here;
        here.iter().for_each(|change| change.apply(&mut disk.synced));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let disk = &mut *self.disk();
        disk.step()?;
        let inode = disk.inode(path)?;
        disk.change(Change::Unlink(path.into(), inode));
        Ok(())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let disk = self.disk();
        Ok(disk.inodes[disk.inode(path)?].now.clone())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(self.read(path)?.len() as u64)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.disk();
        let here = disk.now.keys().filter(|path| path.parent() == Some(dir));
        Ok(here.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        self.disk().step()
    }
}

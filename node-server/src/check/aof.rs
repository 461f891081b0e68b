//! `check aof`: reads the parts of an append-only file as the node would, and cuts off a torn tail if it is told to.

use anyhow::{Context, bail};
use node_server_rdb::aof::{Check, Manifest, Report};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// How much is read at once.
const PIECE: usize = 1 << 18;
/// What manifests end with.
const MANIFEST: &str = ".manifest";

/// Writes to `out` what a file holds and where and why it is not whole; a manifest stands for all its files. With `fix`
/// a torn tail is cut off. True when the file is whole, or is now.
///
/// # Errors
/// A file cannot be read or cut, or `out` not be written.
pub fn check_aof(path: &Path, fix: bool, out: &mut impl Write) -> anyhow::Result<bool> {
    let files = files(path)?;
    // A crash tears the last file that was written to; see `persistence::load`.
    let is_written = |path: &PathBuf| path.metadata().is_ok_and(|file| file.len() > 0);
    let last = files.iter().rposition(is_written).unwrap_or(0);
    let mut is_good = true;
    for (n, file) in files.iter().enumerate() {
        is_good &= check_one(file, n >= last, fix, out)?;
    }
    Ok(is_good)
}

/// Those of a manifest, in order, or the file itself.
fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.to_string_lossy().ends_with(MANIFEST) {
        return Ok(vec![path.to_owned()]);
    }
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest = Manifest::parse(&text).with_context(|| path.display().to_string())?;
    let files: Vec<PathBuf> = manifest.to_load().map(|name| path.with_file_name(name)).collect();
    if files.is_empty() {
        bail!("{}: it names no file", path.display());
    }
    Ok(files)
}

fn check_one(path: &Path, is_last: bool, fix: bool, out: &mut impl Write) -> anyhow::Result<bool> {
    let Report { len, whole_until, commands, seals, last_seal, problem, truncate_to } = read(path)?;
    let shown = path.display();
    writeln!(out, "{shown}: {len} bytes, commands: {commands}, sealed stretches: {seals}")?;
    if let Some(seal) = last_seal {
        writeln!(out, "last seal: log offset {} of {}", seal.offset, seal.replid.as_str())?;
    }
    let Some(problem) = problem else {
        writeln!(out, "whole")?;
        return Ok(true);
    };
    writeln!(out, "BAD: {problem}")?;
    match truncate_to {
        Some(to) if !is_last => {
            writeln!(
                out,
                "It is whole until byte {to}, but other files follow it: restore it from a backup"
            )?;
            Ok(false)
        }
        Some(to) if fix => {
            truncate(path, to).with_context(|| format!("cannot truncate {shown}"))?;
            writeln!(out, "truncated to {to} bytes ({} less)", len - to)?;
            Ok(true)
        }
        Some(to) => {
            writeln!(
                out,
                "--fix cuts off the last {} bytes, which no server has promised to anybody",
                len - to
            )?;
            Ok(false)
        }
        None => {
            writeln!(
                out,
                "It is whole until byte {whole_until}; no cut makes it right: restore it from a backup"
            )?;
            Ok(false)
        }
    }
}

fn read(path: &Path) -> anyhow::Result<Report> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut check = Check::new();
    let mut piece = vec![0; PIECE];
    loop {
        let len = file.read(&mut piece).with_context(|| format!("cannot read {}", path.display()))?;
        if len == 0 {
            return Ok(check.finish());
        }
        // All of it, for its length.
        check.feed(piece.get(..len).unwrap_or_default());
    }
}

fn truncate(path: &Path, len: u64) -> std::io::Result<()> {
    let file = File::options().write(true).open(path)?;
    file.set_len(len)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use node_server_rdb::aof::{Replid, RunningCrc, seal};

    fn sealed(number: u64) -> Vec<u8> {
        let mut bytes = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n{number}\r\n").into_bytes();
        let mut crc = RunningCrc::new();
        crc.update(&bytes);
        bytes.extend(seal(crc, number, &Replid::new(&[b'a'; 40]).unwrap()));
        bytes
    }

    fn check(path: &Path, fix: bool) -> (bool, String) {
        let mut out = Vec::new();
        let is_good = check_aof(path, fix, &mut out).unwrap();
        (is_good, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_torn_tail_is_cut_off_when_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.aof");
        let whole = [sealed(1), sealed(2)].concat();
        std::fs::write(&path, [&whole[..], b"*3\r\n$3\r\nSE"].concat()).unwrap();
        let (is_good, text) = check(&path, false);
        assert!(
            !is_good && text.contains("sealed stretches: 2") && text.contains("log offset 2 of aaaa"),
            "{text}"
        );
        assert!(
            text.contains(&format!("until byte {}", whole.len())) && text.contains("last 10 bytes"),
            "{text}"
        );
        let (is_good, text) = check(&path, true);
        assert!(is_good && text.contains(&format!("truncated to {} bytes (10 less)", whole.len())), "{text}");
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        let (is_good, text) = check(&path, false);
        assert!(is_good && text.ends_with("whole\n"), "{text}");
    }

    #[test]
    fn what_was_sealed_is_never_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.aof");
        let mut bytes = [sealed(1), sealed(2), sealed(3)].concat();
        let flipped = sealed(1).len() + 28;
        bytes[flipped] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let (is_good, text) = check(&path, true);
        assert!(!is_good && text.contains(&format!("BAD: bytes {} to", sealed(1).len())), "{text}");
        assert!(text.contains("restore it from a backup"), "{text}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn a_manifest_stands_for_its_files_and_only_the_last_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let torn = [&sealed(1)[..], b"*3"].concat();
        std::fs::write(
            path("a.manifest"),
            "file a.1 seq 1 type i\nfile a.2 seq 2 type i\nfile a.3 seq 3 type i\n",
        )
        .unwrap();
        std::fs::write(path("a.1"), &torn).unwrap();
        std::fs::write(path("a.2"), &torn).unwrap();
        std::fs::write(path("a.3"), "").unwrap();
        let (is_good, text) = check(&path("a.manifest"), true);
        assert!(!is_good && text.contains("other files follow it"), "{text}");
        assert_eq!(std::fs::read(path("a.1")).unwrap(), torn);
        assert_eq!(std::fs::read(path("a.2")).unwrap(), sealed(1));
        std::fs::write(path("a.1"), sealed(1)).unwrap();
        assert!(check(&path("a.manifest"), false).0);
        std::fs::remove_file(path("a.2")).unwrap();
        let error = check_aof(&path("a.manifest"), false, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("cannot open") && error.to_string().contains("a.2"), "{error}");
        std::fs::write(path("a.manifest"), "nonsense\n").unwrap();
        let error = check_aof(&path("a.manifest"), false, &mut Vec::new()).unwrap_err();
        assert!(format!("{error:#}").contains("line 1"), "{error:#}");
    }
}

//! `check aof`: reads the parts of an append-only file as the node would, and cuts off a torn tail if it is told to.

use anyhow::{Context, bail};
use node_server_rdb::aof::{AofError, Check, Manifest, Report};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// How much is read at once.
const PIECE: usize = 1 << 18;
/// What manifests end with.
const MANIFEST: &str = ".manifest";

/// Writes to `out` what a file holds and where and why it is not whole; a manifest stands for all its files. With `fix`
/// a torn tail is cut off. True when the file is whole, or is now. Lines that scripts look for are those of
/// redis-check-aof 7.0.15.
///
/// # Errors
/// A file cannot be read or cut, or `out` not be written.
pub fn check_aof(path: &Path, fix: bool, out: &mut impl Write) -> anyhow::Result<bool> {
    if !path.to_string_lossy().ends_with(MANIFEST) {
        writeln!(out, "Start checking Old-Style AOF")?;
        return check_one(path, "", true, fix, out);
    }
    writeln!(out, "Start checking Multi Part AOF")?;
    let manifest = manifest(path)?;
    let files: Vec<PathBuf> = manifest.to_load().map(|name| path.with_file_name(name)).collect();
    if files.is_empty() {
        bail!("{}: it names no file", path.display());
    }
    let incrs_from = usize::from(manifest.base.is_some());
    // A crash tears the last file that was written to; see `persistence::load`.
    let is_written = |path: &PathBuf| path.metadata().is_ok_and(|file| file.len() > 0);
    let last = files.iter().rposition(is_written).unwrap_or(0);
    let mut is_good = true;
    for (n, file) in files.iter().enumerate() {
        let kind = if n < incrs_from { "BASE " } else { "INCR " };
        if n < incrs_from {
            let format = if has_preamble(file)? { "RDB" } else { "RESP" };
            writeln!(out, "Start to check BASE AOF ({format} format).")?;
        } else if n == incrs_from {
            writeln!(out, "Start to check INCR files.")?;
        }
        is_good &= check_one(file, kind, n >= last, fix, out)?;
    }
    if is_good {
        writeln!(out, "All AOF files and manifest are valid")?;
    }
    Ok(is_good)
}

fn manifest(path: &Path) -> anyhow::Result<Manifest> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Manifest::parse(&text).with_context(|| path.display().to_string())
}

fn has_preamble(path: &Path) -> anyhow::Result<bool> {
    let mut first = Vec::new();
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    file.take(6).read_to_end(&mut first).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(first.starts_with(b"REDIS") || first.starts_with(b"VALKEY"))
}

fn check_one(
    path: &Path,
    kind: &str,
    is_last: bool,
    fix: bool,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let (report, line) = read(path)?;
    let Report { len, whole_until, commands, seals, last_seal, problem, truncate_to } = report;
    let shown = path.display();
    let preamble_is_bad = matches!(problem, Some(AofError::Preamble(_)));
    if !preamble_is_bad && has_preamble(path)? {
        writeln!(out, "RDB preamble is OK, proceeding with AOF tail...")?;
    }
    let diff = len - whole_until;
    writeln!(
        out,
        "AOF analyzed: filename={shown}, size={len}, ok_up_to={whole_until}, ok_up_to_line={line}, diff={diff}"
    )?;
    writeln!(out, "commands: {commands}, sealed stretches: {seals}")?;
    if let Some(seal) = last_seal {
        writeln!(out, "last seal: log offset {} of {}", seal.offset, seal.replid.as_str())?;
    }
    let Some(problem) = problem else {
        writeln!(out, "{kind}AOF {shown} is valid")?;
        return Ok(true);
    };
    writeln!(out, "BAD: {problem}")?;
    match truncate_to {
        Some(to) if is_last && fix => {
            truncate(path, to).with_context(|| format!("cannot truncate {shown}"))?;
            writeln!(out, "Successfully truncated AOF {shown} to {to} bytes ({} less)", len - to)?;
            return Ok(true);
        }
        Some(to) if !is_last => {
            if fix {
                writeln!(out, "Failed to truncate AOF {shown} because it is not the last file")?;
            }
            let advice = "but other files follow it: restore it from a backup";
            writeln!(out, "It is whole until byte {to}, {advice}")?;
        }
        Some(to) => {
            let cut = len - to;
            writeln!(out, "--fix cuts off the last {cut} bytes, which no server has promised to anybody")?;
            writeln!(out, "AOF {shown} is not valid. Use the --fix option to try fixing it.")?;
            return Ok(false);
        }
        None => {
            let advice = "no cut makes it right: restore it from a backup";
            writeln!(out, "It is whole until byte {whole_until}; {advice}")?;
        }
    }
    writeln!(out, "AOF {shown} is not valid")?;
    Ok(false)
}

/// What is in a file, and the line that follows what is whole, counted from 1.
fn read(path: &Path) -> anyhow::Result<(Report, usize)> {
    let mut check = Check::new();
    pieces(path, |piece| {
        // All of it, for its length.
        check.feed(piece);
    })?;
    let report = check.finish();
    let (mut lines, mut left) = (0, report.whole_until);
    pieces(path, |piece| {
        let whole = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        lines += piece.iter().take(whole).filter(|byte| **byte == b'\n').count();
        left -= whole as u64;
    })?;
    Ok((report, lines + 1))
}

fn pieces(path: &Path, mut take: impl FnMut(&[u8])) -> anyhow::Result<()> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut piece = vec![0; PIECE];
    loop {
        let len = file.read(&mut piece).with_context(|| format!("cannot read {}", path.display()))?;
        if len == 0 {
            return Ok(());
        }
        take(piece.get(..len).unwrap_or_default());
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
        assert!(is_good && text.contains(&format!(" to {} bytes (10 less)", whole.len())), "{text}");
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        let (is_good, text) = check(&path, false);
        assert!(is_good && text.ends_with("a.aof is valid\n"), "{text}");
    }

    /// Scripts look for these lines of redis-check-aof 7.0.15.
    #[test]
    fn lines_are_those_of_redis() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let set = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
        let torn = [&set[..], b"*3\r\n$3\r\nSE"].concat();
        std::fs::write(path("a.1.base.aof"), set).unwrap();
        std::fs::write(path("a.1.incr.aof"), &torn).unwrap();
        let manifest = "file a.1.base.aof seq 1 type b\nfile a.1.incr.aof seq 1 type i\n";
        std::fs::write(path("a.manifest"), manifest).unwrap();
        let in_order = |text: &str, parts: &[&str]| {
            let mut rest = text;
            for part in parts {
                let at = rest.find(part).unwrap_or_else(|| panic!("{part} in {text}"));
                rest = &rest[at + part.len()..];
            }
        };
        let begin = [
            "Start checking Multi Part AOF",
            "Start to check BASE AOF (RESP format).",
            "BASE AOF",
            "is valid",
        ];
        let (_, text) = check(&path("a.manifest"), false);
        in_order(&text, &[&begin[..], &["Start to check INCR files.", "ok_up_to_line=8, diff=10"]].concat());
        in_order(&text, &["is not valid. Use the --fix option to try fixing it."]);
        let (_, text) = check(&path("a.manifest"), true);
        in_order(&text, &["Successfully truncated AOF", "All AOF files and manifest are valid"]);
        let (_, text) = check(&path("a.manifest"), false);
        in_order(&text, &[&begin[..], &["INCR AOF", "is valid", "All AOF files"]].concat());
        std::fs::write(path("a.1.base.aof"), &torn).unwrap();
        let (is_good, text) = check(&path("a.manifest"), true);
        assert!(!is_good);
        in_order(&text, &["Failed to truncate AOF", "because it is not the last file", "is not valid"]);
        let (_, text) = check(&path("a.1.incr.aof"), false);
        in_order(&text, &["Start checking Old-Style AOF", "ok_up_to_line=8, diff=0", "is valid"]);
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

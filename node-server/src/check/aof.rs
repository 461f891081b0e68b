//! `check aof`: reads the parts of an append-only file as the node would, and cuts off a torn tail if it is told to.

use anyhow::{Context, bail};
use node_server_rdb::aof::{AofError, Check, Later, Manifest, Report};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// How much is read at once.
const PIECE: usize = 1 << 18;
/// What manifests end with.
const MANIFEST: &str = ".manifest";

/// What is to be cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing.
    Nothing,
    /// `--fix`: a torn tail.
    Torn,
    /// `--truncate-to-timestamp`: what was written behind this Unix second.
    After(u64),
}

/// Writes to `out` what a file holds and where and why it is not whole, and cuts it if it is told to; a manifest stands
/// for all its files. True when the file is whole, or is now what was asked for. Lines that scripts look for are those
/// of redis-check-aof 7.0.15.
///
/// # Errors
/// A file cannot be read or cut, or `out` not be written.
pub fn check_aof(path: &Path, cut: Cut, out: &mut impl Write) -> anyhow::Result<bool> {
    if !path.to_string_lossy().ends_with(MANIFEST) {
        writeln!(out, "Start checking Old-Style AOF")?;
        return check_one(&Part { path, kind: "", is_last: true }, cut, out);
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
    for (n, path) in files.iter().enumerate() {
        let kind = if n < incrs_from { "BASE " } else { "INCR " };
        if n < incrs_from {
            let format = if has_preamble(path)? { "RDB" } else { "RESP" };
            writeln!(out, "Start to check BASE AOF ({format} format).")?;
        } else if n == incrs_from {
            writeln!(out, "Start to check INCR files.")?;
        }
        is_good &= check_one(&Part { path, kind, is_last: n >= last }, cut, out)?;
        if !is_good && matches!(cut, Cut::After(_)) {
            // A later file must not be cut where an earlier one is not what was asked for.
            return Ok(false);
        }
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

/// A file of an append-only file.
struct Part<'p> {
    path: &'p Path,
    /// What is said before its name.
    kind: &'static str,
    /// Nothing is written behind it.
    is_last: bool,
}

fn check_one(part: &Part<'_>, cut: Cut, out: &mut impl Write) -> anyhow::Result<bool> {
    let Part { path, kind, is_last } = *part;
    let (report, line) = read(path, cut)?;
    let shown = path.display();
    let preamble_is_bad = matches!(report.problem, Some(AofError::Preamble(_)));
    if !preamble_is_bad && has_preamble(path)? {
        writeln!(out, "RDB preamble is OK, proceeding with AOF tail...")?;
    }
    if let (Cut::After(second), Some(later)) = (cut, report.later_behind_what_is_whole()) {
        return cut_after(part, second, later, out);
    }
    describe(path, &report, line, out)?;
    let Report { len, whole_until, problem, truncate_to, .. } = report;
    let Some(problem) = problem else {
        if let Cut::After(second) = cut {
            writeln!(out, "Truncate nothing in AOF {shown} to timestamp {second}")?;
        }
        writeln!(out, "{kind}AOF {shown} is valid")?;
        return Ok(true);
    };
    writeln!(out, "BAD: {problem}")?;
    match truncate_to {
        Some(to) if is_last && cut == Cut::Torn => {
            truncate(path, to).with_context(|| format!("cannot truncate {shown}"))?;
            writeln!(out, "Successfully truncated AOF {shown} to {to} bytes ({} less)", len - to)?;
            return Ok(true);
        }
        Some(to) if !is_last => {
            if cut == Cut::Torn {
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

fn describe(path: &Path, report: &Report, line: usize, out: &mut impl Write) -> anyhow::Result<()> {
    let Report { len, whole_until, commands, seals, last_seal, .. } = report;
    let (shown, diff) = (path.display(), len - whole_until);
    writeln!(
        out,
        "AOF analyzed: filename={shown}, size={len}, ok_up_to={whole_until}, ok_up_to_line={line}, diff={diff}"
    )?;
    writeln!(out, "commands: {commands}, sealed stretches: {seals}")?;
    if let Some(seal) = last_seal {
        writeln!(out, "last seal: log offset {} of {}", seal.offset, seal.replid.as_str())?;
    }
    Ok(())
}

/// Cuts where `later` is, unless that would leave a state that never was: one without what came before the file, or with
/// what comes behind it.
fn cut_after(part: &Part<'_>, second: u64, later: Later, out: &mut impl Write) -> anyhow::Result<bool> {
    let (shown, at) = (part.path.display(), later.at);
    if later.is_first {
        writeln!(out, "AOF {shown} has nothing before timestamp {second}, aborting...")?;
        return Ok(false);
    }
    if !part.is_last {
        writeln!(
            out,
            "Failed to truncate AOF {shown} to timestamp {second} to offset {at} because it is not the last file."
        )?;
        writeln!(
            out,
            "To cut it all the same, take the files behind it out of the manifest and the directory first."
        )?;
        return Ok(false);
    }
    truncate(part.path, at)
        .with_context(|| format!("Failed to truncate AOF {shown} to timestamp {second}"))?;
    writeln!(out, "Successfully truncated AOF {shown} to timestamp {second}")?;
    Ok(true)
}

/// What is in a file, and the line that follows what is whole, counted from 1.
fn read(path: &Path, cut: Cut) -> anyhow::Result<(Report, usize)> {
    let mut check = match cut {
        Cut::After(second) => Check::until(second),
        Cut::Nothing | Cut::Torn => Check::new(),
    };
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

//! From the command line to a configuration.

use super::grammar::{CommandLine, ConfigError, Line, Origin, read_file, read_text};
use super::kind::Kind;
use super::rules;
use super::table::{DIRECTIVES, find};
use super::values::Values;
use std::path::PathBuf;

/// A configuration and where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub values: Values,
    /// The file, as an absolute path.
    pub file: Option<PathBuf>,
}

/// Reads the file, then standard input's text, then the options: later ones win.
///
/// # Errors
/// What cannot be used, with its place and reason.
pub fn load(command_line: &CommandLine, standard_input: &str) -> Result<Loaded, ConfigError> {
    let mut lines = Vec::new();
    let mut file = None;
    if let Some(path) = &command_line.file {
        read_file(path, &mut lines)?;
        let absolute = std::path::absolute(path);
        file = Some(absolute.unwrap_or_else(|_| path.clone()));
    }
    read_text(standard_input, &Origin::StandardInput, 0, &mut lines)?;
    lines.extend(command_line.options.iter().cloned());
    let mut values = Values::default();
    apply(&mut values, &lines)?;
    rules::check(&values).map_err(|broken| ConfigError::Rule(broken.reason))?;
    Ok(Loaded { values, file })
}

/// Applies lines in order; later ones win, except where they add up.
///
/// # Errors
/// The first line that cannot be used, and why.
pub fn apply(values: &mut Values, lines: &[Line]) -> Result<(), ConfigError> {
    for line in lines {
        let refused = |reason| ConfigError::Line { line: Box::new(line.clone()), reason };
        values.apply_words(&line.words).map_err(refused)?;
        let named = line.words.first().and_then(|name| find(name));
        if let Some((row, _)) = named {
            check_directory(row, values.text(row)).map_err(refused)?;
        }
    }
    Ok(())
}

/// Whether the value of a directive that names a directory names one.
///
/// # Errors
/// Why not, in Redis's words.
pub fn check_directory(row: usize, value: &str) -> Result<(), String> {
    if !matches!(DIRECTIVES[row].kind, Kind::Directory) {
        return Ok(());
    }
    match std::fs::metadata(value) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err("Not a directory".into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err("No such file or directory".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// The block that redis-server prints to standard error, which tools look for.
#[must_use]
pub fn fatal_block(error: &ConfigError) -> String {
    let version = env!("CARGO_PKG_VERSION");
    match error {
        ConfigError::Unreadable { .. } => error.to_string(),
        _ => format!("\n*** FATAL CONFIG FILE ERROR (Slotkeeper {version}) ***\n{error}"),
    }
}

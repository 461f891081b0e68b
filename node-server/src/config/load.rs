//! From the command line to a configuration.

use super::grammar::{CommandLine, ConfigError, Origin, read_file, read_text};
use super::rules;
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
    values.apply(&lines)?;
    rules::check(&values).map_err(|broken| ConfigError::Rule(broken.reason))?;
    Ok(Loaded { values, file })
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

//! The configuration in force, and its changes at run time.

use super::load::{Loaded, check_directory};
use super::settings::{Allow, Settings};
use super::table::{Change, DIRECTIVES, find, index};
use super::values::Values;
use super::{rewrite, rules};
use arc_swap::ArcSwap;
use node_server_engine::MasterAddress;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The settings in force. Readers take a snapshot; CONFIG SET swaps it.
pub struct ConfigStore {
    settings: ArcSwap<Settings>,
    values: Mutex<Values>,
    file: Option<PathBuf>,
}

/// Why CONFIG SET changed nothing. The texts are Redis's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// No such directive.
    #[error("ERR Unknown option or number of arguments for CONFIG SET - '{0}'")]
    Unknown(String),
    /// A value that is refused.
    #[error("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")]
    Refused {
        /// The directive.
        name: String,
        /// Why.
        reason: String,
    },
}

/// Why CONFIG REWRITE wrote nothing.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    /// Started without a file.
    #[error("ERR The server is running without a config file")]
    NoFile,
    /// The file cannot be read or replaced.
    #[error("ERR Rewriting config file: {0}")]
    System(#[from] std::io::Error),
}

impl ConfigStore {
    /// Starts with what was loaded.
    #[must_use]
    pub fn new(loaded: Loaded) -> Self {
        let settings = ArcSwap::from_pointee(Settings::from_values(&loaded.values));
        Self { settings, values: Mutex::new(loaded.values), file: loaded.file }
    }

    /// The settings now.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// The configuration file, as an absolute path.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// CONFIG GET: name and value of every directive that one of `patterns` names, each once. A name without glob
    /// characters is answered as it was asked for.
    #[must_use]
    pub fn get(&self, patterns: &[&str], matches: impl Fn(&str, &str) -> bool) -> Vec<(String, String)> {
        let values = self.values.lock();
        let mut found = Vec::new();
        for (row, directive) in DIRECTIVES.iter().enumerate() {
            let older = if directive.name == "replicaof" { Some("slaveof") } else { directive.alias };
            for name in [Some(directive.name), older].into_iter().flatten() {
                let named = |pattern: &&&str| match is_glob(pattern) {
                    true => !directive.hidden && matches(pattern, name),
                    false => pattern.eq_ignore_ascii_case(name),
                };
                if let Some(pattern) = patterns.iter().find(named) {
                    let asked = if is_glob(pattern) { name } else { pattern };
                    found.push((asked.to_string(), shown(directive.name, values.text(row))));
                }
            }
        }
        found
    }

    /// CONFIG SET: all of `pairs` or none. Returns the names that were set.
    ///
    /// # Errors
    /// The first pair that is refused.
    pub fn set(&self, pairs: &[(&str, &str)]) -> Result<Vec<&'static str>, SetError> {
        let mut values = self.values.lock();
        let mut changed = values.clone();
        let mut rows = Vec::new();
        // As in Redis, what may not be set at all is said before what has a bad value.
        for (name, value) in pairs {
            let (row, directive) = find(name).ok_or_else(|| SetError::Unknown((*name).into()))?;
            if rows.contains(&row) {
                return Err(refused(name, "duplicate parameter".into()));
            }
            self.may_change(directive.change, value, values.text(row)).map_err(|r| refused(name, r))?;
            rows.push(row);
        }
        for ((name, value), row) in pairs.iter().zip(&rows) {
            // As in Redis, a bad value is told with the name that the table has.
            let refused = |reason| refused(&name.to_ascii_lowercase(), reason);
            changed.replace(*row, value).map_err(refused)?;
            check_directory(*row, changed.text(*row)).map_err(refused)?;
        }
        rules::check(&changed).map_err(|broken| refused(broken.directive, broken.reason))?;
        self.settings.store(Arc::new(Settings::from_values(&changed)));
        *values = changed;
        Ok(rows.into_iter().map(|row| DIRECTIVES[row].name).collect())
    }

    /// REPLICAOF: what CONFIG GET shows and CONFIG REWRITE writes from now on.
    pub fn set_replicaof(&self, master: Option<&MasterAddress>) {
        let mut values = self.values.lock();
        let text = master.map(|master| format!("{} {}", master.host, master.port)).unwrap_or_default();
        // Two words are always taken, and none as well.
        if values.replace(index("replicaof"), &text).is_ok() {
            self.settings.store(Arc::new(Settings::from_values(&values)));
        }
    }

    fn may_change(&self, change: Change, value: &str, present: &str) -> Result<(), String> {
        match change {
            Change::Live => Ok(()),
            // Setting what is in force already harms nobody, and test suites restore every value they read.
            Change::Start if value == present => Ok(()),
            Change::Start => Err("can't set immutable config".into()),
            Change::Protected if self.settings().enable_protected_configs == Allow::Yes => Ok(()),
            Change::Protected => Err("can't set protected config".into()),
        }
    }

    /// CONFIG REWRITE.
    ///
    /// # Errors
    /// No file, or it cannot be read or replaced; the old one is whole then.
    pub fn rewrite(&self) -> Result<(), RewriteError> {
        let file = self.file.as_deref().ok_or(RewriteError::NoFile)?;
        let old = match std::fs::read_to_string(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let text = rewrite::rewritten(&old, &self.values.lock());
        Ok(rewrite::replace_file(file, &text)?)
    }
}

/// Redis's test, which leaves the backslash out.
fn is_glob(pattern: &str) -> bool {
    pattern.contains(['[', '*', '?'])
}

fn refused(name: &str, reason: String) -> SetError {
    SetError::Refused { name: name.into(), reason }
}

/// `dir` is shown as the absolute path that the process works in.
fn shown(name: &str, text: &str) -> String {
    match name {
        "dir" => std::env::current_dir().map_or_else(|_| text.into(), |dir| dir.display().to_string()),
        _ => text.into(),
    }
}

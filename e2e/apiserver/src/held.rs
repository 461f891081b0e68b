//! Processes that end with the test, however it ends.

use anyhow::{Context, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Runs its arguments until its standard input closes, which happens when this process ends, even by a signal.
const HOLD: &str = r#""$@" & program=$!; cat > /dev/null; kill -TERM $program 2> /dev/null; wait $program"#;
/// How much of a log an error message quotes, in bytes.
const LOG_TAIL: usize = 3000;

/// A process. It is ended when this is dropped, or when the test's process is gone.
#[derive(Debug)]
pub struct Held {
    shell: Child,
    log: PathBuf,
}

impl Held {
    /// Starts `command` (its program, arguments, environment and directory), its output going to the file `log`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &Command, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("could not make {}", log.display()))?;
        let mut shell = Command::new("sh");
        shell.args(["-c", HOLD, "held"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            shell.current_dir(dir);
        }
        shell.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output);
        let shell = shell.spawn().with_context(|| format!("could not start {command:?}"))?;
        Ok(Self { shell, log: log.to_owned() })
    }

    /// Everything it has said.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The end of what it has said.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let from = log.len().saturating_sub(LOG_TAIL);
        let from = (from..log.len()).find(|i| log.is_char_boundary(*i)).unwrap_or(0);
        format!("{}:\n{}", self.log.display(), &log[from..])
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // It was told to end; that it has ended is all there is to learn.
        let _ = self.shell.wait();
    }
}

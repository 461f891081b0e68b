//! Processes that end with the test, however it ends.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// Runs its arguments and ends as they do, or ends them when its standard input closes: that happens when this process
/// ends, even by a signal. The first argument is the file that tells the program's process id. A program that goes on in
/// spite of SIGTERM (an API server that has lost its etcd does) is killed after ten seconds.
const HOLD: &str = r#"
file=$1; shift
exec 3<&0
"$@" < /dev/null 3<&- & program=$!
echo $program > "$file.new" && mv "$file.new" "$file"
{ cat <&3 > /dev/null; kill -TERM $program
  for tenth in $(seq 100); do kill -0 $program || exit; sleep 0.1; done
  kill -KILL $program; } 2> /dev/null & watcher=$!
wait $program; status=$?
kill $watcher 2> /dev/null
exit $status
"#;
/// How much of a log an error message quotes, in bytes.
const LOG_TAIL: usize = 3000;

/// A process. It is ended by SIGTERM, or in the end by SIGKILL, when this is dropped, or when the test's process is gone.
#[derive(Debug)]
pub struct Held {
    shell: Child,
    log: PathBuf,
    pid: PathBuf,
}

impl Held {
    /// Starts `command` (its program, arguments, environment and directory), its output going to the file `log`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &Command, log: &Path) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log);
        let output = output.with_context(|| format!("could not open {}", log.display()))?;
        let pid = log.with_added_extension("pid");
        // An earlier process had the same log.
        let _ = std::fs::remove_file(&pid);
        let mut shell = Command::new("sh");
        shell.args(["-c", HOLD, "held"]).arg(&pid).arg(command.get_program()).args(command.get_args());
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
        Ok(Self { shell, log: log.to_owned(), pid })
    }

    /// How it ended, once it has; a signal shows as 128 and its number.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.shell.try_wait().context("could not ask for a process")
    }

    /// Sends a signal to the program.
    ///
    /// # Errors
    /// It has not started yet or is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let text = std::fs::read_to_string(&self.pid).context("the program has not started yet")?;
        let pid = Pid::from_raw(text.trim().parse()?).context("process id 0")?;
        kill_process(pid, signal).with_context(|| format!("could not send {signal:?} to {pid:?}"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use e2e::wait;
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(20);

    fn held(dir: &Path, script: &str) -> Result<Held> {
        Held::start(Command::new("sh").args(["-c", script]), &dir.join("log"))
    }

    #[test]
    fn its_end_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut it = held(dir.path(), "echo said; exit 3").unwrap();
        wait::until("it ends", LIMIT, || it.ended().is_ok_and(|ended| ended.is_some())).unwrap();
        assert_eq!(it.ended().unwrap().unwrap().code(), Some(3));
        assert_eq!(it.log(), "said\n");
    }

    #[test]
    fn a_signal_reaches_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let mut it = held(dir.path(), "exec sleep 1000").unwrap();
        wait::until("it has started", LIMIT, || it.signal(Signal::KILL).is_ok()).unwrap();
        wait::until("it ends", LIMIT, || it.ended().is_ok_and(|ended| ended.is_some())).unwrap();
        assert_eq!(it.ended().unwrap().unwrap().code(), Some(128 + 9));
    }

    fn dropping_ends(script: &str) {
        let dir = tempfile::tempdir().unwrap();
        let it = held(dir.path(), script).unwrap();
        wait::until("it has started", LIMIT, || it.signal(Signal::CONT).is_ok()).unwrap();
        wait::until("it says so", LIMIT, || it.log().contains("up")).unwrap();
        let pid = std::fs::read_to_string(dir.path().join("log.pid")).unwrap().trim().parse().unwrap();
        drop(it);
        assert!(rustix::process::test_kill_process(Pid::from_raw(pid).unwrap()).is_err());
    }

    #[test]
    fn dropping_ends_it() {
        dropping_ends("echo up; exec sleep 1000");
    }

    /// An API server whose etcd went first stayed for hours.
    #[test]
    fn dropping_ends_what_does_not_listen() {
        dropping_ends("trap '' TERM; echo up; while :; do sleep 0.1; done");
    }
}

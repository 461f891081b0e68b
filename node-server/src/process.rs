//! The process itself: its title in `ps`, the background, the pid file, the limit of open files.
//!
//! A process cannot change what `ps` shows without writing over its own argument memory, which safe Rust does not
//! do. So it starts itself anew, with the title as `argv[0]` and its real arguments in an environment variable.
//! `daemonize` uses the same: the new process is a child in its own session, and the parent ends.

use crate::config::values::Values;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Carries title, mode and arguments to the process that runs under the title.
const HANDED_OVER: &str = "NODE_SERVER_HANDED_OVER";
/// Separates what is handed over (ASCII unit separator).
const SEPARATOR: char = '\u{1f}';
/// Files that the server needs besides its clients: logs, listeners, bus links, replicas.
const FILES_RESERVED: u64 = 256;

/// The nice value of threads that write files in the background: about a tenth of the weight of those that serve.
const NICE_BEHIND: i32 = 10;

/// Lets this thread, for the rest of its life, have the processor behind those that serve clients. Where it cannot be
/// done it goes on as it is, only with longer latencies.
pub fn step_behind() {
    // `None` is the calling thread on Linux, where nice values belong to threads (setpriority(2), NOTES).
    let stepped = rustix::process::getpriority_process(None)
        .and_then(|nice| rustix::process::setpriority_process(None, nice.max(NICE_BEHIND)));
    if let Err(error) = stepped {
        tracing::debug!("This thread keeps its priority: {error}");
    }
}

/// How this process was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The program's name as the user typed it.
    pub program: String,
    /// The user's arguments.
    pub args: Vec<String>,
    /// Whether this process runs under its title already.
    pub restarted: bool,
    /// Whether it was put in the background.
    pub background: bool,
}

impl Invocation {
    /// Reads `argv` and the environment.
    #[must_use]
    pub fn of_this_process() -> Self {
        let mut argv = std::env::args_os().map(|a| a.to_string_lossy().into_owned());
        let program = argv.next().unwrap_or_else(|| "node-server".into());
        let args: Vec<String> = argv.collect();
        let handed_over = std::env::var(HANDED_OVER).ok().filter(|_| args.is_empty());
        handed_over.and_then(|text| Self::from_handed_over(&text, &program)).unwrap_or(Self {
            program,
            args,
            restarted: false,
            background: false,
        })
    }

    /// `None` when the text was meant for another process, which this one only inherited the environment from.
    fn from_handed_over(text: &str, title: &str) -> Option<Self> {
        let mut parts = text.split(SEPARATOR).map(unescape);
        if parts.next()? != title {
            return None;
        }
        let background = parts.next()? == "background";
        let program = parts.next()?;
        Some(Self { program, args: parts.collect(), restarted: true, background })
    }

    fn handed_over(&self, title: &str, background: bool) -> String {
        let mode = if background { "background" } else { "foreground" };
        let head = [title, mode, &self.program].map(escape);
        let parts: Vec<String> = head.into_iter().chain(self.args.iter().map(|a| escape(a))).collect();
        parts.join(&SEPARATOR.to_string())
    }

    /// Starts the program anew under `title`, with `standard_input` as its input. Returns the child when it goes to
    /// the background; otherwise this process becomes the new one and nothing returns.
    ///
    /// # Errors
    /// The system's; this process may go on without a title then.
    pub fn restart(&self, title: &str, background: bool, standard_input: &str) -> io::Result<Child> {
        let mut command = Command::new(own_path());
        command.arg0(title).env(HANDED_OVER, self.handed_over(title, background));
        if background {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        if !standard_input.is_empty() {
            command.stdin(in_memory(standard_input)?);
        } else if background {
            command.stdin(Stdio::null());
        }
        if background { command.spawn() } else { Err(command.exec()) }
    }
}

/// The path of this program: the real one, so that `ps` and `top` show its name.
fn own_path() -> PathBuf {
    std::env::current_exe().ok().filter(|p| p.exists()).unwrap_or_else(|| "/proc/self/exe".into())
}

/// A file that holds `text` and exists in memory alone, read from its beginning.
fn in_memory(text: &str) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("configuration", rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    io::Seek::rewind(&mut file)?;
    Ok(file)
}

fn escape(text: &str) -> String {
    text.replace('%', "%25").replace(SEPARATOR, "%1f")
}

fn unescape(text: &str) -> String {
    text.replace("%1f", &SEPARATOR.to_string()).replace("%25", "%")
}

/// What `ps` shows, from `proc-title-template`. `None` for a bad template or when no title is wanted.
#[must_use]
pub fn title(program: &str, values: &Values, config_file: Option<&Path>) -> Option<String> {
    if !values.is_yes("set-proc-title") {
        return None;
    }
    let port = values.get("port");
    let address = values.get("bind").split_whitespace().next().unwrap_or("*").trim_start_matches('-');
    let mode = if values.is_yes("cluster-enabled") { "[cluster]" } else { "" };
    let file = config_file.map(|p| p.display().to_string()).unwrap_or_default();
    let filled = values
        .get("proc-title-template")
        .replace("{title}", program)
        .replace("{listen-addr}", &format!("{address}:{port}"))
        .replace("{server-mode}", mode)
        .replace("{port}", port)
        .replace("{tls-port}", values.get("tls-port"))
        .replace("{unixsocket}", values.get("unixsocket"))
        .replace("{config-file}", &file);
    let title = filled.trim().to_string();
    (!title.is_empty()).then_some(title)
}

/// Leaves the terminal's session, as a background process has to.
///
/// # Errors
/// The system's; a process that leads its group already cannot.
pub fn leave_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Reads standard input to its end.
///
/// # Errors
/// The system's, or text that is not UTF-8.
pub fn read_standard_input() -> io::Result<String> {
    let mut text = String::new();
    io::stdin().lock().read_to_string(&mut text)?;
    Ok(text)
}

/// The pid file while the process runs.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes it. As in Redis, one that cannot be written is no reason not to start.
    #[must_use]
    pub fn write(path: &Path) -> Option<Self> {
        match std::fs::write(path, format!("{}\n", std::process::id())) {
            Ok(()) => Some(Self { path: path.to_path_buf() }),
            Err(error) => {
                tracing::warn!("could not write the pid file {}: {error}", path.display());
                None
            }
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Not said: why a node ended is the last line of its log, at every level.
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!("could not remove the pid file {}: {error}", self.path.display());
        }
    }
}

/// Raises the limit of open files for `maxclients`, and returns how many clients it then allows.
#[must_use]
pub fn allow_clients(maxclients: u64) -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = maxclients.saturating_add(FILES_RESERVED);
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current.filter(|c| *c < wanted) else { return maxclients };
    let raised = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let new = Rlimit { current: Some(raised), maximum: limit.maximum };
    let files = if setrlimit(Resource::Nofile, new).is_ok() { raised } else { current };
    if files >= wanted {
        return maxclients;
    }
    let allowed = files.saturating_sub(FILES_RESERVED).max(1);
    tracing::warn!(
        "maxclients is {allowed} and not {maxclients}: the process may open {files} files (ulimit -n); raise it"
    );
    allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation(args: &[&str]) -> Invocation {
        let args = args.iter().map(|a| (*a).to_string()).collect();
        Invocation { program: "bin/node-server".into(), args, restarted: false, background: false }
    }

    #[test]
    fn what_is_handed_over_comes_back() {
        let given = invocation(&["redis.conf", "--save", "", "--x", "50%1f", "a\u{1f}b"]);
        let text = given.handed_over("the title", true);
        let back = Invocation::from_handed_over(&text, "the title").unwrap();
        assert_eq!(back, Invocation { restarted: true, background: true, ..given });
        assert_eq!(Invocation::from_handed_over(&text, "another"), None);
    }

    #[test]
    fn only_the_thread_that_asks_steps_behind() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let other = std::thread::spawn(move || {
            step_behind();
            nice()
        });
        assert_eq!(other.join().unwrap(), before.max(NICE_BEHIND));
        assert_eq!(nice(), before);
    }

    #[test]
    fn titles_follow_the_template() {
        let mut values = Values::default();
        let set = |values: &mut Values, name: &str, value: &str| {
            values.set(crate::config::table::index(name), &[value.to_string()]).unwrap();
        };
        assert_eq!(title("node-server", &values, None).as_deref(), Some("node-server *:6379"));
        set(&mut values, "port", "7001");
        set(&mut values, "bind", "0.0.0.0");
        set(&mut values, "cluster-enabled", "yes");
        let expected = Some("redis01/bin/redis-server 0.0.0.0:7001 [cluster]");
        assert_eq!(title("redis01/bin/redis-server", &values, None).as_deref(), expected);
        set(&mut values, "set-proc-title", "no");
        assert_eq!(title("node-server", &values, None), None);
    }

    #[test]
    fn a_pid_file_lives_as_long_as_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.pid");
        let file = PidFile::write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(file);
        assert!(!path.exists());
        assert!(PidFile::write(&dir.path().join("no/such/dir")).is_none());
    }
}

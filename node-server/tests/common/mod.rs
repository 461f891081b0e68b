//! Starts the program under test and talks to it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "test helpers; every test file uses a part of them"
)]

use e2e::ports::is_free;
use node_server_protocol::resp::{Reply, parse_reply};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_node-server");
/// How long anything may take that is expected to happen soon.
pub const SOON: Duration = Duration::from_secs(60);

static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// A port that nobody listens on, nor on its bus port. Test processes begin at different places of the range.
pub fn free_port() -> u16 {
    const FIRST: u16 = 21_600;
    const COUNT: u16 = 380;
    let begin = (std::process::id() % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let port = FIRST + (begin + NEXT_PORT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
    panic!("no free port in {FIRST}..{}", FIRST + COUNT);
}

/// Waits until `probe` gives something.
pub fn until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    until_or(what, probe, String::new)
}

/// As [`until`]; should it be in vain, `told` says more.
fn until_or<T>(what: &str, mut probe: impl FnMut() -> Option<T>, told: impl Fn() -> String) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(started.elapsed() < SOON, "{what}: not within {SOON:?}\n{}", told());
        std::thread::yield_now();
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn log_in(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("node.log")).unwrap_or_default()
}

/// A running server; killed when dropped.
pub struct Server {
    pub child: Child,
    pub port: u16,
    pub dir: tempfile::TempDir,
}

impl Server {
    /// Starts one on a free port, in a directory of its own, and waits until it answers.
    pub fn start(args: &[&str]) -> Self {
        let mut server = Self::spawn(args);
        server.wait_ready();
        server
    }

    /// Starts one in a directory that has been prepared.
    pub fn start_in(dir: tempfile::TempDir, args: &[&str]) -> Self {
        let mut server = Self::spawn_in(dir, args);
        server.wait_ready();
        server.wait_loaded();
        server
    }

    /// Starts one and does not wait.
    pub fn spawn(args: &[&str]) -> Self {
        Self::spawn_in(tempfile::tempdir().unwrap(), args)
    }

    fn spawn_in(dir: tempfile::TempDir, args: &[&str]) -> Self {
        let port = free_port();
        let child = launch(port, dir.path(), args);
        Self { child, port, dir }
    }

    /// Starts one again, in the same place, after the first has ended, and waits until its data is there.
    pub fn start_again(&mut self, args: &[&str]) {
        self.start_loading(args);
        self.wait_loaded();
    }

    /// The same, and does not wait for its data.
    pub fn start_loading(&mut self, args: &[&str]) {
        self.child = launch(self.port, self.dir.path(), args);
        self.wait_ready();
    }

    pub fn wait_loaded(&mut self) {
        let (port, dir, child) = (self.port, self.dir.path(), &mut self.child);
        let log = || log_in(dir);
        let loaded = || {
            assert!(child.try_wait().unwrap().is_none(), "the server ended:\n{}", log());
            let mut client = Client::connect(port);
            client.send(&["PING"]);
            let reply = client.try_receive();
            reply.filter(|r| !matches!(r, Reply::Error(text) if text.starts_with("LOADING"))).map(drop)
        };
        until_or("the data is loaded", loaded, log);
    }

    /// Kills it as a crash of the process would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn wait_ready(&mut self) {
        until("the server answers", || {
            assert!(self.child.try_wait().unwrap().is_none(), "the server ended:\n{}", self.log());
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
    }

    pub fn client(&self) -> Client {
        Client::connect(self.port)
    }

    pub fn log(&self) -> String {
        log_in(self.dir.path())
    }

    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for the end and returns the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        until("the server ends", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Without save points, unless `args` has some or a file that may: a test that says nothing of files wants none.
fn launch(port: u16, dir: &Path, args: &[&str]) -> Child {
    let says = |arg: &&str| *arg == "--save" || arg.ends_with(".conf");
    let quiet: &[&str] = if args.iter().any(says) { &[] } else { &["--save", ""] };
    // A configuration file comes first.
    let (file, args) = args.split_at(usize::from(args.first().is_some_and(|arg| arg.ends_with(".conf"))));
    Command::new(PROGRAM)
        .args(file)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(quiet)
        .arg("--dir")
        .arg(dir)
        .arg("--logfile")
        .arg(dir.join("node.log"))
        .args(args)
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

/// Sends a signal to one process.
pub fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
}

/// Runs the program to its end.
pub fn run(args: &[&str], dir: &Path, input: &str) -> Output {
    let mut child = Command::new(PROGRAM)
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// A blocking client.
pub struct Client {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub fn connect(port: u16) -> Self {
        Self::try_connect(port).unwrap()
    }

    /// # Errors
    /// Nobody listens, or no more.
    pub fn try_connect(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(SOON))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn send(&mut self, args: &[&str]) {
        self.send_raw(&encode(args));
    }

    pub fn receive(&mut self) -> Reply {
        self.try_receive().expect("a reply, not the end of the connection")
    }

    /// `None`: the server closed the connection.
    pub fn try_receive(&mut self) -> Option<Reply> {
        let mut chunk = [0; 64 * 1024];
        loop {
            if let Some((reply, used)) = parse_reply(&self.buffer).unwrap() {
                self.buffer.drain(..used);
                return Some(reply);
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                // Reads with a timeout are not gone on with by the system when the process was stopped meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => panic!("no reply: {error}"),
            }
        }
    }

    /// Whether the server has closed the connection, while nothing is under way.
    pub fn is_closed(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        !peeked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    pub fn call(&mut self, args: &[&str]) -> Reply {
        self.send(args);
        self.receive()
    }

    /// The reply as text.
    pub fn text(&mut self, args: &[&str]) -> String {
        match self.call(args) {
            Reply::Bulk(bytes) => String::from_utf8(bytes).unwrap(),
            Reply::Simple(text) | Reply::Error(text) => text,
            Reply::Integer(n) => n.to_string(),
            other => panic!("{args:?} gave {other:?}"),
        }
    }

    /// One field of INFO.
    pub fn info(&mut self, section: &str, field: &str) -> String {
        let text = self.text(&["INFO", section]);
        let line = text.lines().find_map(|l| l.strip_prefix(field).and_then(|l| l.strip_prefix(':')));
        line.unwrap_or_else(|| panic!("no {field} in {text}")).into()
    }
}

/// A request as RESP.
pub fn encode(args: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len());
    for arg in args {
        out.push_str(&format!("${}\r\n{arg}\r\n", arg.len()));
    }
    out.into_bytes()
}

/// The pid in a pid file.
pub fn pid_in(file: &Path) -> u32 {
    until("the pid file", || std::fs::read_to_string(file).ok()?.trim().parse().ok())
}

/// A background process of this test; killed when dropped.
pub struct Background(pub u32);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", &self.0.to_string()]).stderr(Stdio::null()).status();
    }
}

/// What `ps` shows of a process.
pub fn process_title(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_string()
}

/// Where a file of a server is.
pub fn in_dir(dir: &Path, name: &str) -> PathBuf {
    dir.join(name)
}

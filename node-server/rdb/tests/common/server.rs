//! A real redis-server or valkey-server in a temporary directory, reached by a socket there: a port that is free when
//! it is looked for may be taken when the server begins to listen.
#![allow(clippy::disallowed_methods, reason = "the servers read and write files")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Ends with its process when it is dropped.
pub(crate) struct Server {
    process: Child,
    directory: PathBuf,
    connection: BufReader<UnixStream>,
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Error(String),
    Integer(i64),
    Bytes(Vec<u8>),
    Nil,
    Array(Vec<Reply>),
}

/// redis-server 7.0.15 of Debian 12.
pub(crate) fn redis_server() -> PathBuf {
    "redis-server".into()
}

/// Valkey, where tools/setup.sh has put it.
pub(crate) fn valkey_server() -> PathBuf {
    let cache = || Path::new(&std::env::var("HOME").expect("HOME is set")).join(".cache");
    let default = || cache().join("slotkeeper/valkey/valkey-server");
    std::env::var_os("VALKEY_SERVER_BIN").map_or_else(default, PathBuf::from)
}

static STARTED: AtomicU32 = AtomicU32::new(0);

impl Server {
    /// Starts it on this RDB file, if any. `None` when it ends instead of serving.
    pub(crate) fn start(program: &Path, rdb: Option<&[u8]>, options: &[&str]) -> Option<Self> {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("slotkeeper-rdb-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
        if let Some(rdb) = rdb {
            std::fs::write(directory.join("dump.rdb"), rdb).expect("the temporary directory is writable");
        }
        let socket = directory.join("socket");
        let mut process = Command::new(program)
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .args(["--sanitize-dump-payload", "yes", "--dir"])
            .arg(&directory)
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}: run tools/setup.sh", program.display()));
        let log = BufReader::new(process.stdout.take().expect("it is piped"));
        // The server says when it serves; when it ends instead, so does its log.
        let ready = log.lines().map_while(Result::ok).any(|line| line.contains("eady to accept connections"));
        let stream = ready.then(|| UnixStream::connect(&socket).expect("it serves"));
        let Some(stream) = stream else {
            process.wait().expect("it is our child");
            std::fs::remove_dir_all(&directory).expect("it is ours");
            return None;
        };
        Some(Self { process, directory, connection: BufReader::new(stream) })
    }

    /// The answer to a command.
    pub(crate) fn ask(&mut self, words: &[&[u8]]) -> Reply {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend(format!("${}\r\n", word.len()).bytes());
            request.extend(*word);
            request.extend(b"\r\n");
        }
        self.connection.get_mut().write_all(&request).expect("the server lives");
        self.reply()
    }

    fn reply(&mut self) -> Reply {
        let mut line = String::new();
        self.connection.read_line(&mut line).expect("the server lives");
        let (kind, rest) = line.trim_end().split_at(1);
        let number = || rest.parse::<i64>().expect("the server speaks RESP");
        match kind {
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Integer(number()),
            "$" | "*" if number() < 0 => Reply::Nil,
            "$" => {
                let mut bytes = vec![0; number() as usize + 2];
                self.connection.read_exact(&mut bytes).expect("the server lives");
                bytes.truncate(bytes.len() - 2);
                Reply::Bytes(bytes)
            }
            "*" => Reply::Array((0..number()).map(|_| self.reply()).collect()),
            _ => Reply::Bytes(rest.as_bytes().to_vec()),
        }
    }

    /// The file that SAVE writes.
    pub(crate) fn save(&mut self) -> Vec<u8> {
        assert_eq!(self.ask(&[b"SAVE"]), Reply::Bytes(b"OK".to_vec()));
        std::fs::read(self.directory.join("dump.rdb")).expect("it was saved")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

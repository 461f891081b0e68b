//! A blocking connection to one node.

use node_server_protocol::resp::{Reply, parse_reply};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// How much is read at a time.
const CHUNK: usize = 64 * 1024;

pub(super) struct Connection {
    host: String,
    port: u16,
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Connection {
    pub(super) fn open(host: &str, port: u16) -> Result<Self, String> {
        let failed = |error: std::io::Error| {
            let reason = error.to_string();
            let reason = reason.split(" (os error").next().unwrap_or_default().to_owned();
            format!("Could not connect to Redis at {host}:{port}: {reason}")
        };
        let stream = TcpStream::connect((host, port)).map_err(failed)?;
        Ok(Self { host: host.to_owned(), port, stream, unread: Vec::new() })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Sends a command and waits for its reply.
    pub(super) fn call(&mut self, command: &[String]) -> Result<Reply, String> {
        let mut request = format!("*{}\r\n", command.len()).into_bytes();
        for word in command {
            request.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
        self.stream.write_all(&request).map_err(|e| self.failed(&e))?;
        self.receive()?.ok_or_else(|| "Error: Server closed the connection".to_owned())
    }

    /// The next reply; `None` at the end of the connection.
    pub(super) fn receive(&mut self) -> Result<Option<Reply>, String> {
        let mut chunk = vec![0; CHUNK];
        loop {
            match parse_reply(&self.unread) {
                Ok(Some((reply, used))) => {
                    self.unread.drain(..used);
                    return Ok(Some(reply));
                }
                Ok(None) => {}
                Err(error) => return Err(format!("{}:{}: {error}", self.host, self.port)),
            }
            match self.stream.read(&mut chunk).map_err(|e| self.failed(&e))? {
                0 => return Ok(None),
                read => self.unread.extend_from_slice(&chunk[..read]),
            }
        }
    }

    fn failed(&self, error: &std::io::Error) -> String {
        format!("{}:{}: {error}", self.host, self.port)
    }
}

//! A replica as Redis writes one, by hand.

use super::*;
use node_server_engine::log::put_command;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

/// Its connection.
pub struct Peer {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Peer {
    pub fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    pub fn say(&mut self, args: &[&str]) {
        let mut request = Vec::new();
        put_command(&mut request, &args.iter().map(|a| a.as_bytes()).collect::<Vec<_>>());
        self.stream.write_all(&request).unwrap();
    }

    fn fill(&mut self) {
        let mut part = [0; 4096];
        let n = loop {
            match self.stream.read(&mut part) {
                // Reads with a timeout are not gone on with by the system when the process was stopped meanwhile.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.unwrap(),
            }
        };
        assert!(n > 0, "the master closed the link; had {:?}", String::from_utf8_lossy(&self.buffer));
        self.buffer.extend_from_slice(&part[..n]);
    }

    /// The next line; empty ones are signs of life.
    pub fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                if !text.is_empty() {
                    return text;
                }
            } else {
                self.fill();
            }
        }
    }

    pub fn take(&mut self, len: usize) -> Vec<u8> {
        while self.buffer.len() < len {
            self.fill();
        }
        self.buffer.drain(..len).collect()
    }

    pub fn until(&mut self, end: &[u8]) -> Vec<u8> {
        while !self.buffer.windows(end.len()).any(|w| w == end) {
            self.fill();
        }
        let at = self.buffer.windows(end.len()).position(|w| w == end).unwrap();
        self.take(at + end.len())
    }

    /// `+FULLRESYNC id offset`.
    pub fn full(&mut self) -> (String, u64) {
        let line = self.line();
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[0], "+FULLRESYNC", "{line}");
        (words[1].into(), words[2].parse().unwrap())
    }
}

/// A node that owns every slot and serves.
pub fn serving(port: u16) -> Server {
    serving_as(lone(port))
}

/// The same with more directives.
pub fn serving_as(spec: ServerSpec) -> Server {
    let server = Server::start(spec).unwrap();
    let mut client = server.client().unwrap();
    client.call(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).unwrap();
    wait::until("it serves", SOON, || {
        client.command(&["SET", "a", "1"]).unwrap() == Reply::Simple("OK".into())
    })
    .unwrap();
    server
}

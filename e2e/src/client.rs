//! A blocking client for one server, for tests.

use anyhow::{Context, Result, bail};
use node_server_protocol::resp::{Protocol, Reply, ReplyWriter, parse_reply};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a connection or a reply may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One connection. Nothing is retried and no redirection followed.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects to a server.
    ///
    /// # Errors
    /// It does not accept connections.
    pub fn connect(to: SocketAddr) -> Result<Self> {
        let stream =
            TcpStream::connect_timeout(&to, TIMEOUT).with_context(|| format!("could not connect to {to}"))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Connects to a port of 127.0.0.1.
    ///
    /// # Errors
    /// Nothing accepts connections there.
    pub fn local(port: u16) -> Result<Self> {
        Self::connect(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// Sends one command and reads its reply, which may be an error reply.
    ///
    /// # Errors
    /// The connection broke, or no reply came within 10 s.
    pub fn command<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Reply> {
        self.send(&request(args))?;
        self.read_reply()
    }

    /// As [`Self::command`], with an error reply as an error.
    ///
    /// # Errors
    /// The server said no, or the connection broke.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Reply> {
        match self.command(args)? {
            Reply::Error(text) => bail!("{}: {text}", String::from_utf8_lossy(args[0].as_ref())),
            reply => Ok(reply),
        }
    }

    /// As [`Self::call`], for replies that are text (INFO, CLUSTER NODES, GET).
    ///
    /// # Errors
    /// The reply is no text, or there is none.
    pub fn text<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<String> {
        match self.call(args)? {
            Reply::Simple(text) => Ok(text),
            Reply::Bulk(bytes) => String::from_utf8(bytes).context("the reply is no UTF-8"),
            other => bail!("the reply is no text: {other:?}"),
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("could not send")
    }

    /// Reads the next reply.
    ///
    /// # Errors
    /// The connection broke, the bytes are no reply, or none came within 10 s.
    pub fn read_reply(&mut self) -> Result<Reply> {
        loop {
            if let Some((reply, len)) = parse_reply(&self.buffer)? {
                self.buffer.drain(..len);
                return Ok(reply);
            }
            let mut part = [0; 16 * 1024];
            match self.stream.read(&mut part) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(len) => self.buffer.extend_from_slice(&part[..len]),
                // Reads with a timeout are not gone on with by the system when the process was stopped meanwhile.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("no reply"),
            }
        }
    }
}

/// A command as clients send it.
#[must_use]
pub fn request<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ReplyWriter::new(&mut bytes, Protocol::Resp2);
    writer.array(args.len());
    args.iter().for_each(|arg| writer.bulk(arg.as_ref()));
    bytes
}

/// The value of `name:value` in the text of INFO or CLUSTER INFO.
#[must_use]
pub fn info_field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

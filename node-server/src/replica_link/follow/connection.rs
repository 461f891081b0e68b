//! The socket to the master with what has been read ahead.

use super::LinkError;
use node_server_engine::MasterAddress;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bytes that are read at a time.
const READ_LEN: usize = 256 * 1024;
/// Longest line in the handshake.
const LINE_MAX: usize = 64 * 1024;

/// A connection to the master.
pub(super) struct Connection {
    stream: TcpStream,
    /// What was read and not taken.
    pub(super) buffer: Vec<u8>,
    timeout: Duration,
}

impl Connection {
    /// Connects; a name is looked up anew each time. `timeout` is for this and for every silence.
    pub(super) async fn open(address: &MasterAddress, timeout: Duration) -> Result<Self, LinkError> {
        let connect = TcpStream::connect((address.host.as_str(), address.port));
        let connected = tokio::time::timeout(timeout, connect).await;
        let stream = connected.map_err(|_| LinkError::Silent(timeout.as_secs()))??;
        // Without it acknowledgements would wait for each other; a socket that refuses works all the same.
        let _ = stream.set_nodelay(true);
        Ok(Self { stream, buffer: Vec::new(), timeout })
    }

    /// Its end and ours; `None` once the system has forgotten the socket.
    pub(super) fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        Some((self.stream.peer_addr().ok()?, self.stream.local_addr().ok()?))
    }

    /// Sends all of `bytes`.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        let written = tokio::time::timeout(self.timeout, self.stream.write_all(bytes)).await;
        Ok(written.map_err(|_| LinkError::Silent(self.timeout.as_secs()))??)
    }

    /// Reads more to the end of the buffer; how many bytes. May be given up without loss.
    pub(super) async fn fill(&mut self) -> Result<usize, LinkError> {
        self.buffer.reserve(READ_LEN);
        let read = tokio::time::timeout(self.timeout, self.stream.read_buf(&mut self.buffer)).await;
        match read.map_err(|_| LinkError::Silent(self.timeout.as_secs()))?? {
            0 => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
            n => Ok(n),
        }
    }

    /// The next line that is not empty: empty ones say only that the master lives.
    pub(super) async fn line(&mut self, what: &'static str) -> Result<String, LinkError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let line = line.trim_ascii_end();
                if !line.is_empty() {
                    return Ok(String::from_utf8_lossy(line).into_owned());
                }
                continue;
            }
            if self.buffer.len() > LINE_MAX {
                return Err(LinkError::Answer { what, reply: "a line without end".into() });
            }
            self.fill().await?;
        }
    }
}

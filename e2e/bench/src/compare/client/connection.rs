//! One connection of the client: what is to be sent, and how many replies have come.

use super::replies::Counter;
use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

/// Bytes read at once.
pub(super) const READ_LEN: usize = 64 * 1024;
/// Bytes that wait because the server does not read. A server that stalls for seconds under an open load gets there.
const UNSENT_MAX: usize = 64 << 20;

pub(super) struct Connection {
    stream: TcpStream,
    unsent: Vec<u8>,
    counter: Counter,
}

impl Connection {
    /// Connects to a port of 127.0.0.1.
    pub(super) fn open(port: u16, registry: &Registry, token: Token) -> Result<Self> {
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        let stream =
            std::net::TcpStream::connect(to).with_context(|| format!("could not connect to {to}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, unsent: Vec::new(), counter: Counter::default() })
    }

    /// Sends the bytes, or what the socket takes of them now.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        if self.unsent.is_empty() {
            let sent = self.try_send(bytes)?;
            self.queue(&bytes[sent..])
        } else {
            self.queue(bytes)
        }
    }

    /// Keeps the bytes until the next [`Self::flush`].
    pub(super) fn queue(&mut self, bytes: &[u8]) -> Result<()> {
        ensure!(self.unsent.len() + bytes.len() <= UNSENT_MAX, "the server takes no more requests");
        self.unsent.extend_from_slice(bytes);
        Ok(())
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self) -> Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let unsent = std::mem::take(&mut self.unsent);
        let sent = self.try_send(&unsent)?;
        self.unsent = unsent;
        self.unsent.drain(..sent);
        Ok(())
    }

    fn try_send(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(len) => sent += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("could not send"),
            }
        }
        Ok(sent)
    }

    /// Reads what is there; how many replies ended in it.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Result<u64> {
        let mut replies = 0;
        loop {
            match self.stream.read(buffer) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(len) => {
                    replies += self.counter.count(&buffer[..len])?;
                    // epoll(7): who reads less than it asked for has read all, and will be told of more.
                    if len < buffer.len() {
                        return Ok(replies);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(replies),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("no reply"),
            }
        }
    }
}

//! One TCP connection to one node, which knows whether a command was in flight when it broke.

use super::history::Mastership;
use crate::client::{info_field, request};
use node_server_protocol::resp::{Reply, parse_reply};
use rustix::net::{RecvFlags, recv};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Bytes read at once.
const READ_LEN: usize = 64 * 1024;

/// A connection.
pub(super) struct Link {
    node: String,
    stream: TcpStream,
    buffer: Vec<u8>,
    by: Option<Arc<Mastership>>,
}

/// Why an exchange gave no replies.
#[derive(Debug)]
pub(super) enum Broken {
    /// Not one byte left: the command is not under way.
    NotSent,
    /// The command may have been executed or not.
    InFlight(&'static str),
}

impl Link {
    /// Connects to `host:port` and says the password.
    pub(super) async fn connect(node: &str, password: Option<&str>, limit: Duration) -> Option<Self> {
        let stream = timeout(CONNECT_LIMIT, TcpStream::connect(node)).await.ok()?.ok()?;
        stream.set_nodelay(true).ok()?;
        let mut link = Self { node: node.to_owned(), stream, buffer: Vec::new(), by: None };
        if let Some(password) = password {
            let reply = link.exchange(&request(&["AUTH", password]), 1, limit).await.ok()?;
            (reply == [Reply::Simple("OK".into())]).then_some(())?;
        }
        Some(link)
    }

    /// Whether the node has closed the connection while nothing was in flight.
    pub(super) fn is_closed(&self) -> bool {
        let mut byte = [0];
        let peeked = recv(&self.stream, &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        // Data that nobody asked for is as bad as an end.
        !matches!(peeked, Err(rustix::io::Errno::AGAIN))
    }

    /// Sends and reads that many replies. After an error the link must be dropped. Nothing is sent where the end has
    /// come already: a node may close the connection with any reply, also with the one just before.
    pub(super) async fn exchange(
        &mut self,
        bytes: &[u8],
        replies: usize,
        limit: Duration,
    ) -> Result<Vec<Reply>, Broken> {
        if self.is_closed() {
            return Err(Broken::NotSent);
        }
        let sent = timeout(limit, self.stream.write(bytes)).await;
        let first = match sent {
            Ok(Ok(len)) if len > 0 => len,
            _ => return Err(Broken::NotSent),
        };
        let rest = async {
            self.stream.write_all(&bytes[first..]).await.map_err(|_| Broken::InFlight("reset in flight"))?;
            self.read_replies(replies).await
        };
        timeout(limit, rest).await.unwrap_or(Err(Broken::InFlight("no reply in time")))
    }

    async fn read_replies(&mut self, count: usize) -> Result<Vec<Reply>, Broken> {
        let mut replies = Vec::with_capacity(count);
        while replies.len() < count {
            match parse_reply(&self.buffer) {
                Ok(Some((reply, len))) => {
                    self.buffer.drain(..len);
                    replies.push(reply);
                }
                Ok(None) => self.read_more().await?,
                Err(_) => return Err(Broken::InFlight("reply is not RESP")),
            }
        }
        Ok(replies)
    }

    async fn read_more(&mut self) -> Result<(), Broken> {
        self.buffer.reserve(READ_LEN);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(Broken::InFlight("closed in flight")),
            Ok(_) => Ok(()),
            Err(_) => Err(Broken::InFlight("reset in flight")),
        }
    }

    /// Which stretch of being a master the node is in. Asked once, and again after [`Self::forget_mastership`].
    pub(super) async fn mastership(&mut self, limit: Duration) -> Result<Arc<Mastership>, Broken> {
        if let Some(by) = &self.by {
            return Ok(Arc::clone(by));
        }
        let reply = self.exchange(&request(&["INFO", "replication"]), 1, limit).await?;
        let text = match reply.first() {
            Some(Reply::Bulk(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            // A node that does not say (LOADING) refuses the command as well.
            _ => String::new(),
        };
        let replid = info_field(&text, "master_replid").unwrap_or_default().to_owned();
        let by = Arc::new(Mastership { node: self.node.clone(), replid });
        self.by = Some(Arc::clone(&by));
        Ok(by)
    }

    /// The node showed that its role may have changed.
    pub(super) fn forget_mastership(&mut self) {
        self.by = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn nothing_is_sent_after_an_end_that_came_with_a_reply() {
        let limit = Duration::from_secs(20);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node = listener.local_addr().unwrap().to_string();
        let mut link = Link::connect(&node, None, limit).await.unwrap();
        let mut peer = listener.accept().await.unwrap().0;
        let answer = async {
            let ping = request(&["PING"]);
            peer.read_exact(&mut vec![0; ping.len()]).await.unwrap();
            peer.write_all(b"+PONG\r\n").await.unwrap();
            drop(peer);
        };
        let (reply, ()) = tokio::join!(async { link.exchange(&request(&["PING"]), 1, limit).await }, answer);
        assert_eq!(reply.unwrap(), [Reply::Simple("PONG".into())]);
        let again = link.exchange(&request(&["PING"]), 1, limit).await;
        assert!(matches!(again, Err(Broken::NotSent)), "{again:?}");
    }
}

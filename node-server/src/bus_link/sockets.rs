//! The bus's connections: accepting, connecting, framing, queues with a bound. Knows nothing of what is said.

use super::Event;
use node_server_cluster::LinkId;
use node_server_protocol::bus::{MAX_FRAME_LEN, frame_len};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use tokio::task::AbortHandle;

/// Most connections from other nodes at a time: four for each of the thousand nodes that a cluster may have.
const INBOUND_MAX: usize = 4096;
/// How long connecting may take. The core asks again.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Most bytes that wait in one link's queue where `cluster-link-sendbuf-limit` sets no lower bound.
pub(super) const LINK_QUEUE_MAX: usize = 2 * MAX_FRAME_LEN;
/// How long accepting rests after an error such as too many open files.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// Bytes that a link reads at a time.
const READ_LEN: usize = 16 * 1024;

/// All connections of the bus.
pub(super) struct Sockets {
    links: BTreeMap<LinkId, Link>,
    events: Sender<Event>,
    inbound_made: u64,
}

struct Link {
    queue: Arc<SendQueue>,
    task: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Bytes on their way to one node.
#[derive(Default)]
struct SendQueue {
    bytes: Mutex<Vec<u8>>,
    filled: Notify,
}

impl Sockets {
    /// None yet. What happens to them is sent to `events`; a full queue makes the links wait, not the core.
    pub(super) fn new(events: Sender<Event>) -> Self {
        Self { links: BTreeMap::new(), events, inbound_made: 0 }
    }

    /// Accepts from other nodes from now on; each arrives as [`Event::Incoming`].
    pub(super) fn listen(&self, listener: TcpListener) {
        tokio::spawn(accept(listener, self.events.clone()));
    }

    /// Takes an accepted connection in, and names it. `None`: there are too many.
    pub(super) fn admit(&mut self, stream: TcpStream) -> Option<LinkId> {
        if self.links.keys().filter(|link| link.is_inbound()).count() >= INBOUND_MAX {
            return None;
        }
        self.inbound_made += 1;
        let link = LinkId(LinkId::INBOUND | self.inbound_made);
        let queue = Arc::new(SendQueue::default());
        let task = tokio::spawn(run(link, stream, Arc::clone(&queue), self.events.clone()));
        self.links.insert(link, Link { queue, task: task.abort_handle() });
        Some(link)
    }

    /// Begins to connect; [`Event::Connected`] or [`Event::ConnectFailed`] follows.
    pub(super) fn connect(&mut self, link: LinkId, to: SocketAddr) {
        let queue = Arc::new(SendQueue::default());
        let task = tokio::spawn(connect(link, to, Arc::clone(&queue), self.events.clone()));
        self.links.insert(link, Link { queue, task: task.abort_handle() });
    }

    /// Queues a message. `false`: the link's queue is longer than `limit` bytes, or there is no such link.
    pub(super) fn send(&self, link: LinkId, frame: &[u8], limit: usize) -> bool {
        let Some(link) = self.links.get(&link) else { return false };
        let mut bytes = link.queue.bytes.lock();
        if bytes.len() + frame.len() > limit {
            return false;
        }
        bytes.extend_from_slice(frame);
        drop(bytes);
        link.queue.filled.notify_one();
        true
    }

    /// Closes a connection. What its queue holds is not sent.
    pub(super) fn close(&mut self, link: LinkId) {
        self.links.remove(&link);
    }

    /// Whether there is such a connection; events of others are late and mean nothing.
    pub(super) fn has(&self, link: LinkId) -> bool {
        self.links.contains_key(&link)
    }
}

async fn accept(listener: TcpListener, events: Sender<Event>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if events.send(Event::Incoming { stream, peer }).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!("could not accept a connection on the cluster bus: {error}");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

async fn connect(link: LinkId, to: SocketAddr, queue: Arc<SendQueue>, events: Sender<Event>) {
    let connected = match tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(to)).await {
        Ok(Ok(stream)) => local_ip(&stream).map(|ip| (stream, ip)),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    match connected {
        Ok((stream, local_ip)) => {
            if events.send(Event::Connected { link, local_ip }).await.is_ok() {
                run(link, stream, queue, events).await;
            }
        }
        Err(error) => {
            tracing::trace!("could not connect to the cluster bus at {to}: {error}");
            // Fails only when the bus thread ends.
            let _ = events.send(Event::ConnectFailed { link }).await;
        }
    }
}

/// Our end's address, without the IPv6 form of an IPv4 address.
pub(super) fn local_ip(stream: &TcpStream) -> io::Result<IpAddr> {
    Ok(stream.local_addr()?.ip().to_canonical())
}

/// Reads and writes until one of both fails.
async fn run(link: LinkId, stream: TcpStream, queue: Arc<SendQueue>, events: Sender<Event>) {
    // Without it small messages would wait for each other's acknowledgement; a socket that refuses works all the same.
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    let ended = tokio::select! {
        ended = read(link, reader, &events) => ended,
        ended = write(writer, &queue) => ended,
    };
    if let Err(error) = ended {
        tracing::trace!("cluster bus link closed: {error}");
    }
    let _ = events.send(Event::Closed { link }).await;
}

async fn read(link: LinkId, mut reader: OwnedReadHalf, events: &Sender<Event>) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(READ_LEN);
    loop {
        let mut begin = 0;
        let mut wanted = READ_LEN;
        while let Some(len) = frame_len(&buffer[begin..]).map_err(io::Error::other)? {
            if buffer.len() - begin < len {
                wanted = len;
                break;
            }
            let bytes = buffer[begin..begin + len].to_vec();
            begin += len;
            if events.send(Event::Frame { link, bytes }).await.is_err() {
                return Ok(());
            }
        }
        buffer.drain(..begin);
        buffer.reserve(wanted.saturating_sub(buffer.len()).max(READ_LEN));
        if reader.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

async fn write(mut writer: OwnedWriteHalf, queue: &SendQueue) -> io::Result<()> {
    loop {
        let bytes = std::mem::take(&mut *queue.bytes.lock());
        if bytes.is_empty() {
            queue.filled.notified().await;
        } else {
            writer.write_all(&bytes).await?;
        }
    }
}

#[cfg(test)]
mod tests;

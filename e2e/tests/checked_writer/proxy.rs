//! A proxy in front of one server that tells one lie, or the same one over and over.

use node_server_protocol::resp::{Limits, Parsed, Reply, parse_reply, parse_request};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// None at all.
    None,
    /// GETs are answered with what the first GET of the key gave: one such answer alone may be no lie, for the key may
    /// have expired.
    StaleRead,
    /// One INCR is acknowledged with the right number and not done.
    SwallowedIncrement,
    /// Every DEL is acknowledged and not done until a client has read one of those keys.
    SwallowedDeletion,
}

/// A running proxy; its tasks end with the test's runtime.
pub(crate) struct Proxy {
    done: Arc<AtomicBool>,
}

#[derive(Default)]
struct Memory {
    replies: BTreeMap<Vec<u8>, Vec<u8>>,
    deleted: Vec<Vec<u8>>,
}

struct Liar {
    fault: Fault,
    done: Arc<AtomicBool>,
    memory: Mutex<Memory>,
}

impl Proxy {
    pub(crate) async fn start(port: u16, upstream: SocketAddr, fault: Fault) -> Self {
        let done = Arc::new(AtomicBool::new(fault == Fault::None));
        let liar = Arc::new(Liar { fault, done: Arc::clone(&done), memory: Mutex::default() });
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(upstream).await.unwrap();
                let liar = Arc::clone(&liar);
                tokio::spawn(async move { liar.serve(near, far).await });
            }
        });
        Self { done }
    }

    /// The lie has been told.
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::SeqCst)
    }
}

impl Liar {
    /// One command at a time, until either side closes.
    async fn serve(&self, mut near: TcpStream, mut far: TcpStream) {
        let (mut requests, mut replies) = (Vec::new(), Vec::new());
        loop {
            let Some(request) = next(&mut near, &mut requests, request_len).await else { return };
            let args = args(&request);
            if let Some(lie) = self.instead(&args) {
                near.write_all(&lie).await.unwrap();
                continue;
            }
            far.write_all(&request).await.unwrap();
            let Some(reply) = next(&mut far, &mut replies, reply_len).await else { return };
            let reply = self.changed(&args, reply);
            if near.write_all(&reply).await.is_err() {
                return;
            }
        }
    }

    /// The reply to a command that is not forwarded.
    fn instead(&self, args: &[Vec<u8>]) -> Option<Vec<u8>> {
        let mut memory = self.memory.lock().unwrap();
        if self.done.load(Ordering::SeqCst) {
            return None;
        }
        match (self.fault, args) {
            (Fault::SwallowedIncrement, [verb, key])
                if verb == b"INCR" && !key.starts_with(b"checked:shared") =>
            {
                let last = memory.replies.get(key)?;
                let Ok(Some((Reply::Integer(n), _))) = parse_reply(last) else { return None };
                self.done.store(true, Ordering::SeqCst);
                Some(format!(":{}\r\n", n + 1).into_bytes())
            }
            (Fault::SwallowedDeletion, [verb, key]) if verb == b"DEL" => {
                memory.deleted.push(key.clone());
                Some(b":1\r\n".to_vec())
            }
            _ => None,
        }
    }

    /// The reply to a command that was forwarded.
    fn changed(&self, args: &[Vec<u8>], reply: Vec<u8>) -> Vec<u8> {
        let mut memory = self.memory.lock().unwrap();
        let [verb, key, ..] = args else { return reply };
        match self.fault {
            Fault::StaleRead if verb == b"GET" => {
                let first = memory.replies.entry(key.clone()).or_insert_with(|| reply.clone()).clone();
                let stale = first != reply && first.starts_with(b"$") && !first.starts_with(b"$-1");
                if stale {
                    self.done.store(true, Ordering::SeqCst);
                }
                if stale { first } else { reply }
            }
            Fault::SwallowedIncrement if verb == b"INCR" => {
                memory.replies.insert(key.clone(), reply.clone());
                reply
            }
            Fault::SwallowedDeletion if verb == b"GET" && memory.deleted.contains(key) => {
                self.done.store(true, Ordering::SeqCst);
                reply
            }
            // A key that is overwritten is as good as deleted.
            Fault::SwallowedDeletion if verb == b"SET" => {
                memory.deleted.retain(|deleted| deleted != key);
                reply
            }
            _ => reply,
        }
    }
}

/// The next whole piece of a stream, of the length that `len` finds; `None` at the end.
async fn next(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    len: fn(&[u8]) -> Option<usize>,
) -> Option<Vec<u8>> {
    loop {
        if let Some(len) = len(buffer) {
            return Some(buffer.drain(..len).collect());
        }
        if stream.read_buf(buffer).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

fn request_len(bytes: &[u8]) -> Option<usize> {
    match parse_request(bytes, &Limits::default()).unwrap() {
        Parsed::Request { consumed, .. } | Parsed::Inline { consumed, .. } => Some(consumed),
        Parsed::Incomplete { .. } => None,
    }
}

fn reply_len(bytes: &[u8]) -> Option<usize> {
    parse_reply(bytes).unwrap().map(|(_, len)| len)
}

fn args(request: &[u8]) -> Vec<Vec<u8>> {
    match parse_request(request, &Limits::default()).unwrap() {
        Parsed::Request { args, .. } => args.iter().map(|arg| arg.to_vec()).collect(),
        other => panic!("the writer sends no {other:?}"),
    }
}

//! Connections to targets, kept for the next MIGRATE (Redis: MIGRATE_SOCKET_CACHE_ITEMS and _TTL).

use node_server_engine::MigrateRequest;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Most idle connections that are kept.
const KEPT_MAX: usize = 64;
/// How long an idle connection is kept.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// Idle connections, the one that has waited longest first.
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: Mutex<VecDeque<Idle>>,
}

#[derive(Debug)]
struct Idle {
    host: String,
    port: u16,
    stream: TcpStream,
    since: Instant,
}

impl Pool {
    /// A connection, and whether it was kept.
    pub(super) async fn connect(&self, request: &MigrateRequest) -> io::Result<(TcpStream, bool)> {
        match self.take(&request.host, request.port) {
            Some(stream) => Ok((stream, true)),
            None => Ok((self.connect_anew(request).await?, false)),
        }
    }

    /// A new connection, within the request's timeout.
    pub(super) async fn connect_anew(&self, request: &MigrateRequest) -> io::Result<TcpStream> {
        let timeout = Duration::from_millis(request.timeout_ms);
        let connecting = TcpStream::connect((request.host.as_str(), request.port));
        let stream = tokio::time::timeout(timeout, connecting).await??;
        // Without it the last command would wait for acknowledgements of those before; works all the same.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    fn take(&self, host: &str, port: u16) -> Option<TcpStream> {
        let mut idle = self.idle.lock();
        drop_old(&mut idle);
        let at = idle.iter().rposition(|i| i.host == host && i.port == port)?;
        idle.remove(at).map(|i| i.stream)
    }

    /// Keeps a connection on which nothing is under way.
    pub(super) fn keep(&self, request: &MigrateRequest, stream: TcpStream) {
        let mut idle = self.idle.lock();
        drop_old(&mut idle);
        if idle.len() >= KEPT_MAX {
            idle.pop_front();
        }
        let (host, port) = (request.host.clone(), request.port);
        idle.push_back(Idle { host, port, stream, since: Instant::now() });
    }
}

fn drop_old(idle: &mut VecDeque<Idle>) {
    while idle.front().is_some_and(|i| i.since.elapsed() > KEPT_FOR) {
        idle.pop_front();
    }
}

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

/// User and password, as MIGRATE had them.
type Auth = Option<(Option<Vec<u8>>, Vec<u8>)>;

/// Idle connections, the one that has waited longest first.
#[derive(Default)]
pub(super) struct Pool {
    idle: Mutex<VecDeque<Idle>>,
}

struct Idle {
    host: String,
    port: u16,
    /// As whom it was authenticated: nobody goes on under another's name.
    auth: Auth,
    stream: TcpStream,
    since: Instant,
}

impl Pool {
    /// A connection, and whether it was kept.
    pub(super) async fn connect(&self, request: &MigrateRequest) -> io::Result<(TcpStream, bool)> {
        match self.take(request) {
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

    fn take(&self, request: &MigrateRequest) -> Option<TcpStream> {
        let mut idle = self.idle.lock();
        drop_old(&mut idle);
        let fits = |i: &Idle| i.host == request.host && i.port == request.port && i.auth == request.auth;
        let at = idle.iter().rposition(fits)?;
        idle.remove(at).map(|i| i.stream)
    }

    /// Keeps a connection on which nothing is under way.
    pub(super) fn keep(&self, request: &MigrateRequest, stream: TcpStream) {
        let mut idle = self.idle.lock();
        drop_old(&mut idle);
        if idle.len() >= KEPT_MAX {
            idle.pop_front();
        }
        let (host, port, auth) = (request.host.clone(), request.port, request.auth.clone());
        idle.push_back(Idle { host, port, auth, stream, since: Instant::now() });
    }
}

fn drop_old(idle: &mut VecDeque<Idle>) {
    while idle.front().is_some_and(|i| i.since.elapsed() > KEPT_FOR) {
        idle.pop_front();
    }
}

//! The port for those who look after the process: HTTP, `/livez` and `/readyz`, for a kubelet's probes.
//!
//! Its thread shares nothing with clients, so a node that is busy with them still answers. A master is ready when it
//! serves; a replica when its full copy is there and its link is up. Neither asks for the other.

use crate::listener;
use crate::node::{Node, now};
use anyhow::Context as _;
use node_server_protocol::Role;
use node_server_protocol::routing::{Routing, Serving};
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Most requests at a time; a probe beyond that waits.
const REQUESTS_MAX: usize = 32;
/// Longest head of a request, in bytes.
const HEAD_MAX: usize = 8 * 1024;
/// How long one request may take, from its connection to the last byte of its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// The background thread makes several rounds a second; without one for so long the process counts as hung.
const HUNG_MS: u64 = 30_000;
/// Pause after a connection that could not be accepted: the system is out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens on `admin-port`; nobody does where it is 0.
///
/// # Errors
/// The port cannot be opened.
pub(crate) fn listen(bind: &[String], port: u16, backlog: i32) -> anyhow::Result<Vec<StdListener>> {
    match port {
        0 => Ok(Vec::new()),
        port => listener::listen_all(bind, port, backlog).context("the admin port cannot be opened"),
    }
}

/// Starts the thread. It lives as long as the process: a node that is leaving still answers.
///
/// # Errors
/// The system refuses a thread or a socket.
pub(crate) fn start(node: Arc<Node>, listeners: Vec<StdListener>) -> anyhow::Result<()> {
    if listeners.is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let listeners = listeners.into_iter().map(TcpListener::from_std).collect::<Result<Vec<_>, _>>()?;
    drop(entered);
    std::thread::Builder::new().name("admin".into()).spawn(move || {
        let room = Arc::new(Semaphore::new(REQUESTS_MAX));
        let accepting = listeners.into_iter().map(|l| accept(l, Arc::clone(&node), Arc::clone(&room)));
        let tasks: Vec<_> = accepting.map(|accepting| runtime.spawn(accepting)).collect();
        for task in tasks {
            if let Err(error) = runtime.block_on(task) {
                tracing::error!("the admin port answers no more: {error}");
            }
        }
    })?;
    Ok(())
}

async fn accept(listener: TcpListener, node: Arc<Node>, room: Arc<Semaphore>) {
    // Nobody closes the semaphore.
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let node = Arc::clone(&node);
                tokio::spawn(async move {
                    match timeout(REQUEST_TIMEOUT, serve(stream, &node)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::debug!(%peer, %error, "an admin request ended early"),
                        Err(_) => tracing::debug!(%peer, "an admin request took too long"),
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!("the admin port could not accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One request, one answer, and the connection ends.
async fn serve(mut stream: TcpStream, node: &Node) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        if head.len() >= HEAD_MAX || stream.read_buf(&mut head).await? == 0 {
            return stream.write_all(&answer(&Answer::bad("no HTTP request"))).await;
        }
    }
    let line = String::from_utf8_lossy(&head);
    let line = line.lines().next().unwrap_or_default();
    stream.write_all(&answer(&route(line, node))).await?;
    stream.shutdown().await
}

struct Answer {
    status: &'static str,
    text: String,
}

impl Answer {
    fn bad(text: &str) -> Self {
        Self { status: "400 Bad Request", text: text.into() }
    }

    fn from(result: Result<&str, String>) -> Self {
        match result {
            Ok(text) => Self { status: "200 OK", text: text.into() },
            Err(text) => Self { status: "503 Service Unavailable", text },
        }
    }
}

fn answer(Answer { status, text }: &Answer) -> Vec<u8> {
    let length = text.len() + 1;
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}\n"
    )
    .into_bytes()
}

fn route(line: &str, node: &Node) -> Answer {
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    match (method, path) {
        ("GET" | "HEAD", "/livez") => Answer::from(live(node)),
        ("GET" | "HEAD", "/readyz") => Answer::from(ready(node)),
        ("GET" | "HEAD", _) => {
            Answer { status: "404 Not Found", text: "there are /livez and /readyz".into() }
        }
        _ => Answer { status: "405 Method Not Allowed", text: "GET is allowed".into() },
    }
}

/// Alive is a process that does its background work, be it that it still loads; what the cluster does is not asked.
fn live(node: &Node) -> Result<&'static str, String> {
    let silent = now().since(node.last_round());
    if silent > HUNG_MS { Err(format!("no background work for {silent} ms")) } else { Ok("alive") }
}

fn ready(node: &Node) -> Result<&'static str, String> {
    if let Some(progress) = node.loading.progress() {
        return Err(format!("it is loading its data from the disk: {:.2} %", progress.percent()));
    }
    if !node.config.settings().cluster_enabled {
        return Ok("serves");
    }
    let status = node.replication.status.load();
    let link = status.master.as_ref().map(|m| if status.loading { "sync" } else { m.state });
    readiness(&node.engine.routing(), link)
}

fn readiness(routing: &Routing, link: Option<&str>) -> Result<&'static str, String> {
    match (routing.role, routing.serving, link) {
        (Role::Replica { .. }, _, Some("connected")) => Ok("follows its master"),
        (Role::Replica { .. }, _, state) => {
            Err(format!("its copy is not complete; the link to its master: {}", state.unwrap_or("none")))
        }
        (Role::Master, Serving::Ok, _) => Ok("serves"),
        (Role::Master, Serving::Down { .. }, _) => {
            Err("the cluster is down: not every slot is served".into())
        }
        (Role::Master, Serving::ClosedEmpty, _) => {
            Err("it started without the data of its slots and serves nothing".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use node_server_protocol::NodeId;

    fn routing(role: Role, serving: Serving) -> Routing {
        Routing::new(1, NodeId::from_bytes([1; 20]), role, serving, Vec::new())
    }

    #[test]
    fn a_master_is_ready_when_it_serves_and_asks_for_no_replica() {
        let is_ready = |serving| readiness(&routing(Role::Master, serving), None).is_ok();
        assert!(is_ready(Serving::Ok));
        assert!(!is_ready(Serving::Down { allow_reads: true }));
        assert!(!is_ready(Serving::ClosedEmpty));
    }

    #[test]
    fn a_replica_is_ready_when_its_copy_is_whole_whether_or_not_the_cluster_serves() {
        let role = Role::Replica { of: NodeId::from_bytes([2; 20]) };
        let down = Serving::Down { allow_reads: false };
        assert!(readiness(&routing(role, down), Some("connected")).is_ok());
        for link in [None, Some("sync"), Some("connect"), Some("handshake")] {
            let why = readiness(&routing(role, Serving::Ok), link).unwrap_err();
            assert!(why.contains(link.unwrap_or("none")), "{why}");
        }
    }
}

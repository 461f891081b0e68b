//! Kept connections to nodes, for commands.

use crate::observe::{connect, report};
use node_server_protocol::Address;
use operator_planner::NodeReport;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a command may take: longer than a node holds its writes for a failover (eight seconds).
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for MIGRATEs: each waits for the replicas of both sides, for four seconds at most, and for the network.
const MIGRATE_TIMEOUT: Duration = Duration::from_secs(10 * MIGRATES_PER_SEND as u64);
/// MIGRATEs that one connection is sent at a time.
pub(super) const MIGRATES_PER_SEND: usize = 2;
/// Most commands in one pipeline.
const PIPELINE_MAX: usize = 1024;
/// Connections per source and target: MIGRATEs on one connection run one after the other.
pub(super) const LANES: usize = 16;

/// One of the connections to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    to: Option<SocketAddr>,
    number: usize,
}

impl Lane {
    /// For short commands.
    pub(super) const COMMANDS: Self = Self { to: None, number: 0 };

    /// For MIGRATEs to one target; the number is below [`LANES`].
    pub(super) const fn to(target: Address, number: usize) -> Self {
        Self { to: Some(target.client()), number }
    }
}

/// Connections by address and lane. Cheap to clone.
#[derive(Clone, Default)]
pub struct Connections {
    kept: Arc<Mutex<BTreeMap<(SocketAddr, Lane), MultiplexedConnection>>>,
}

impl Connections {
    /// The connection of a lane, made when there is none.
    async fn get(&self, address: SocketAddr, lane: Lane) -> Result<MultiplexedConnection, RedisError> {
        if let Some(connection) = self.kept.lock().get(&(address, lane)) {
            return Ok(connection.clone());
        }
        let limit = if lane.to.is_some() { MIGRATE_TIMEOUT } else { COMMAND_TIMEOUT };
        let connection = connect(address, limit).await?;
        self.kept.lock().insert((address, lane), connection.clone());
        Ok(connection)
    }

    /// What a node says of itself. A kept connection that turns out to be broken is not kept any longer: another process
    /// may listen at the address by now.
    pub(super) async fn report(&self, address: SocketAddr) -> Result<NodeReport, String> {
        let lane = Lane::COMMANDS;
        let mut connection = self.get(address, lane).await.map_err(|e| e.to_string())?;
        let asked = report(&mut connection).await;
        if asked.is_err() {
            self.kept.lock().remove(&(address, lane));
        }
        asked.map_err(|why| why.to_string())
    }

    /// Sends commands to a node in pipelines and returns their replies, error replies among them.
    pub(super) async fn send(
        &self,
        address: SocketAddr,
        lane: Lane,
        commands: &[Vec<Vec<u8>>],
    ) -> Result<Vec<Value>, String> {
        let mut replies = Vec::with_capacity(commands.len());
        for chunk in commands.chunks(PIPELINE_MAX) {
            match self.send_chunk(address, lane, chunk).await {
                Ok(some) => replies.extend(some),
                Err(error) => {
                    self.kept.lock().remove(&(address, lane));
                    return Err(format!("{address}: {error}"));
                }
            }
        }
        Ok(replies)
    }

    async fn send_chunk(
        &self,
        address: SocketAddr,
        lane: Lane,
        commands: &[Vec<Vec<u8>>],
    ) -> Result<Vec<Value>, RedisError> {
        let mut connection = self.get(address, lane).await?;
        let mut pipe = redis::pipe();
        pipe.ignore_errors();
        for args in commands {
            if let Some((name, rest)) = args.split_first() {
                pipe.cmd(&String::from_utf8_lossy(name));
                for arg in rest {
                    pipe.arg(arg.as_slice());
                }
            }
        }
        pipe.query_async(&mut connection).await
    }
}

/// The text of an error reply.
pub(super) fn error_text(reply: &Value) -> Option<String> {
    match reply {
        Value::ServerError(error) => Some(match error.details() {
            Some(details) => format!("{} {details}", error.code()),
            None => error.code().to_owned(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    /// Answers what a client says on connecting and closes at the first CLUSTER.
    async fn serve_until_asked(mut stream: TcpStream) {
        let mut buffer = [0; 4096];
        loop {
            let len = stream.read(&mut buffer).await.unwrap_or(0);
            let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
            if len == 0 || text.contains("CLUSTER") {
                return;
            }
            for _ in text.matches('*') {
                stream.write_all(b"+OK\r\n").await.expect("the client waits for it");
            }
        }
    }

    #[tokio::test]
    async fn a_connection_that_broke_is_made_anew() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (sender, mut accepted) = tokio::sync::mpsc::channel(8);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                sender.send(()).await.expect("the test runs");
                tokio::spawn(serve_until_asked(stream));
            }
        });
        let connections = Connections::default();
        for _ in 0..3 {
            connections.report(address).await.expect_err("it closes at the first question");
            accepted.recv().await.expect("each question comes on a connection of its own");
        }
    }
}

//! A task for each member: keeps one connection and answers each look once.

use operator_planner::report::{BadReplies, QUERIES, Replies};
use operator_planner::{Fact, NodeReport, Why, commands};
use redis::aio::MultiplexedConnection;
use redis::{Client, ErrorKind, RedisError, Value};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// How long a connection may take to be made.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_000);
/// How long a node may take to reply.
const REPLY_TIMEOUT: Duration = Duration::from_millis(2_000);

/// The code of the error that a node gives to nearly everything while it reads its files.
const LOADING: &str = "LOADING";

/// What a node said, and to which look.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub look: u64,
    pub node: Fact<NodeReport>,
}

/// Starts the task; it ends when the sender of looks is dropped.
pub(super) fn spawn(
    address: SocketAddr,
    looks: watch::Receiver<u64>,
    disturbed: Arc<Notify>,
) -> watch::Receiver<Answer> {
    let (sender, answers) = watch::channel(Answer { look: 0, node: Fact::Unknown(Why::NotAsked) });
    tokio::spawn(run(Kept { address, connection: None, disturbed }, looks, sender));
    answers
}

async fn run(mut kept: Kept, mut looks: watch::Receiver<u64>, answers: watch::Sender<Answer>) {
    while looks.changed().await.is_ok() {
        let look = *looks.borrow_and_update();
        let node = match kept.ask().await {
            Ok(report) => Fact::Known(report),
            Err(why) => Fact::Unknown(why),
        };
        answers.send_replace(Answer { look, node });
    }
}

/// One node's kept connection.
struct Kept {
    address: SocketAddr,
    connection: Option<MultiplexedConnection>,
    /// Notified when the connection ends.
    disturbed: Arc<Notify>,
}

impl Kept {
    /// A kept connection that turns out to have ended says nothing about the node: a new one does.
    async fn ask(&mut self) -> Result<NodeReport, Why> {
        if let Some(mut connection) = self.connection.take() {
            match report(&mut connection).await {
                Ok(report) => {
                    self.connection = Some(connection);
                    return Ok(report);
                }
                Err(Why::Failed(reason)) => {
                    tracing::debug!(address = %self.address, reason, "connecting anew")
                }
                Err(why) => return Err(why),
            }
        }
        let mut connection = self.connect().await.map_err(|e| why(&e))?;
        let report = report(&mut connection).await?;
        self.connection = Some(connection);
        Ok(report)
    }

    /// RESP3, since only there the client tells of the connection's end by itself.
    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let disturbed = Arc::clone(&self.disturbed);
        let ended = move |push: redis::PushInfo| {
            if push.kind == redis::PushKind::Disconnection {
                disturbed.notify_one();
            }
            Ok::<(), redis::aio::SendError>(())
        };
        let config = config(REPLY_TIMEOUT).set_push_sender(ended);
        let client = Client::open(format!("redis://{}/?protocol=resp3", self.address))?;
        client.get_multiplexed_async_connection_with_config(&config).await
    }
}

/// What a node says of itself now.
pub(crate) async fn report(connection: &mut MultiplexedConnection) -> Result<NodeReport, Why> {
    let replies =
        pipeline(connection, QUERIES.iter().map(|q| q.iter().map(|w| w.as_bytes().to_vec()).collect()))
            .await?;
    let text = |i: usize| match replies.get(i) {
        Some(Value::BulkString(bytes)) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        Some(Value::VerbatimString { text, .. }) => Ok(text.clone()),
        Some(Value::SimpleString(text)) => Ok(text.clone()),
        Some(Value::ServerError(e)) if e.code() == LOADING => Err(Why::Loading),
        Some(Value::ServerError(e)) => {
            Err(Why::Failed(format!("{}: {}", QUERIES[i].join(" "), e.details().unwrap_or(e.code()))))
        }
        other => Err(Why::Failed(format!("{}: unexpected reply {other:?}", QUERIES[i].join(" ")))),
    };
    let (nodes, cluster_info, replication) = (text(0)?, text(1)?, text(2)?);
    let keys = match replies.get(3) {
        Some(Value::Int(n)) => u64::try_from(*n).ok(),
        _ => None,
    };
    let nothing = BTreeMap::new();
    let read = Replies {
        nodes: &nodes,
        cluster_info: &cluster_info,
        replication: &replication,
        keys,
        reopen: has_command(replies.get(4)),
        counts: &nothing,
    };
    let bad = |e: BadReplies| Why::Failed(e.to_string());
    let slots: Vec<_> = read.slots_to_count().map_err(bad)?.iter().collect();
    let mut counts = BTreeMap::new();
    if !slots.is_empty() {
        let counted = pipeline(connection, slots.iter().map(|slot| commands::count_keys(*slot))).await?;
        for (slot, count) in slots.iter().zip(counted) {
            if let Value::Int(n) = count
                && let Ok(n) = u64::try_from(n)
            {
                counts.insert(*slot, n);
            }
        }
    }
    NodeReport::parse(&Replies { counts: &counts, ..read }).map_err(bad)
}

/// COMMAND INFO name: an entry that is not nil.
fn has_command(reply: Option<&Value>) -> bool {
    matches!(reply, Some(Value::Array(entries)) if entries.first().is_some_and(|e| !matches!(e, Value::Nil)))
}

/// A connection of our own to one node.
///
/// # Errors
/// It cannot be made in [`CONNECT_TIMEOUT`].
pub(crate) async fn connect(
    address: SocketAddr,
    reply_timeout: Duration,
) -> Result<MultiplexedConnection, RedisError> {
    let client = Client::open(format!("redis://{address}"))?;
    client.get_multiplexed_async_connection_with_config(&config(reply_timeout)).await
}

fn config(reply_timeout: Duration) -> redis::AsyncConnectionConfig {
    redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(reply_timeout))
}

/// Sends commands in one go; error replies are among the replies.
async fn pipeline(
    connection: &mut MultiplexedConnection,
    commands: impl Iterator<Item = Vec<Vec<u8>>>,
) -> Result<Vec<Value>, Why> {
    let mut pipe = redis::pipe();
    pipe.ignore_errors();
    for args in commands {
        for (i, arg) in args.iter().enumerate() {
            if i == 0 {
                pipe.cmd(&String::from_utf8_lossy(arg));
            } else {
                pipe.arg(arg.as_slice());
            }
        }
    }
    pipe.query_async(connection).await.map_err(|e| why(&e))
}

/// The reason in the planner's words.
fn why(error: &RedisError) -> Why {
    if error.is_connection_refusal() {
        Why::Refused
    } else if error.is_timeout() {
        Why::TimedOut
    } else if error.code() == Some(LOADING)
        || matches!(error.kind(), ErrorKind::Server(redis::ServerErrorKind::BusyLoading))
    {
        Why::Loading
    } else {
        Why::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// Answers as redis-server 7.0.15 and our node do while they load: what is flagged `loading` runs.
    async fn loading_node() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut buffer = vec![0; 65_536];
                    while let Ok(len @ 1..) = stream.read(&mut buffer).await {
                        let text = String::from_utf8_lossy(&buffer[..len]).to_uppercase();
                        let mut replies = String::new();
                        // A request begins with its number of arguments, and its name comes with the second line behind.
                        for request in text.split("*").filter(|r| !r.is_empty()) {
                            replies.push_str(match request.split("\r\n").nth(2).unwrap_or_default() {
                                "HELLO" => "%1\r\n$5\r\nproto\r\n:3\r\n",
                                "CLIENT" => "+OK\r\n",
                                "INFO" => "$14\r\n# Replication\n\r\n",
                                "COMMAND" => "*1\r\n_\r\n",
                                _ => "-LOADING Redis is loading the dataset in memory\r\n",
                            });
                        }
                        if stream.write_all(replies.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address
    }

    /// How often it is asked: a busy machine may keep it from answering in time.
    const ASKED_MAX: usize = 5;

    /// It was taken for one that says nonsense.
    #[tokio::test]
    async fn a_node_that_reads_its_files_is_loading() {
        let disturbed = Arc::new(Notify::new());
        let mut kept = Kept { address: loading_node().await, connection: None, disturbed };
        for _ in 0..2 {
            let mut why = kept.ask().await.unwrap_err();
            for _ in 1..ASKED_MAX {
                if why != Why::TimedOut {
                    break;
                }
                why = kept.ask().await.unwrap_err();
            }
            assert_eq!(why, Why::Loading);
        }
    }
}

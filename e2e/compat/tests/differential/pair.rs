//! The two servers, and the same bytes to both.

use crate::allowed::{Allowed, allowed, refused_in_multi, same, waits_to_settle};
use crate::generate::Step;
use anyhow::{Context, Result, bail, ensure};
use e2e::client::request;
use e2e::{Binary, Client, PortBlock, Server, ServerSpec, wait};
use node_server_protocol::resp::parse_reply;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long a reply may take.
const REPLY_LIMIT: Duration = Duration::from_secs(20);
/// How many earlier commands a difference shows.
const SHOWN: usize = 12;
/// What a command in a transaction gets.
const QUEUED: &[u8] = b"+QUEUED\r\n";
/// What EXEC says after a command that was not queued.
const ABORTED: &[u8] = b"-EXECABORT Transaction discarded because of previous errors.\r\n";
/// Connections to each server.
const CONNECTIONS: usize = 2;

/// A connection that keeps replies as bytes.
struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Raw {
    fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(REPLY_LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("could not send")
    }

    /// The next reply's bytes; `None` when the server has closed the connection.
    fn reply(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some((_, len)) = parse_reply(&self.buffer)? {
                return Ok(Some(self.buffer.drain(..len).collect()));
            }
            let mut part = [0; 16 * 1024];
            match self.stream.read(&mut part) {
                Ok(0) => return Ok(None),
                Ok(len) => self.buffer.extend_from_slice(&part[..len]),
                // Reads with a timeout are not gone on with by the system when the process was stopped meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("no reply"),
            }
        }
    }
}

/// Both servers with their connections.
pub(crate) struct Pair {
    ours: Server,
    redis: Server,
    connections: Vec<(Raw, Raw)>,
    /// What each connection has queued since MULTI.
    queued: Vec<Vec<Vec<Vec<u8>>>>,
    last: VecDeque<String>,
    _ports: PortBlock,
}

impl Pair {
    pub(crate) fn start() -> Result<Self> {
        let ports = PortBlock::reserve(2)?;
        let ours = master_of_all(ServerSpec::cluster_node(Binary::NodeServer, ports.port(0)))?;
        let redis = master_of_all(ServerSpec::cluster_node(Binary::Redis, ports.port(1)))?;
        Ok(Self {
            ours,
            redis,
            connections: Vec::new(),
            queued: Vec::new(),
            last: VecDeque::new(),
            _ports: ports,
        })
    }

    /// Empties both and connects anew.
    pub(crate) fn begin(&mut self) -> Result<()> {
        self.ours.client()?.call(&["FLUSHALL"])?;
        self.redis.client()?.call(&["FLUSHALL"])?;
        self.connections.clear();
        self.queued = vec![Vec::new(); CONNECTIONS];
        for _ in 0..CONNECTIONS {
            self.connections.push((Raw::connect(self.ours.port())?, Raw::connect(self.redis.port())?));
        }
        self.last.clear();
        Ok(())
    }

    /// Sends a step to both. `Some` describes how the replies differ.
    pub(crate) fn step(&mut self, step: &Step) -> Result<Option<String>> {
        let bytes = if step.inline { inline(&step.args) } else { request(&step.args) };
        self.last.push_back(format!("#{} {}", step.connection, show(&step.args)));
        if self.last.len() > SHOWN {
            self.last.pop_front();
        }
        let (ours, redis) = &mut self.connections[step.connection];
        ours.send(&bytes)?;
        redis.send(&bytes)?;
        let theirs = redis.reply().with_context(|| format!("redis-server, {}", show(&step.args)))?;
        let mine = ours.reply().with_context(|| format!("node-server, {}", self.told()))?;
        let queued = &mut self.queued[step.connection];
        let equal = match (&mine, &theirs) {
            (Some(mine), Some(theirs)) => same(&step.args, queued, mine, theirs),
            (None, None) => true,
            _ => matches!(allowed(&step.args), Allowed::Newer(_)),
        };
        if equal && mine != theirs && waits_to_settle(&step.args, queued) {
            self.settle().with_context(|| self.told())?;
        }
        let queued = &mut self.queued[step.connection];
        if let (Some(mine), Some(theirs)) = (&mine, &theirs)
            && refused_in_multi(&step.args, queued, mine, theirs)
        {
            self.abandon(step.connection, "EXEC")?;
            return Ok(None);
        }
        // Only one of them queued what is not compared: the transactions are no longer the same.
        let is_queued = |reply: &Option<Vec<u8>>| reply.as_deref() == Some(QUEUED);
        if equal && is_queued(&mine) != is_queued(&theirs) {
            self.abandon(step.connection, "DISCARD")?;
            return Ok(None);
        }
        match theirs.as_deref() {
            Some(QUEUED) => queued.push(step.args.clone()),
            Some(_) if step.is("exec") => queued.clear(),
            // With a word too many they are refused, and the transaction goes on.
            Some([b'+', ..]) if step.is("discard") || step.is("reset") => queued.clear(),
            _ => {}
        }
        if theirs.is_none() || step.is("quit") {
            let ours = Raw::connect(self.ours.port())
                .with_context(|| format!("node-server after {}", self.told()))?;
            let redis = Raw::connect(self.redis.port())
                .with_context(|| format!("redis-server after {}", self.told()))?;
            self.connections[step.connection] = (ours, redis);
            self.queued[step.connection].clear();
        }
        if equal {
            return Ok(None);
        }
        let text = |reply: &Option<Vec<u8>>| {
            reply.as_ref().map_or("connection closed".into(), |bytes| cut(&bytes.escape_ascii().to_string()))
        };
        Ok(Some(format!("{}\n  ours:  {}\n  redis: {}", self.told(), text(&mine), text(&theirs))))
    }

    /// Waits until both count the same keys.
    fn settle(&self) -> Result<()> {
        let (mut ours, mut redis) = (self.ours.client()?, self.redis.client()?);
        wait::until(
            "both servers have the same number of keys",
            REPLY_LIMIT,
            || matches!((ours.call(&["DBSIZE"]), redis.call(&["DBSIZE"])), (Ok(a), Ok(b)) if a == b),
        )
    }

    /// Ends the transactions of a connection: redis-server's by DISCARD, ours by `end`. If that is EXEC, ours has
    /// failed and must run nothing.
    fn abandon(&mut self, connection: usize, end: &str) -> Result<()> {
        let (ours, redis) = &mut self.connections[connection];
        ours.send(&request(&[end]))?;
        let reply = ours.reply()?.with_context(|| format!("closed at {end}"))?;
        redis.send(&request(&["DISCARD"]))?;
        redis.reply()?.context("closed at DISCARD")?;
        self.queued[connection].clear();
        // Keys of several slots come before an earlier refusal.
        let due = match end {
            "EXEC" => reply == ABORTED || reply.starts_with(b"-CROSSSLOT "),
            _ => reply == b"+OK\r\n",
        };
        ensure!(due, "{end} after {}: {}", self.told(), reply.escape_ascii());
        Ok(())
    }

    fn told(&self) -> String {
        self.last.iter().map(String::as_str).collect::<Vec<_>>().join("\n    ")
    }
}

fn master_of_all(spec: ServerSpec) -> Result<Server> {
    let server = Server::start(spec.with("enable-debug-command", "yes"))?;
    let mut client: Client = server.client()?;
    client.call(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])?;
    wait::until("the only master serves", Duration::from_secs(20), || {
        client.text(&["CLUSTER", "INFO"]).is_ok_and(|info| info.contains("cluster_state:ok"))
    })?;
    if client.text(&["CLUSTER", "INFO"])?.is_empty() {
        bail!("CLUSTER INFO is empty");
    }
    Ok(server)
}

/// As one line, quoted as redis-cli would.
fn inline(args: &[Vec<u8>]) -> Vec<u8> {
    let mut line = Vec::new();
    for arg in args {
        line.extend_from_slice(b" \"");
        for byte in arg {
            line.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
        line.push(b'"');
    }
    line.extend_from_slice(b"\r\n");
    line
}

fn show(args: &[Vec<u8>]) -> String {
    let texts: Vec<String> = args.iter().map(|arg| cut(&format!("\"{}\"", arg.escape_ascii()))).collect();
    texts.join(" ")
}

fn cut(text: &str) -> String {
    const LONG: usize = 600;
    if text.len() <= LONG { text.to_owned() } else { format!("{}… ({} bytes)", &text[..LONG], text.len()) }
}

//! What is said to the target: one command per key, pipelined; and what it answers.

use node_server_engine::log::put_command;
use node_server_engine::{Fate, Leaving, MigrateRequest};
use node_server_protocol::Millis;
use node_server_protocol::resp::{Reply, parse_reply};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// Bytes that are written and read at a time, about.
const PORTION: usize = 64 * 1024;

/// How the keys fared.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// The target has the key.
    pub(super) acknowledged: Vec<bool>,
    /// The target refused the key.
    answered: Vec<bool>,
    /// The command for the key may have reached the target, which has not answered it.
    unclear: Vec<bool>,
    /// The target has refused AUTH or SELECT.
    lost: bool,
    /// The target's first refusal.
    pub(super) refused: Option<String>,
    /// The reply to send, where the connection failed.
    pub(super) failed: Option<String>,
}

impl Sent {
    /// What is known of the `n`-th key.
    pub(super) fn fate(&self, n: usize) -> Fate {
        let is = |which: &[bool]| which.get(n).copied().unwrap_or(false);
        if is(&self.acknowledged) {
            Fate::Arrived
        } else if is(&self.unclear) {
            Fate::Unclear
        } else {
            Fate::Stayed
        }
    }

    pub(super) fn new(keys: usize) -> Self {
        let none = || vec![false; keys];
        Self {
            acknowledged: none(),
            answered: none(),
            unclear: none(),
            lost: false,
            refused: None,
            failed: None,
        }
    }
}

/// The connection ended before everything was answered.
#[derive(Debug)]
pub(super) enum Unfinished {
    /// By an error; the word is what was being done.
    Reset(&'static str),
    /// By the request's timeout.
    Silent(&'static str),
    /// What the target says is no RESP.
    Nonsense,
}

impl Unfinished {
    /// Redis's words.
    pub(super) fn reply(&self) -> String {
        let doing = match self {
            Self::Reset(doing) | Self::Silent(doing) => doing,
            Self::Nonsense => "reading",
        };
        format!("IOERR error or timeout {doing} to target instance")
    }
}

/// Sends every key that has not been answered yet, with what is left of its time to live at `now`. Returns the connection
/// if it can be used again.
pub(super) async fn send(
    mut stream: TcpStream,
    request: &MigrateRequest,
    cluster: bool,
    keys: &[Leaving],
    sent: &mut Sent,
    now: Millis,
) -> Result<TcpStream, Unfinished> {
    sent.lost = false;
    let timeout = Duration::from_millis(request.timeout_ms);
    let open: Vec<usize> = (0..keys.len()).filter(|n| !sent.answered[*n]).collect();
    let mut commands = Vec::new();
    for n in &open {
        let replace = request.replace || keys[*n].replace || sent.unclear[*n];
        commands.push((*n, replace));
        sent.unclear[*n] = true;
    }
    let mut preamble = Vec::new();
    let before = put_preamble(&mut preamble, request, cluster);
    let (reader, writer) = stream.split();
    let writing = write(writer, preamble, &commands, keys, (cluster, now), timeout);
    let reading = read(reader, before, &open, sent, timeout);
    let (written, answered) = tokio::join!(writing, reading);
    answered.and(written)?;
    Ok(stream)
}

/// AUTH, and SELECT where there are databases; how many replies they get.
fn put_preamble(out: &mut Vec<u8>, request: &MigrateRequest, cluster: bool) -> usize {
    let mut count = 0;
    if let Some((user, password)) = &request.auth {
        let mut args: Vec<&[u8]> = vec![b"AUTH"];
        args.extend(user.as_deref());
        args.push(password);
        put_command(out, &args);
        count += 1;
    }
    if !cluster {
        put_command(out, &[b"SELECT", request.db.to_string().as_bytes()]);
        count += 1;
    }
    count
}

async fn write(
    mut writer: WriteHalf<'_>,
    preamble: Vec<u8>,
    commands: &[(usize, bool)],
    keys: &[Leaving],
    (cluster, now): (bool, Millis),
    timeout: Duration,
) -> Result<(), Unfinished> {
    let restore: &[u8] = if cluster { b"RESTORE-ASKING" } else { b"RESTORE" };
    let mut out = preamble;
    let mut left = commands.iter().peekable();
    while let Some((n, replace)) = left.next() {
        let leaving @ Leaving { key, payload, .. } = &keys[*n];
        let to_live = leaving.ttl_ms(now);
        // A key that expired in 1970 is deleted by RESTORE.
        let ttl = to_live.unwrap_or(1).to_string();
        let mut args: Vec<&[u8]> = vec![restore, key, ttl.as_bytes(), payload];
        if *replace {
            args.push(b"REPLACE");
        }
        if to_live.is_none() {
            args.push(b"ABSTTL");
        }
        put_command(&mut out, &args);
        if out.len() >= PORTION || left.peek().is_none() {
            write_all(&mut writer, &out, timeout).await?;
            out.clear();
        }
    }
    Ok(())
}

/// Writes in portions, so that the timeout is for silence and not for the whole.
async fn write_all(writer: &mut WriteHalf<'_>, bytes: &[u8], timeout: Duration) -> Result<(), Unfinished> {
    for portion in bytes.chunks(PORTION) {
        match tokio::time::timeout(timeout, writer.write_all(portion)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Unfinished::Reset("writing")),
            Err(_) => return Err(Unfinished::Silent("writing")),
        }
    }
    Ok(())
}

async fn read(
    mut reader: ReadHalf<'_>,
    before: usize,
    open: &[usize],
    sent: &mut Sent,
    timeout: Duration,
) -> Result<(), Unfinished> {
    let mut buffer = Vec::with_capacity(PORTION);
    let mut answers = 0;
    let wanted = before + open.len();
    while answers < wanted {
        buffer.reserve(PORTION);
        match tokio::time::timeout(timeout, reader.read_buf(&mut buffer)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) => return Err(Unfinished::Reset("reading")),
            Err(_) => return Err(Unfinished::Silent("reading")),
        }
        let mut at = 0;
        while answers < wanted
            && let Some((reply, len)) = next(&buffer[at..]).map_err(|_| Unfinished::Nonsense)?
        {
            at += len;
            let key = answers.checked_sub(before).map(|n| open[n]);
            book(sent, key, reply);
            answers += 1;
        }
        buffer.drain(..at);
    }
    Ok(())
}

fn next(buffer: &[u8]) -> io::Result<Option<(Reply, usize)>> {
    const OK: &[u8] = b"+OK\r\n";
    if buffer.starts_with(OK) {
        return Ok(Some((Reply::Simple(String::new()), OK.len())));
    }
    parse_reply(buffer).map_err(io::Error::other)
}

/// Notes an answer; `key`: which one it is about, `None` for AUTH and SELECT.
fn book(sent: &mut Sent, key: Option<usize>, reply: Reply) {
    let refusal = match reply {
        Reply::Simple(_) => None,
        Reply::Error(text) => Some(text),
        other => Some(format!("unexpected reply {other:?}")),
    };
    if let Some(n) = key {
        sent.answered[n] = true;
        // Behind a refused AUTH or SELECT a key may have gone where it does not belong: it is not given up here.
        sent.unclear[n] = refusal.is_none() && sent.lost;
        sent.acknowledged[n] = refusal.is_none() && !sent.lost;
    } else {
        sent.lost |= refusal.is_some();
    }
    if sent.refused.is_none() {
        sent.refused = refusal;
    }
}

#[cfg(test)]
mod tests;

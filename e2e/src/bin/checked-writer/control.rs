//! How `start`, `progress` and `stop` reach the writer that serves: a line of JSON each way over loopback.

use crate::How;
use anyhow::{Context, Result, bail, ensure};
use e2e::writer::Writer;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader as SyncReader, Write};
use std::net::TcpStream as SyncStream;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

/// Where it listens: the pod's loopback is its own.
const ADDRESS: &str = "127.0.0.1:7070";
/// Longest request in bytes.
const REQUEST_MAX: u64 = 64 * 1024;

/// What may be asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Begin to write.
    Start(How),
    /// How far it is.
    Progress,
    /// Stop, check and report.
    Stop,
}

/// Serves until SIGTERM.
pub(crate) async fn serve() -> Result<()> {
    let listener = TcpListener::bind(ADDRESS).await.context("another one serves here")?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut writer = None;
    loop {
        tokio::select! {
            _ = terminated.recv() => return Ok(()),
            accepted = listener.accept() => answer(accepted?.0, &mut writer).await?,
        }
    }
}

/// One at a time: a check takes as long as it takes.
async fn answer(stream: TcpStream, writer: &mut Option<Writer>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    (&mut stream).take(REQUEST_MAX).read_line(&mut line).await?;
    let reply = match serde_json::from_str(&line).map_err(anyhow::Error::from) {
        Ok(request) => obey(request, writer).await,
        Err(error) => Err(error),
    };
    let reply = match reply {
        Ok(value) => json!({"ok": value}),
        Err(error) => json!({"error": format!("{error:#}")}),
    };
    // Who asked may have gone: that must not end the writer.
    let _ = stream.write_all(format!("{reply}\n").as_bytes()).await;
    Ok(())
}

async fn obey(request: Request, writer: &mut Option<Writer>) -> Result<Value> {
    match request {
        Request::Start(how) => {
            ensure!(writer.is_none(), "a writer is at work already");
            *writer = Some(Writer::start(how.options()).await?);
            Ok(Value::Null)
        }
        Request::Progress => {
            let writer = writer.as_ref().context("no writer is at work")?;
            let (acknowledged, gap) = (writer.acknowledged(), writer.take_recent_gap());
            Ok(json!({"acknowledged": acknowledged, "gap_ms": gap}))
        }
        Request::Stop => {
            let report = writer.take().context("no writer is at work")?.finish().await?;
            Ok(serde_json::to_value(report)?)
        }
    }
}

/// Asks the one that serves.
pub(crate) fn ask(request: &Request) -> Result<String> {
    let mut stream = SyncStream::connect(ADDRESS).context("none serves here")?;
    writeln!(stream, "{}", serde_json::to_string(request)?)?;
    let mut line = String::new();
    SyncReader::new(stream).read_line(&mut line)?;
    let mut reply: Value = serde_json::from_str(&line).context("the one that serves has ended")?;
    match reply.get_mut("ok") {
        Some(value) => Ok(value.take().to_string()),
        None => bail!("{}", reply["error"].as_str().unwrap_or("no answer")),
    }
}

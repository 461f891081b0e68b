//! One MIGRATE from the marking of its keys to their end.

use super::pool::Pool;
use super::target::{Sent, Unfinished, send};
use crate::node::{Node, now};
use node_server_engine::command::CommandResult;
use node_server_engine::{Engine, Fate, Leaving, MigrateBegin, MigrateRequest, Migration};
use node_server_protocol::Millis;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How soon a slot that is locked, or keys that are on their way already, are tried again.
const SOON: Duration = Duration::from_millis(1);

/// Moves the keys; the reply.
pub(super) async fn run(node: &Node, pool: &Pool, db: u16, request: &MigrateRequest) -> Vec<u8> {
    let engine = &node.engine;
    let deadline = now().after(request.timeout_ms);
    let migration = match begin(engine, db, request, deadline).await {
        Ok(migration) => migration,
        Err(reply) => return reply,
    };
    let mut sent = Sent::new(migration.keys.len());
    match replicated(node, &migration).await {
        Ok(()) => deliver(engine, pool, request, &migration.keys, &mut sent).await,
        Err(refusal) => sent.failed = Some(refusal.to_string()),
    }
    let fates = (0..migration.keys.len()).map(|n| sent.fate(n)).collect();
    if let Some(offset) = end(engine, migration, fates).await {
        on_disk(engine, offset).await;
    }
    reply(&sent)
}

/// Marks the keys, or says what to reply instead.
async fn begin(
    engine: &Arc<Engine>,
    db: u16,
    request: &MigrateRequest,
    deadline: Millis,
) -> Result<Migration, Vec<u8>> {
    loop {
        match engine.migrate_begin(request, db, now()) {
            Ok(MigrateBegin::Send(migration)) => return Ok(migration),
            Ok(MigrateBegin::NoKey) => return Err(b"+NOKEY\r\n".to_vec()),
            Ok(MigrateBegin::Busy) if now() >= deadline => {
                return Err(error(
                    "TRYAGAIN The slot is busy or its keys are on their way already, try again",
                ));
            }
            Ok(MigrateBegin::Busy) => tokio::time::sleep(SOON).await,
            Err(refusal) => return Err(error(&refusal.to_string())),
        }
    }
}

/// Until the keys may be sent, or never: another master may have been elected meanwhile.
async fn replicated(node: &Node, migration: &Migration) -> CommandResult {
    let engine = &node.engine;
    if engine.may_send(migration, now()) {
        return Ok(());
    }
    node.replication.want_ack(migration.written);
    loop {
        tokio::time::sleep(SOON).await;
        if engine.may_send(migration, now())
            && let Some(answers) = engine.still_answers_for(migration)
        {
            return answers;
        }
    }
}

/// Sends the keys. A kept connection may have been closed by the target just now: then once more on a new one, where
/// keys whose fate is unknown replace what may be there already. They are still marked here, so nobody can have changed
/// them there.
async fn deliver(
    engine: &Arc<Engine>,
    pool: &Pool,
    request: &MigrateRequest,
    keys: &[Leaving],
    sent: &mut Sent,
) {
    let cluster = engine.is_cluster();
    let (connection, kept) = match pool.connect(request).await {
        Ok(connection) => connection,
        Err(error) => {
            sent.failed = Some(not_connected(&error).into());
            return;
        }
    };
    let mut outcome = send(connection, request, cluster, keys, sent, now()).await;
    if kept
        && matches!(outcome, Err(Unfinished::Reset(_)))
        && let Ok(connection) = pool.connect_anew(request).await
    {
        outcome = send(connection, request, cluster, keys, sent, now()).await;
    }
    match outcome {
        Ok(connection) => pool.keep(request, connection),
        Err(unfinished) => sent.failed = Some(unfinished.reply()),
    }
}

/// Redis notices a refused connection only when it writes, and says so.
fn not_connected(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "IOERR error or timeout writing to target instance",
        _ => "IOERR error or timeout connecting to the client",
    }
}

/// `appendfsync always`: the keys must not be here again after a crash when the reply says that they are there.
async fn on_disk(engine: &Engine, offset: u64) {
    while engine.durability().passed() < offset && !engine.is_replica() {
        tokio::time::sleep(SOON).await;
    }
}

/// Deletes what has arrived and lets go of the rest. The log offset behind the deletion, if there was one.
async fn end(engine: &Arc<Engine>, mut migration: Migration, fates: Vec<Fate>) -> Option<u64> {
    let fates = Arc::new(fates);
    loop {
        let (engine, fates) = (Arc::clone(engine), Arc::clone(&fates));
        // It may wait for the slot, which other jobs should not.
        let ended = tokio::task::spawn_blocking(move || {
            engine.migrate_end(migration, |n| fates.get(n).copied().unwrap_or(Fate::Unclear), now())
        });
        match ended.await {
            Ok(Ok(offset)) => return offset,
            Ok(Err(held_back)) => migration = held_back.0,
            Err(error) => {
                tracing::error!("the end of a MIGRATE failed: {error}; its keys stay marked");
                return None;
            }
        }
        tokio::time::sleep(SOON).await;
    }
}

fn reply(sent: &Sent) -> Vec<u8> {
    match (&sent.failed, &sent.refused) {
        (Some(text), _) => error(text),
        (None, Some(text)) => error(&format!("ERR Target instance replied with error: {text}")),
        (None, None) => b"+OK\r\n".to_vec(),
    }
}

fn error(text: &str) -> Vec<u8> {
    format!("-{text}\r\n").into_bytes()
}

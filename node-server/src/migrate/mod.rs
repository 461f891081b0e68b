//! MIGRATE's way over the network (design, The node, 11), on a thread of its own: the data threads only see that keys
//! are marked and, later, gone.

mod job;
mod pool;
mod target;

use crate::node::{Node, ToMigrate};
use anyhow::Context as _;
use pool::Pool;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Receiver;

/// Most MIGRATEs under way; the others wait in the queue.
const JOBS_MAX: usize = 64;
/// Threads for ends of migrations, which may wait for a slot.
const BLOCKING_THREADS: usize = 4;

/// Starts the thread. It ends when nobody can send to it any more.
///
/// # Errors
/// The system refuses threads.
pub(crate) fn start(node: Arc<Node>, requests: Receiver<ToMigrate>) -> anyhow::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .context("the MIGRATE thread's runtime")?;
    let thread = std::thread::Builder::new()
        .name("migrate".into())
        .spawn(move || runtime.block_on(run(node, requests)))?;
    Ok(thread)
}

async fn run(node: Arc<Node>, mut requests: Receiver<ToMigrate>) {
    let pool = Arc::new(Pool::default());
    let jobs = Arc::new(Semaphore::new(JOBS_MAX));
    while let Some(ToMigrate { reply_to, request, db, .. }) = requests.recv().await {
        // Closed never: the semaphore lives as long as this loop.
        let Ok(permit) = Arc::clone(&jobs).acquire_owned().await else { return };
        let (node, pool) = (Arc::clone(&node), Arc::clone(&pool));
        tokio::spawn(async move {
            let reply = job::run(&node, &pool, db, &request).await;
            node.mailboxes.reply(reply_to, reply);
            drop(permit);
        });
    }
}

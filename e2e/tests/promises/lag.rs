//! How far a replica is behind: what bounds the loss of a SIGKILL.

use e2e::Client;
use e2e::client::info_field;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

/// Asks a master how long its log is, then its replica until it has as much, over and over, on a thread of its own.
pub(crate) struct LagWatch {
    stop: Arc<AtomicBool>,
    safe_at: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl LagWatch {
    /// Begins with connections to both. Times are in milliseconds since `started`.
    pub(crate) fn start(started: Instant, mut master: Client, mut replica: Client) -> Self {
        let (stop, safe_at) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, safe) = (Arc::clone(&stop), Arc::clone(&safe_at));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let at = millis(started);
                let Some(goal) = offset(&mut master, "master_repl_offset") else { return };
                while !stopped.load(Ordering::Relaxed) {
                    // It says nothing, or is a replica no more: what it had is not known.
                    let Some(has) = offset(&mut replica, "slave_repl_offset") else { return };
                    if has >= goal {
                        break;
                    }
                    std::thread::yield_now();
                }
                if !stopped.load(Ordering::Relaxed) {
                    safe.store(at, Ordering::Relaxed);
                }
            }
        });
        Self { stop, safe_at, thread }
    }

    /// The replica was seen to have everything at some moment.
    pub(crate) fn is_known(&self) -> bool {
        self.safe_at.load(Ordering::Relaxed) > 0
    }

    /// Ends. Whatever the master had acknowledged before this moment of the writer's run, its replica has.
    pub(crate) fn safe_at(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.safe_at.load(Ordering::Relaxed)
    }
}

/// Milliseconds since `started`, as the writer counts them.
pub(crate) fn millis(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap()
}

fn offset(client: &mut Client, field: &str) -> Option<u64> {
    info_field(&client.text(&["INFO", "replication"]).ok()?, field)?.parse().ok()
}

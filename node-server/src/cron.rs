//! Background work, `hz` times a second on a thread of its own: active expiry within a budget, samples for INFO.

use crate::huge_pages;
use crate::node::{Node, now};
use node_server_protocol::Millis;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Share of a round that active expiry may take at effort 1, in percent; 2 more for each further step (Redis:
/// ACTIVE_EXPIRE_CYCLE_SLOW_TIME_PERC).
const EXPIRE_PERCENT: u64 = 25;
/// How many keys are expired between two looks at the clock.
const EXPIRE_BATCH: usize = 1000;
/// `hz` is kept within these bounds, as in Redis.
const HZ: std::ops::RangeInclusive<u64> = 1..=500;

/// Starts the thread. It ends when the node stops.
///
/// # Errors
/// The system has no more threads.
pub fn start(node: Arc<Node>) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("cron".into()).spawn(move || run(&node))
}

fn run(node: &Node) {
    while !node.is_stopping() {
        let settings = node.config.settings();
        let round_ms = 1000 / settings.hz.clamp(*HZ.start(), *HZ.end());
        let began = now();
        let percent = EXPIRE_PERCENT + 2 * (settings.active_expire_effort - 1);
        tick(node, began, Duration::from_micros(round_ms * 1000 * percent / 100));
        crate::log::set_replica(node.engine.is_replica());
        node.persistence.watch(&node.engine, &node.config, now());
        sample(node);
        huge_pages::allow_for(node.used_memory());
        node.note_round(now());
        let took = now().since(began);
        std::thread::sleep(Duration::from_millis(round_ms.saturating_sub(took).max(1)));
    }
}

/// Ends pauses whose time is over, and expires keys until none is due or the budget is used up.
fn tick(node: &Node, began: Millis, budget: Duration) {
    let started = Instant::now();
    loop {
        let batch = if node.active_expire.load(Ordering::Relaxed) { EXPIRE_BATCH } else { 0 };
        let expired = node.engine.tick(began, batch);
        if expired < EXPIRE_BATCH || started.elapsed() >= budget {
            return;
        }
    }
}

fn sample(node: &Node) {
    let stats = &node.stats;
    let totals = [
        stats.commands.get(),
        stats.input_bytes.get(),
        stats.output_bytes.get(),
        stats.replication_input_bytes.get(),
        stats.replication_output_bytes.get(),
    ];
    node.rates.sample(now().0, totals, node.used_memory());
}

//! Sections that count: stats, commands, errors, keyspace.

use super::text::InfoText;
use crate::node::Node;
use crate::rates::Rate;
use node_server_engine::command::{self, Command};
use node_server_protocol::{Millis, Slot};
use std::sync::atomic::{AtomicU64, Ordering};

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

pub(super) fn stats(node: &Node, _: Millis, out: &mut InfoText) {
    let (stats, rates) = (&node.stats, &node.rates);
    let counters = node.engine.counters();
    let kilobytes = |rate| format!("{:.2}", rates.per_second(rate) as f64 / 1024.0);
    out.heading("Stats");
    out.field("total_connections_received", stats.connections.get());
    out.field("total_commands_processed", stats.commands.get());
    out.field("instantaneous_ops_per_sec", rates.per_second(Rate::Commands));
    out.field("total_net_input_bytes", stats.input_bytes.get() + stats.replication_input_bytes.get());
    out.field("total_net_output_bytes", stats.output_bytes.get() + stats.replication_output_bytes.get());
    out.field("total_net_repl_input_bytes", stats.replication_input_bytes.get());
    out.field("total_net_repl_output_bytes", stats.replication_output_bytes.get());
    out.field("instantaneous_input_kbps", kilobytes(Rate::Input));
    out.field("instantaneous_output_kbps", kilobytes(Rate::Output));
    out.field("instantaneous_input_repl_kbps", kilobytes(Rate::ReplicationInput));
    out.field("instantaneous_output_repl_kbps", kilobytes(Rate::ReplicationOutput));
    out.field("rejected_connections", stats.rejected.get());
    out.field("sync_full", stats.full_syncs.get());
    out.field("sync_partial_ok", stats.partial_syncs.get());
    out.field("sync_partial_err", stats.partial_syncs_refused.get());
    out.field("expired_keys", load(&counters.expired));
    out.field("evicted_keys", 0);
    out.field("evicted_clients", 0);
    out.field("keyspace_hits", load(&counters.hits));
    out.field("keyspace_misses", load(&counters.misses));
    out.field("pubsub_channels", 0);
    out.field("pubsub_patterns", 0);
    out.field("latest_fork_usec", 0);
    out.field("total_forks", 0);
    out.field("migrate_cached_sockets", stats.migrate_sockets.get());
    out.field("total_error_replies", stats.errors.total());
    out.field("client_query_buffer_limit_disconnections", stats.query_limit_closed.get());
    out.field("client_output_buffer_limit_disconnections", stats.output_limit_closed.get());
}

/// Commands are counted, not timed: a clock read per command would cost more than the command.
pub(super) fn command_stats(_: &Node, _: Millis, out: &mut InfoText) {
    out.heading("Commandstats");
    for command in command::all() {
        command_line(command, out);
        for subcommand in command.subcommands.values() {
            command_line(subcommand, out);
        }
    }
}

fn command_line(command: &Command, out: &mut InfoText) {
    let (calls, rejected, failed) = (load(&command.calls), load(&command.rejected), load(&command.failed));
    if calls + rejected + failed > 0 {
        let line = format!(
            "calls={calls},usec=0,usec_per_call=0.00,rejected_calls={rejected},failed_calls={failed}"
        );
        out.field(&format!("cmdstat_{}", command.spec.name), line);
    }
}

pub(super) fn error_stats(node: &Node, _: Millis, out: &mut InfoText) {
    out.heading("Errorstats");
    for (code, count) in node.stats.errors.by_code() {
        out.field(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

pub(super) fn latency_stats(_: &Node, _: Millis, out: &mut InfoText) {
    out.heading("Latencystats");
}

pub(super) fn keyspace(node: &Node, _: Millis, out: &mut InfoText) {
    let keyspace = node.engine.keyspace();
    out.heading("Keyspace");
    if node.engine.is_cluster() {
        database_line(0, keyspace.len(), keyspace.volatile(), out);
        return;
    }
    for slot in (0..node.engine.databases()).filter_map(Slot::new) {
        database_line(slot.number(), keyspace.slot_len(slot), keyspace.slot_volatile(slot), out);
    }
}

fn database_line(database: u16, keys: u64, expires: u64, out: &mut InfoText) {
    if keys > 0 {
        out.field(&format!("db{database}"), format_args!("keys={keys},expires={expires},avg_ttl=0"));
    }
}

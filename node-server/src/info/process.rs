//! Sections about the process: server, clients, memory, persistence, CPU, modules, cluster.

use super::text::InfoText;
use super::{REDIS_VERSION, system};
use crate::clients::Kind;
use crate::node::Node;
use node_server_protocol::Millis;

pub(super) fn server(node: &Node, now: Millis, out: &mut InfoText) {
    let settings = node.config.settings();
    let uptime = now.since(node.started) / 1000;
    let executable = std::env::current_exe().map(|p| p.display().to_string()).unwrap_or_default();
    out.heading("Server");
    out.field("redis_version", REDIS_VERSION);
    out.field("slotkeeper_version", env!("CARGO_PKG_VERSION"));
    out.field("redis_git_sha1", "00000000");
    out.field("redis_git_dirty", 0);
    out.field("redis_build_id", "0");
    out.field("redis_mode", if settings.cluster_enabled { "cluster" } else { "standalone" });
    out.field("os", system::operating_system());
    out.field("arch_bits", usize::BITS);
    out.field("multiplexing_api", "epoll");
    out.field("process_id", std::process::id());
    out.field("process_supervised", "no");
    out.field("run_id", node.run_id);
    out.field("tcp_port", settings.port);
    out.field("server_time_usec", now.0 * 1000);
    out.field("uptime_in_seconds", uptime);
    out.field("uptime_in_days", uptime / 86_400);
    out.field("hz", settings.hz);
    out.field("configured_hz", settings.hz);
    out.field("lru_clock", (now.0 / 1000) & 0x00ff_ffff);
    out.field("executable", executable);
    out.field("config_file", node.config.file().map(|f| f.display().to_string()).unwrap_or_default());
    let zone = &settings.announced.availability_zone;
    if !zone.is_empty() {
        out.field("availability_zone", zone);
    }
    out.field("io_threads_active", u8::from(settings.data_threads > 1));
    if let Some(at) = node.shutdown_at() {
        out.field("shutdown_in_milliseconds", at.since(now));
    }
}

pub(super) fn clients(node: &Node, _: Millis, out: &mut InfoText) {
    // As in Redis, replicas are none of them, and the link to the master is one.
    let all: Vec<_> = node.clients.all().into_iter().filter(|c| c.kind != Kind::Replica).collect();
    let load = |bytes: &std::sync::atomic::AtomicU64| bytes.load(std::sync::atomic::Ordering::Relaxed);
    let blocked = all.iter().filter(|c| c.blocked.load(std::sync::atomic::Ordering::Relaxed)).count();
    out.heading("Clients");
    out.field("connected_clients", all.len());
    out.field("cluster_connections", node.stats.bus_links.get());
    out.field("maxclients", node.clients_max());
    out.field("client_recent_max_input_buffer", all.iter().map(|c| load(&c.input_bytes)).max().unwrap_or(0));
    out.field(
        "client_recent_max_output_buffer",
        all.iter().map(|c| load(&c.output_bytes)).max().unwrap_or(0),
    );
    out.field("blocked_clients", blocked);
    out.field("tracking_clients", 0);
    out.field("clients_in_timeout_table", 0);
}

pub(super) fn memory(node: &Node, _: Millis, out: &mut InfoText) {
    let settings = node.config.settings();
    let used = node.used_memory();
    let resident = system::resident_bytes();
    let peak = node.rates.memory_peak(used);
    out.heading("Memory");
    out.bytes("used_memory", used);
    out.bytes("used_memory_rss", resident);
    out.bytes("used_memory_peak", peak);
    out.field("used_memory_peak_perc", format_args!("{:.2}%", used as f64 * 100.0 / peak.max(1) as f64));
    out.field("used_memory_dataset", used);
    out.bytes("total_system_memory", system::total_memory());
    out.bytes("maxmemory", settings.maxmemory);
    out.field("maxmemory_policy", &settings.maxmemory_policy);
    out.field("mem_fragmentation_ratio", format_args!("{:.2}", resident as f64 / used.max(1) as f64));
    out.field("mem_fragmentation_bytes", resident.saturating_sub(used));
    // The backlog and what replicas have not taken yet are one, as in Redis 7.
    let log = node.engine.log().backlog().1;
    let (kept, waiting) = (log.min(settings.repl_backlog_size as usize), log);
    out.field("mem_total_replication_buffers", waiting);
    out.field("mem_clients_slaves", waiting - kept);
    out.field("mem_replication_backlog", kept);
    out.field("mem_allocator", "mimalloc");
    out.field("active_defrag_running", 0);
    out.field("lazyfree_pending_objects", 0);
}

pub(super) fn persistence(node: &Node, now: Millis, out: &mut InfoText) {
    let status = node.persistence.status.get();
    let word = |failed: bool| if failed { "err" } else { "ok" };
    let running = |since: Option<Millis>| since.map_or(-1, |at| (now.since(at) / 1000) as i64);
    let took = |ms: Option<u64>| ms.map_or(-1, |ms| (ms / 1000) as i64);
    out.heading("Persistence");
    out.field("loading", u8::from(node.engine.is_loading()));
    out.field("async_loading", 0);
    if let Some(progress) = node.loading.progress() {
        out.field("loading_start_time", progress.started.0 / 1000);
        out.field("loading_total_bytes", progress.total_bytes);
        out.field("loading_rdb_used_mem", 0);
        out.field("loading_loaded_bytes", progress.loaded_bytes);
        out.field("loading_loaded_perc", format_args!("{:.2}", progress.percent()));
        out.field("loading_eta_seconds", progress.eta_s(now));
    }
    out.field("rdb_changes_since_last_save", node.engine.changes().saturating_sub(status.saved_changes));
    out.field("rdb_bgsave_in_progress", u8::from(status.saving_since.is_some()));
    out.field("rdb_last_save_time", status.last_save.0 / 1000);
    out.field("rdb_last_bgsave_status", word(status.last_save_failed));
    out.field("rdb_last_bgsave_time_sec", took(status.last_save_ms));
    out.field("rdb_current_bgsave_time_sec", running(status.saving_since));
    out.field("rdb_saves", status.saves);
    out.field("aof_enabled", u8::from(status.aof_on));
    out.field("aof_rewrite_in_progress", u8::from(status.rewriting_since.is_some()));
    out.field("aof_rewrite_scheduled", u8::from(status.rewrite_scheduled));
    out.field("aof_last_rewrite_time_sec", took(status.last_rewrite_ms));
    out.field("aof_current_rewrite_time_sec", running(status.rewriting_since));
    out.field("aof_last_bgrewrite_status", word(status.last_rewrite_failed));
    out.field("aof_rewrites", status.rewrites);
    out.field("aof_last_write_status", word(status.aof_write_failed));
    if status.aof_on {
        out.field("aof_current_size", status.aof_size);
        out.field("aof_base_size", status.aof_base_size);
        out.field("aof_pending_rewrite", u8::from(status.rewrite_scheduled));
    }
}

pub(super) fn cpu(_: &Node, _: Millis, out: &mut InfoText) {
    let (user, system) = system::cpu_seconds();
    out.heading("CPU");
    out.field("used_cpu_sys", format_args!("{system:.6}"));
    out.field("used_cpu_user", format_args!("{user:.6}"));
    out.field("used_cpu_sys_children", "0.000000");
    out.field("used_cpu_user_children", "0.000000");
}

pub(super) fn modules(_: &Node, _: Millis, out: &mut InfoText) {
    out.heading("Modules");
}

pub(super) fn cluster(node: &Node, _: Millis, out: &mut InfoText) {
    out.heading("Cluster");
    out.field("cluster_enabled", u8::from(node.config.settings().cluster_enabled));
}

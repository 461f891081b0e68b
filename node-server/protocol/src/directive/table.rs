//! Every directive there is: one row each. Rows that nothing acts on yet are there because redis.conf files and test
//! suites name them; `rules` refuses those whose silent acceptance would do harm.

use super::kind::Kind;
use Kind::{
    Bool, Choice, Directory, Events, Hostname, Ipv4, Ipv6, Memory, MemoryOrPercent, Name, Number, Numbers,
    Octal, OutputLimits, Save, Text, Words,
};

/// When a directive may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// CONFIG SET changes it.
    Live,
    /// Only at the start.
    Start,
    /// CONFIG SET changes it when `enable-protected-configs` allows.
    Protected,
}

/// One row.
#[derive(Debug)]
pub struct Directive {
    /// Its name.
    pub name: &'static str,
    /// Its older name, which works as well.
    pub alias: Option<&'static str>,
    /// What its value may be.
    pub kind: Kind,
    /// Canonical value when nobody says anything.
    pub default: &'static str,
    /// When it may change.
    pub change: Change,
    /// Whether CONFIG GET with a pattern leaves it out (it has to be named).
    pub hidden: bool,
}

impl Directive {
    /// Whether `name` is this directive's name or alias, whatever the case.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.alias.is_some_and(|a| a.eq_ignore_ascii_case(name))
    }

    /// Whether its value is not for logs and error messages.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        SECRET.contains(&self.name)
    }
}

const fn live(name: &'static str, kind: Kind, default: &'static str) -> Directive {
    Directive { name, alias: None, kind, default, change: Change::Live, hidden: false }
}

const fn at_start(name: &'static str, kind: Kind, default: &'static str) -> Directive {
    Directive { change: Change::Start, ..live(name, kind, default) }
}

const fn protected(name: &'static str, kind: Kind, default: &'static str) -> Directive {
    Directive { change: Change::Protected, ..live(name, kind, default) }
}

const fn hidden(row: Directive) -> Directive {
    Directive { hidden: true, ..row }
}

const fn also(alias: &'static str, row: Directive) -> Directive {
    Directive { alias: Some(alias), ..row }
}

const INT: i64 = i32::MAX as i64;
const LONG: i64 = i64::MAX;
const PORT: Kind = Number(0, 65_535);
const WORDS_MAX: usize = 64;
const POLICIES: Kind = Choice(&[
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "noeviction",
]);
const ALLOW: Kind = Choice(&["no", "yes", "local"]);
const SHUTDOWN: Kind = Words(4);
const FACILITIES: Kind =
    Choice(&["user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"]);

/// The rows, by subject.
pub static DIRECTIVES: &[Directive] = &[
    // Process.
    at_start("daemonize", Bool, "no"),
    at_start("pidfile", Text, ""),
    at_start("logfile", Text, ""),
    live("loglevel", Choice(&["debug", "verbose", "notice", "warning"]), "notice"),
    at_start("set-proc-title", Bool, "yes"),
    at_start("proc-title-template", Text, "{title} {listen-addr} {server-mode}"),
    protected("dir", Directory, "."),
    at_start("supervised", Choice(&["no", "upstart", "systemd", "auto"]), "no"),
    at_start("always-show-logo", Bool, "no"),
    at_start("disable-thp", Bool, "no"),
    at_start("syslog-enabled", Bool, "no"),
    at_start("syslog-ident", Text, "redis"),
    at_start("syslog-facility", FACILITIES, "local0"),
    live("crash-log-enabled", Bool, "yes"),
    live("crash-memcheck-enabled", Bool, "yes"),
    hidden(live("use-exit-on-panic", Bool, "no")),
    live("hide-user-data-from-log", Bool, "yes"),
    live("oom-score-adj", Choice(&["no", "yes", "relative", "absolute"]), "no"),
    live("oom-score-adj-values", Numbers(3), "0 200 800"),
    at_start("server_cpulist", Text, ""),
    at_start("bio_cpulist", Text, ""),
    at_start("aof_rewrite_cpulist", Text, ""),
    at_start("bgsave_cpulist", Text, ""),
    at_start("ignore-warnings", Text, ""),
    live("shutdown-timeout", Number(0, INT), "10"),
    live("shutdown-on-sigterm", SHUTDOWN, "default"),
    live("shutdown-on-sigint", SHUTDOWN, "default"),
    at_start("enable-protected-configs", ALLOW, "no"),
    at_start("enable-debug-command", ALLOW, "no"),
    at_start("enable-module-command", ALLOW, "no"),
    hidden(live("enable-debug-assert", Bool, "no")),
    live("propagation-error-behavior", Choice(&["ignore", "panic", "panic-on-replicas"]), "ignore"),
    // Network.
    at_start("port", PORT, "6379"),
    at_start("admin-port", PORT, "0"),
    at_start("bind", Words(WORDS_MAX), "* -::*"),
    live("bind-source-addr", Text, ""),
    live("protected-mode", Bool, "yes"),
    at_start("tcp-backlog", Number(0, INT), "511"),
    live("tcp-keepalive", Number(0, INT), "300"),
    live("timeout", Number(0, INT), "0"),
    live("maxclients", Number(1, 4_294_967_295), "10000"),
    at_start("unixsocket", Text, ""),
    at_start("unixsocketperm", Octal, "0"),
    at_start("socket-mark-id", Number(0, 4_294_967_295), "0"),
    at_start("io-threads", Number(1, 128), "1"),
    at_start("io-threads-do-reads", Bool, "no"),
    live(
        "client-output-buffer-limit",
        OutputLimits,
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
    ),
    live("client-query-buffer-limit", Memory(1 << 20, LONG), "1073741824"),
    live("proto-max-bulk-len", Memory(1 << 20, 512 << 20), "536870912"),
    live("maxmemory-clients", MemoryOrPercent, "0"),
    live("tracking-table-max-keys", Number(0, LONG), "1000000"),
    // Access.
    live("requirepass", Text, ""),
    live("masterauth", Text, ""),
    live("masteruser", Text, ""),
    at_start("aclfile", Text, ""),
    live("acllog-max-len", Number(0, LONG), "128"),
    live("acl-pubsub-default", Choice(&["allchannels", "resetchannels"]), "resetchannels"),
    live("tls-port", PORT, "0"),
    live("tls-cluster", Bool, "no"),
    live("tls-replication", Bool, "no"),
    live("tls-auth-clients", Choice(&["no", "yes", "optional"]), "yes"),
    live("tls-cert-file", Text, ""),
    live("tls-key-file", Text, ""),
    live("tls-key-file-pass", Text, ""),
    live("tls-client-cert-file", Text, ""),
    live("tls-client-key-file", Text, ""),
    live("tls-client-key-file-pass", Text, ""),
    live("tls-dh-params-file", Text, ""),
    live("tls-ca-cert-file", Text, ""),
    live("tls-ca-cert-dir", Text, ""),
    live("tls-protocols", Text, ""),
    live("tls-ciphers", Text, ""),
    live("tls-ciphersuites", Text, ""),
    live("tls-prefer-server-ciphers", Bool, "no"),
    live("tls-session-caching", Bool, "yes"),
    live("tls-session-cache-size", Number(0, INT), "20480"),
    live("tls-session-cache-timeout", Number(0, INT), "300"),
    // Data.
    at_start("databases", Number(1, INT), "16"),
    live("maxmemory", Memory(0, LONG), "0"),
    live("maxmemory-policy", POLICIES, "noeviction"),
    live("maxmemory-samples", Number(1, INT), "5"),
    live("maxmemory-eviction-tenacity", Number(0, 100), "10"),
    live("lfu-log-factor", Number(0, INT), "10"),
    live("lfu-decay-time", Number(0, INT), "1"),
    live("hz", Number(0, INT), "10"),
    live("dynamic-hz", Bool, "yes"),
    live("active-expire-effort", Number(1, 10), "1"),
    live("lazyfree-lazy-eviction", Bool, "no"),
    live("lazyfree-lazy-expire", Bool, "no"),
    live("lazyfree-lazy-server-del", Bool, "no"),
    live("lazyfree-lazy-user-del", Bool, "no"),
    live("lazyfree-lazy-user-flush", Bool, "no"),
    live("activerehashing", Bool, "yes"),
    live("activedefrag", Bool, "no"),
    live("active-defrag-threshold-lower", Number(0, 1000), "10"),
    live("active-defrag-threshold-upper", Number(0, 1000), "100"),
    live("active-defrag-ignore-bytes", Memory(1, LONG), "104857600"),
    live("active-defrag-cycle-min", Number(1, 99), "1"),
    live("active-defrag-cycle-max", Number(1, 99), "25"),
    live("active-defrag-max-scan-fields", Number(1, LONG), "1000"),
    at_start("jemalloc-bg-thread", Bool, "yes"),
    also("hash-max-ziplist-entries", live("hash-max-listpack-entries", Number(0, LONG), "512")),
    also("hash-max-ziplist-value", live("hash-max-listpack-value", Memory(0, LONG), "64")),
    also("list-max-ziplist-size", live("list-max-listpack-size", Number(-INT, INT), "-2")),
    live("list-compress-depth", Number(0, INT), "0"),
    live("set-max-intset-entries", Number(0, LONG), "512"),
    live("set-max-listpack-entries", Number(0, LONG), "128"),
    live("set-max-listpack-value", Number(0, LONG), "64"),
    also("zset-max-ziplist-entries", live("zset-max-listpack-entries", Number(0, LONG), "128")),
    also("zset-max-ziplist-value", live("zset-max-listpack-value", Memory(0, LONG), "64")),
    live("hll-sparse-max-bytes", Memory(0, LONG), "3000"),
    live("stream-node-max-bytes", Memory(0, LONG), "4096"),
    live("stream-node-max-entries", Number(0, LONG), "100"),
    live("notify-keyspace-events", Events, ""),
    also("lua-time-limit", live("busy-reply-threshold", Number(0, LONG), "5000")),
    // Watching.
    live("slowlog-log-slower-than", Number(-1, LONG), "10000"),
    live("slowlog-max-len", Number(0, LONG), "128"),
    live("latency-monitor-threshold", Number(0, LONG), "0"),
    live("latency-tracking", Bool, "yes"),
    live("latency-tracking-info-percentiles", Words(WORDS_MAX), "50 99 99.9"),
    // Persistence.
    live("save", Save, "3600 1 300 100 60 10000"),
    live("appendonly", Bool, "no"),
    at_start("appendfilename", Text, "appendonly.aof"),
    at_start("appenddirname", Text, "appendonlydir"),
    live("appendfsync", Choice(&["everysec", "always", "no"]), "everysec"),
    live("no-appendfsync-on-rewrite", Bool, "no"),
    live("auto-aof-rewrite-percentage", Number(0, INT), "100"),
    live("auto-aof-rewrite-min-size", Memory(0, LONG), "67108864"),
    live("aof-load-truncated", Bool, "yes"),
    live("aof-use-rdb-preamble", Bool, "yes"),
    live("aof-timestamp-enabled", Bool, "no"),
    live("aof-disable-auto-gc", Bool, "no"),
    live("aof-rewrite-incremental-fsync", Bool, "yes"),
    live("rdbcompression", Bool, "yes"),
    at_start("rdbchecksum", Bool, "yes"),
    live("rdb-save-incremental-fsync", Bool, "yes"),
    live("rdb-del-sync-files", Bool, "no"),
    protected("dbfilename", Text, "dump.rdb"),
    live("stop-writes-on-bgsave-error", Bool, "yes"),
    live("sanitize-dump-payload", Choice(&["no", "yes", "clients"]), "no"),
    live("rdb-version-check", Choice(&["strict", "relaxed"]), "strict"),
    hidden(live("rdb-key-save-delay", Number(-INT, INT), "0")),
    hidden(live("loading-process-events-interval-bytes", Memory(1024, INT), "2097152")),
    // Replication. Every replica gets a snapshot of its own over the socket, and nobody waits for more replicas:
    // repl-diskless-sync and its delay, 0 and not 5 as in Redis, have no effect.
    at_start("replicaof", Words(2), ""),
    also("slave-serve-stale-data", live("replica-serve-stale-data", Bool, "yes")),
    also("slave-read-only", live("replica-read-only", Bool, "yes")),
    also("slave-ignore-maxmemory", live("replica-ignore-maxmemory", Bool, "yes")),
    also("slave-lazy-flush", live("replica-lazy-flush", Bool, "no")),
    also("slave-priority", live("replica-priority", Number(0, INT), "100")),
    also("slave-announce-ip", live("replica-announce-ip", Text, "")),
    also("slave-announce-port", live("replica-announce-port", PORT, "0")),
    live("replica-announced", Bool, "yes"),
    live("replica-ignore-disk-write-errors", Bool, "no"),
    also("min-slaves-to-write", live("min-replicas-to-write", Number(0, INT), "0")),
    also("min-slaves-max-lag", live("min-replicas-max-lag", Number(0, INT), "10")),
    also("repl-ping-slave-period", live("repl-ping-replica-period", Number(1, INT), "10")),
    live("repl-timeout", Number(1, INT), "60"),
    live("repl-backlog-size", Memory(1, LONG), "1048576"),
    live("repl-backlog-ttl", Number(0, LONG), "3600"),
    live("repl-diskless-sync", Bool, "yes"),
    live("repl-diskless-sync-delay", Number(0, INT), "0"),
    live("repl-diskless-sync-max-replicas", Number(0, INT), "0"),
    live(
        "repl-diskless-load",
        Choice(&["disabled", "on-empty-db", "swapdb", "flush-before-load"]),
        "disabled",
    ),
    live("dual-channel-replication-enabled", Bool, "no"),
    live("repl-disable-tcp-nodelay", Bool, "no"),
    hidden(live("key-load-delay", Number(-INT, INT), "0")),
    // Cluster.
    at_start("cluster-enabled", Bool, "no"),
    at_start("cluster-config-file", Text, "nodes.conf"),
    at_start("cluster-port", PORT, "0"),
    live("cluster-node-timeout", Number(0, LONG), "15000"),
    live("cluster-announce-ip", Text, ""),
    live("cluster-announce-port", PORT, "0"),
    live("cluster-announce-bus-port", PORT, "0"),
    live("cluster-announce-tls-port", PORT, "0"),
    live("cluster-announce-hostname", Hostname, ""),
    live("cluster-announce-human-nodename", Name("Announced human node name"), ""),
    live("cluster-announce-client-ipv4", Ipv4, ""),
    live("cluster-announce-client-ipv6", Ipv6, ""),
    live("cluster-announce-client-port", PORT, "0"),
    live("cluster-announce-client-tls-port", PORT, "0"),
    live("availability-zone", Name("Availability zone"), ""),
    live("cluster-preferred-endpoint-type", Choice(&["ip", "hostname", "unknown-endpoint"]), "ip"),
    live("cluster-require-full-coverage", Bool, "yes"),
    live("cluster-allow-reads-when-down", Bool, "no"),
    live("cluster-allow-pubsubshard-when-down", Bool, "yes"),
    also("cluster-slave-validity-factor", live("cluster-replica-validity-factor", Number(0, INT), "10")),
    also("cluster-slave-no-failover", live("cluster-replica-no-failover", Bool, "no")),
    live("cluster-allow-replica-migration", Bool, "yes"),
    live("cluster-migration-barrier", Number(0, INT), "1"),
    live("cluster-link-sendbuf-limit", Memory(0, LONG), "0"),
    hidden(live("cluster-ping-interval", Number(1, INT), "1000")),
    at_start("cluster-databases", Number(1, INT), "1"),
    live("cluster-slot-stats-enabled", Bool, "no"),
];

/// Directives whose values are not for logs and error messages.
static SECRET: &[&str] = &["masterauth", "requirepass", "tls-client-key-file-pass", "tls-key-file-pass"];

/// Directives that something acts on. The others are known by name, kind and default, and are said to have no effect
/// when somebody sets them (`rules::without_effect`).
pub static ACTED_ON: &[&str] = &[
    "active-expire-effort",
    "admin-port",
    "aof-disable-auto-gc",
    "aof-load-truncated",
    "aof-timestamp-enabled",
    "appenddirname",
    "appendfilename",
    "appendfsync",
    "appendonly",
    "auto-aof-rewrite-min-size",
    "auto-aof-rewrite-percentage",
    "availability-zone",
    "bind",
    "client-output-buffer-limit",
    "client-query-buffer-limit",
    "cluster-allow-reads-when-down",
    "cluster-allow-replica-migration",
    "cluster-announce-bus-port",
    "cluster-announce-client-ipv4",
    "cluster-announce-client-ipv6",
    "cluster-announce-client-port",
    "cluster-announce-client-tls-port",
    "cluster-announce-hostname",
    "cluster-announce-human-nodename",
    "cluster-announce-ip",
    "cluster-announce-port",
    "cluster-config-file",
    "cluster-databases",
    "cluster-enabled",
    "cluster-link-sendbuf-limit",
    "cluster-migration-barrier",
    "cluster-node-timeout",
    "cluster-port",
    "cluster-preferred-endpoint-type",
    "cluster-replica-no-failover",
    "cluster-replica-validity-factor",
    "cluster-require-full-coverage",
    "daemonize",
    "databases",
    "dbfilename",
    "dir",
    "disable-thp",
    "enable-debug-command",
    "enable-protected-configs",
    "hz",
    "io-threads",
    "key-load-delay",
    "logfile",
    "loglevel",
    "masterauth",
    "masteruser",
    "maxclients",
    "min-replicas-max-lag",
    "min-replicas-to-write",
    "no-appendfsync-on-rewrite",
    "pidfile",
    "port",
    "proc-title-template",
    "protected-mode",
    "proto-max-bulk-len",
    "rdbchecksum",
    "rdbcompression",
    "repl-backlog-size",
    "repl-backlog-ttl",
    "repl-ping-replica-period",
    "repl-timeout",
    "replica-announce-ip",
    "replica-announce-port",
    "replica-priority",
    "replica-serve-stale-data",
    "replicaof",
    "requirepass",
    "save",
    "stop-writes-on-bgsave-error",
    "set-proc-title",
    "shutdown-timeout",
    "tcp-backlog",
    "tcp-keepalive",
    "timeout",
];

/// Directives that are no settings but instructions to the reader of the file; `rules` refuses most.
pub static INSTRUCTIONS: &[&str] = &["include", "loadmodule", "rename-command", "user"];

/// The row and its index by name or alias, whatever the case.
#[must_use]
pub fn find(name: &str) -> Option<(usize, &'static Directive)> {
    // `slaveof` differs from the other aliases: CONFIG GET knows it, and nothing else begins like it.
    let name = if name.eq_ignore_ascii_case("slaveof") { "replicaof" } else { name };
    DIRECTIVES.iter().enumerate().find(|(_, d)| d.is_called(name))
}

/// The index of a row that exists. Panics for a name that is in no row; `settings` and the tests name them all.
#[must_use]
pub fn index(name: &str) -> usize {
    find(name).map(|(i, _)| i).expect("only names of rows are asked for")
}

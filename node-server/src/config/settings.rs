//! The configuration as typed values, for those who act on it. Made anew for every change.

use super::values::Values;
use node_server_engine::MasterAddress;
use std::path::PathBuf;

/// Whether a guarded command is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Never.
    No,
    /// To every client.
    Yes,
    /// To clients on this machine.
    Local,
}

/// `appendfsync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// No reply leaves before what it depends on is on the disk.
    Always,
    /// Once a second.
    EverySecond,
    /// When the system likes.
    No,
}

/// A class of `client-output-buffer-limit`; zeros: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    /// Closed at once above this many bytes.
    pub hard: u64,
    /// Closed when above this many bytes...
    pub soft: u64,
    /// ...for this many seconds.
    pub soft_seconds: u64,
}

/// How the append-only file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AofForm {
    /// `aof-timestamp-enabled`: `#TS:` lines say when what follows was written.
    pub timestamps: bool,
    /// `no-appendfsync-on-rewrite`: while a rewrite or a save is under way, as with `appendfsync no`.
    pub unsynced_on_rewrite: bool,
    /// `aof-disable-auto-gc`: files that a rewrite has made history stay, for tests.
    pub keeps_history: bool,
}

impl AofForm {
    fn from_values(v: &Values) -> Self {
        Self {
            timestamps: v.is_yes("aof-timestamp-enabled"),
            unsynced_on_rewrite: v.is_yes("no-appendfsync-on-rewrite"),
            keeps_history: v.is_yes("aof-disable-auto-gc"),
        }
    }
}

/// How RDB is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RdbForm {
    /// `rdbchecksum`: with a checksum, which is compared when it is read.
    pub checksum: bool,
    /// `rdbcompression`: with long strings compressed.
    pub compression: bool,
}

/// A value that is not for logs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "***" })
    }
}

/// What the server does; a field per directive that something acts on. Times in the unit of the field's name.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `port`; 0: no client port.
    pub port: u16,
    /// `admin-port`: HTTP for probes; 0: none.
    pub admin_port: u16,
    /// `bind`, as given: addresses, `*`, `-::*` (a leading dash: no error when the address is not there).
    pub bind: Vec<String>,
    /// `dir`: where nodes.conf is.
    pub dir: PathBuf,
    /// `disable-thp`: no huge pages, whatever the size of the data.
    pub disable_thp: bool,
    /// `cluster-enabled`.
    pub cluster_enabled: bool,
    /// `cluster-config-file`, relative to `dir`.
    pub cluster_config_file: PathBuf,
    /// `cluster-node-timeout`.
    pub cluster_node_timeout_ms: u64,
    /// `cluster-port`; 0: client port + 10000.
    pub cluster_port: u16,
    /// `cluster-announce-ip`, empty: as seen by others.
    pub cluster_announce_ip: String,
    /// `cluster-announce-port`; 0: `port`.
    pub cluster_announce_port: u16,
    /// `cluster-announce-bus-port`; 0: the bus port.
    pub cluster_announce_bus_port: u16,
    /// `cluster-announce-hostname`, empty: none.
    pub cluster_announce_hostname: String,
    /// What clients and people are told of this node.
    pub announced: Announced,
    /// `cluster-preferred-endpoint-type`: `ip`, `hostname` or `unknown-endpoint`.
    pub cluster_preferred_endpoint_type: String,
    /// `cluster-require-full-coverage`.
    pub cluster_require_full_coverage: bool,
    /// `cluster-allow-reads-when-down`.
    pub cluster_allow_reads_when_down: bool,
    /// `cluster-replica-validity-factor`.
    pub cluster_replica_validity_factor: u64,
    /// `cluster-replica-no-failover`.
    pub cluster_replica_no_failover: bool,
    /// `cluster-allow-replica-migration`.
    pub cluster_allow_replica_migration: bool,
    /// `cluster-migration-barrier`.
    pub cluster_migration_barrier: u64,
    /// `repl-ping-replica-period`.
    pub repl_ping_replica_period_s: u64,
    /// `repl-timeout`.
    pub repl_timeout_s: u64,
    /// `repl-backlog-size` in bytes.
    pub repl_backlog_size: u64,
    /// `repl-backlog-ttl`.
    pub repl_backlog_ttl_s: u64,
    /// `replica-announce-ip`, empty: as seen by the master.
    pub replica_announce_ip: String,
    /// `replica-announce-port`; 0: `port`.
    pub replica_announce_port: u16,
    /// `replicaof`: whom to follow, without cluster mode.
    pub replicaof: Option<MasterAddress>,
    /// `replica-serve-stale-data`: a replica without its master answers reads.
    pub replica_serve_stale_data: bool,
    /// `cluster-link-sendbuf-limit` in bytes; 0: no limit.
    pub cluster_link_sendbuf_limit: u64,
    /// `replica-priority`.
    pub replica_priority: u64,
    /// `requirepass`; empty: clients are served without.
    pub requirepass: Secret,
    /// `masterauth`: what this node says to its master; empty: nothing.
    pub masterauth: Secret,
    /// `masteruser`; empty: the default user.
    pub masteruser: String,
    /// `min-replicas-to-write`; 0: writes need no replica.
    pub min_replicas_to_write: u64,
    /// `min-replicas-max-lag`; 0: writes need no replica.
    pub min_replicas_max_lag_s: u64,
    /// `protected-mode`.
    pub protected_mode: bool,
    /// `maxclients`.
    pub maxclients: u64,
    /// `timeout`; 0: idle clients stay.
    pub timeout_s: u64,
    /// `tcp-keepalive`; 0: none.
    pub tcp_keepalive_s: u64,
    /// `tcp-backlog`.
    pub tcp_backlog: i32,
    /// `io-threads`: how many data threads.
    pub data_threads: usize,
    /// `proto-max-bulk-len` in bytes.
    pub proto_max_bulk_len: u64,
    /// `client-query-buffer-limit` in bytes.
    pub query_buffer_limit: u64,
    /// `client-output-buffer-limit`: normal, slave, pubsub.
    pub output_limits: [OutputLimit; 3],
    /// `appendonly`.
    pub appendonly: bool,
    /// `appendfilename`: the beginning of the names of the append-only file's parts.
    pub appendfilename: String,
    /// `appenddirname`, in `dir`.
    pub appenddirname: String,
    /// `appendfsync`.
    pub appendfsync: Fsync,
    /// `aof-load-truncated`: a file that ends in the middle of a record is cut and loaded.
    pub aof_load_truncated: bool,
    /// How the append-only file is written.
    pub aof: AofForm,
    /// `auto-aof-rewrite-percentage`; 0: never.
    pub auto_aof_rewrite_percentage: u64,
    /// `auto-aof-rewrite-min-size` in bytes.
    pub auto_aof_rewrite_min_size: u64,
    /// `key-load-delay`: microseconds behind each key that is loaded, for tests.
    pub key_load_delay_us: i64,
    /// `dbfilename`, in `dir`.
    pub dbfilename: String,
    /// `save`: seconds and changes.
    pub save: Vec<(u64, u64)>,
    /// How RDB is written.
    pub rdb: RdbForm,
    /// `stop-writes-on-bgsave-error`.
    pub stop_writes_on_bgsave_error: bool,
    /// `databases`, without cluster mode.
    pub databases: u64,
    /// `maxmemory` in bytes; 0: no limit.
    pub maxmemory: u64,
    /// `maxmemory-policy`.
    pub maxmemory_policy: String,
    /// `hz`: rounds of background work per second.
    pub hz: u64,
    /// `active-expire-effort`, 1 to 10.
    pub active_expire_effort: u64,
    /// `loglevel`.
    pub loglevel: String,
    /// `enable-protected-configs`.
    pub enable_protected_configs: Allow,
    /// `enable-debug-command`.
    pub enable_debug_command: Allow,
    /// `shutdown-timeout`: the longest that a handover at SIGTERM may take.
    pub shutdown_timeout_s: u64,
}

/// What a node says of itself to clients and people beyond its address and host name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// `cluster-announce-human-nodename`, empty: none.
    pub human_nodename: String,
    /// `cluster-announce-client-ipv4`, empty: as the node's own address.
    pub client_ipv4: String,
    /// `cluster-announce-client-ipv6`, empty: as the node's own address.
    pub client_ipv6: String,
    /// `cluster-announce-client-port`; 0: as the node's own port.
    pub client_port: u16,
    /// `cluster-announce-client-tls-port`; 0: none.
    pub client_tls_port: u16,
    /// `availability-zone`, empty: none.
    pub availability_zone: String,
}

impl Announced {
    fn from_values(v: &Values) -> Self {
        Self {
            human_nodename: v.get("cluster-announce-human-nodename").into(),
            client_ipv4: v.get("cluster-announce-client-ipv4").into(),
            client_ipv6: v.get("cluster-announce-client-ipv6").into(),
            client_port: v.port("cluster-announce-client-port"),
            client_tls_port: v.port("cluster-announce-client-tls-port"),
            availability_zone: v.get("availability-zone").into(),
        }
    }
}

impl Settings {
    /// The typed view of `v`.
    #[must_use]
    pub fn from_values(v: &Values) -> Self {
        Self {
            port: v.port("port"),
            admin_port: v.port("admin-port"),
            bind: v.get("bind").split_whitespace().map(String::from).collect(),
            dir: v.get("dir").into(),
            disable_thp: v.is_yes("disable-thp"),
            cluster_enabled: v.is_yes("cluster-enabled"),
            cluster_config_file: v.get("cluster-config-file").into(),
            cluster_node_timeout_ms: v.unsigned("cluster-node-timeout"),
            cluster_port: v.port("cluster-port"),
            cluster_announce_ip: v.get("cluster-announce-ip").into(),
            cluster_announce_port: v.port("cluster-announce-port"),
            cluster_announce_bus_port: v.port("cluster-announce-bus-port"),
            cluster_announce_hostname: v.get("cluster-announce-hostname").into(),
            announced: Announced::from_values(v),
            cluster_preferred_endpoint_type: v.get("cluster-preferred-endpoint-type").into(),
            cluster_require_full_coverage: v.is_yes("cluster-require-full-coverage"),
            cluster_allow_reads_when_down: v.is_yes("cluster-allow-reads-when-down"),
            cluster_replica_validity_factor: v.unsigned("cluster-replica-validity-factor"),
            cluster_replica_no_failover: v.is_yes("cluster-replica-no-failover"),
            cluster_allow_replica_migration: v.is_yes("cluster-allow-replica-migration"),
            cluster_migration_barrier: v.unsigned("cluster-migration-barrier"),
            repl_ping_replica_period_s: v.unsigned("repl-ping-replica-period"),
            repl_timeout_s: v.unsigned("repl-timeout"),
            repl_backlog_size: v.unsigned("repl-backlog-size"),
            repl_backlog_ttl_s: v.unsigned("repl-backlog-ttl"),
            replica_announce_ip: v.get("replica-announce-ip").into(),
            replica_announce_port: v.port("replica-announce-port"),
            replicaof: replicaof(v.get("replicaof")),
            replica_serve_stale_data: v.is_yes("replica-serve-stale-data"),
            cluster_link_sendbuf_limit: v.unsigned("cluster-link-sendbuf-limit"),
            replica_priority: v.unsigned("replica-priority"),
            requirepass: Secret(v.get("requirepass").into()),
            masterauth: Secret(v.get("masterauth").into()),
            masteruser: v.get("masteruser").into(),
            min_replicas_to_write: v.unsigned("min-replicas-to-write"),
            min_replicas_max_lag_s: v.unsigned("min-replicas-max-lag"),
            protected_mode: v.is_yes("protected-mode"),
            maxclients: v.unsigned("maxclients"),
            timeout_s: v.unsigned("timeout"),
            tcp_keepalive_s: v.unsigned("tcp-keepalive"),
            tcp_backlog: i32::try_from(v.number("tcp-backlog")).unwrap_or(i32::MAX),
            data_threads: v.unsigned("io-threads") as usize,
            proto_max_bulk_len: v.unsigned("proto-max-bulk-len"),
            query_buffer_limit: v.unsigned("client-query-buffer-limit"),
            output_limits: output_limits(v.get("client-output-buffer-limit")),
            appendonly: v.is_yes("appendonly"),
            appendfilename: v.get("appendfilename").into(),
            appenddirname: v.get("appenddirname").into(),
            appendfsync: fsync(v.get("appendfsync")),
            aof_load_truncated: v.is_yes("aof-load-truncated"),
            aof: AofForm::from_values(v),
            auto_aof_rewrite_percentage: v.unsigned("auto-aof-rewrite-percentage"),
            auto_aof_rewrite_min_size: v.unsigned("auto-aof-rewrite-min-size"),
            key_load_delay_us: v.number("key-load-delay"),
            dbfilename: v.get("dbfilename").into(),
            save: save_points(v.get("save")),
            rdb: RdbForm { checksum: v.is_yes("rdbchecksum"), compression: v.is_yes("rdbcompression") },
            stop_writes_on_bgsave_error: v.is_yes("stop-writes-on-bgsave-error"),
            databases: v.unsigned("databases"),
            maxmemory: v.unsigned("maxmemory"),
            maxmemory_policy: v.get("maxmemory-policy").into(),
            hz: v.unsigned("hz"),
            active_expire_effort: v.unsigned("active-expire-effort"),
            loglevel: v.get("loglevel").into(),
            enable_protected_configs: allow(v.get("enable-protected-configs")),
            enable_debug_command: allow(v.get("enable-debug-command")),
            shutdown_timeout_s: v.unsigned("shutdown-timeout"),
        }
    }

    /// The port of the bus: `cluster-port`, or the client port + 10000.
    #[must_use]
    pub fn bus_port(&self) -> u16 {
        match self.cluster_port {
            0 => self.port.saturating_add(node_server_protocol::address::BUS_PORT_OFFSET),
            port => port,
        }
    }

    /// The path of nodes.conf.
    #[must_use]
    pub fn nodes_conf(&self) -> PathBuf {
        self.dir.join(&self.cluster_config_file)
    }
}

fn allow(text: &str) -> Allow {
    match text {
        "yes" => Allow::Yes,
        "local" => Allow::Local,
        _ => Allow::No,
    }
}

fn fsync(text: &str) -> Fsync {
    match text {
        "always" => Fsync::Always,
        "no" => Fsync::No,
        _ => Fsync::EverySecond,
    }
}

/// `host port`; `no one` is nobody. That the port is one was checked by the rules.
fn replicaof(text: &str) -> Option<MasterAddress> {
    let (host, port) = text.split_once(' ')?;
    Some(MasterAddress { host: host.into(), port: port.parse().ok()? })
}

/// `seconds changes` for each point.
fn save_points(text: &str) -> Vec<(u64, u64)> {
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

/// `class hard soft seconds` for each class, in the order of the canonical text.
fn output_limits(text: &str) -> [OutputLimit; 3] {
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |at: usize| words.get(at).and_then(|w| w.parse().ok()).unwrap_or(0);
    [0, 4, 8].map(|at| OutputLimit {
        hard: number(at + 1),
        soft: number(at + 2),
        soft_seconds: number(at + 3),
    })
}

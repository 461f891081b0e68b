//! The configuration as typed values, for those who act on it. Made anew for every change.

use std::path::PathBuf;

/// What the server does; a field per directive that something acts on. Times in the unit of the field's name.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `port`; 0: no client port.
    pub port: u16,
    /// `bind`, as given: addresses, `*`, `-::*` (a leading dash: no error when the address is not there).
    pub bind: Vec<String>,
    /// `dir`: where nodes.conf is.
    pub dir: PathBuf,
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
    /// `repl-diskless-sync-delay`.
    pub repl_diskless_sync_delay_s: u64,
    /// `replica-announce-ip`, empty: as seen by the master.
    pub replica_announce_ip: String,
    /// `replica-announce-port`; 0: `port`.
    pub replica_announce_port: u16,
    /// `replica-priority`.
    pub replica_priority: u64,
    /// `shutdown-timeout`: the longest that a handover at SIGTERM may take.
    pub shutdown_timeout_s: u64,
}

impl Settings {
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

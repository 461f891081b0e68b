//! What can be configured. Names and defaults are redis.conf's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What redirections, CLUSTER SLOTS and CLUSTER SHARDS name a node by (`cluster-preferred-endpoint-type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndpointType {
    /// The IP address.
    #[default]
    Ip,
    /// The announced host name, `?` where a node announces none.
    Hostname,
    /// Nothing: clients stay with the endpoint they know.
    Unknown,
}

/// A deliberate defect that the simulation must catch (shared/proof.md, Mutants).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A master votes twice in one epoch.
    TwoVotesInAnEpoch,
    /// A vote leaves before nodes.conf with it is on disk, and the vote is not in nodes.conf.
    VoteBeforePersisted,
    /// A claim of slots with a lower config epoch is accepted.
    LowerEpochAccepted,
    /// Claims and command replies leave before what they promise is on disk.
    PromiseBeforePersisted,
    /// A node that is silent for long is removed from the view.
    SilentRemoved,
    /// A promoted replica forgets its master's open slots.
    OpenSlotsLostAtFailover,
    /// An empty restarted master serves.
    EmptyMasterServes,
    /// The replica with the smallest offset starts its election first.
    StalerReplicaElected,
}

/// Settings of one node. Durations are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `cluster-node-timeout`.
    pub node_timeout_ms: u64,
    /// `cluster-require-full-coverage`.
    pub require_full_coverage: bool,
    /// `cluster-allow-reads-when-down`.
    pub allow_reads_when_down: bool,
    /// `cluster-replica-validity-factor`; 0: the age of a replica's data does not matter.
    pub replica_validity_factor: u64,
    /// `cluster-replica-no-failover`.
    pub replica_no_failover: bool,
    /// `cluster-allow-replica-migration`: a master that lost its last slot to another shard becomes its replica, and a
    /// replica of a master that has several goes to one that has none left.
    pub allow_replica_migration: bool,
    /// `cluster-migration-barrier`: so many replicas stay with a master.
    pub migration_barrier: u64,
    /// `cluster-announce-ip`; `None`: learned from the sockets that other nodes reach this one by.
    pub announce_ip: Option<IpAddr>,
    /// `cluster-announce-hostname`.
    pub announce_hostname: Option<String>,
    /// `cluster-announce-human-nodename`.
    pub announce_node_name: Option<String>,
    /// `cluster-announce-client-ipv4`: what clients that come by IPv4 are sent to.
    pub announce_client_ipv4: Option<Ipv4Addr>,
    /// `cluster-announce-client-ipv6`: the same for IPv6.
    pub announce_client_ipv6: Option<Ipv6Addr>,
    /// `cluster-announce-client-port`; 0: as `announce_port`.
    pub announce_client_port: u16,
    /// `cluster-announce-client-tls-port`, passed on; 0: none.
    pub announce_client_tls_port: u16,
    /// `availability-zone`.
    pub availability_zone: Option<String>,
    /// The client port that others are told: `cluster-announce-port` or `port`.
    pub announce_port: u16,
    /// The bus port that others are told: `cluster-announce-bus-port` or the port of the bus.
    pub announce_bus_port: u16,
    /// `cluster-preferred-endpoint-type`.
    pub endpoint_type: EndpointType,
    /// `repl-ping-replica-period`, in milliseconds.
    pub repl_ping_period_ms: u64,
    /// How long a manual failover may take (Redis: CLUSTER_MF_TIMEOUT).
    pub manual_failover_timeout_ms: u64,
    /// Most bytes that may wait in one link's queue before the shell closes it; kept here for CONFIG alone.
    pub link_sendbuf_limit: u64,
    /// A defect on purpose; ignored unless the crate is built with the feature `mutants`.
    pub mutant: Option<Mutant>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node_timeout_ms: 15_000,
            require_full_coverage: true,
            allow_reads_when_down: false,
            replica_validity_factor: 10,
            replica_no_failover: false,
            allow_replica_migration: true,
            migration_barrier: 1,
            announce_ip: None,
            announce_hostname: None,
            announce_node_name: None,
            announce_client_ipv4: None,
            announce_client_ipv6: None,
            announce_client_port: 0,
            announce_client_tls_port: 0,
            availability_zone: None,
            announce_port: 6379,
            announce_bus_port: 16_379,
            endpoint_type: EndpointType::Ip,
            repl_ping_period_ms: 10_000,
            manual_failover_timeout_ms: 5_000,
            link_sendbuf_limit: 0,
            mutant: None,
        }
    }
}

impl Config {
    /// Whether this defect is switched on.
    pub(crate) fn is_mutant(&self, mutant: Mutant) -> bool {
        cfg!(feature = "mutants") && self.mutant == Some(mutant)
    }
}

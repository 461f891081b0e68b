//! `spec.config`: directives of redis.conf.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Directives that the operator sets itself.
pub const OWNED: &[&str] = &[
    "admin-port",
    "appendonly",
    "appenddirname",
    "appendfilename",
    "bind",
    "cluster-announce-bus-port",
    "cluster-announce-hostname",
    "cluster-announce-ip",
    "cluster-announce-port",
    "cluster-config-file",
    "cluster-enabled",
    "cluster-port",
    "daemonize",
    "dbfilename",
    "dir",
    "include",
    "logfile",
    "pidfile",
    "port",
    "replicaof",
    "save",
    "slaveof",
    "unixsocket",
];

/// Whether the operator sets this directive itself.
#[must_use]
pub fn is_owned(directive: &str) -> bool {
    let directive = directive.to_ascii_lowercase();
    OWNED.contains(&directive.as_str())
}

/// Directives that say something of one node: from `spec.config` all nodes would say the same, and the operator would look
/// for them where they send their clients.
pub const OF_ONE_NODE: &[&str] = &[
    "cluster-announce-client-ipv4",
    "cluster-announce-client-ipv6",
    "cluster-announce-client-port",
    "cluster-announce-client-tls-port",
    "cluster-announce-human-nodename",
];

/// Whether it is one of [`OF_ONE_NODE`].
#[must_use]
pub fn is_of_one_node(directive: &str) -> bool {
    OF_ONE_NODE.iter().any(|name| name.eq_ignore_ascii_case(directive))
}

/// What the operator says about the data's files, as redis.conf has it: on a volume every write goes to the append-only
/// file, which is on the disk a second later; without one nothing is written.
#[must_use]
pub const fn files(on_volume: bool) -> &'static [(&'static str, &'static str)] {
    if on_volume {
        &[("appendonly", "yes"), ("appendfsync", "everysec"), ("save", "\"\"")]
    } else {
        &[("appendonly", "no"), ("save", "\"\"")]
    }
}

/// Replicas stay where the operator places them: by default a node that has one too many would go to another master by
/// itself. (`cluster-allow-replica-migration no` would also keep drained masters from following.)
pub const STAY: (&str, &str) = ("cluster-migration-barrier", "2147483647");

/// The value as redis.conf has it.
#[must_use]
pub fn text(value: &IntOrString) -> String {
    match value {
        IntOrString::Int(n) => n.to_string(),
        IntOrString::String(s) => s.clone(),
    }
}

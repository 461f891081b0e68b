//! The core's configuration out of redis.conf's.

use crate::config::Settings;
use anyhow::Context as _;
use node_server_cluster::{Config, EndpointType};
use std::net::IpAddr;

/// What the core is told.
///
/// # Errors
/// `cluster-announce-ip` is no IP address.
pub(crate) fn core_config(settings: &Settings) -> anyhow::Result<Config> {
    let or = |announced: u16, own: u16| if announced == 0 { own } else { announced };
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    let announced = &settings.announced;
    let announce_ip = text(&settings.cluster_announce_ip)
        .map(|ip| {
            ip.parse::<IpAddr>().with_context(|| {
                format!(
                    "cluster-announce-ip {ip:?} is no IP address; use cluster-announce-hostname for a name"
                )
            })
        })
        .transpose()?;
    Ok(Config {
        node_timeout_ms: settings.cluster_node_timeout_ms,
        require_full_coverage: settings.cluster_require_full_coverage,
        allow_reads_when_down: settings.cluster_allow_reads_when_down,
        replica_validity_factor: settings.cluster_replica_validity_factor,
        replica_no_failover: settings.cluster_replica_no_failover,
        allow_replica_migration: settings.cluster_allow_replica_migration,
        migration_barrier: settings.cluster_migration_barrier,
        announce_ip,
        announce_hostname: text(&settings.cluster_announce_hostname),
        announce_node_name: text(&announced.human_nodename),
        // The table of directives lets nothing else through.
        announce_client_ipv4: announced.client_ipv4.parse().ok(),
        announce_client_ipv6: announced.client_ipv6.parse().ok(),
        announce_client_port: announced.client_port,
        announce_client_tls_port: announced.client_tls_port,
        availability_zone: text(&announced.availability_zone),
        announce_port: or(settings.cluster_announce_port, settings.port),
        announce_bus_port: or(settings.cluster_announce_bus_port, settings.bus_port()),
        endpoint_type: endpoint_type(&settings.cluster_preferred_endpoint_type),
        repl_ping_period_ms: settings.repl_ping_replica_period_s.saturating_mul(1000),
        link_sendbuf_limit: settings.cluster_link_sendbuf_limit,
        ..Config::default()
    })
}

fn endpoint_type(text: &str) -> EndpointType {
    match text {
        "hostname" => EndpointType::Hostname,
        "unknown-endpoint" => EndpointType::Unknown,
        _ => EndpointType::Ip,
    }
}

//! What nodes say of themselves to people and to clients, beyond role and address: in ping extensions, in nodes.conf.

use crate::config::Config;
use crate::dialect::Dialect;
use crate::node::Node;
use node_server_protocol::bus::{Extension, Header, OwnFlags};
use node_server_protocol::topology::is_storable_name;
use node_server_protocol::{Address, Family};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names of the fields in nodes.conf, as Redis 7.2 and Valkey have them.
pub(crate) mod field {
    pub(crate) const NODE_NAME: &str = "nodename";
    pub(crate) const CLIENT_IPV4: &str = "client-ipv4";
    pub(crate) const CLIENT_IPV6: &str = "client-ipv6";
    pub(crate) const CLIENT_PORT: &str = "client-tcp-port";
    pub(crate) const CLIENT_TLS_PORT: &str = "client-tls-port";
    pub(crate) const ZONE: &str = "availability-zone";
}

/// All of it. Ports are 0 where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Announced {
    /// For clients, where `cluster-preferred-endpoint-type` wants it.
    pub(crate) hostname: Option<String>,
    /// For people, in logs.
    pub(crate) node_name: Option<String>,
    /// What clients that came by IPv4 are sent to instead of the node's address.
    pub(crate) client_ipv4: Option<Ipv4Addr>,
    /// The same for those that came by IPv6.
    pub(crate) client_ipv6: Option<Ipv6Addr>,
    /// The port that clients are sent to.
    pub(crate) client_port: u16,
    /// The same with TLS; passed on only, there is none here.
    pub(crate) client_tls_port: u16,
    /// The availability zone.
    pub(crate) zone: Option<String>,
}

impl Announced {
    /// This node's.
    pub(crate) fn of_config(config: &Config) -> Self {
        let some = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
        Self {
            hostname: some(&config.announce_hostname),
            node_name: some(&config.announce_node_name),
            client_ipv4: config.announce_client_ipv4,
            client_ipv6: config.announce_client_ipv6,
            client_port: config.announce_client_port,
            client_tls_port: config.announce_client_tls_port,
            zone: some(&config.availability_zone),
        }
    }

    /// What a peer hears of it, as much as it understands.
    pub(crate) fn extensions(&self, to: Dialect) -> Vec<Extension> {
        let mut all = Vec::new();
        if to >= Dialect::Hostnames {
            all.extend(self.hostname.clone().map(Extension::Hostname));
        }
        if to >= Dialect::Redis {
            all.extend(self.node_name.clone().map(Extension::NodeName));
        }
        if to >= Dialect::Valkey {
            let port = |port: u16| Some(port).filter(|p| *p != 0);
            all.extend(self.client_ipv4.map(|ip| Extension::ClientIpv4(ip.to_string())));
            all.extend(self.client_ipv6.map(|ip| Extension::ClientIpv6(ip.to_string())));
            all.extend(port(self.client_port).map(Extension::ClientPort));
            all.extend(port(self.client_tls_port).map(Extension::ClientTlsPort));
            all.extend(self.zone.clone().map(Extension::AvailabilityZone));
        }
        all
    }

    /// This after a message with these extensions: what the sender does not say any more it does not have any more.
    /// Without a single one, it has said nothing: it does not know yet who it talks to. But Redis 7.0 tells everybody.
    pub(crate) fn after(&self, extensions: &[Extension], header: &Header) -> Self {
        if extensions.is_empty() && Dialect::of(header) > Dialect::Plain {
            return self.clone();
        }
        let ours = header.own.contains(OwnFlags::READS_ALL);
        let all = !ours || header.own.contains(OwnFlags::SAYS_ALL);
        let mut new = if all { Self::default() } else { self.clone() };
        (new.hostname, new.node_name) = (None, None);
        for extension in extensions {
            new.take(extension);
        }
        new
    }

    fn take(&mut self, extension: &Extension) {
        // What nodes.conf cannot hold is left out: a peer must not make this node's file unreadable.
        let name = |text: &String| Some(text.clone()).filter(|t| !t.is_empty() && is_storable_name(t));
        match extension {
            Extension::Hostname(text) => self.hostname = name(text),
            Extension::NodeName(text) => self.node_name = name(text),
            Extension::ClientIpv4(text) => self.client_ipv4 = text.parse().ok(),
            Extension::ClientIpv6(text) => self.client_ipv6 = text.parse().ok(),
            Extension::ClientPort(port) => self.client_port = *port,
            Extension::ClientTlsPort(port) => self.client_tls_port = *port,
            Extension::AvailabilityZone(text) => self.zone = name(text),
            Extension::ForgottenNode { .. }
            | Extension::ShardId(_)
            | Extension::InternalSecret(_)
            | Extension::Unknown { .. } => {}
        }
    }

    /// Adds the fields that nodes.conf keeps apart from the host name.
    pub(crate) fn write(&self, aux: &mut BTreeMap<String, String>) {
        let port = |port: u16| Some(port.to_string()).filter(|_| port != 0);
        let fields = [
            (field::NODE_NAME, self.node_name.clone()),
            (field::CLIENT_IPV4, self.client_ipv4.map(|ip| ip.to_string())),
            (field::CLIENT_IPV6, self.client_ipv6.map(|ip| ip.to_string())),
            (field::CLIENT_PORT, port(self.client_port)),
            (field::CLIENT_TLS_PORT, port(self.client_tls_port)),
            (field::ZONE, self.zone.clone()),
        ];
        aux.extend(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }

    /// From a line of nodes.conf, whose values [`check`] has let through.
    pub(crate) fn read(hostname: &str, aux: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| aux.get(name).filter(|v| !v.is_empty()).cloned();
        let port = |name: &str| aux.get(name).and_then(|v| v.parse().ok()).unwrap_or_default();
        Self {
            hostname: Some(hostname.to_owned()).filter(|h| !h.is_empty()),
            node_name: text(field::NODE_NAME),
            client_ipv4: text(field::CLIENT_IPV4).and_then(|ip| ip.parse().ok()),
            client_ipv6: text(field::CLIENT_IPV6).and_then(|ip| ip.parse().ok()),
            client_port: port(field::CLIENT_PORT),
            client_tls_port: port(field::CLIENT_TLS_PORT),
            zone: text(field::ZONE),
        }
    }
}

/// What is wrong with a field of nodes.conf, if it is one of these.
pub(crate) fn check(name: &str, value: &str) -> Result<(), String> {
    let good = match name {
        field::CLIENT_IPV4 => value.is_empty() || value.parse::<Ipv4Addr>().is_ok(),
        field::CLIENT_IPV6 => value.is_empty() || value.parse::<Ipv6Addr>().is_ok(),
        field::CLIENT_PORT | field::CLIENT_TLS_PORT => value.parse::<u16>().is_ok(),
        _ => true,
    };
    if good { Ok(()) } else { Err(format!("{name} has a bad value: {value:?}")) }
}

impl Node {
    /// Where a client is told to find the node. The bus port stays.
    pub(crate) fn address_for(&self, client: Family) -> Address {
        let announced = match client {
            Family::V4 => self.announced.client_ipv4.map(IpAddr::from),
            Family::V6 => self.announced.client_ipv6.map(IpAddr::from),
        };
        let port =
            if self.announced.client_port == 0 { self.address.port } else { self.announced.client_port };
        Address { ip: announced.unwrap_or(self.address.ip), port, bus_port: self.address.bus_port }
    }

    /// For log lines: its id, and its name for people where it has one.
    pub(crate) fn label(&self) -> String {
        match &self.announced.node_name {
            Some(name) => format!("{} ({name})", self.id),
            None => self.id.to_string(),
        }
    }
}

//! Where a node listens.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Client port + this = bus port unless `cluster-port` says otherwise (Redis: CLUSTER_PORT_INCR).
pub const BUS_PORT_OFFSET: u16 = 10_000;

/// A node's address: one IP, the port for clients and the port of the bus.
/// An unspecified IP (0.0.0.0) means that it is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// IP address for clients and bus alike.
    pub ip: IpAddr,
    /// Client port.
    pub port: u16,
    /// Bus port.
    pub bus_port: u16,
}

impl Address {
    /// An address whose IP nobody has told yet.
    #[must_use]
    pub const fn unknown(port: u16, bus_port: u16) -> Self {
        Self { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), port, bus_port }
    }

    /// Whether the IP is known.
    #[must_use]
    pub const fn has_ip(&self) -> bool {
        !self.ip.is_unspecified()
    }

    /// Where clients connect.
    #[must_use]
    pub const fn client(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }

    /// Where other nodes connect.
    #[must_use]
    pub const fn bus(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.bus_port)
    }
}

/// Which kind of IP address a client came by. Valkey may announce an address for clients of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// IPv4, and IPv4 within IPv6 (`::ffff:1.2.3.4`).
    #[default]
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// That of a client at this address.
    #[must_use]
    pub const fn of(ip: IpAddr) -> Self {
        if ip.to_canonical().is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// `ip:port@bus_port`, with an empty ip when it is not known, as CLUSTER NODES writes it.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.has_ip() {
            write!(f, "{}:{}@{}", self.ip, self.port, self.bus_port)
        } else {
            write!(f, ":{}@{}", self.port, self.bus_port)
        }
    }
}

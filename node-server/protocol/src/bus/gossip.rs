//! What a node tells of others.

use super::read::{Reader, put_ip};
use super::{DecodeError, NodeFlags};
use crate::{Address, NodeId};
use std::net::{IpAddr, Ipv4Addr};

/// One node as the sender sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipEntry {
    /// The node told of.
    pub id: NodeId,
    /// When the sender's unanswered PING went out, in seconds since the Unix epoch; 0 for none.
    pub ping_sent_s: u32,
    /// When its last PONG came, in seconds since the Unix epoch; 0 for never.
    pub pong_received_s: u32,
    /// Its IP, where it is known.
    pub ip: Option<IpAddr>,
    /// Its client port.
    pub port: u16,
    /// Its bus port.
    pub bus_port: u16,
    /// Its flags in the sender's view.
    pub flags: NodeFlags,
    /// Its second client port (TLS or plain, whichever `port` is not); 0 for none.
    pub secondary_port: u16,
}

impl GossipEntry {
    /// Bytes on the wire.
    pub const LEN: usize = 104;

    /// Where the node listens.
    #[must_use]
    pub fn address(&self) -> Address {
        let ip = self.ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Address { ip, port: self.port, bus_port: self.bus_port }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let entry = Self {
            id: from.node_id("gossip nodename")?,
            ping_sent_s: from.u32()?,
            pong_received_s: from.u32()?,
            ip: from.ip()?,
            port: from.u16()?,
            bus_port: from.u16()?,
            flags: NodeFlags::from_bits(from.u16()?),
            secondary_port: from.u16()?,
        };
        from.u16()?;
        Ok(entry)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.to_hex());
        out.extend_from_slice(&self.ping_sent_s.to_be_bytes());
        out.extend_from_slice(&self.pong_received_s.to_be_bytes());
        put_ip(out, self.ip);
        for field in [self.port, self.bus_port, self.flags.bits(), self.secondary_port, 0] {
            out.extend_from_slice(&field.to_be_bytes());
        }
    }
}

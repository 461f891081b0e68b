//! Ping extensions (reference/cluster-bus §1.5).
//!
//! Type 4 means two things: Redis 8 sends a secret of 40 hex characters, Valkey 8 an IPv4 address as text. They are
//! told apart by length when they come. Redis 8 drops a packet whose type 4 is short, so who sends it has to know which of
//! the two the receiver is (`cluster::dialect`).

use super::DecodeError;
use super::read::{Reader, until_nul};
use crate::NodeId;

/// One thing that a node says of itself beyond the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Type 0: the announced host name.
    Hostname(String),
    /// Type 1: a name for people.
    NodeName(String),
    /// Type 2: the sender was told to forget this node.
    ForgottenNode {
        /// The forgotten node.
        node: NodeId,
        /// For how long, in seconds.
        ttl_s: u64,
    },
    /// Type 3: the shard's name, 40 hex digits as a node's.
    ShardId(NodeId),
    /// Type 4 of Redis 8: the sender's part of the cluster's inner secret.
    InternalSecret([u8; 40]),
    /// Type 4 of Valkey 8: the IPv4 address that clients shall use, as text.
    ClientIpv4(String),
    /// Type 5: the IPv6 address that clients shall use, as text.
    ClientIpv6(String),
    /// Type 6: the port that clients shall use.
    ClientPort(u16),
    /// Type 7: the TLS port that clients shall use.
    ClientTlsPort(u16),
    /// Type 8: the availability zone.
    AvailabilityZone(String),
    /// A type that is not known, or a payload that does not have its type's form. To be skipped.
    Unknown {
        /// The type field.
        kind: u16,
        /// The payload with its padding.
        payload: Vec<u8>,
    },
}

/// Bytes before the payload.
const HEAD_LEN: usize = 8;
/// Extensions are padded to this many bytes.
const ALIGN: usize = 8;
/// Length of the internal secret.
const SECRET_LEN: usize = 40;

impl Extension {
    /// Reads one extension.
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = from.u32()?;
        let kind = from.u16()?;
        from.u16()?;
        let aligned = (len as usize).is_multiple_of(ALIGN);
        let Some(payload_len) = (len as usize).checked_sub(HEAD_LEN).filter(|_| aligned) else {
            return Err(DecodeError::ExtensionLength { kind, len });
        };
        let payload = from.bytes(payload_len)?;
        Ok(Self::parse(kind, payload).unwrap_or_else(|| Self::Unknown { kind, payload: payload.to_vec() }))
    }

    /// `None`: not known, or not of the form that its type has.
    fn parse(kind: u16, payload: &[u8]) -> Option<Self> {
        match kind {
            0 => text(payload).map(Self::Hostname),
            1 => text(payload).map(Self::NodeName),
            2 => {
                let (node, ttl) = payload.split_first_chunk::<{ NodeId::HEX_LEN }>()?;
                let ttl_s = u64::from_be_bytes(ttl.try_into().ok()?);
                Some(Self::ForgottenNode { node: NodeId::from_hex(node).ok()?, ttl_s })
            }
            3 => NodeId::from_hex(payload).ok().map(Self::ShardId),
            4 => match payload.try_into() {
                Ok(secret) if is_secret(payload) => Some(Self::InternalSecret(secret)),
                _ => text(payload).map(Self::ClientIpv4),
            },
            5 => text(payload).map(Self::ClientIpv6),
            6 => port(payload).map(Self::ClientPort),
            7 => port(payload).map(Self::ClientTlsPort),
            8 => text(payload).map(Self::AvailabilityZone),
            _ => None,
        }
    }

    /// Appends the extension with its padding.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.kind().to_be_bytes());
        out.extend_from_slice(&[0; 2]);
        match self {
            Self::Hostname(text)
            | Self::NodeName(text)
            | Self::ClientIpv4(text)
            | Self::ClientIpv6(text)
            | Self::AvailabilityZone(text) => {
                out.extend_from_slice(text.as_bytes());
                out.push(0);
            }
            Self::ForgottenNode { node, ttl_s } => {
                out.extend_from_slice(&node.to_hex());
                out.extend_from_slice(&ttl_s.to_be_bytes());
            }
            Self::ShardId(id) => out.extend_from_slice(&id.to_hex()),
            Self::InternalSecret(secret) => out.extend_from_slice(secret),
            Self::ClientPort(port) | Self::ClientTlsPort(port) => out.extend_from_slice(&port.to_be_bytes()),
            Self::Unknown { payload, .. } => out.extend_from_slice(payload),
        }
        let len = (out.len() - start).next_multiple_of(ALIGN);
        out.resize(start + len, 0);
        out[start..start + 4].copy_from_slice(&(len as u32).to_be_bytes());
    }

    /// The type field.
    #[must_use]
    pub const fn kind(&self) -> u16 {
        match self {
            Self::Hostname(_) => 0,
            Self::NodeName(_) => 1,
            Self::ForgottenNode { .. } => 2,
            Self::ShardId(_) => 3,
            Self::InternalSecret(_) | Self::ClientIpv4(_) => 4,
            Self::ClientIpv6(_) => 5,
            Self::ClientPort(_) => 6,
            Self::ClientTlsPort(_) => 7,
            Self::AvailabilityZone(_) => 8,
            Self::Unknown { kind, .. } => *kind,
        }
    }
}

fn text(payload: &[u8]) -> Option<String> {
    String::from_utf8(until_nul(payload).to_vec()).ok()
}

fn port(payload: &[u8]) -> Option<u16> {
    payload.first_chunk().map(|b| u16::from_be_bytes(*b))
}

fn is_secret(payload: &[u8]) -> bool {
    payload.len() == SECRET_LEN && payload.iter().all(u8::is_ascii_hexdigit)
}

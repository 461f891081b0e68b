//! The cluster bus: the binary messages that nodes send each other (reference/cluster-bus §1.1 to §1.5).
//!
//! The shell cuts a byte stream into frames with [`frame_len`]; [`decode`] reads one frame, [`Packet::encode`]
//! writes one. Integers are big-endian. Redis 7.0 to 8 and Valkey 7.2 to 9 share the layout; where they differ
//! (extensions from 4 on, light headers) both are read. Light headers are not sent.

mod decode;
mod encode;
mod error;
mod extension;
mod flags;
mod frame;
mod gossip;
mod header;
mod read;

pub use decode::{decode, decode_light, is_light};
pub use error::DecodeError;
pub use extension::Extension;
pub use flags::{MessageFlags, NodeFlags, OwnFlags};
pub use frame::{FRAME_PREFIX_LEN, FrameError, MAX_FRAME_LEN, frame_len};
pub use gossip::GossipEntry;
pub use header::Header;

use crate::{Epoch, NodeId, SlotSet};

/// The first four bytes of every message.
pub const SIGNATURE: &[u8; 4] = b"RCmb";
/// The one version of the protocol that is spoken; messages of another are ignored.
pub const PROTOCOL_VERSION: u16 = 1;
/// Bytes of the full header.
pub const HEADER_LEN: usize = 2256;
/// Bytes of Valkey's light header.
pub const LIGHT_HEADER_LEN: usize = 16;
/// Bit of the type field that marks a light header.
pub(crate) const LIGHT_BIT: u16 = 0x8000;

/// One message with its sender's view of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What every message says about its sender.
    pub header: Header,
    /// What this one says besides.
    pub body: Body,
}

/// What a message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Are you there? Answered by a PONG on the same link.
    Ping(Heartbeat),
    /// The answer to PING and MEET, or news that nobody asked for.
    Pong(Heartbeat),
    /// A PING whose receiver shall take the sender into the cluster.
    Meet(Heartbeat),
    /// A majority of the masters found that this node has failed.
    Fail {
        /// The failed node.
        node: NodeId,
    },
    /// PUBLISH, to every node.
    Publish(Publication),
    /// A replica asks for a vote.
    AuthRequest,
    /// A master gives its vote.
    AuthAck,
    /// A newer owner for slots that the receiver claims.
    Update(Update),
    /// A replica asks its master to prepare for a manual failover.
    MfStart,
    /// A message between modules.
    Module(ModuleMessage),
    /// SPUBLISH, to the nodes of one shard.
    PublishShard(Publication),
    /// A type that is not known here: accepted and ignored, as Redis does.
    Unknown {
        /// The type field.
        kind: u16,
        /// Everything after the header.
        data: Vec<u8>,
    },
}

/// What PING, PONG and MEET carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// What the sender knows of some other nodes. At most 65535 can be sent.
    pub gossip: Vec<GossipEntry>,
    /// What the sender says of itself beyond the header. At most 65535 can be sent.
    pub extensions: Vec<Extension>,
}

/// A pub/sub message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The channel.
    pub channel: Vec<u8>,
    /// The message.
    pub message: Vec<u8>,
}

/// The news of an UPDATE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The claim's version.
    pub config_epoch: Epoch,
    /// Who owns the slots.
    pub node: NodeId,
    /// All of its slots.
    pub slots: SlotSet,
}

/// A module's message; never sent by us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleMessage {
    /// The module, opaque.
    pub module: [u8; 8],
    /// The module's own message type.
    pub kind: u8,
    /// The message.
    pub payload: Vec<u8>,
}

pub(crate) mod kind {
    //! The type field.
    pub(crate) const PING: u16 = 0;
    pub(crate) const PONG: u16 = 1;
    pub(crate) const MEET: u16 = 2;
    pub(crate) const FAIL: u16 = 3;
    pub(crate) const PUBLISH: u16 = 4;
    pub(crate) const AUTH_REQUEST: u16 = 5;
    pub(crate) const AUTH_ACK: u16 = 6;
    pub(crate) const UPDATE: u16 = 7;
    pub(crate) const MF_START: u16 = 8;
    pub(crate) const MODULE: u16 = 9;
    pub(crate) const PUBLISH_SHARD: u16 = 10;
}

impl Body {
    /// The type field of the header.
    #[must_use]
    pub const fn kind(&self) -> u16 {
        match self {
            Self::Ping(_) => kind::PING,
            Self::Pong(_) => kind::PONG,
            Self::Meet(_) => kind::MEET,
            Self::Fail { .. } => kind::FAIL,
            Self::Publish(_) => kind::PUBLISH,
            Self::AuthRequest => kind::AUTH_REQUEST,
            Self::AuthAck => kind::AUTH_ACK,
            Self::Update(_) => kind::UPDATE,
            Self::MfStart => kind::MF_START,
            Self::Module(_) => kind::MODULE,
            Self::PublishShard(_) => kind::PUBLISH_SHARD,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    /// The type in words, as CLUSTER INFO's `cluster_stats_messages_<name>_sent` has it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ping(_) => "ping",
            Self::Pong(_) => "pong",
            Self::Meet(_) => "meet",
            Self::Fail { .. } => "fail",
            Self::Publish(_) => "publish",
            Self::AuthRequest => "auth-req",
            Self::AuthAck => "auth-ack",
            Self::Update(_) => "update",
            Self::MfStart => "mfstart",
            Self::Module(_) => "module",
            Self::PublishShard(_) => "publishshard",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Gossip and extensions, of the three types that have them.
    #[must_use]
    pub const fn heartbeat(&self) -> Option<&Heartbeat> {
        match self {
            Self::Ping(h) | Self::Pong(h) | Self::Meet(h) => Some(h),
            Self::Fail { .. }
            | Self::Publish(_)
            | Self::AuthRequest
            | Self::AuthAck
            | Self::Update(_)
            | Self::MfStart
            | Self::Module(_)
            | Self::PublishShard(_)
            | Self::Unknown { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;

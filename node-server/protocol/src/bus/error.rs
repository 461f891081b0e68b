//! Why a frame is not a message.

use crate::node_id::BadNodeId;

/// The frame cannot be read. Redis drops such a packet and keeps the link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It does not begin with `RCmb`.
    #[error("bus frame does not begin with RCmb")]
    Signature,
    /// A version of the protocol that is not spoken here.
    #[error("bus frame of protocol version {0}, only {version} is known", version = super::PROTOCOL_VERSION)]
    Version(u16),
    /// The length field, the frame and the type do not fit each other.
    #[error("bus {what} of {actual} bytes must have {expected}")]
    Length {
        /// The type or part.
        what: &'static str,
        /// What its fields ask for, in bytes.
        expected: u64,
        /// What there is, in bytes.
        actual: u64,
    },
    /// A field that must hold a node id does not.
    #[error("bus field {field}: {source}")]
    NodeId {
        /// The field.
        field: &'static str,
        /// Its text.
        source: BadNodeId,
    },
    /// A ping extension whose length is below its header or not a multiple of 8.
    #[error("bus ping extension {kind} has a length of {len}, which must be at least 8 and a multiple of 8")]
    ExtensionLength {
        /// The extension's type.
        kind: u16,
        /// Its length field.
        len: u32,
    },
    /// A light header where a full one is needed: see [`super::decode_light`].
    #[error("bus frame has a light header, which names no sender")]
    Light,
    /// Not a light header, or one on a type that may not have it.
    #[error("bus message of type {0:#x} is not one with a light header")]
    LightKind(u16),
}

//! Cutting a stream into frames.

use super::{HEADER_LEN, LIGHT_BIT, LIGHT_HEADER_LEN, SIGNATURE};

/// Bytes that are enough for [`frame_len`] to answer.
pub const FRAME_PREFIX_LEN: usize = 14;

/// The longest frame that is accepted, 64 MiB: far above any heartbeat (6.8 MB with 65535 gossip entries); it bounds
/// the receive buffer of a link. Only a published message could be longer.
pub const MAX_FRAME_LEN: usize = 64 << 20;

/// The stream is not the cluster bus: the link must be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It does not begin with `RCmb`.
    #[error("bus stream does not continue with RCmb")]
    Signature,
    /// The length field is below that of any header.
    #[error("bus frame length {0} is below that of its header")]
    TooShort(usize),
    /// The length field is above the bound.
    #[error("bus frame length {0} is above {MAX_FRAME_LEN}")]
    TooLong(usize),
}

/// The length in bytes of the frame that `bytes` begins with, as soon as it can be told; `None` asks for more bytes
/// (at most [`FRAME_PREFIX_LEN`]).
///
/// # Errors
/// What comes is not a frame, or is longer than [`MAX_FRAME_LEN`]. The link must be closed.
pub fn frame_len(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
    let signature = bytes.len().min(SIGNATURE.len());
    if bytes[..signature] != SIGNATURE[..signature] {
        return Err(FrameError::Signature);
    }
    let Some(length) = bytes.get(4..8).and_then(|b| b.try_into().ok()) else { return Ok(None) };
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_FRAME_LEN {
        return Err(FrameError::TooLong(length));
    }
    if length < LIGHT_HEADER_LEN {
        return Err(FrameError::TooShort(length));
    }
    if length >= HEADER_LEN {
        return Ok(Some(length));
    }
    let Some(kind) = bytes.get(12..14).and_then(|b| b.try_into().ok()) else { return Ok(None) };
    if u16::from_be_bytes(kind) & LIGHT_BIT == 0 {
        return Err(FrameError::TooShort(length));
    }
    Ok(Some(length))
}

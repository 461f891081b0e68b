//! Reading fields off the front of a frame. Every length has been checked or is checked here: nothing panics.

use super::DecodeError;
use crate::NodeId;
use std::net::IpAddr;

/// Bytes of an IP address field: text, ended by NUL.
pub(super) const IP_LEN: usize = 46;

/// The rest of a frame and what it is, for errors.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(rest: &'a [u8], what: &'static str) -> Self {
        Self { rest, what }
    }

    pub(super) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(DecodeError::Length {
                what: self.what,
                expected: len as u64,
                actual: self.rest.len() as u64,
            });
        };
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn node_id(&mut self, field: &'static str) -> Result<NodeId, DecodeError> {
        let hex = self.bytes(NodeId::HEX_LEN)?;
        NodeId::from_hex(hex).map_err(|source| DecodeError::NodeId { field, source })
    }

    /// A node id, or 40 zero bytes for none.
    pub(super) fn optional_node_id(&mut self, field: &'static str) -> Result<Option<NodeId>, DecodeError> {
        if self.rest.get(..NodeId::HEX_LEN).is_some_and(|hex| hex.iter().all(|b| *b == 0)) {
            self.bytes(NodeId::HEX_LEN)?;
            return Ok(None);
        }
        self.node_id(field).map(Some)
    }

    /// An IP address field. Empty, unspecified or not an IP address (Redis lets people announce any text) is `None`:
    /// the receiver then goes by the socket's address.
    pub(super) fn ip(&mut self) -> Result<Option<IpAddr>, DecodeError> {
        let text = until_nul(self.bytes(IP_LEN)?);
        let ip: Option<IpAddr> = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
        Ok(ip.filter(|ip| !ip.is_unspecified()))
    }
}

/// The bytes before the first NUL, or all.
pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or(bytes)
}

/// Appends an IP address field.
pub(super) fn put_ip(out: &mut Vec<u8>, ip: Option<IpAddr>) {
    let end = out.len() + IP_LEN;
    if let Some(ip) = ip {
        out.extend_from_slice(ip.to_string().as_bytes());
    }
    out.resize(end, 0);
}

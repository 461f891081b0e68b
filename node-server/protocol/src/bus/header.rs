//! The full header.

use super::read::{Reader, put_ip};
use super::{DecodeError, HEADER_LEN, MessageFlags, NodeFlags, OwnFlags, PROTOCOL_VERSION, SIGNATURE};
use crate::{Epoch, NodeId, SlotSet};
use std::net::IpAddr;

/// What every message says about its sender. Signature, lengths, counts and the type follow from the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The sender.
    pub sender: NodeId,
    /// Its client port.
    pub port: u16,
    /// Its second client port (TLS or plain, whichever `port` is not); 0 for none.
    pub secondary_port: u16,
    /// Its bus port.
    pub bus_port: u16,
    /// Its announced IP; `None`: the receiver uses the address of the socket.
    pub ip: Option<IpAddr>,
    /// The cluster's clock as it knows it.
    pub current_epoch: Epoch,
    /// Its claim's version; a replica's is that of its master.
    pub config_epoch: Epoch,
    /// Bytes of the replication stream: produced by a master, processed by a replica.
    pub offset: u64,
    /// Its slots; a replica's are those of its master.
    pub slots: SlotSet,
    /// Its master, if it is a replica.
    pub master: Option<NodeId>,
    /// Its own flags.
    pub flags: NodeFlags,
    /// Whether it sees the cluster as down.
    pub cluster_down: bool,
    /// Flags of this message. `EXT_DATA` is set by the encoder where extensions follow.
    pub message_flags: MessageFlags,
    /// What only nodes of this project say. Empty from every other server.
    pub own: OwnFlags,
}

/// Fields of the header that belong to the frame.
pub(super) struct Envelope {
    pub(super) kind: u16,
    pub(super) total_len: u32,
    pub(super) gossip_count: u16,
    pub(super) extension_count: u16,
}

/// Bytes between `extensions` and the second port that have no meaning to Redis and Valkey, which write zeros and do not
/// look at them. The last two are ours: a mark, without which the other means nothing, and [`OwnFlags`]. New fields of
/// theirs took the first ones (`extensions` did).
const UNUSED_LEN: usize = 28;
/// The mark.
const OWN_MARK: u8 = b'S';

impl Header {
    /// Reads header and envelope; the signature, version and length have been checked by the caller.
    pub(super) fn read(from: &mut Reader<'_>) -> Result<(Envelope, Self), DecodeError> {
        from.bytes(SIGNATURE.len())?;
        let total_len = from.u32()?;
        from.u16()?; // version
        let port = from.u16()?;
        let kind = from.u16()?;
        let gossip_count = from.u16()?;
        let current_epoch = Epoch(from.u64()?);
        let config_epoch = Epoch(from.u64()?);
        let offset = from.u64()?;
        let sender = from.node_id("sender")?;
        let slots = SlotSet::from_bitmap(&from.array()?);
        let master = from.optional_node_id("slaveof")?;
        let ip = from.ip()?;
        let extension_count = from.u16()?;
        from.bytes(UNUSED_LEN)?;
        let own = match from.array()? {
            [OWN_MARK, flags] => OwnFlags::from_bits(flags),
            _ => OwnFlags::empty(),
        };
        let secondary_port = from.u16()?;
        let bus_port = from.u16()?;
        let flags = NodeFlags::from_bits(from.u16()?);
        let cluster_down = from.u8()? != 0;
        let [message_flags, _, _] = from.array()?;
        let header = Self {
            sender,
            port,
            secondary_port,
            bus_port,
            ip,
            current_epoch,
            config_epoch,
            offset,
            slots,
            master,
            flags,
            cluster_down,
            message_flags: MessageFlags::from_bits(message_flags),
            own,
        };
        Ok((Envelope { kind, total_len, gossip_count, extension_count }, header))
    }

    /// Appends the header of a message with that envelope.
    pub(super) fn write(&self, envelope: &Envelope, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(SIGNATURE);
        out.extend_from_slice(&envelope.total_len.to_be_bytes());
        for field in [PROTOCOL_VERSION, self.port, envelope.kind, envelope.gossip_count] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        for field in [self.current_epoch.0, self.config_epoch.0, self.offset] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        out.extend_from_slice(&self.sender.to_hex());
        out.extend_from_slice(&self.slots.to_bitmap());
        out.extend_from_slice(&self.master.map_or([0; NodeId::HEX_LEN], NodeId::to_hex));
        put_ip(out, self.ip);
        out.extend_from_slice(&envelope.extension_count.to_be_bytes());
        out.extend_from_slice(&[0; UNUSED_LEN]);
        let own = self.own.bits();
        out.extend_from_slice(&if own == 0 { [0, 0] } else { [OWN_MARK, own] });
        for field in [self.secondary_port, self.bus_port, self.flags.bits()] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        out.push(u8::from(self.cluster_down));
        out.extend_from_slice(&[self.message_flags.bits(), 0, 0]);
        debug_assert_eq!(out.len() - start, HEADER_LEN);
    }
}

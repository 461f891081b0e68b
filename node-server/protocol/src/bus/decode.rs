//! Bytes to messages. The total length must be exactly what the type and its fields ask for, as Redis demands.

use super::header::Envelope;
use super::read::Reader;
use super::{
    Body, DecodeError, Extension, GossipEntry, HEADER_LEN, Header, Heartbeat, LIGHT_BIT, LIGHT_HEADER_LEN,
    MessageFlags, ModuleMessage, PROTOCOL_VERSION, Packet, Publication, SIGNATURE, Update, kind,
};
use crate::{Epoch, SlotSet};

/// Whether a frame has Valkey's light header, which names no sender.
#[must_use]
pub fn is_light(frame: &[u8]) -> bool {
    frame.get(12).is_some_and(|b| *b & (LIGHT_BIT >> 8) as u8 != 0)
}

/// Reads one frame with a full header.
///
/// # Errors
/// The frame is to be dropped; the link may stay.
pub fn decode(frame: &[u8]) -> Result<Packet, DecodeError> {
    if is_light(frame) {
        return Err(DecodeError::Light);
    }
    check_envelope(frame, HEADER_LEN)?;
    let mut from = Reader::new(frame, "header");
    let (envelope, header) = Header::read(&mut from)?;
    let body = read_body(&envelope, header.message_flags, &frame[HEADER_LEN..])?;
    Ok(Packet { header, body })
}

/// Reads one frame with a light header: PUBLISH, PUBLISHSHARD or MODULE. The sender is the node of the link.
///
/// # Errors
/// The frame is to be dropped; the link may stay.
pub fn decode_light(frame: &[u8]) -> Result<Body, DecodeError> {
    check_envelope(frame, LIGHT_HEADER_LEN)?;
    let kind = u16::from_be_bytes([frame[12], frame[13]]);
    if kind & LIGHT_BIT == 0 {
        return Err(DecodeError::LightKind(kind));
    }
    let data = &frame[LIGHT_HEADER_LEN..];
    match kind & !LIGHT_BIT {
        kind::PUBLISH => read_publication(data).map(Body::Publish),
        kind::PUBLISH_SHARD => read_publication(data).map(Body::PublishShard),
        kind::MODULE => read_module(data).map(Body::Module),
        other => Err(DecodeError::LightKind(LIGHT_BIT | other)),
    }
}

/// Signature, length and version.
fn check_envelope(frame: &[u8], header_len: usize) -> Result<(), DecodeError> {
    let wrong = |what, expected| DecodeError::Length { what, expected, actual: frame.len() as u64 };
    if frame.len() < header_len {
        return Err(wrong("header", header_len as u64));
    }
    let mut from = Reader::new(frame, "header");
    if from.bytes(SIGNATURE.len())? != SIGNATURE {
        return Err(DecodeError::Signature);
    }
    let total_len = from.u32()?;
    let version = from.u16()?;
    if version != PROTOCOL_VERSION {
        return Err(DecodeError::Version(version));
    }
    if total_len as usize != frame.len() {
        return Err(wrong("frame", u64::from(total_len)));
    }
    Ok(())
}

fn read_body(envelope: &Envelope, flags: MessageFlags, data: &[u8]) -> Result<Body, DecodeError> {
    let heartbeat = |what| read_heartbeat(envelope, flags, data, what);
    Ok(match envelope.kind {
        kind::PING => Body::Ping(heartbeat("ping")?),
        kind::PONG => Body::Pong(heartbeat("pong")?),
        kind::MEET => Body::Meet(heartbeat("meet")?),
        kind::FAIL => {
            let mut from = Reader::new(data, "fail");
            let node = from.node_id("fail nodename")?;
            done(&from, "fail", data)?;
            Body::Fail { node }
        }
        kind::PUBLISH => Body::Publish(read_publication(data)?),
        kind::AUTH_REQUEST => empty(data, "auth-req", Body::AuthRequest)?,
        kind::AUTH_ACK => empty(data, "auth-ack", Body::AuthAck)?,
        kind::UPDATE => Body::Update(read_update(data)?),
        kind::MF_START => empty(data, "mfstart", Body::MfStart)?,
        kind::MODULE => Body::Module(read_module(data)?),
        kind::PUBLISH_SHARD => Body::PublishShard(read_publication(data)?),
        kind => Body::Unknown { kind, data: data.to_vec() },
    })
}

fn read_heartbeat(
    envelope: &Envelope,
    flags: MessageFlags,
    data: &[u8],
    what: &'static str,
) -> Result<Heartbeat, DecodeError> {
    let gossip_len = usize::from(envelope.gossip_count) * GossipEntry::LEN;
    if data.len() < gossip_len {
        return Err(DecodeError::Length { what, expected: gossip_len as u64, actual: data.len() as u64 });
    }
    let mut from = Reader::new(data, what);
    let gossip =
        (0..envelope.gossip_count).map(|_| GossipEntry::read(&mut from)).collect::<Result<Vec<_>, _>>()?;
    let count = if flags.contains(MessageFlags::EXT_DATA) { envelope.extension_count } else { 0 };
    let extensions = (0..count).map(|_| Extension::read(&mut from)).collect::<Result<Vec<_>, _>>()?;
    done(&from, what, data)?;
    Ok(Heartbeat { gossip, extensions })
}

fn read_publication(data: &[u8]) -> Result<Publication, DecodeError> {
    let mut from = Reader::new(data, "publish");
    let channel_len = from.u32()? as usize;
    let message_len = from.u32()? as usize;
    let channel = from.bytes(channel_len)?.to_vec();
    let message = from.bytes(message_len)?.to_vec();
    done(&from, "publish", data)?;
    Ok(Publication { channel, message })
}

fn read_update(data: &[u8]) -> Result<Update, DecodeError> {
    let mut from = Reader::new(data, "update");
    let config_epoch = Epoch(from.u64()?);
    let node = from.node_id("update nodename")?;
    let slots = SlotSet::from_bitmap(&from.array()?);
    done(&from, "update", data)?;
    Ok(Update { config_epoch, node, slots })
}

fn read_module(data: &[u8]) -> Result<ModuleMessage, DecodeError> {
    let mut from = Reader::new(data, "module");
    let module = from.array()?;
    let payload_len = from.u32()? as usize;
    let kind = from.u8()?;
    let payload = from.bytes(payload_len)?.to_vec();
    done(&from, "module", data)?;
    Ok(ModuleMessage { module, kind, payload })
}

fn empty(data: &[u8], what: &'static str, body: Body) -> Result<Body, DecodeError> {
    done(&Reader::new(data, what), what, data)?;
    Ok(body)
}

/// Nothing may be left.
fn done(from: &Reader<'_>, what: &'static str, data: &[u8]) -> Result<(), DecodeError> {
    match from.remaining() {
        0 => Ok(()),
        rest => {
            let actual = data.len() as u64;
            Err(DecodeError::Length { what, expected: actual - rest as u64, actual })
        }
    }
}

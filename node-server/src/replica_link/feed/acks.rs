//! What a replica sends: REPLCONF ACK, and line ends while it loads.

use super::Hub;
use crate::node::now;
use crate::replica_link::hub::Ack;
use node_server_protocol::resp::request::parse_number;
use node_server_protocol::resp::{Limits, Parsed, parse_request};
use std::io;
use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::OwnedReadHalf;

/// More than an acknowledgement takes.
const LIMITS: Limits = Limits { bulk_len: 4096, args: 64, line_len: 4096, stranger: false };
/// Bytes that are read at a time.
const READ_LEN: usize = 4096;

/// Reads until the connection ends. `Ok`: the replica ended it.
pub(super) async fn read(
    hub: &Hub,
    number: u64,
    mut reader: OwnedReadHalf,
    mut buffer: Vec<u8>,
) -> io::Result<()> {
    loop {
        let consumed = take(hub, number, &buffer)?;
        buffer.drain(..consumed);
        buffer.reserve(READ_LEN);
        if reader.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        hub.update(number, |replica| replica.last_heard = now());
    }
}

/// Takes the whole requests at the front; how many bytes they have. Of several acknowledgements the last counts.
fn take(hub: &Hub, number: u64, buffer: &[u8]) -> io::Result<usize> {
    let mut at = 0;
    let mut acknowledged = None;
    loop {
        match parse_request(&buffer[at..], &LIMITS).map_err(io::Error::other)? {
            Parsed::Request { args, consumed } => {
                acknowledged = ack(&args, acknowledged);
                at += consumed;
            }
            Parsed::Inline { consumed, .. } => at += consumed,
            Parsed::Incomplete { .. } => break,
        }
    }
    if let Some(ack) = acknowledged {
        hub.acked(number, ack);
    }
    Ok(at)
}

/// What stands after `REPLCONF ACK offset [FACK offset]`, if `before` stood before it. Anything else that a replica may
/// send asks for nothing.
fn ack(args: &[&[u8]], before: Option<Ack>) -> Option<Ack> {
    let is = |at: usize, name: &[u8]| args.get(at).is_some_and(|a| a.eq_ignore_ascii_case(name));
    let offset = |at: usize| {
        args.get(at).and_then(|offset| parse_number(offset)).and_then(|offset| u64::try_from(offset).ok())
    };
    if !is(0, b"REPLCONF") || !is(1, b"ACK") {
        return before;
    }
    let Some(received) = offset(2) else { return before };
    let on_disk = if is(3, b"FACK") { offset(4) } else { None };
    Some(Ack { received, on_disk: on_disk.or(before.and_then(|ack| ack.on_disk)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_acknowledgements_count() {
        let first = ack(&[b"REPLCONF", b"ACK", b"42"], None);
        assert_eq!(first, Some(Ack { received: 42, on_disk: None }));
        let second = ack(&[b"replconf", b"ack", b"43", b"FACK", b"40"], first);
        assert_eq!(second, Some(Ack { received: 43, on_disk: Some(40) }));
        // One that says nothing of the disk takes nothing back.
        let third = ack(&[b"REPLCONF", b"ACK", b"44"], second);
        assert_eq!(third, Some(Ack { received: 44, on_disk: Some(40) }));
        for other in [&[b"REPLCONF".as_slice(), b"ACK"][..], &[b"REPLCONF", b"ACK", b"-1"], &[b"PING"], &[]] {
            assert_eq!(ack(other, third), third);
        }
    }
}

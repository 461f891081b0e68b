//! How the protocol's words are written in a dumped state (`operator plan --from FILE`): as their text, so that a
//! person can read and edit the file.

use node_server_protocol::{Address, Epoch, NodeId, Role, Slot, SlotRange, SlotSet};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};
use std::net::IpAddr;

/// `5461` or `0-5460,5462`, or `-` for none.
pub(crate) fn parse_slots(text: &str) -> Result<Vec<SlotRange>, String> {
    if text == "-" || text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(|r| r.parse::<SlotRange>().map_err(|e| e.to_string())).collect()
}

/// The text of [`parse_slots`].
pub(crate) fn format_slots(ranges: &[SlotRange]) -> String {
    if ranges.is_empty() {
        return "-".into();
    }
    ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// `127.0.0.1:7001@17001`, as CLUSTER NODES writes it; no IP when it is not known.
fn parse_address(text: &str) -> Option<Address> {
    let (client, bus_port) = text.split_once('@')?;
    let (ip, port) = client.rsplit_once(':')?;
    let (port, bus_port) = (port.parse().ok()?, bus_port.parse().ok()?);
    if ip.is_empty() {
        return Some(Address::unknown(port, bus_port));
    }
    Some(Address { ip: ip.parse::<IpAddr>().ok()?, port, bus_port })
}

macro_rules! as_text {
    ($module:ident, $type:ty, $write:expr, $read:expr) => {
        pub(crate) mod $module {
            use super::*;

            #[allow(
                clippy::redundant_closure_call,
                reason = "the macro's closures are called where they stand"
            )]
            pub(crate) fn serialize<S: Serializer>(value: &$type, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&($write)(value))
            }

            #[allow(
                clippy::redundant_closure_call,
                reason = "the macro's closures are called where they stand"
            )]
            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<$type, D::Error> {
                let text = String::deserialize(d)?;
                let read: Result<$type, String> = ($read)(text.as_str());
                read.map_err(D::Error::custom)
            }
        }
    };
}

as_text!(node_id, NodeId, |v: &NodeId| v.to_string(), |t: &str| t.parse().map_err(|e| format!("{e}")));
as_text!(
    optional_node_id,
    Option<NodeId>,
    |v: &Option<NodeId>| v.map_or_else(|| "-".to_string(), |id| id.to_string()),
    |t: &str| if t == "-" { Ok(None) } else { t.parse().map(Some).map_err(|e| format!("{e}")) }
);
as_text!(ranges, Vec<SlotRange>, |v: &Vec<SlotRange>| format_slots(v), parse_slots);
as_text!(slot_set, SlotSet, ToString::to_string, |t: &str| parse_slots(t).map(|r| r.into_iter().collect()));
as_text!(address, Address, ToString::to_string, |t: &str| parse_address(t)
    .ok_or_else(|| format!("not an address (ip:port@busport): {t:?}")));
as_text!(
    role,
    Role,
    |v: &Role| v.master().map_or_else(|| "master".to_string(), |of| format!("replica of {of}")),
    |t: &str| match t.strip_prefix("replica of ") {
        Some(of) => of.parse().map(|of| Role::Replica { of }).map_err(|e| format!("{e}")),
        None if t == "master" => Ok(Role::Master),
        None => Err(format!("not a role (\"master\" or \"replica of <id>\"): {t:?}")),
    }
);

/// An epoch as its number.
pub(crate) mod epoch {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(value: &Epoch, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(value.0)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Epoch, D::Error> {
        u64::deserialize(d).map(Epoch)
    }
}

/// A slot as its number.
pub(crate) mod slot {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(value: &Slot, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u16(value.number())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Slot, D::Error> {
        let number = u16::deserialize(d)?;
        Slot::new(number).ok_or_else(|| D::Error::custom(format!("not a slot (0 to 16383): {number}")))
    }
}

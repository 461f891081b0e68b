//! CLUSTER. What is about keys is answered here, everything else by the cluster core.

mod table;

pub use table::TABLE;

use super::call::{NodeCall, SessionCall};
use super::connection::cluster_only;
use super::{CommandError, CommandResult};
use crate::keyspace::Entry;
use crate::outcome::{Deferred, Outcome};
use node_server_protocol::resp::request::parse_number;
use node_server_protocol::{Slot, key_slot};

fn cluster(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    cluster_only(call.engine)?;
    Ok(Outcome::Defer(Deferred::Cluster))
}

fn keyslot(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    cluster_only(call.engine)?;
    call.reply.integer(i64::from(key_slot(call.args[2]).number()));
    Ok(Outcome::Done)
}

fn slot_argument(text: &[u8]) -> CommandResult<Slot> {
    let number = parse_number(text).ok_or(CommandError::NotInteger)?;
    let slot = u16::try_from(number).ok().and_then(Slot::new);
    slot.ok_or(CommandError::text("ERR Invalid slot"))
}

fn count_keys(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    cluster_only(call.engine)?;
    let slot = slot_argument(call.args[2])?;
    call.engine.depends_on_slot(call.session, slot);
    call.reply.integer(i64::try_from(call.engine.keyspace.slot_unmoved(slot)).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

fn get_keys(call: &mut NodeCall<'_, '_>) -> CommandResult {
    cluster_only(call.engine)?;
    let number = |at: usize| parse_number(call.args[at]).ok_or(CommandError::NotInteger);
    let slot = u16::try_from(number(2)?).ok().and_then(Slot::new);
    let max = usize::try_from(number(3)?).ok();
    let (Some(slot), Some(max)) = (slot, max) else {
        return Err(CommandError::text("ERR Invalid slot or number of keys"));
    };
    let keys = call.with_slot(slot, |keys| {
        let gone: Vec<Vec<u8>> = keys.gone_and_unclear().map(<[u8]>::to_vec).collect();
        let here = keys.iter_all().map(Entry::key).map(<[u8]>::to_vec);
        here.chain(gone).take(max).collect::<Vec<_>>()
    })?;
    call.reply.array(keys.len());
    keys.iter().for_each(|key| call.reply.bulk(key));
    Ok(())
}

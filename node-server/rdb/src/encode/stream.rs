//! Streams, as [`crate::decode`] reads them.

use super::listpack::ListpackWriter;
use crate::container::listpack::Limits;
use crate::decode::stream_node::SAME_FIELDS;
use crate::encoding::{put_length, put_millis, put_string_as};
use crate::value::{Consumer, Entry, Group, Stream, StreamId};
use crate::{Dialect, Form};

/// Redis's defaults of `stream-node-max-entries` and `stream-node-max-bytes`.
const NODE_ENTRIES: usize = 100;
const NODE_BYTES: usize = 4096;

/// Everything behind the key. Fails with what is wrong.
pub(crate) fn put_stream(out: &mut Vec<u8>, stream: &Stream, form: Form) -> Result<(), &'static str> {
    stream.check()?;
    let limits = if form.dialect == Dialect::Valkey { Limits::Valkey } else { Limits::Redis };
    let nodes = put_nodes(&stream.entries, limits, form.compress)?;
    put_length(out, nodes.count);
    out.extend_from_slice(&nodes.bytes);
    put_length(out, stream.entries.len() as u64);
    put_id(out, stream.last_id);
    put_id(out, stream.first_entry_id());
    put_id(out, stream.max_deleted_id);
    put_length(out, stream.entries_added);
    put_length(out, stream.groups.len() as u64);
    stream.groups.iter().for_each(|group| put_group(out, group, form));
    Ok(())
}

fn put_id(out: &mut Vec<u8>, id: StreamId) {
    put_length(out, id.ms);
    put_length(out, id.seq);
}

/// Nodes that are written; their number stands before them and is known behind them.
#[derive(Default)]
struct Nodes {
    bytes: Vec<u8>,
    count: u64,
}

fn put_nodes(entries: &[Entry], limits: Limits, compress: bool) -> Result<Nodes, &'static str> {
    let mut nodes = Nodes::default();
    let mut rest = entries;
    while let Some(first) = rest.first() {
        let (listpack, taken) = node(first, rest, limits);
        let listpack = listpack.ok_or("an entry is longer than 4 GiB")?;
        put_length(&mut nodes.bytes, 16);
        nodes.bytes.extend_from_slice(&first.id.to_bytes());
        put_string_as(&mut nodes.bytes, &listpack, compress);
        nodes.count += 1;
        rest = rest.get(taken..).unwrap_or_default();
    }
    Ok(nodes)
}

/// A node that begins with `first`, and how many entries are in it. The master entry has their number, so they are
/// chosen before anything is written.
fn node(first: &Entry, entries: &[Entry], limits: Limits) -> (Option<Vec<u8>>, usize) {
    let mut bytes = 0;
    let fits = |entry: &&Entry| {
        bytes += entry.fields.iter().map(|(name, value)| name.len() + value.len() + 8).sum::<usize>() + 16;
        bytes <= NODE_BYTES
    };
    let count = entries.iter().take(NODE_ENTRIES).take_while(fits).count().max(1);
    let mut listpack = ListpackWriter::new(limits);
    listpack.integer(count as i64);
    listpack.integer(0);
    listpack.integer(first.fields.len() as i64);
    first.fields.iter().for_each(|(name, _)| listpack.string(name));
    listpack.integer(0);
    entries.iter().take(count).for_each(|entry| put_entry(&mut listpack, first, entry));
    (listpack.finish(), count)
}

fn put_entry(listpack: &mut ListpackWriter, first: &Entry, entry: &Entry) {
    let same = entry.fields.iter().map(|(name, _)| name).eq(first.fields.iter().map(|(name, _)| name));
    let (ms, seq) = (entry.id.ms.wrapping_sub(first.id.ms), entry.id.seq.wrapping_sub(first.id.seq));
    listpack.integer(if same { SAME_FIELDS } else { 0 });
    listpack.integer(ms as i64);
    listpack.integer(seq as i64);
    let mut taken = 3;
    if !same {
        listpack.integer(entry.fields.len() as i64);
        taken += 1;
    }
    for (name, value) in &entry.fields {
        if !same {
            listpack.string(name);
            taken += 1;
        }
        listpack.string(value);
        taken += 1;
    }
    listpack.integer(taken);
}

fn put_group(out: &mut Vec<u8>, group: &Group, form: Form) {
    put_string_as(out, &group.name, form.compress);
    put_id(out, group.last_id);
    put_length(out, group.entries_read.unwrap_or(u64::MAX));
    put_length(out, group.pending.len() as u64);
    for pending in &group.pending {
        out.extend_from_slice(&pending.id.to_bytes());
        put_millis(out, pending.delivered_at);
        put_length(out, pending.deliveries);
    }
    put_length(out, group.consumers.len() as u64);
    group.consumers.iter().for_each(|consumer| put_consumer(out, consumer, form));
}

fn put_consumer(out: &mut Vec<u8>, consumer: &Consumer, form: Form) {
    put_string_as(out, &consumer.name, form.compress);
    put_millis(out, consumer.seen_at);
    // STREAM_LISTPACKS_2, which the plain dialect has, does not keep it.
    if form.dialect != Dialect::Plain {
        match consumer.active_at {
            Some(at) => put_millis(out, at),
            None => out.extend_from_slice(&(-1_i64).to_le_bytes()),
        }
    }
    put_length(out, consumer.pending.len() as u64);
    consumer.pending.iter().for_each(|id| out.extend_from_slice(&id.to_bytes()));
}

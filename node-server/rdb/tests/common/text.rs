//! A value as one line of text, in the notation of make-golden.py.

use node_server_rdb::{Field, Group, Scored, Stream, StreamId, Value};

/// The line.
pub(crate) fn text(value: &Value) -> String {
    let mut words = match value {
        Value::String(bytes) => vec![hexed(bytes)],
        Value::List(items) | Value::Set(items) => items.iter().map(|item| hexed(item)).collect(),
        Value::SortedSet(members) => members.iter().map(scored).collect(),
        Value::Hash(fields) => fields.iter().map(field).collect(),
        Value::Stream(stream) => return stream_text(stream),
    };
    if !matches!(value, Value::List(_)) {
        words.sort();
    }
    words.insert(0, value.type_name().to_owned());
    words.join(" ")
}

fn hexed(bytes: &[u8]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let is_run = bytes.len() > 8 && bytes.iter().all(|byte| *byte == bytes[0]);
    if is_run { format!("{}*{}", hex(&bytes[..1]), bytes.len()) } else { hex(bytes) }
}

fn scored(Scored { member, score }: &Scored) -> String {
    format!("{}={:016x}", hexed(member), score.to_bits())
}

fn field(field: &Field) -> String {
    let expiry = field.expire_at.map(|at| format!("@{at}")).unwrap_or_default();
    format!("{}={}{expiry}", hexed(&field.name), hexed(&field.value))
}

fn id(id: StreamId) -> String {
    format!("{}-{}", id.ms, id.seq)
}

fn stream_text(stream: &Stream) -> String {
    let mut words = vec!["stream".to_owned(), id(stream.last_id), id(stream.first_id)];
    words.extend([id(stream.max_deleted_id), stream.entries_added.to_string()]);
    for entry in &stream.entries {
        words.extend([";".into(), id(entry.id)]);
        words.extend(entry.fields.iter().map(|(name, value)| format!("{}={}", hexed(name), hexed(value))));
    }
    words.extend(stream.groups.iter().flat_map(group_words));
    words.join(" ")
}

fn or_dash(number: Option<u64>) -> String {
    number.map_or("-".into(), |number| number.to_string())
}

fn group_words(group: &Group) -> Vec<String> {
    let mut words =
        vec!["; group".into(), hexed(&group.name), id(group.last_id), or_dash(group.entries_read)];
    for pending in &group.pending {
        words.extend(["; pending".into(), id(pending.id)]);
        words.extend([pending.delivered_at.to_string(), pending.deliveries.to_string()]);
    }
    for consumer in &group.consumers {
        words.extend(["; consumer".into(), hexed(&consumer.name)]);
        words.extend([consumer.seen_at.to_string(), or_dash(consumer.active_at)]);
        words.extend(consumer.pending.iter().map(|owned| format!("; owns {}", id(*owned))));
    }
    words
}

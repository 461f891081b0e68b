//! Replies as text, byte for byte what redis-cli prints.

use node_server_protocol::resp::Reply;

/// With their types, for people.
pub(super) fn typed(reply: &Reply) -> Vec<u8> {
    let mut out = Vec::new();
    typed_into(reply, "", &mut out);
    out
}

fn typed_into(reply: &Reply, indent: &str, out: &mut Vec<u8>) {
    let text = match reply {
        Reply::Simple(text) => text.clone(),
        Reply::Error(text) => format!("(error) {text}"),
        Reply::Integer(n) => format!("(integer) {n}"),
        Reply::Bulk(bytes) => quoted(bytes),
        Reply::Null => "(nil)".into(),
        Reply::Boolean(value) => format!("({value})"),
        Reply::Double(value) => format!("(double) {value}"),
        Reply::BigNumber(text) => format!("(bignum) {text}"),
        Reply::Array(items) | Reply::Push(items) => return list(items, indent, out),
        Reply::Map(pairs) => {
            let items: Vec<Reply> = pairs.iter().flat_map(|(k, v)| [k.clone(), v.clone()]).collect();
            return list(&items, indent, out);
        }
    };
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
}

/// Numbered, and what is within an item indented below it.
fn list(items: &[Reply], indent: &str, out: &mut Vec<u8>) {
    if items.is_empty() {
        return out.extend_from_slice(b"(empty array)\n");
    }
    let width = items.len().to_string().len();
    for (i, item) in items.iter().enumerate() {
        let prefix = if i == 0 { "" } else { indent };
        out.extend_from_slice(format!("{prefix}{:>width$}) ", i + 1).as_bytes());
        typed_into(item, &format!("{indent}{}", " ".repeat(width + 2)), out);
    }
}

fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in bytes {
        match byte {
            b'\\' | b'"' => text.extend(['\\', char::from(*byte)]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            7 => text.push_str("\\a"),
            8 => text.push_str("\\b"),
            0x20..=0x7e => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    text
}

/// As they are, for programs.
pub(super) fn raw(reply: &Reply) -> Vec<u8> {
    let mut out = Vec::new();
    raw_into(reply, &mut out);
    out.push(b'\n');
    out
}

fn raw_into(reply: &Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::Simple(text) | Reply::BigNumber(text) => out.extend_from_slice(text.as_bytes()),
        Reply::Error(text) => out.extend_from_slice(format!("{text}\n").as_bytes()),
        Reply::Integer(n) => out.extend_from_slice(n.to_string().as_bytes()),
        Reply::Bulk(bytes) => out.extend_from_slice(bytes),
        Reply::Null => {}
        Reply::Boolean(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Reply::Double(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Reply::Array(items) | Reply::Push(items) => lines(items.iter(), out),
        Reply::Map(pairs) => lines(pairs.iter().flat_map(|(key, value)| [key, value]), out),
    }
}

fn lines<'r>(items: impl Iterator<Item = &'r Reply>, out: &mut Vec<u8>) {
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(b'\n');
        }
        raw_into(item, out);
    }
}

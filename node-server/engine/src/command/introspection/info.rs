//! One command in the form of COMMAND INFO: an array of ten.

use super::categories;
use super::handlers::words;
use crate::command::keys::legacy_range;
use crate::command::spec::{Begin, Find, KeySpec};
use crate::command::table::Command;
use node_server_protocol::resp::ReplyWriter;

/// Appends what is known about a command and its subcommands.
pub(super) fn put(reply: &mut ReplyWriter<'_>, command: &Command) {
    let spec = command.spec;
    let (first, last, step) = legacy_range(spec);
    reply.array(10);
    reply.bulk(spec.name.as_bytes());
    reply.integer(spec.arity.into());
    words(reply, &spec.flags.words().collect::<Vec<_>>());
    [first, last, step].into_iter().for_each(|n| reply.integer(n.into()));
    let categories: Vec<&str> = categories(spec).collect();
    reply.set(categories.len());
    categories.iter().for_each(|category| reply.simple(&format!("@{category}")));
    bulks(reply, spec.tips);
    reply.set(spec.keys.len());
    spec.keys.iter().for_each(|keys| put_keys(reply, keys));
    // A set when it is empty, an array otherwise: so it is in Redis.
    match command.subcommands.len() {
        0 => reply.set(0),
        some => reply.array(some),
    }
    command.subcommands.values().for_each(|subcommand| put(reply, subcommand));
}

fn bulks(reply: &mut ReplyWriter<'_>, texts: &[&str]) {
    reply.set(texts.len());
    texts.iter().for_each(|text| reply.bulk(text.as_bytes()));
}

fn put_keys(reply: &mut ReplyWriter<'_>, keys: &KeySpec) {
    reply.map(if keys.notes.is_empty() { 3 } else { 4 });
    if !keys.notes.is_empty() {
        reply.bulk(b"notes");
        reply.bulk(keys.notes.as_bytes());
    }
    reply.bulk(b"flags");
    words(reply, keys.flags);
    reply.bulk(b"begin_search");
    match keys.begin {
        Begin::Index(at) => numbers(reply, "index", &[("index", at)]),
        Begin::Keyword(word, from) => put_keyword(reply, word, from),
        Begin::Unknown => numbers(reply, "unknown", &[]),
    }
    reply.bulk(b"find_keys");
    match keys.find {
        Find::Range { last, step, limit } => {
            numbers(reply, "range", &[("lastkey", last), ("keystep", step), ("limit", limit)]);
        }
        Find::Count { number, first, step } => {
            numbers(reply, "keynum", &[("keynumidx", number), ("firstkey", first), ("keystep", step)]);
        }
        Find::Unknown => numbers(reply, "unknown", &[]),
    }
}

/// A map of type and spec.
fn numbers(reply: &mut ReplyWriter<'_>, kind: &str, fields: &[(&str, i32)]) {
    head(reply, kind, fields.len());
    for (name, number) in fields {
        reply.bulk(name.as_bytes());
        reply.integer((*number).into());
    }
}

fn put_keyword(reply: &mut ReplyWriter<'_>, word: &str, from: i32) {
    head(reply, "keyword", 2);
    reply.bulk(b"keyword");
    reply.bulk(word.as_bytes());
    reply.bulk(b"startfrom");
    reply.integer(from.into());
}

fn head(reply: &mut ReplyWriter<'_>, kind: &str, fields: usize) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(fields);
}

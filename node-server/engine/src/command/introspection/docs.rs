//! One command in the form of COMMAND DOCS.

use super::handlers::words;
use crate::command::spec::Argument;
use crate::command::table::Command;
use node_server_protocol::resp::ReplyWriter;

/// Appends the map of what is known about a command.
pub(super) fn put(reply: &mut ReplyWriter<'_>, command: &Command) {
    let spec = command.spec;
    let mut doc_flags = spec.doc_flags.to_vec();
    if spec.deprecated.is_some() {
        doc_flags.push("deprecated");
    }
    let optional = [
        !doc_flags.is_empty(),
        spec.deprecated.is_some(),
        spec.deprecated.is_some(),
        !spec.arguments.is_empty(),
        !command.subcommands.is_empty(),
    ];
    reply.map(4 + optional.iter().filter(|there| **there).count());
    text(reply, "summary", spec.summary);
    text(reply, "since", spec.since);
    text(reply, "group", spec.group.word());
    text(reply, "complexity", spec.complexity);
    if !doc_flags.is_empty() {
        reply.bulk(b"doc_flags");
        words(reply, &doc_flags);
    }
    if let Some(deprecated) = spec.deprecated {
        text(reply, "deprecated_since", deprecated.since);
        text(reply, "replaced_by", deprecated.by);
    }
    put_arguments(reply, spec.arguments);
    if !command.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(command.subcommands.len());
        for subcommand in command.subcommands.values() {
            reply.bulk(subcommand.spec.name.as_bytes());
            put(reply, subcommand);
        }
    }
}

fn text(reply: &mut ReplyWriter<'_>, name: &str, value: &str) {
    reply.bulk(name.as_bytes());
    reply.bulk(value.as_bytes());
}

fn put_arguments(reply: &mut ReplyWriter<'_>, arguments: &[Argument]) {
    if arguments.is_empty() {
        return;
    }
    reply.bulk(b"arguments");
    reply.array(arguments.len());
    arguments.iter().for_each(|argument| put_argument(reply, argument));
}

fn put_argument(reply: &mut ReplyWriter<'_>, argument: &Argument) {
    // `display_text` came with Redis 7.2; containers have none.
    let shown = argument.parts.is_empty();
    // The empty word is one too: MIGRATE's empty key.
    let has_token = !argument.token.is_empty() || argument.kind == "pure-token";
    let optional = [
        shown,
        argument.key_spec.is_some(),
        has_token,
        !argument.flags.is_empty(),
        !argument.parts.is_empty(),
    ];
    reply.map(2 + optional.iter().filter(|there| **there).count());
    text(reply, "name", argument.name);
    text(reply, "type", argument.kind);
    if shown {
        text(reply, "display_text", argument.name);
    }
    if let Some(number) = argument.key_spec {
        reply.bulk(b"key_spec_index");
        reply.integer(number as i64);
    }
    if has_token {
        text(reply, "token", argument.token);
    }
    if !argument.flags.is_empty() {
        reply.bulk(b"flags");
        words(reply, argument.flags);
    }
    put_arguments(reply, argument.parts);
}

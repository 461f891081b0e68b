//! CLIENT: the subcommands that clients and tools send when they connect, and LIST, INFO, KILL.

use super::{lossy, unknown_subcommand, wrong_arity};
use crate::clients::{Client, Kind};
use crate::mailbox::Mail;
use crate::node::Node;
use node_server_engine::Session;
use node_server_protocol::Millis;
use node_server_protocol::resp::ReplyWriter;
use std::sync::atomic::Ordering;

const HELP: &[&str] = &[
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port>",
    "    Kill connection made from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Kill connections. Options are:",
    "    * ADDR <ip:port>",
    "    * LADDR <ip:port>",
    "    * ID <client-id>",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "    * USER <username>",
    "    * MAXAGE <seconds>",
    "    * SKIPME (YES|NO)",
    "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)] [ID <client-id> [<client-id> ...]]",
    "    Return information about client connections.",
    "NO-EVICT (ON|OFF)",
    "    Protect current client connection from eviction.",
    "NO-TOUCH (ON|OFF)",
    "    Will not touch LRU/LFU stats when this mode is on.",
    "SETINFO (LIB-NAME|LIB-VER) <value>",
    "    Set client library name or version.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "TRACKING OFF",
    "    Server assisted client side caching is not supported; turning it off is.",
    "HELP",
    "    Prints this help.",
];
/// The user that everybody is, since there are no access control lists.
const USER: &str = "default";
/// Redis's words for a name or library that has spaces or control characters.
const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

/// Answers `CLIENT …` for the connection of `session`.
pub fn client(node: &Node, session: &mut Session, args: &[&[u8]], now: Millis, reply: &mut ReplyWriter<'_>) {
    let Some(own) = node.clients.get(session.id.0) else {
        return reply.error("ERR this connection is about to end");
    };
    own.copy(session);
    let subcommand = lossy(args.get(1)).to_ascii_lowercase();
    match (subcommand.as_str(), args.len()) {
        ("id", 2) => reply.integer(own.id as i64),
        ("getname", 2) => reply.bulk_or_null(Some(session.name.as_slice()).filter(|n| !n.is_empty())),
        ("setname", 3) => set_name(session, args[2], reply),
        ("setinfo", 4) => set_info(session, args[2], args[3], reply),
        ("info", 2) => reply.verbatim("txt", format!("{}\n", own.line(now)).as_bytes()),
        ("list", _) => list(node, &args[2..], now, reply),
        ("kill", 3..) => kill(node, &own, &args[2..], now, reply),
        ("no-evict" | "no-touch", 3) => match args[2].to_ascii_lowercase().as_slice() {
            on @ (b"on" | b"off") => {
                switch(&own, session, &subcommand, on == b"on");
                reply.ok();
            }
            _ => reply.error("ERR syntax error"),
        },
        ("tracking", 3..) if args[2].eq_ignore_ascii_case(b"off") => reply.ok(),
        ("tracking", 3..) if args[2].eq_ignore_ascii_case(b"on") => {
            reply.error("ERR client side caching is not supported by this version");
        }
        ("tracking", 3..) => reply.error("ERR syntax error"),
        ("help", 2) => super::help(HELP, reply),
        (
            "id" | "getname" | "setname" | "setinfo" | "info" | "kill" | "no-evict" | "no-touch" | "tracking"
            | "help",
            _,
        ) => wrong_arity("client", &subcommand, reply),
        _ => unknown_subcommand("client", &lossy(args.get(1)), reply),
    }
}

/// Whether the text may be a name: printable ASCII without spaces.
#[must_use]
pub fn is_name(text: &[u8]) -> bool {
    text.iter().all(|b| (b'!'..=b'~').contains(b))
}

fn set_name(session: &mut Session, name: &[u8], reply: &mut ReplyWriter<'_>) {
    if !is_name(name) {
        return reply.error(BAD_NAME);
    }
    session.name = name.to_vec();
    reply.ok();
}

fn set_info(session: &mut Session, what: &[u8], value: &[u8], reply: &mut ReplyWriter<'_>) {
    let what = String::from_utf8_lossy(what).to_ascii_lowercase();
    let field = match what.as_str() {
        "lib-name" => &mut session.lib_name,
        "lib-ver" => &mut session.lib_version,
        _ => return reply.error(&format!("ERR Unrecognized option '{what}'")),
    };
    if !is_name(value) {
        return reply.error(&format!("ERR {what} cannot contain spaces, newlines or special characters."));
    }
    *field = value.to_vec();
    reply.ok();
}

fn switch(own: &Client, session: &mut Session, subcommand: &str, on: bool) {
    match subcommand {
        "no-evict" => own.details.lock().no_evict = on,
        _ => session.no_touch = on,
    }
}

/// Every kind of client that LIST and KILL name; `Some(None)` is one that nobody is of.
fn kind(text: &str) -> Option<Option<Kind>> {
    match text.to_ascii_lowercase().as_str() {
        "normal" => Some(Some(Kind::Normal)),
        "master" => Some(Some(Kind::Master)),
        "replica" | "slave" => Some(Some(Kind::Replica)),
        "pubsub" => Some(None),
        _ => None,
    }
}

fn list(node: &Node, options: &[&[u8]], now: Millis, reply: &mut ReplyWriter<'_>) {
    let words: Vec<String> = options.iter().map(|o| lossy(Some(o))).collect();
    let clients = match words.as_slice() {
        [] => node.clients.all(),
        [option, word] if option.eq_ignore_ascii_case("type") => match kind(word) {
            Some(kind) => node.clients.all().into_iter().filter(|c| Some(c.kind) == kind).collect(),
            None => return reply.error(&format!("ERR Unknown client type '{word}'")),
        },
        [option, ids @ ..] if option.eq_ignore_ascii_case("id") && !ids.is_empty() => {
            let Some(ids) = ids.iter().map(|id| id.parse().ok()).collect::<Option<Vec<u64>>>() else {
                return reply.error("ERR Invalid client ID");
            };
            ids.into_iter().filter_map(|id| node.clients.get(id)).collect()
        }
        _ => return reply.error("ERR syntax error"),
    };
    let text: String = clients.iter().map(|c| c.line(now) + "\n").collect();
    reply.verbatim("txt", text.as_bytes());
}

/// Whom KILL means.
#[derive(Debug, Default)]
struct Filter {
    id: Option<u64>,
    peer: Option<String>,
    local: Option<String>,
    /// `Some(None)`: of a kind that nobody is of.
    kind: Option<Option<Kind>>,
    default_user: Option<bool>,
    older_than_s: Option<u64>,
    spare_own: bool,
}

impl Filter {
    fn parse(words: &[String]) -> Result<Self, String> {
        let mut filter = Self { spare_own: true, ..Self::default() };
        if !words.len().is_multiple_of(2) {
            return Err("ERR syntax error".into());
        }
        for pair in words.chunks_exact(2) {
            let value = &pair[1];
            match pair[0].to_ascii_lowercase().as_str() {
                "id" => {
                    let id = value.parse().ok().filter(|id| *id > 0);
                    filter.id = Some(id.ok_or("ERR client-id should be greater than 0")?);
                }
                "addr" => filter.peer = Some(value.clone()),
                "laddr" => filter.local = Some(value.clone()),
                "type" => {
                    filter.kind =
                        Some(kind(value).ok_or_else(|| format!("ERR Unknown client type '{value}'"))?);
                }
                "user" if value == USER => filter.default_user = Some(true),
                "user" => return Err(format!("ERR No such user '{value}'")),
                "maxage" => {
                    let age = value.parse().map_err(|_| "ERR maxage is not an integer or out of range")?;
                    filter.older_than_s = Some(age);
                }
                "skipme" if value.eq_ignore_ascii_case("yes") => filter.spare_own = true,
                "skipme" if value.eq_ignore_ascii_case("no") => filter.spare_own = false,
                _ => return Err("ERR syntax error".into()),
            }
        }
        Ok(filter)
    }

    fn means(&self, client: &Client, own: &Client, now: Millis) -> bool {
        let is = |wanted: &Option<String>, text: String| wanted.as_ref().is_none_or(|w| *w == text);
        self.id.is_none_or(|id| id == client.id)
            && is(&self.peer, client.peer.to_string())
            && is(&self.local, client.local.to_string())
            && self.kind.is_none_or(|kind| kind == Some(client.kind))
            && self.older_than_s.is_none_or(|age| now.since(client.connected) / 1000 >= age)
            && !(self.spare_own && client.id == own.id)
    }
}

fn kill(node: &Node, own: &Client, words: &[&[u8]], now: Millis, reply: &mut ReplyWriter<'_>) {
    let words: Vec<String> = words.iter().map(|w| lossy(Some(w))).collect();
    // The old form: an address and nothing else, answered by OK or an error.
    let old_form = words.len() == 1;
    let filter = match words.as_slice() {
        [address] => Ok(Filter { peer: Some(address.clone()), ..Filter::default() }),
        words => Filter::parse(words),
    };
    let filter = match filter {
        Ok(filter) => filter,
        Err(error) => return reply.error(&error),
    };
    let victims: Vec<_> = node.clients.all().into_iter().filter(|c| filter.means(c, own, now)).collect();
    for victim in &victims {
        if victim.id == own.id {
            victim.killed.store(true, Ordering::Relaxed);
        } else if victim.kind != Kind::Normal {
            victim.end.notify_one();
        } else {
            node.mailboxes.post(node.mailboxes.thread_of(victim.id), Mail::Kill(victim.id));
        }
    }
    match (old_form, victims.len()) {
        (true, 0) => reply.error("ERR No such client"),
        (true, _) => reply.ok(),
        (false, count) => reply.integer(count as i64),
    }
}

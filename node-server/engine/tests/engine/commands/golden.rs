//! The same requests as were sent to redis-server 7.0.15, and the same replies, byte for byte.

use crate::support::*;
use node_server_engine::Outcome;
use node_server_protocol::resp::request::split_quoted;

/// Bytes as the files show them.
fn escaped(bytes: &[u8]) -> String {
    let show = |b: &u8| match *b {
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\\' => "\\\\".to_owned(),
        32..=126 => char::from(*b).to_string(),
        other => format!("\\x{other:02x}"),
    };
    bytes.iter().map(show).collect()
}

fn reply(client: &mut Client, line: &str) -> String {
    let args = split_quoted(line.as_bytes()).expect("quotes close");
    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    let (mut outcome, mut out) = client.try_once(&args);
    if outcome == Outcome::Offload {
        outcome = client.engine.execute_offloaded(&mut client.session, &args, client.now, &mut out);
    }
    assert_eq!(outcome, Outcome::Done, "{line}");
    escaped(&out)
}

/// What this version says otherwise than Redis 7.0: Redis 7.2 does, too.
const NEWER: &[(&str, &str)] = &[
    ("COMMAND GETKEYS PING a", "-ERR The command has no key arguments\\r\\n"),
    ("COMMAND GETKEYS nothing a", "-ERR Invalid command specified\\r\\n"),
];

fn replay(file: &str) {
    let node = Node::standalone();
    let mut client = node.client();
    let mut sent = 0;
    let mut lines = file.lines().skip(1);
    while let Some(line) = lines.next() {
        let (kind, line) = line.split_at(2);
        match kind {
            "! " => drop(client.line(&format!("HELLO {line}"))),
            "# " => client.ok("FLUSHALL"),
            _ => {
                let theirs = lines.next().and_then(|l| l.strip_prefix("< ")).expect("a reply");
                let newer = NEWER.iter().find(|(request, _)| *request == line);
                let expected = newer.map_or(theirs, |(_, reply)| reply);
                assert_eq!(reply(&mut client, line), expected, "{line}");
                sent += 1;
            }
        }
    }
    assert!(sent > 40, "the file is there");
}

#[test]
fn string_commands() {
    replay(include_str!("golden/strings.txt"));
}

#[test]
fn commands_on_keys_of_any_type() {
    replay(include_str!("golden/generic.txt"));
}

#[test]
fn command_itself() {
    replay(include_str!("golden/command.txt"));
}

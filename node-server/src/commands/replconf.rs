//! REPLCONF on a connection that is not a replica's yet: what it says about itself is kept until PSYNC.

use super::lossy;
use crate::clients::{CAPABILITIES_MAX, ReplicaHello};
use crate::node::Node;
use node_server_engine::Session;
use node_server_protocol::resp::ReplyWriter;
use node_server_protocol::resp::request::parse_number;

/// Longest `REPLCONF version`: three bytes as numbers.
const VERSION_LEN_MAX: usize = 11;
const NOT_INTEGER: &str = "ERR value is not an integer or out of range";

/// Answers `REPLCONF option value …`.
pub(super) fn replconf(node: &Node, session: &Session, args: &[&[u8]], reply: &mut ReplyWriter<'_>) {
    let Some(own) = node.clients.get(session.id.0) else {
        return reply.error("ERR this connection is about to end");
    };
    let mut hello = own.replica.lock().clone();
    if args.len().is_multiple_of(2) {
        return reply.error("ERR syntax error");
    }
    for pair in args[1..].chunks_exact(2) {
        match note(&mut hello, &lossy(pair.first()).to_ascii_lowercase(), &lossy(pair.get(1))) {
            Ok(()) => {}
            Err(Refusal::Unknown) => {
                return super::error_quoting("ERR Unrecognized REPLCONF option: ", pair[0], "", reply);
            }
            Err(Refusal::Value(error)) => return reply.error(&error),
        }
    }
    *own.replica.lock() = hello;
    reply.ok();
}

/// Why an option is refused.
#[derive(Debug)]
enum Refusal {
    /// Its name is none.
    Unknown,
    /// Its value; the error.
    Value(String),
}

fn note(hello: &mut ReplicaHello, option: &str, value: &str) -> Result<(), Refusal> {
    match option {
        "listening-port" => {
            // Redis takes any number. One that is no port is as good as none.
            let port = parse_number(value.as_bytes()).ok_or_else(|| Refusal::Value(NOT_INTEGER.into()))?;
            hello.listening_port = u16::try_from(port).unwrap_or(0);
        }
        "ip-address" if value.len() <= 255 => hello.announced_ip = Some(value.into()),
        "ip-address" => {
            return Err(Refusal::Value(format!(
                "ERR REPLCONF ip-address provided by replica instance is too long: {} bytes",
                value.len()
            )));
        }
        "capa" if hello.capabilities.len() < CAPABILITIES_MAX => {
            hello.capabilities.push(value.to_ascii_lowercase())
        }
        "version" if is_version(value) => hello.version = Some(value.into()),
        "version" => return Err(Refusal::Value(format!("ERR Unrecognized version format: {value}"))),
        // What a replica says that we do not know changes nothing; newer ones say more than older masters know.
        "capa" | "set-cluster-node-id" | "rdb-no-compress" | "rdb-no-checksum" => {}
        _ => return Err(Refusal::Unknown),
    }
    Ok(())
}

/// Three numbers, as Valkey wants them.
fn is_version(text: &str) -> bool {
    text.len() <= VERSION_LEN_MAX
        && text.split('.').count() == 3
        && text.split('.').all(|part| part.parse::<u8>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_introduces_itself() {
        let mut hello = ReplicaHello::default();
        for (option, value) in [
            ("listening-port", "7001"),
            ("capa", "EOF"),
            ("capa", "psync2"),
            ("ip-address", "10.0.0.1"),
            ("version", "9.1.2"),
        ] {
            note(&mut hello, option, value).unwrap();
        }
        let expected = ReplicaHello {
            listening_port: 7001,
            announced_ip: Some("10.0.0.1".into()),
            version: Some("9.1.2".into()),
            capabilities: vec!["eof".into(), "psync2".into()],
        };
        assert_eq!(hello, expected);
        assert!(note(&mut hello, "listening-port", "x").is_err());
        assert!(note(&mut hello, "nonsense", "1").is_err());
        for bad in ["", "9", "9.1", "9.1.x", "9.1.2.3", "900.1.2"] {
            assert!(note(&mut hello, "version", bad).is_err(), "{bad}");
        }
        note(&mut hello.clone(), "listening-port", "4294967296").unwrap();
        for _ in 0..100 {
            note(&mut hello, "capa", "x").unwrap();
        }
        assert_eq!(hello.capabilities.len(), CAPABILITIES_MAX);
    }
}

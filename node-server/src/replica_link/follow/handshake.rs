//! How a replica introduces itself (reference/replication §2.1).

use super::{Connection, LinkError};
use crate::replica_link::BATCH_ACK;
use crate::replica_link::hub::Hub;
use node_server_engine::log::put_command;

/// What became of PSYNC.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The stream goes on where our log ends, maybe under another name.
    Continue {
        /// The name, where the master says one.
        replid: Option<String>,
    },
    /// A snapshot follows.
    Full {
        /// Its history.
        replid: String,
        /// Its place in it.
        offset: u64,
    },
}

/// Introduces us and asks for the stream: its continuation if `partial`.
pub(super) async fn sync(hub: &Hub, connection: &mut Connection, partial: bool) -> Result<Answer, LinkError> {
    let settings = hub.node.config.settings();
    let port = match settings.replica_announce_port {
        0 => settings.port,
        port => port,
    };
    let mut request = Vec::new();
    put_command(&mut request, &[b"PING"]);
    put_command(&mut request, &[b"REPLCONF", b"listening-port", port.to_string().as_bytes()]);
    let mut expected = vec!["PING", "REPLCONF listening-port"];
    if !settings.replica_announce_ip.is_empty() {
        put_command(&mut request, &[b"REPLCONF", b"ip-address", settings.replica_announce_ip.as_bytes()]);
        expected.push("REPLCONF ip-address");
    }
    let capabilities = [b"capa".as_slice(), b"eof", b"capa", b"psync2", b"capa", BATCH_ACK.as_bytes()];
    put_command(&mut request, &[&[b"REPLCONF".as_slice()], &capabilities[..]].concat());
    expected.push("REPLCONF capa");
    connection.write(&request).await?;
    for what in expected {
        let reply = connection.line(what).await?;
        // Older masters may not know an option; PING is refused by one that does not serve yet.
        if !reply.starts_with(['+', '-']) {
            return Err(LinkError::Answer { what, reply });
        }
    }
    let log = hub.node.engine.log();
    let (replid, offset) = match partial {
        true => (log.history().replid, (log.end() + 1).to_string()),
        false => ("?".into(), "-1".into()),
    };
    let mut request = Vec::new();
    put_command(&mut request, &[b"PSYNC", replid.as_bytes(), offset.as_bytes()]);
    connection.write(&request).await?;
    let reply = connection.line("PSYNC").await?;
    answer(&reply)
}

fn answer(reply: &str) -> Result<Answer, LinkError> {
    let words: Vec<&str> = reply.split_ascii_whitespace().collect();
    let offset = |text: &str| text.parse().ok();
    match words.as_slice() {
        ["+CONTINUE"] => Ok(Answer::Continue { replid: None }),
        ["+CONTINUE", replid] => Ok(Answer::Continue { replid: Some((*replid).into()) }),
        ["+FULLRESYNC", replid, at] if replid.len() == 40 && offset(at).is_some() => {
            Ok(Answer::Full { replid: (*replid).into(), offset: offset(at).unwrap_or(0) })
        }
        [error, ..] if matches!(*error, "-NOMASTERLINK" | "-LOADING") => Err(LinkError::NotYet(reply.into())),
        _ => Err(LinkError::Answer { what: "PSYNC", reply: reply.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_psync() {
        let id = "a".repeat(40);
        let full = Answer::Full { replid: id.clone(), offset: 14 };
        assert_eq!(answer(&format!("+FULLRESYNC {id} 14")).unwrap(), full);
        assert_eq!(answer("+CONTINUE").unwrap(), Answer::Continue { replid: None });
        assert_eq!(answer(&format!("+CONTINUE {id}")).unwrap(), Answer::Continue { replid: Some(id) });
        assert!(matches!(answer("-NOMASTERLINK no"), Err(LinkError::NotYet(_))));
        for bad in ["+FULLRESYNC abc 14", "-ERR unknown command", "+OK", ":1"] {
            assert!(matches!(answer(bad), Err(LinkError::Answer { .. })), "{bad}");
        }
    }
}

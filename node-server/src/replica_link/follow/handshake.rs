//! How a replica introduces itself (reference/replication §2.1).

use super::{Connection, LinkError};
use crate::config::Settings;
use crate::replica_link::BATCH_ACK;
use crate::replica_link::hub::Hub;
use node_server_engine::log::put_command;

/// The command that says the password.
const AUTH: &str = "AUTH";

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

/// The version of Valkey whose snapshots we read. A Valkey master sends fields of hashes that expire only to replicas
/// that say so; Redis's answer is an error that it does not log.
const READS_SNAPSHOTS_OF: &[u8] = b"9.0.0";

/// How the stream is asked for.
pub(super) struct How {
    /// Its continuation.
    pub(super) partial: bool,
    /// From a replica of ours that is to take over.
    pub(super) failover: bool,
}

/// Introduces us and asks for the stream.
pub(super) async fn sync(hub: &Hub, connection: &mut Connection, how: How) -> Result<Answer, LinkError> {
    let settings = hub.node.config.settings();
    let (request, expected) = introduction(&settings);
    connection.write(&request).await?;
    for what in expected {
        let reply = connection.line(what).await?;
        understand(what, reply)?;
    }
    let log = hub.node.engine.log();
    let (replid, offset) = match how.partial {
        true => (log.history().replid, (log.end() + 1).to_string()),
        false => ("?".into(), "-1".into()),
    };
    let mut request = Vec::new();
    let mut args = vec![b"PSYNC".as_slice(), replid.as_bytes(), offset.as_bytes()];
    if how.failover {
        args.push(b"FAILOVER");
    }
    put_command(&mut request, &args);
    connection.write(&request).await?;
    let reply = connection.line("PSYNC").await?;
    answer(&reply)
}

/// What we say about ourselves, and what each reply will be to.
fn introduction(settings: &Settings) -> (Vec<u8>, Vec<&'static str>) {
    let mut request = Vec::new();
    let mut expected = Vec::new();
    let mut say = |what: &'static str, args: &[&[u8]]| {
        put_command(&mut request, args);
        expected.push(what);
    };
    say("PING", &[b"PING"]);
    let password = settings.masterauth.0.as_bytes();
    match settings.masteruser.as_bytes() {
        _ if password.is_empty() => {}
        b"" => say(AUTH, &[AUTH.as_bytes(), password]),
        user => say(AUTH, &[AUTH.as_bytes(), user, password]),
    }
    let port = match settings.replica_announce_port {
        0 => settings.port,
        port => port,
    };
    say("REPLCONF listening-port", &[b"REPLCONF", b"listening-port", port.to_string().as_bytes()]);
    let ip = settings.replica_announce_ip.as_bytes();
    if !ip.is_empty() {
        say("REPLCONF ip-address", &[b"REPLCONF", b"ip-address", ip]);
    }
    let batch_ack = BATCH_ACK.as_bytes();
    say("REPLCONF capa", &[b"REPLCONF", b"capa", b"eof", b"capa", b"psync2", b"capa", batch_ack]);
    say("REPLCONF version", &[b"REPLCONF", b"version", READS_SNAPSHOTS_OF]);
    (request, expected)
}

/// Older masters may not know an option, and PING is refused by one that does not serve yet or not yet us; a password
/// is right or wrong.
fn understand(what: &'static str, reply: String) -> Result<(), LinkError> {
    match reply.strip_prefix('-') {
        Some(refusal) if what == AUTH => Err(LinkError::Auth(refusal.into())),
        None if !reply.starts_with('+') => Err(LinkError::Answer { what, reply }),
        _ => Ok(()),
    }
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
        ["-NOAUTH", ..] => Err(LinkError::NoAuth),
        [error, ..] if matches!(*error, "-NOMASTERLINK" | "-LOADING") => Err(LinkError::NotYet(reply.into())),
        _ => Err(LinkError::Answer { what: "PSYNC", reply: reply.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(directives: &[(&str, &str)]) -> String {
        let mut values = crate::config::values::Values::default();
        for (name, value) in directives {
            values.replace(crate::config::table::index(name), value).unwrap();
        }
        let (request, expected) = introduction(&Settings::from_values(&values));
        let request = String::from_utf8(request).unwrap();
        assert_eq!(request.matches('*').count(), expected.len(), "a reply to each");
        request.replace("\r\n", " ")
    }

    #[test]
    fn the_password_is_said_where_there_is_one_and_before_anything_that_needs_it() {
        let without = said(&[("masteruser", "u")]);
        assert!(without.starts_with("*1 $4 PING *3 $8 REPLCONF $14 listening-port $4 6379 "), "{without}");
        assert!(without.ends_with("*3 $8 REPLCONF $7 version $5 9.0.0 "), "{without}");
        let with = said(&[("masterauth", "pw")]);
        assert!(with.starts_with("*1 $4 PING *2 $4 AUTH $2 pw *3 "), "{with}");
        let named = said(&[("masterauth", "pw"), ("masteruser", "u")]);
        assert!(named.starts_with("*1 $4 PING *3 $4 AUTH $1 u $2 pw *3 "), "{named}");
    }

    #[test]
    fn only_a_refused_password_ends_the_introduction() {
        for what in ["PING", "REPLCONF version"] {
            understand(what, "-NOAUTH Authentication required.".into()).unwrap();
        }
        understand(AUTH, "+OK".into()).unwrap();
        let refused = understand(AUTH, "-WRONGPASS no".into()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "Unable to AUTH to MASTER: WRONGPASS no (check masterauth and masteruser)"
        );
        assert!(matches!(answer("-NOAUTH Authentication required."), Err(LinkError::NoAuth)));
        assert!(understand("PING", "?".into()).is_err());
    }

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

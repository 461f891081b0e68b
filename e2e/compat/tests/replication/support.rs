//! Servers outside of a cluster that follow each other, their data, and how they stand.

use crate::digest::tail;
use anyhow::{Context, Result, bail, ensure};
use e2e::client::info_field;
use e2e::{Binary, Client, PortBlock, Server, ServerSpec, wait};
use node_server_protocol::resp::Reply;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a link may take to come up.
pub const SOON: Duration = Duration::from_secs(30);
/// The databases that the stream uses outside of a cluster.
pub const DATABASES: [u16; 3] = [0, 3, 9];
/// Commands that are sent before their replies are read.
pub const BATCH: usize = 100;
/// Commands for a pairing in `./test`; `./test --full` says 100,000.
const COMMANDS: usize = 5000;

/// How many commands each pairing gets: `REPLICATION_COMMANDS`.
pub fn commands() -> usize {
    std::env::var("REPLICATION_COMMANDS").ok().and_then(|text| text.parse().ok()).unwrap_or(COMMANDS)
}

/// Where the random commands begin: `REPLICATION_SEED`, or another one in every run. What is printed repeats it.
pub fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    let seed = *SEED.get_or_init(|| {
        let named = std::env::var("REPLICATION_SEED").ok().and_then(|text| text.parse().ok());
        // A clock before 1970 is as good a seed as any.
        named.unwrap_or_else(|| {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |t| t.as_millis() as u64)
        })
    });
    println!("REPLICATION_SEED={seed}");
    seed
}

/// A server outside of a cluster. Snapshots are sent at once, and the backlog is large enough for every cut.
pub fn alone(binary: Binary, port: u16) -> ServerSpec {
    let spec = ServerSpec::new(binary, port).with("repl-diskless-sync-delay", 0);
    spec.with("repl-backlog-size", "16mb").with("enable-debug-command", "yes")
}

/// A field of a section of INFO.
pub fn info(server: &Server, section: &str, field: &str) -> Result<String> {
    let text = server.client()?.text(&["INFO", section])?;
    Ok(info_field(&text, field).with_context(|| format!("no {field} in {text}"))?.to_owned())
}

/// A number of INFO stats.
pub fn stat(server: &Server, field: &str) -> Result<u64> {
    info(server, "stats", field)?.parse().context("no number")
}

/// `master_link_status`.
pub fn link(server: &Server) -> String {
    info(server, "replication", "master_link_status").unwrap_or_default()
}

/// REPLICAOF 127.0.0.1 `port`.
pub fn follow(replica: &Server, port: u16) -> Result<()> {
    replica.client()?.call(&["REPLICAOF", "127.0.0.1", &port.to_string()])?;
    Ok(())
}

/// Waits until the replica's link is up.
pub fn wait_up(replica: &Server) -> Result<()> {
    wait::until(&format!("the link of {} is up", replica.port()), SOON, || link(replica) == "up")
        .with_context(|| tail(replica))
}

/// Waits until the replica has all of the master's log.
pub fn wait_offset(master: &Server, replica: &Server) -> Result<()> {
    let offset = |server| info(server, "replication", "master_repl_offset").ok();
    wait::until("the replica has all of the log", SOON, || {
        let there = offset(replica);
        there.is_some() && offset(master) == there
    })
    .with_context(|| tail(replica))
}

/// Waits until our replica's append-only file has a base of its master's history: until then it goes on from nowhere.
pub fn wait_base(replica: &Server) -> Result<()> {
    let replid = info(replica, "replication", "master_replid")?;
    wait::until("its file has its base", SOON, || replica.has_base_of(&replid)).with_context(|| tail(replica))
}

/// Waits until the log says something.
pub fn wait_log(server: &Server, text: &str) -> Result<()> {
    wait::until(&format!("the log says {text:?}"), SOON, || server.log().contains(text))
        .with_context(|| tail(server))
}

/// Makes keys of every type in ways that only a real server knows.
pub fn fill_types(client: &mut Client) -> Result<()> {
    for command in [
        "RPUSH {t}list one 2 three",
        "SADD {t}intset 1 2 3",
        "SADD {t}set one 2 three",
        "HSET {t}hash field value 2 3",
        "ZADD {t}zset 1.5 one -inf two 17 three",
        "XADD {t}stream 1-1 field value",
        "XADD {t}stream 2-1 field value other 7",
        "XGROUP CREATE {t}stream group 0",
        "XREADGROUP GROUP group consumer COUNT 1 STREAMS {t}stream >",
        "SETBIT {t}bits 7 1",
        "PFADD {t}hyperloglog a b c",
        "GEOADD {t}geo 13.361389 38.115556 Palermo",
    ] {
        client.call(&command.split(' ').collect::<Vec<_>>())?;
    }
    // Larger than what the packed encodings hold.
    for n in 0..300 {
        client.call(&["RPUSH", "{t}long list", &format!("element {n} of a list that has several nodes")])?;
        client.call(&["HSET", "{t}large hash", &format!("field {n}"), "value"])?;
        client.call(&["SADD", "{t}large set", &format!("member {n}")])?;
        client.call(&["ZADD", "{t}large zset", &n.to_string(), &format!("member {n}")])?;
    }
    Ok(())
}

/// What DUMP says of a key of each type, on a server of this kind.
pub fn payloads(binary: Binary, port: u16) -> Result<Vec<Vec<u8>>> {
    let server = Server::start(alone(binary, port))?;
    let mut client = server.client()?;
    fill_types(&mut client)?;
    if binary == Binary::Valkey {
        // A field that expires in 2100: Redis 7.0 does not know such.
        client.call(&"HSET {t}expiring f v g w".split(' ').collect::<Vec<_>>())?;
        client.call(&"HPEXPIREAT {t}expiring 4102444800000 FIELDS 1 f".split(' ').collect::<Vec<_>>())?;
    }
    let Reply::Array(keys) = client.call(&["KEYS", "*"])? else { bail!("KEYS is no array") };
    let mut payloads = Vec::new();
    for key in keys {
        let Reply::Bulk(key) = key else { bail!("a key is {key:?}") };
        match client.call(&[b"DUMP".as_slice(), &key])? {
            Reply::Bulk(payload) => payloads.push(payload),
            other => bail!("DUMP says {other:?}"),
        }
    }
    ensure!(payloads.len() > 10, "only {} payloads", payloads.len());
    Ok(payloads)
}

/// Data of every type, before anybody follows: by a real server's own commands, or by RESTORE.
pub fn preload(server: &Server, is_ours: bool, payloads: &[Vec<u8>]) -> Result<()> {
    let mut client = server.client()?;
    if !is_ours {
        fill_types(&mut client)?;
    }
    fill(&mut client, payloads, &DATABASES[..1])
}

/// Data of every type in these databases, by commands that every kind of server knows: under names that random commands
/// change, and in the first database under others, which stay.
pub fn fill(client: &mut Client, payloads: &[Vec<u8>], databases: &[u16]) -> Result<()> {
    for db in databases {
        // In a cluster there is one database, and it is selected.
        if databases.len() > 1 {
            client.call(&["SELECT", &db.to_string()])?;
        }
        for (n, payload) in payloads.iter().enumerate() {
            let kept = (*db == databases[0]).then(|| format!("{{t}}kept{n}"));
            for key in kept.into_iter().chain([format!("{{t}}c{n}")]) {
                client.call(&[b"RESTORE".as_slice(), key.as_bytes(), b"0", payload, b"REPLACE"])?;
            }
            for key in [format!("{{t}}k{n}"), format!("{{t}}kept string {n}")] {
                client.call(&["SET", &key, &format!("value {n}")])?;
                client.call(&["PEXPIREAT", &key, &format!("400000000000{}", n % 10)])?;
            }
        }
    }
    Ok(())
}

/// A block of ports with its number of servers.
pub fn ports(count: u16) -> Result<PortBlock> {
    PortBlock::reserve(count)
}

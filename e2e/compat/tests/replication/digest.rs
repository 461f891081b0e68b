//! What a server says of its keys, so that it can be held against what another one says.

use anyhow::{Context, Result, bail, ensure};
use e2e::client::request;
use e2e::{Client, Server, wait};
use node_server_protocol::resp::Reply;
use node_server_rdb::{Value, decode_dump};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// How long a replica may take until it says the same as its master.
const SOON: Duration = Duration::from_secs(30);
/// Keys that are asked for at a time.
const BATCH: usize = 200;
/// Differences that an error shows.
const SHOWN: usize = 5;

/// Types of values that there are.
pub const TYPES: usize = 6;

/// A key in its database.
type Name = (u16, Vec<u8>);

/// All keys with type, expiry and value.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Digest(BTreeMap<Name, String>);

impl Digest {
    /// What `server` says of its keys in these databases. In a cluster there is only one, and a replica has to be told
    /// to answer.
    pub fn of(server: &Server, databases: &[u16]) -> Result<Self> {
        let mut client = server.client()?;
        // Refused where there is no cluster, which is as good.
        client.command(&["READONLY"])?;
        let mut all = BTreeMap::new();
        for db in databases {
            if databases.len() > 1 {
                client.call(&["SELECT", &db.to_string()])?;
            }
            read_database(&mut client, *db, &mut all)?;
        }
        Ok(Self(all))
    }

    /// How many keys there are of each type.
    pub fn types(&self) -> BTreeMap<String, usize> {
        let mut types = BTreeMap::new();
        for text in self.0.values() {
            let kind = text.split(' ').next().unwrap_or_default();
            *types.entry(kind.to_owned()).or_insert(0) += 1;
        }
        types
    }

    /// A key of each type, of database 0.
    pub fn keys_of_each_type(&self) -> Vec<String> {
        let mut keys = BTreeMap::new();
        for ((_, key), text) in self.0.iter().filter(|((db, _), _)| *db == 0) {
            let kind = text.split(' ').next().unwrap_or_default();
            keys.insert(kind, String::from_utf8_lossy(key).into_owned());
        }
        keys.into_values().collect()
    }

    /// Whether a field of a hash expires.
    pub fn has_expiring_field(&self) -> bool {
        self.0.values().any(|text| text.starts_with("hash ") && text.contains("expire_at: Some"))
    }

    fn difference(&self, other: &Self) -> String {
        let mut text = format!("{} and {} keys", self.0.len(), other.0.len());
        let names: std::collections::BTreeSet<&Name> = self.0.keys().chain(other.0.keys()).collect();
        let different = names.into_iter().filter(|name| self.0.get(*name) != other.0.get(*name));
        for (db, key) in different.take(SHOWN) {
            let name = (*db, key.clone());
            let shown = |digest: &Self| digest.0.get(&name).cloned().unwrap_or_else(|| "missing".into());
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "\n  db {db} {}:\n    {}\n    {}",
                key.escape_ascii(),
                shown(self),
                shown(other)
            );
        }
        text
    }
}

fn read_database(client: &mut Client, db: u16, all: &mut BTreeMap<Name, String>) -> Result<()> {
    let Reply::Array(keys) = client.call(&["KEYS", "*"])? else { bail!("KEYS is no array") };
    for batch in keys.chunks(BATCH) {
        let mut requests = Vec::new();
        for key in batch {
            let Reply::Bulk(key) = key else { bail!("a key is {key:?}") };
            for name in ["TYPE", "PEXPIRETIME", "DUMP"] {
                requests.extend(request(&[name.as_bytes(), key]));
            }
        }
        client.send(&requests)?;
        for key in batch {
            let Reply::Bulk(key) = key else { bail!("a key is {key:?}") };
            let replies = [client.read_reply()?, client.read_reply()?, client.read_reply()?];
            if let Some(text) = describe(key, &replies)? {
                all.insert((db, key.clone()), text);
            }
        }
    }
    Ok(())
}

/// `None`: its time came between KEYS and now.
fn describe(key: &[u8], replies: &[Reply; 3]) -> Result<Option<String>> {
    let (kind, expires, payload) = match replies {
        [Reply::Simple(kind), Reply::Integer(expires), Reply::Bulk(payload)] => (kind, expires, payload),
        [Reply::Simple(_), Reply::Integer(_), Reply::Null] => return Ok(None),
        other => bail!("{}: {other:?}", key.escape_ascii()),
    };
    if *expires == -2 {
        return Ok(None);
    }
    let value = decode_dump(payload).with_context(|| format!("DUMP of {}", key.escape_ascii()))?;
    ensure!(value.type_name() == kind, "{}: TYPE says {kind}, DUMP {value:?}", key.escape_ascii());
    Ok(Some(format!("{kind} expires {expires}: {}", text_of(value))))
}

/// The same for the same value, whatever the encoding.
fn text_of(value: Value) -> String {
    match value {
        Value::String(bytes) => bytes.escape_ascii().to_string(),
        Value::Set(mut members) => {
            members.sort();
            format!("{members:?}")
        }
        Value::SortedSet(mut members) => {
            members.sort_by(|a, b| a.member.cmp(&b.member));
            format!("{members:?}")
        }
        Value::Hash(mut fields) => {
            fields.sort_by(|a, b| a.name.cmp(&b.name));
            format!("{fields:?}")
        }
        Value::Stream(mut stream) => {
            // Before RDB version 11 this is not kept.
            for consumer in stream.groups.iter_mut().flat_map(|group| &mut group.consumers) {
                consumer.active_at = None;
            }
            format!("{stream:?}")
        }
        list @ Value::List(_) => format!("{list:?}"),
    }
}

/// Waits until both say the same of all their keys; what the master says.
pub fn wait_equal(master: &Server, replica: &Server, databases: &[u16]) -> Result<Digest> {
    let mut last = String::new();
    let mut found = Digest::default();
    let equal = || {
        let both =
            || Ok::<_, anyhow::Error>((Digest::of(master, databases)?, Digest::of(replica, databases)?));
        match both() {
            Ok((theirs, ours)) if theirs == ours => {
                found = theirs;
                true
            }
            Ok((theirs, ours)) => {
                last = theirs.difference(&ours);
                false
            }
            Err(error) => {
                last = format!("{error:#}");
                false
            }
        }
    };
    let waited =
        wait::until_every(Duration::from_millis(200), "master and replica say the same", SOON, equal);
    waited.with_context(|| format!("{last}\nlog of the replica:\n{}", tail(replica)))?;
    Ok(found)
}

/// The end of its log.
pub fn tail(server: &Server) -> String {
    let log = server.log();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

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

/// What is said of a key. Texts are made of it only where two differ: there are many keys, and few differences.
#[derive(Debug, PartialEq)]
struct Said {
    /// Unix time in ms, or -1.
    expires: i64,
    /// In the same order whatever the encoding.
    value: Value,
}

/// All keys with type, expiry and value.
#[derive(Debug, Default, PartialEq)]
pub struct Digest(BTreeMap<Name, Said>);

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
        for said in self.0.values() {
            *types.entry(said.value.type_name().to_owned()).or_insert(0) += 1;
        }
        types
    }

    /// A key of each type, of database 0.
    pub fn keys_of_each_type(&self) -> Vec<String> {
        let mut keys = BTreeMap::new();
        for ((_, key), said) in self.0.iter().filter(|((db, _), _)| *db == 0) {
            keys.insert(said.value.type_name(), String::from_utf8_lossy(key).into_owned());
        }
        keys.into_values().collect()
    }

    /// Whether a field of a hash expires.
    pub fn has_expiring_field(&self) -> bool {
        self.0.values().any(|said| said.value.has_field_expiry())
    }

    fn difference(&self, other: &Self) -> String {
        let mut text = format!("{} and {} keys", self.0.len(), other.0.len());
        let names: std::collections::BTreeSet<&Name> = self.0.keys().chain(other.0.keys()).collect();
        let different = names.into_iter().filter(|name| self.0.get(*name) != other.0.get(*name));
        for (db, key) in different.take(SHOWN) {
            let name = (*db, key.clone());
            let shown = |digest: &Self| digest.0.get(&name).map_or_else(|| "missing".into(), Said::text);
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

fn read_database(client: &mut Client, db: u16, all: &mut BTreeMap<Name, Said>) -> Result<()> {
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
            if let Some(said) = understand(key, &replies)? {
                all.insert((db, key.clone()), said);
            }
        }
    }
    Ok(())
}

/// `None`: its time came between KEYS and now.
fn understand(key: &[u8], replies: &[Reply; 3]) -> Result<Option<Said>> {
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
    Ok(Some(Said { expires: *expires, value: sorted(value) }))
}

impl Said {
    fn text(&self) -> String {
        let value = match &self.value {
            Value::String(bytes) => bytes.escape_ascii().to_string(),
            other => format!("{other:?}"),
        };
        format!("{} expires {}: {value}", self.value.type_name(), self.expires)
    }
}

/// The same for the same value, whatever the encoding.
fn sorted(mut value: Value) -> Value {
    match &mut value {
        Value::Set(members) => members.sort(),
        Value::SortedSet(members) => members.sort_by(|a, b| a.member.cmp(&b.member)),
        Value::Hash(fields) => fields.sort_by(|a, b| a.name.cmp(&b.name)),
        Value::Stream(stream) => {
            // Before RDB version 11 this is not kept.
            for consumer in stream.groups.iter_mut().flat_map(|group| &mut group.consumers) {
                consumer.active_at = None;
            }
        }
        Value::String(_) | Value::List(_) => {}
    }
    value
}

/// Waits until both say the same of all their keys; what the master says.
pub fn wait_equal(master: &Server, replica: &Server, databases: &[u16]) -> Result<Digest> {
    wait_all_equal(master, &[replica], databases)
}

/// The same for several replicas.
pub fn wait_all_equal(master: &Server, replicas: &[&Server], databases: &[u16]) -> Result<Digest> {
    let mut last = String::new();
    let mut found = Digest::default();
    let difference = |found: &mut Digest| -> Result<Option<String>> {
        *found = Digest::of(master, databases)?;
        for replica in replicas {
            let other = Digest::of(replica, databases)?;
            if other != *found {
                let difference = found.difference(&other);
                return Ok(Some(format!("{difference}\nlog of the replica:\n{}", tail(replica))));
            }
        }
        Ok(None)
    };
    let equal = || {
        let difference = difference(&mut found).unwrap_or_else(|error| Some(format!("{error:#}")));
        last = difference.unwrap_or_default();
        last.is_empty()
    };
    let waited =
        wait::until_every(Duration::from_millis(200), "master and replica say the same", SOON, equal);
    waited.with_context(|| last.clone())?;
    Ok(found)
}

/// The end of its log.
pub fn tail(server: &Server) -> String {
    let log = server.log();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

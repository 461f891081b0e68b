//! What stands on disk: one directory per process as in the tutorial, and the records of who is where.

use node_server_protocol::{Address, NodeId, address::BUS_PORT_OFFSET};
use operator_planner::MemberId;
use operator_planner::observed::Gone;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// Node timeout of processes unless `spec.config` says otherwise, in milliseconds.
const NODE_TIMEOUT_MS: u64 = 5_000;
/// The name of the records' file.
const RECORDS: &str = "members.json";

/// What keeps processes from running here.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A file or directory.
    #[error("could not {what} {path}: {source}")]
    File {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The records are no records.
    #[error("{path} is not this program's record of processes: {reason}; move it away to begin anew")]
    Records {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No port is left.
    #[error("no port is left above {0}: choose a lower --port-base")]
    Ports(u16),
    /// Another program listens where a process would.
    #[error("{taken} is taken ({source}): end the program that listens there, or choose another --port-base")]
    PortTaken {
        /// Where.
        taken: std::net::SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The server program does not start.
    #[error("could not start {program}: {source}")]
    Start {
        /// Which program.
        program: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Another operator works in this directory.
    #[error("another operator works in {0}: end it first, or choose another --dir")]
    Locked(PathBuf),
}

/// What the generated redis.conf says beside the fixed lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `spec.storage` is declared: the data is written to the process's directory.
    pub on_disk: bool,
    /// Directives of `spec.config`.
    pub config: BTreeMap<String, String>,
}

/// Where things are.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The directory of all.
    pub dir: PathBuf,
    /// Ports are this plus the number of the process, from 1.
    pub port_base: u16,
    /// The server program.
    pub program: PathBuf,
    /// The cluster's name.
    pub cluster: String,
    /// What redis.conf says.
    pub settings: Settings,
}

/// One process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Number in directory name and port.
    pub number: u16,
    /// Client port.
    pub port: u16,
    /// Unique name of this very incarnation of the member.
    pub uid: String,
    /// The identity that it last said.
    #[serde(default, with = "optional_id")]
    pub id: Option<NodeId>,
    /// It is being removed.
    #[serde(default)]
    pub leaving: bool,
    /// The process that was started last, so that a later operator finds it.
    #[serde(default)]
    pub process: Option<ProcessMark>,
}

/// What tells one process from every other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessMark {
    /// Its number.
    pub pid: i32,
    /// When it was started, and since which boot: numbers are used again.
    pub started: String,
}

/// Every process.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Records {
    pub members: BTreeMap<MemberId, Record>,
    #[serde(default)]
    pub gone: Vec<Gone>,
    #[serde(skip)]
    lock: Option<std::fs::File>,
}

mod optional_id {
    use node_server_protocol::NodeId;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(id: &Option<NodeId>, to: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => to.collect_str(id),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Option<NodeId>, D::Error> {
        Option::<String>::deserialize(from)?.map(|s| s.parse().map_err(D::Error::custom)).transpose()
    }
}

impl Layout {
    /// The name of a member, as in `demo-0-0`.
    #[must_use]
    pub fn name(&self, member: MemberId) -> String {
        member.name(&self.cluster)
    }

    /// Where a process with this port listens.
    #[must_use]
    pub fn address(&self, port: u16) -> Address {
        Address { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), port, bus_port: port + BUS_PORT_OFFSET }
    }

    /// The directory of a process.
    pub(crate) fn home(&self, record: &Record) -> PathBuf {
        self.dir.join(format!("redis{:02}", record.number))
    }

    pub(crate) fn config_file(&self, record: &Record) -> PathBuf {
        self.home(record).join("conf/redis.conf")
    }

    pub(crate) fn pid_file(&self, record: &Record) -> PathBuf {
        self.home(record).join("log/redis.pid")
    }

    /// Makes the directories of a new process under the lowest free number.
    pub(crate) fn create(&self, member: MemberId, records: &Records) -> Result<Record, LocalError> {
        let free = |n: &u16| records.members.values().all(|r| r.number != *n);
        let number = (1..=u16::MAX).find(free).ok_or(LocalError::Ports(self.port_base))?;
        let port = self.port_base.checked_add(number).filter(|p| *p <= u16::MAX - BUS_PORT_OFFSET);
        let port = port.ok_or(LocalError::Ports(self.port_base))?;
        let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let uid = format!("{}-{number}-{:x}", self.name(member), started.as_nanos());
        let record = Record { number, port, uid, id: None, leaving: false, process: None };
        // Whatever an earlier process left under this number is not this member's.
        self.delete(&record)?;
        for part in ["bin", "conf", "data", "log"] {
            let path = self.home(&record).join(part);
            std::fs::create_dir_all(&path).map_err(|source| LocalError::File {
                what: "make",
                path,
                source,
            })?;
        }
        Ok(record)
    }

    /// Deletes the files of a process that has ended.
    pub(crate) fn delete(&self, record: &Record) -> Result<(), LocalError> {
        let path = self.home(record);
        match std::fs::remove_dir_all(&path) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(LocalError::File { what: "delete", path, source }),
        }
    }

    /// Writes redis.conf anew.
    pub(crate) fn write_config(&self, record: &Record) -> Result<(), LocalError> {
        let home = self.home(record);
        let quoted = |path: PathBuf| {
            format!("\"{}\"", path.display().to_string().replace('\\', "\\\\").replace('"', "\\\""))
        };
        let mut text =
            format!("# Written by `operator local`; changes here are lost.\nport {}\n", record.port);
        let fixed = [
            ("bind", "127.0.0.1".to_owned()),
            ("daemonize", "no".to_owned()),
            ("dir", quoted(home.join("data"))),
            ("pidfile", quoted(home.join("log/redis.pid"))),
            ("logfile", quoted(home.join("log/redis.log"))),
            ("cluster-enabled", "yes".to_owned()),
            ("cluster-config-file", quoted(home.join("nodes.conf"))),
        ];
        for (name, value) in fixed {
            text.push_str(&format!("{name} {value}\n"));
        }
        for (name, value) in operator_api::config::files(self.settings.on_disk) {
            if !self.settings.config.contains_key(*name) {
                text.push_str(&format!("{name} {value}\n"));
            }
        }
        let (name, value) = operator_api::config::STAY;
        if !self.settings.config.contains_key(name) {
            text.push_str(&format!("{name} {value}\n"));
        }
        if !self.settings.config.contains_key("cluster-node-timeout") {
            text.push_str(&format!("cluster-node-timeout {NODE_TIMEOUT_MS}\n"));
        }
        for (name, value) in &self.settings.config {
            let value = if value.is_empty() { "\"\"" } else { value };
            text.push_str(&format!("{name} {value}\n"));
        }
        write_atomically(&self.config_file(record), text.as_bytes())
    }
}

impl Records {
    /// Reads the records and takes the directory for this operator alone.
    pub(crate) fn load(layout: &Layout) -> Result<Self, LocalError> {
        let dir = layout.dir.clone();
        std::fs::create_dir_all(&dir).map_err(|source| LocalError::File {
            what: "make",
            path: dir.clone(),
            source,
        })?;
        let path = dir.join("operator.lock");
        let lock =
            std::fs::File::create(&path).map_err(|source| LocalError::File { what: "open", path, source })?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| LocalError::Locked(dir.clone()))?;
        let path = dir.join(RECORDS);
        let mut records: Self = match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map_err(|e| LocalError::Records { path, reason: e.to_string() })?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(source) => return Err(LocalError::File { what: "read", path, source }),
        };
        records.lock = Some(lock);
        Ok(records)
    }

    pub(crate) fn save(&self, layout: &Layout) -> Result<(), LocalError> {
        let path = layout.dir.join(RECORDS);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|e| LocalError::Records { path: path.clone(), reason: e.to_string() })?;
        write_atomically(&path, &text)
    }
}

/// Temporary file, fsync, rename: the old file or the new one, never half of it.
fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), LocalError> {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(|source| LocalError::File { what: "write", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redis_conf(settings: Settings) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let (program, cluster) = ("/bin/true".into(), "demo".into());
        let layout = Layout { dir: dir.path().to_owned(), port_base: 7000, program, cluster, settings };
        let record = layout.create(MemberId::new(0, 0), &Records::default()).unwrap();
        layout.write_config(&record).unwrap();
        let text = std::fs::read_to_string(layout.config_file(&record)).unwrap();
        text.lines().filter(|l| l.starts_with("append") || l.starts_with("save")).map(str::to_owned).collect()
    }

    #[test]
    fn data_is_written_where_storage_is_declared() {
        assert_eq!(redis_conf(Settings::default()), ["appendonly no", "save \"\""]);
        let on_disk = Settings { on_disk: true, ..Settings::default() };
        assert_eq!(redis_conf(on_disk.clone()), ["appendonly yes", "appendfsync everysec", "save \"\""]);
        let config = BTreeMap::from([("appendfsync".to_owned(), "always".to_owned())]);
        assert_eq!(
            redis_conf(Settings { config, ..on_disk }),
            ["appendonly yes", "save \"\"", "appendfsync always"]
        );
    }
}

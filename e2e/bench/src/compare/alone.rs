//! One server that is the master of all slots.

use super::client::closed::{self, Load};
use super::client::requests::{Operation, Pick};
use super::contender::Contender;
use super::machine;
use anyhow::{Context, Result, ensure};
use e2e::client::info_field;
use e2e::{Client, PortBlock, Server, ServerSpec, wait};
use node_server_protocol::resp::Reply;
use std::time::Duration;

/// How long a server may take to open all slots, or to load what it has on the disk.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// Connections and requests at once that fill a server.
const FILLERS: usize = 10;
const FILL_PIPELINE: usize = 100;

pub(crate) struct Alone {
    pub(crate) server: Server,
    _ports: PortBlock,
}

impl Alone {
    /// Starts it in cluster mode, empty, with more directives of redis.conf.
    ///
    /// # Errors
    /// It does not start, or does not take the slots.
    pub(crate) fn start(who: &Contender, directives: &[(&str, &str)]) -> Result<Self> {
        let alone = Self::outside(who, directives)?;
        alone.client()?.call(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])?;
        alone.wait_open()?;
        Ok(alone)
    }

    /// The same without slots.
    pub(crate) fn outside(who: &Contender, directives: &[(&str, &str)]) -> Result<Self> {
        let ports = PortBlock::reserve(1)?;
        let mut spec = ServerSpec::cluster_node(who.binary, ports.port(0));
        for (name, value) in directives {
            spec = spec.with(name, value);
        }
        Ok(Self { server: Server::start(spec)?, _ports: ports })
    }

    /// Waits until it has loaded and serves its slots.
    pub(crate) fn wait_open(&self) -> Result<()> {
        let mut client = self.client()?;
        wait::until("the cluster of one is ok", READY_LIMIT, || {
            let info = client.text(&["CLUSTER", "INFO"]);
            info.is_ok_and(|info| info_field(&info, "cluster_state") == Some("ok"))
        })
    }

    pub(crate) fn client(&self) -> Result<Client> {
        self.server.client()
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.port()
    }

    pub(crate) fn pid(&self) -> Result<u32> {
        self.server.pid().context("the server does not run")
    }

    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        machine::cpu_seconds(self.pid()?)
    }

    /// Sets all keys, once each.
    ///
    /// # Errors
    /// Not all are there afterwards.
    pub(crate) fn fill(&self, keys: u64, len: usize) -> Result<()> {
        let load = Load {
            operation: Operation::Set(len),
            keys,
            pick: Pick::InTurn,
            connections: FILLERS,
            pipeline: FILL_PIPELINE,
            requests: keys,
        };
        closed::run(self.port(), &load)?;
        self.ensure_keys(keys)
    }

    /// # Errors
    /// It has another number of keys.
    pub(crate) fn ensure_keys(&self, keys: u64) -> Result<()> {
        let found = self.client()?.call(&["DBSIZE"])?;
        ensure!(
            found == Reply::Integer(i64::try_from(keys)?),
            "{keys} keys were set, and DBSIZE is {found:?}"
        );
        Ok(())
    }
}

/// A number of INFO, over a connection that is there.
///
/// # Errors
/// It is not there.
pub(crate) fn info(client: &mut Client, section: &str, name: &str) -> Result<u64> {
    let text = client.text(&["INFO", section])?;
    let value = info_field(&text, name).with_context(|| format!("INFO {section} has no {name}"))?;
    value.parse().with_context(|| format!("{name}:{value} is no number"))
}

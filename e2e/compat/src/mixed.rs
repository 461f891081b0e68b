//! One cluster of two kinds of servers: three of each.
//!
//! ```text
//!   shard 0   master and two replicas of the one kind: `candidates`
//!   shard 1   master of the other kind, with a replica of the other kind
//!   shard 2   master of the other kind
//! ```
//!
//! No data crosses kinds. When shard 0 loses its master, the two masters that are left are the majority of three, and
//! only both together: whoever is elected was elected by the other kind alone.

use crate::installation::in_memory;
use crate::views::{self, SOON};
use anyhow::{Context, Result};
use e2e::{Binary, Client, PortBlock, Server, ServerSpec, wait};
use node_server_protocol::NodeId;
use tempfile::TempDir;

/// Milliseconds. Short, so that ten elections are quick; long enough for a busy machine.
pub const NODE_TIMEOUT_MS: u32 = 4000;
/// Nodes of shard 0, by place in `nodes`.
pub const CANDIDATES: [usize; 3] = [0, 1, 2];
/// Masters of the other two shards.
pub const VOTERS: [usize; 2] = [3, 4];
/// The other kind's replica, and its master.
const OTHER_REPLICA: (usize, usize) = (5, 3);
const SLOTS: [(usize, &str, &str); 3] = [(0, "0", "5460"), (3, "5461", "10922"), (4, "10923", "16383")];

/// Six running servers.
#[derive(Debug)]
pub struct Mixed {
    /// Shard 0's three, then the other kind's three.
    pub nodes: Vec<Server>,
    _ports: PortBlock,
    /// Their directories. Redis and Valkey sync nodes.conf on the thread that serves.
    _root: TempDir,
}

/// An election that was won.
#[derive(Debug)]
pub struct Won {
    /// The new master, by place in `nodes`.
    pub by: usize,
    /// The epoch in which the votes were given.
    pub epoch: u64,
}

fn spec(binary: Binary, port: u16) -> ServerSpec {
    let spec = ServerSpec::cluster_node(binary, port).with("cluster-node-timeout", NODE_TIMEOUT_MS);
    // A second replica would leave for the master that has none, and so cross kinds.
    let spec = spec.with("cluster-allow-replica-migration", "no");
    // Redis waits 5 s for more replicas before it sends its data.
    spec.with("repl-diskless-sync-delay", "0")
}

impl Mixed {
    /// Starts them and makes them a cluster.
    ///
    /// # Errors
    /// One does not start, or they do not agree within 30 s.
    pub fn start(candidates: Binary, voters: Binary) -> Result<Self> {
        let (ports, root) = (PortBlock::reserve(6)?, in_memory("slotkeeper-mixed-")?);
        let mut nodes = Vec::new();
        for i in 0..6 {
            let binary = if i < 3 { candidates } else { voters };
            let dir = root.path().join(format!("node-{i}"));
            std::fs::create_dir(&dir)?;
            nodes.push(Server::start(ServerSpec { dir: Some(dir), ..spec(binary, ports.port(i)) })?);
        }
        let mixed = Self { nodes, _ports: ports, _root: root };
        mixed.form()?;
        Ok(mixed)
    }

    fn form(&self) -> Result<()> {
        for (epoch, (i, first, last)) in (1..).zip(SLOTS) {
            let mut client = self.nodes[i].client()?;
            client.call(&["CLUSTER", "SET-CONFIG-EPOCH", &format!("{epoch}")])?;
            client.call(&["CLUSTER", "ADDSLOTSRANGE", first, last])?;
        }
        // Half of the introductions are made by the one kind and half by the other.
        for (i, node) in self.nodes.iter().enumerate().skip(1) {
            let by = if i % 2 == 0 { 0 } else { 3 };
            if by != i {
                let mut client = self.nodes[by].client()?;
                client.call(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string()])?;
            }
        }
        let mut first = self.nodes[0].client()?;
        first.call(&["CLUSTER", "MEET", "127.0.0.1", &self.nodes[3].port().to_string()])?;
        self.wait_agreed()?;
        for (replica, master) in [(1, 0), (2, 0), OTHER_REPLICA] {
            let id = self.id(master)?.to_string();
            self.nodes[replica].client()?.call(&["CLUSTER", "REPLICATE", &id])?;
        }
        for (replica, master) in [(1, 0), (2, 0), OTHER_REPLICA] {
            self.wait_follows(replica, master)?;
        }
        self.wait_agreed()
    }

    fn id(&self, i: usize) -> Result<NodeId> {
        views::id(self.nodes[i].port())
    }

    /// Waits until all six say the same of all six.
    ///
    /// # Errors
    /// Not so within 30 s.
    pub fn wait_agreed(&self) -> Result<()> {
        let ports: Vec<u16> = self.nodes.iter().map(Server::port).collect();
        views::wait_agreed(&ports, self.nodes.len())
    }

    fn wait_follows(&self, replica: usize, master: usize) -> Result<()> {
        let (replica, master) = (self.nodes[replica].port(), self.nodes[master].port());
        wait::until(&format!("{replica} follows {master}"), SOON, || views::follows(replica, master))
            .with_context(|| self.logs())
    }

    /// Shard 0's master in the view of the other kind.
    ///
    /// # Errors
    /// Nobody of shard 0 has its slots.
    pub fn master(&self) -> Result<usize> {
        let lines = views::view(self.nodes[VOTERS[0]].port())?;
        let owner = lines.iter().find(|line| line.slots.contains(node_server_protocol::Slot::FIRST));
        let port = owner.context("nobody owns slot 0")?.address.port;
        CANDIDATES.into_iter().find(|i| self.nodes[*i].port() == port).context("slot 0 left its shard")
    }

    /// Kills shard 0's master, waits until one of its replicas was elected, and brings the killed one back as a
    /// replica.
    ///
    /// # Errors
    /// One of these does not happen within 30 s.
    pub fn hold_election(&mut self) -> Result<Won> {
        let dead = self.master()?;
        let (dead_port, before) = (self.nodes[dead].port(), CANDIDATES.map(|i| self.victories(i)));
        self.nodes[dead].kill()?;
        let won = || self.master().is_ok_and(|by| by != dead);
        wait::until("a replica has taken over", SOON, won).with_context(|| self.logs())?;
        // The living first: were another elected right behind it, that is to be seen, and not to be waited out.
        let living: Vec<u16> = self.nodes.iter().map(Server::port).filter(|p| *p != dead_port).collect();
        views::wait_agreed(&living, self.nodes.len()).with_context(|| self.logs())?;
        let by = self.master()?;
        let epoch = views::line(self.nodes[VOTERS[0]].port(), self.nodes[by].port())?.config_epoch.0;
        let won = CANDIDATES.into_iter().filter(|i| *i != dead && self.victories(*i) > before[*i]).count();
        anyhow::ensure!(won == 1, "{won} were elected\n{}", self.logs());
        self.nodes[dead].restart()?;
        self.wait_follows(dead, by)?;
        self.wait_agreed()?;
        Ok(Won { by, epoch })
    }

    /// How often it says in its log that it was elected.
    fn victories(&self, i: usize) -> usize {
        self.nodes[i].log().matches("Failover election won").count()
    }

    /// Whether a node says in its log that it gave its vote in that epoch to that candidate.
    ///
    /// # Errors
    /// The candidate does not answer.
    pub fn voted(&self, voter: usize, won: &Won) -> Result<bool> {
        let said = format!("Failover auth granted to {}", self.id(won.by)?);
        let epoch = format!("for epoch {}", won.epoch);
        Ok(self.nodes[voter].log().lines().any(|line| line.contains(&said) && line.ends_with(&epoch)))
    }

    /// A key in shard 0 through any client's way: its master.
    ///
    /// # Errors
    /// The new master does not serve.
    pub fn write_to_master(&self, value: &str) -> Result<()> {
        let mut client = Client::local(self.nodes[self.master()?].port())?;
        // Slot 0 belongs to shard 0.
        client.call(&["SET", "{06S}", value])?;
        anyhow::ensure!(client.text(&["GET", "{06S}"])? == value);
        Ok(())
    }

    fn logs(&self) -> String {
        let tail = |server: &Server| {
            let log = server.log();
            let lines: Vec<&str> = log.lines().collect();
            format!("log of {}:\n{}\n", server.port(), lines[lines.len().saturating_sub(15)..].join("\n"))
        };
        self.nodes.iter().map(tail).collect()
    }
}

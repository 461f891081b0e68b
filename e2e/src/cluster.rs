//! A cluster of servers on 127.0.0.1.

use crate::client::info_field;
use crate::server::NO_FAILOVER_MS;
use crate::{Binary, Client, PortBlock, Server, ServerSpec, wait};
use anyhow::{Context, Result};
use node_server_protocol::topology::{NodeLine, parse_nodes};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a cluster may take to agree.
const AGREE_LIMIT: Duration = Duration::from_secs(30);
/// How often MEET is said again: a handshake that a busy machine holds up is given up.
const MEET_EVERY: Duration = Duration::from_millis(500);
const SLOTS: u32 = 16_384;

/// What to start.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Masters; at least 3 for failovers.
    pub masters: u16,
    /// Replicas of each.
    pub replicas: u16,
    /// Nodes that run but belong to no cluster yet.
    pub spares: u16,
    /// Directives for every node.
    pub directives: Vec<(String, String)>,
    /// Where the nodes' directories `node-0`, `node-1`, … are made and left; by default they are temporary.
    pub dir: Option<PathBuf>,
}

impl Shape {
    /// Masters with so many replicas each.
    #[must_use]
    pub const fn new(masters: u16, replicas: u16) -> Self {
        Self { masters, replicas, spares: 0, directives: Vec::new(), dir: None }
    }

    /// With one more directive for every node.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.directives.push((name.into(), value.to_string()));
        self
    }

    /// Where nobody is to be given up: the node timeout is longer than a busy machine keeps a node silent.
    #[must_use]
    pub fn without_failover(self) -> Self {
        self.with("cluster-node-timeout", NO_FAILOVER_MS)
    }

    /// With the nodes' directories in this one.
    #[must_use]
    pub fn in_dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// With empty nodes outside the cluster.
    #[must_use]
    pub const fn with_spares(mut self, spares: u16) -> Self {
        self.spares = spares;
        self
    }
}

/// Running nodes: first the masters in the order of their slots, then the replicas (the i-th replica copies master
/// i modulo the number of masters), then the spares.
#[derive(Debug)]
pub struct LocalCluster {
    /// The nodes.
    pub nodes: Vec<Server>,
    /// Their ports.
    pub ports: PortBlock,
    members: usize,
}

impl LocalCluster {
    /// Starts the nodes and makes them a cluster with CLUSTER commands, slots spread evenly as redis-cli does.
    ///
    /// # Errors
    /// A node does not start, or they do not agree within 30 s.
    pub fn start(binary: Binary, shape: &Shape) -> Result<Self> {
        let members = usize::from(shape.masters * (1 + shape.replicas));
        let ports = PortBlock::reserve(members as u16 + shape.spares)?;
        let mut nodes = Vec::new();
        for i in 0..members as u16 + shape.spares {
            let mut spec = ServerSpec::cluster_node(binary, ports.port(i));
            spec.directives.extend(shape.directives.iter().cloned());
            if let Some(dir) = &shape.dir {
                let dir = dir.join(format!("node-{i}"));
                std::fs::create_dir_all(&dir).with_context(|| format!("could not make {}", dir.display()))?;
                spec.dir = Some(dir);
            }
            nodes.push(Server::start(spec)?);
        }
        let cluster = Self { nodes, ports, members };
        cluster.form(shape)?;
        Ok(cluster)
    }

    fn form(&self, shape: &Shape) -> Result<()> {
        let masters = u32::from(shape.masters);
        for i in 0..masters {
            let bound = |i: u32| (f64::from(SLOTS) / f64::from(masters) * f64::from(i)).round() as u32;
            let mut client = self.nodes[i as usize].client()?;
            client.call(&["CLUSTER", "SET-CONFIG-EPOCH", &(i + 1).to_string()])?;
            let (first, last) = (bound(i).to_string(), (bound(i + 1) - 1).to_string());
            client.call(&["CLUSTER", "ADDSLOTSRANGE", &first, &last])?;
        }
        self.meet()?;
        for (i, node) in self.nodes[..self.members].iter().enumerate().skip(masters as usize) {
            let master = self.nodes[i % masters as usize].client()?.text(&["CLUSTER", "MYID"])?;
            node.client()?.call(&["CLUSTER", "REPLICATE", &master])?;
        }
        self.wait_synced()?;
        self.wait_agreed()?;
        self.wait_roles(usize::from(shape.masters * shape.replicas))
    }

    /// Waits until every running member knows of so many replicas: roles travel with heartbeats.
    ///
    /// # Errors
    /// Not so within 30 s.
    pub fn wait_roles(&self, replicas: usize) -> Result<()> {
        let knows = |node: &Server| -> Result<bool> {
            let lines = view(&mut node.client()?)?;
            Ok(lines.iter().filter(|line| line.master.is_some()).count() == replicas)
        };
        wait::until("all nodes know who is a replica", AGREE_LIMIT, || {
            self.running().all(|node| knows(node).unwrap_or(false))
        })
        .with_context(|| self.describe())
    }

    /// Says MEET to everybody, and again to those who still are strangers, until all know each other.
    fn meet(&self) -> Result<()> {
        self.meet_strangers()?;
        let mut met = Instant::now();
        wait::until("all nodes know each other and agree that the cluster is ok", AGREE_LIMIT, || {
            if met.elapsed() >= MEET_EVERY {
                met = Instant::now();
                return self.meet_strangers().is_ok() && self.agrees();
            }
            self.agrees()
        })
        .with_context(|| self.describe())
    }

    /// Says MEET from the first node to whoever it does not know, or who does not know it.
    fn meet_strangers(&self) -> Result<()> {
        let mut first = self.nodes[0].client()?;
        let known = view(&mut first)?;
        let has =
            |lines: &[NodeLine], node: &Server| lines.iter().any(|line| line.address.port == node.port());
        for (i, node) in self.nodes[..self.members].iter().enumerate().skip(1) {
            if !has(&known, node) || !has(&self.view(i)?, &self.nodes[0]) {
                first.call(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string()])?;
            }
        }
        Ok(())
    }

    fn agrees(&self) -> bool {
        self.running().all(|node| sees_ok(node, self.members).unwrap_or(false))
    }

    /// Waits until every running member sees every member connected and the cluster ok.
    ///
    /// # Errors
    /// Not so within 30 s.
    pub fn wait_agreed(&self) -> Result<()> {
        wait::until("all nodes agree that the cluster is ok", AGREE_LIMIT, || self.agrees())
            .with_context(|| self.describe())
    }

    /// Waits until every running replica's link is up.
    ///
    /// # Errors
    /// Not so within 30 s.
    pub fn wait_synced(&self) -> Result<()> {
        wait::until("all replicas follow their masters", AGREE_LIMIT, || {
            self.running().all(|node| is_synced(node).unwrap_or(false))
        })
        .with_context(|| self.describe())
    }

    fn running(&self) -> impl Iterator<Item = &Server> {
        self.nodes[..self.members].iter().filter(|node| node.pid().is_some())
    }

    /// Addresses of the members, for clients to begin with.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes[..self.members].iter().map(Server::address).collect()
    }

    /// The cluster as node `i` sees it.
    ///
    /// # Errors
    /// It does not answer, or in lines that cannot be read.
    pub fn view(&self, i: usize) -> Result<Vec<NodeLine>> {
        view(&mut self.nodes[i].client()?)
    }

    /// The node that is a master for `slot` in the view of node `from`.
    ///
    /// # Errors
    /// Nobody owns the slot, or the owner is not one of these nodes.
    pub fn owner(&self, from: usize, slot: node_server_protocol::Slot) -> Result<usize> {
        let lines = self.view(from)?;
        let owner = lines.iter().find(|line| line.slots.contains(slot)).context("nobody owns the slot")?;
        let port = owner.address.port;
        self.nodes.iter().position(|node| node.port() == port).context("the slot's owner is not one of ours")
    }

    fn describe(&self) -> String {
        let views = self.running().map(|node| {
            let text = node.client().and_then(|mut client| client.text(&["CLUSTER", "NODES"]));
            format!("node {}:\n{}", node.port(), text.unwrap_or_else(|e| format!("{e:#}\n")))
        });
        views.collect()
    }
}

/// The cluster as the server behind a connection sees it.
///
/// # Errors
/// It does not answer, or in lines that cannot be read.
pub fn view(client: &mut Client) -> Result<Vec<NodeLine>> {
    Ok(parse_nodes(&client.text(&["CLUSTER", "NODES"])?)?)
}

fn sees_ok(node: &Server, members: usize) -> Result<bool> {
    let mut client = node.client()?;
    let info = client.text(&["CLUSTER", "INFO"])?;
    let lines = view(&mut client)?;
    let connected = lines.iter().filter(|line| line.connected).count();
    Ok(info_field(&info, "cluster_state") == Some("ok") && lines.len() == members && connected == members)
}

fn is_synced(node: &Server) -> Result<bool> {
    let mut client = node.client()?;
    let is_replica = view(&mut client)?.iter().any(|line| line.is_myself() && line.master.is_some());
    let info = client.text(&["INFO", "replication"])?;
    Ok(!is_replica || info_field(&info, "master_link_status") == Some("up"))
}

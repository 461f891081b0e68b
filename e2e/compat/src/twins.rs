//! The same commands for two kinds of servers in the same state, and where the answers differ.

use crate::views::{self, SOON};
use anyhow::Result;
use e2e::{Binary, Client, PortBlock, Server, ServerSpec, wait};
use node_server_protocol::resp::Reply;

/// A master of slots 0-5460, one of 5461-16383, a replica of the first, and a server outside: of one kind.
#[derive(Debug)]
pub struct Family {
    servers: Vec<Server>,
    ids: Vec<String>,
    _ports: PortBlock,
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// `{a}` in commands.
    Master,
    /// `{b}`.
    OtherMaster,
    /// `{r}`.
    Replica,
    /// `{x}`: it knows nobody.
    Outsider,
}

const NAMES: [&str; 4] = ["{a}", "{b}", "{r}", "{x}"];

impl Family {
    /// Starts the four servers.
    ///
    /// # Errors
    /// One does not start, or they do not agree within 30 s.
    pub fn start(binary: Binary) -> Result<Self> {
        let ports = PortBlock::reserve(4)?;
        let mut servers = Vec::new();
        for i in 0..4 {
            servers.push(Server::start(ServerSpec::calm_cluster_node(binary, ports.port(i)))?);
        }
        let ids = servers.iter().map(|s| Ok(views::id(s.port())?.to_string())).collect::<Result<_>>()?;
        let family = Self { servers, ids, _ports: ports };
        family.form()?;
        Ok(family)
    }

    fn form(&self) -> Result<()> {
        for (i, epoch, first, last) in [(0, "1", "0", "5460"), (1, "2", "5461", "16383")] {
            let mut client = self.servers[i].client()?;
            client.call(&["CLUSTER", "SET-CONFIG-EPOCH", epoch])?;
            client.call(&["CLUSTER", "ADDSLOTSRANGE", first, last])?;
        }
        let ports: Vec<u16> = self.servers[..3].iter().map(Server::port).collect();
        for port in &ports[1..] {
            self.servers[0].client()?.call(&["CLUSTER", "MEET", "127.0.0.1", &port.to_string()])?;
        }
        views::wait_agreed(&ports, 3)?;
        self.servers[2].client()?.call(&["CLUSTER", "REPLICATE", &self.ids[0]])?;
        wait::until("the replica follows", SOON, || views::follows(ports[2], ports[0]))?;
        views::wait_agreed(&ports, 3)
    }

    /// Waits until the epochs that some of them have taken are known to all, and the replica has what its master has.
    ///
    /// # Errors
    /// Not so within 30 s.
    pub fn settle(&self) -> Result<()> {
        let epoch = |server: &Server| views::cluster_info(server.port(), "cluster_current_epoch").ok();
        wait::until("all know the latest epoch", SOON, || {
            let first = epoch(&self.servers[0]);
            first.is_some() && self.servers[..3].iter().all(|server| epoch(server) == first)
        })?;
        let keys = |server: &Server| views::keys(server.port()).ok();
        wait::until("the replica has its master's keys", SOON, || {
            let there = keys(&self.servers[0]);
            there.is_some() && keys(&self.servers[2]) == there
        })
    }

    /// A connection to one of them.
    ///
    /// # Errors
    /// It does not accept connections.
    pub fn client(&self, member: Member) -> Result<Client> {
        self.servers[member as usize].client()
    }

    /// Sends a command, its words parted by blanks, and gives the answer with names in place of ids and ports.
    ///
    /// # Errors
    /// The connection broke.
    pub fn ask(&self, client: &mut Client, command: &str) -> Result<Reply> {
        let mut command = command.to_owned();
        for (name, id) in NAMES.iter().zip(&self.ids) {
            command = command.replace(name, id);
        }
        let words: Vec<&str> = command.split(' ').collect();
        Ok(self.with_names(client.command(&words)?))
    }

    fn with_names(&self, reply: Reply) -> Reply {
        let name = |mut text: String| {
            for (i, (name, id)) in NAMES.iter().zip(&self.ids).enumerate() {
                let port = self.servers[i].port();
                text = text.replace(id, name).replace(&format!(":{port}"), &format!(":{name}"));
            }
            text
        };
        match reply {
            Reply::Simple(text) => Reply::Simple(name(text)),
            Reply::Error(text) => Reply::Error(name(text)),
            Reply::Bulk(bytes) => {
                Reply::Bulk(name(String::from_utf8_lossy(&bytes).into_owned()).into_bytes())
            }
            Reply::Array(items) => {
                Reply::Array(items.into_iter().map(|item| self.with_names(item)).collect())
            }
            other => other,
        }
    }
}

/// The answers of a family's member to all commands in turn, on one connection.
///
/// # Errors
/// The connection broke.
pub fn answers(family: &Family, member: Member, commands: &[&str]) -> Result<Vec<Reply>> {
    let mut client = family.client(member)?;
    commands.iter().map(|command| family.ask(&mut client, command)).collect()
}

/// Commands that two families answer differently, with both answers; empty when there is none.
///
/// # Errors
/// A connection broke.
pub fn differences(theirs: &Family, ours: &Family, member: Member, commands: &[&str]) -> Result<String> {
    let (theirs, ours) = (answers(theirs, member, commands)?, answers(ours, member, commands)?);
    let differ = |((command, theirs), ours): ((&&str, Reply), Reply)| {
        (theirs != ours).then(|| format!("{member:?}, {command}\n  Redis: {theirs:?}\n  ours:  {ours:?}\n"))
    };
    Ok(commands.iter().zip(theirs).zip(ours).filter_map(differ).collect())
}

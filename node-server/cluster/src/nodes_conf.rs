//! nodes.conf: what a node knows of the cluster, on disk (reference/cluster-bus §1.14).

use crate::announced::{self, field};
use crate::view::SHARD_ID;
use node_server_protocol::topology::NodeLine;
use node_server_protocol::{Epoch, NodeId, SlotSet};
use std::collections::BTreeSet;
use std::fmt;

/// Auxiliary fields that may stand in a file: those of Redis 7.2 and Valkey 9.1. Another one means that the file is
/// of a newer server, which must not be misread.
const AUX_FIELDS: &[&str] = &[
    SHARD_ID,
    "tcp-port",
    "tls-port",
    field::NODE_NAME,
    field::CLIENT_IPV4,
    field::CLIENT_IPV6,
    field::CLIENT_PORT,
    field::CLIENT_TLS_PORT,
    field::ZONE,
];

/// A parsed nodes.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodesConf {
    /// Every node, in the file's order; exactly one is `myself`.
    pub nodes: Vec<NodeLine>,
    /// The cluster's clock as last seen.
    pub current_epoch: Epoch,
    /// The epoch in which this node last voted.
    pub last_vote_epoch: Epoch,
}

/// A nodes.conf that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct NodesConfError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl NodesConf {
    /// Reads the text of a nodes.conf.
    ///
    /// # Errors
    /// The first line that is wrong, and why.
    pub fn parse(text: &str) -> Result<Self, NodesConfError> {
        let mut reader = Reader::default();
        for (i, line) in text.lines().enumerate() {
            reader.line(line).map_err(|reason| NodesConfError { line: i + 1, reason })?;
        }
        let end = text.lines().count().max(1);
        reader.finish(text).map_err(|reason| NodesConfError { line: end, reason })
    }

    /// The line of the node that wrote it.
    #[must_use]
    pub fn myself(&self) -> &NodeLine {
        self.nodes.iter().find(|n| n.is_myself()).expect("a parsed file has a line with myself")
    }
}

#[derive(Default)]
struct Reader {
    nodes: Vec<NodeLine>,
    ids: BTreeSet<NodeId>,
    owned: SlotSet,
    vars: Option<(Epoch, Epoch)>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if line.trim().is_empty() {
            return Ok(());
        }
        if self.vars.is_some() {
            return Err("something follows the line with vars, which is the last".into());
        }
        if let Some(vars) = line.strip_prefix("vars ") {
            self.vars = Some(parse_vars(vars)?);
            return Ok(());
        }
        let node: NodeLine =
            line.parse().map_err(|e: node_server_protocol::topology::BadNodeLine| e.reason)?;
        self.check(&node)?;
        self.owned.extend(node.slots.iter());
        self.ids.insert(node.id);
        self.nodes.push(node);
        Ok(())
    }

    fn check(&self, node: &NodeLine) -> Result<(), String> {
        if self.ids.contains(&node.id) {
            return Err(format!("node {} has two lines", node.id));
        }
        if node.is_myself() && self.nodes.iter().any(NodeLine::is_myself) {
            return Err("a second line with the flag myself".into());
        }
        if let Some(slot) = node.slots.intersection(&self.owned).iter().next() {
            return Err(format!("slot {slot} has two owners"));
        }
        if let Some(key) = node.aux.keys().find(|k| !AUX_FIELDS.contains(&k.as_str())) {
            return Err(format!("unknown auxiliary field {key:?}: written by a newer server?"));
        }
        node.aux.iter().try_for_each(|(name, value)| announced::check(name, value))?;
        if let Some(shard_id) = node.shard_id()
            && shard_id.parse::<NodeId>().is_err()
        {
            return Err(format!("shard-id is not 40 hex digits: {shard_id:?}"));
        }
        Ok(())
    }

    fn finish(self, text: &str) -> Result<NodesConf, String> {
        if !text.is_empty() && !text.ends_with('\n') {
            return Err("the file ends within a line".into());
        }
        let Some((current_epoch, last_vote_epoch)) = self.vars else {
            return Err("no line with vars at the end: the file is cut off".into());
        };
        let Some(myself) = self.nodes.iter().find(|n| n.is_myself()) else {
            return Err("no line with the flag myself".into());
        };
        let unknown_master = |n: &NodeLine| n.master.is_some_and(|m| !self.ids.contains(&m));
        if unknown_master(myself) {
            return Err("myself is a replica of a node that has no line".into());
        }
        Ok(NodesConf { nodes: self.nodes, current_epoch, last_vote_epoch })
    }
}

/// `currentEpoch 6 lastVoteEpoch 5`, in any order; unknown names are skipped as Redis does.
fn parse_vars(text: &str) -> Result<(Epoch, Epoch), String> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    if !words.len().is_multiple_of(2) {
        return Err("vars must be pairs of name and value".into());
    }
    let (mut current, mut last_vote) = (Epoch(0), Epoch(0));
    for pair in words.chunks_exact(2) {
        let value =
            pair[1].parse().map(Epoch).map_err(|_| format!("{} is not a number: {:?}", pair[0], pair[1]));
        match pair[0] {
            "currentEpoch" => current = value?,
            "lastVoteEpoch" => last_vote = value?,
            _ => {}
        }
    }
    Ok((current, last_vote))
}

/// The text of the file.
impl fmt::Display for NodesConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            writeln!(f, "{node}")?;
        }
        writeln!(f, "vars currentEpoch {} lastVoteEpoch {}", self.current_epoch, self.last_vote_epoch)
    }
}

//! What one node says of itself and the cluster, asked directly: nothing that the operator saw or wrote is used. It can be
//! asked for in a pod and judged elsewhere.

use crate::Client;
use anyhow::{Context, Result, bail};
use node_server_protocol::resp::Reply;
use node_server_protocol::{Slot, SlotSet, topology};
use operator_planner::NodeReport;
use operator_planner::commands::count_keys;
use operator_planner::report::{QUERIES, Replies};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Of which slots keys are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Open ones.
    Open,
    /// Of a master, all that it does not own as well; more than the operator counts.
    Foreign,
}

/// The replies of one node.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Answers {
    /// CLUSTER NODES.
    pub nodes: String,
    /// CLUSTER INFO.
    pub cluster_info: String,
    /// INFO replication.
    pub replication: String,
    /// DBSIZE.
    pub keys: Option<u64>,
    /// Keys of the slots that were counted.
    pub counts: BTreeMap<u16, u64>,
}

impl Answers {
    /// Asks a node.
    ///
    /// # Errors
    /// It does not answer.
    pub fn ask(client: &mut Client, of: Count) -> Result<Self> {
        let (nodes, cluster_info) = (client.text(QUERIES[0])?, client.text(QUERIES[1])?);
        let replication = client.text(QUERIES[2])?;
        let keys = match client.command(QUERIES[3])? {
            Reply::Integer(n) => u64::try_from(n).ok(),
            _ => None,
        };
        let myself = topology::parse_nodes(&nodes)?.into_iter().find(|line| line.is_myself());
        let myself = myself.context("no line with the flag myself")?;
        let counted = match (of, myself.master) {
            (Count::Foreign, None) => SlotSet::full().difference(&myself.slots).union(&open(&myself)),
            (Count::Open, _) | (_, Some(_)) => open(&myself),
        };
        let counts = count(client, &counted)?;
        let counts = counts.into_iter().map(|(slot, n)| (slot.number(), n)).collect();
        Ok(Self { nodes, cluster_info, replication, keys, counts })
    }

    /// The same as the planner reads it.
    ///
    /// # Errors
    /// It is not what a cluster node says.
    pub fn report(&self) -> Result<NodeReport> {
        let counts = self.counts.iter().filter_map(|(slot, n)| Some((Slot::new(*slot)?, *n))).collect();
        Ok(NodeReport::parse(&Replies {
            nodes: &self.nodes,
            cluster_info: &self.cluster_info,
            replication: &self.replication,
            keys: self.keys,
            reopen: true,
            counts: &counts,
        })?)
    }
}

fn open(line: &topology::NodeLine) -> SlotSet {
    line.migrating.iter().chain(&line.importing).map(|(slot, _)| *slot).collect()
}

/// How many keys of each slot a node has.
///
/// # Errors
/// It does not answer with numbers.
pub fn count(client: &mut Client, slots: &SlotSet) -> Result<BTreeMap<Slot, u64>> {
    let bytes: Vec<u8> = slots.iter().flat_map(|slot| crate::client::request(&count_keys(slot))).collect();
    client.send(&bytes)?;
    let mut counts = BTreeMap::new();
    for slot in slots.iter() {
        match client.read_reply()? {
            Reply::Integer(n) => drop(counts.insert(slot, u64::try_from(n)?)),
            other => bail!("COUNTKEYSINSLOT {slot}: {other:?}"),
        }
    }
    Ok(counts)
}

//! What a node says about its cluster.

use anyhow::{Context, Result, bail};
use e2e::client::info_field;
use e2e::{Client, cluster, wait};
use node_server_protocol::NodeId;
use node_server_protocol::resp::Reply;
use node_server_protocol::topology::NodeLine;
use std::time::Duration;

/// How long a change may take to be seen by all.
pub const SOON: Duration = Duration::from_secs(30);

/// CLUSTER NODES of the node on this port.
///
/// # Errors
/// It does not answer.
pub fn view(port: u16) -> Result<Vec<NodeLine>> {
    cluster::view(&mut Client::local(port)?)
}

/// The node's line about itself.
///
/// # Errors
/// It does not answer.
pub fn myself(port: u16) -> Result<NodeLine> {
    view(port)?.into_iter().find(NodeLine::is_myself).context("a node without a line about itself")
}

/// The node's line about the node that listens on `of`.
///
/// # Errors
/// It does not answer, or does not know it.
pub fn line(port: u16, of: u16) -> Result<NodeLine> {
    let found = view(port)?.into_iter().find(|line| line.address.port == of);
    found.with_context(|| format!("node {port} does not know node {of}"))
}

/// The node's id.
///
/// # Errors
/// It does not answer.
pub fn id(port: u16) -> Result<NodeId> {
    Ok(myself(port)?.id)
}

/// A field of CLUSTER INFO.
///
/// # Errors
/// It does not answer, or has no such field.
pub fn cluster_info(port: u16, field: &str) -> Result<String> {
    let text = Client::local(port)?.text(&["CLUSTER", "INFO"])?;
    Ok(info_field(&text, field).with_context(|| format!("no {field} in CLUSTER INFO"))?.to_owned())
}

/// A field of INFO replication.
///
/// # Errors
/// It does not answer, or has no such field.
pub fn replication_info(port: u16, field: &str) -> Result<String> {
    let text = Client::local(port)?.text(&["INFO", "replication"])?;
    Ok(info_field(&text, field).with_context(|| format!("no {field} in INFO replication"))?.to_owned())
}

/// Whether the node is a replica of the one that listens on `master`, with its data.
#[must_use]
pub fn follows(port: u16, master: u16) -> bool {
    let look = || -> Result<bool> {
        let of = id(master)?;
        let up = replication_info(port, "master_link_status")? == "up";
        Ok(up && myself(port)?.master == Some(of))
    };
    look().unwrap_or(false)
}

/// How many keys the node has.
///
/// # Errors
/// It does not answer.
pub fn keys(port: u16) -> Result<i64> {
    match Client::local(port)?.call(&["DBSIZE"])? {
        Reply::Integer(count) => Ok(count),
        other => bail!("DBSIZE says {other:?}"),
    }
}

/// Slots of a node (`0-1364,5461-6826`), in the view of the node on `port`.
///
/// # Errors
/// It does not answer, or does not know the node.
pub fn slots(port: u16, of: u16) -> Result<String> {
    Ok(line(port, of)?.slots.to_string())
}

/// Who is what, as one node sees it, without what each sees differently (its own flag, ping times): a line per node.
///
/// # Errors
/// It does not answer.
pub fn agreement(port: u16) -> Result<Vec<String>> {
    let mut lines: Vec<String> = view(port)?.iter().map(summary).collect();
    lines.sort();
    lines.push(format!("current epoch {}", cluster_info(port, "cluster_current_epoch")?));
    Ok(lines)
}

fn summary(line: &NodeLine) -> String {
    let role = line.master.map_or("master".into(), |master| format!("replica of {master}"));
    let (ip, port, epoch) = (line.address.ip, line.address.port, line.config_epoch);
    format!("{} {ip}:{port} {role}, epoch {epoch}, slots {}", line.id, line.slots)
}

/// Waits until all of them are connected with each other and say the same of `members` nodes and that the cluster is ok.
///
/// # Errors
/// Not so within 30 s; the message shows what each says.
pub fn wait_agreed(ports: &[u16], members: usize) -> Result<()> {
    let agreed = || -> Result<bool> {
        let first = agreement(ports[0])?;
        let all_ok = |port: &u16| -> Result<bool> {
            let connected = view(*port)?.iter().filter(|line| line.connected).count();
            let ok = cluster_info(*port, "cluster_state")? == "ok";
            Ok(ok && connected == ports.len() && agreement(*port)? == first)
        };
        Ok(first.len() == members + 1 && ports.iter().all(|port| all_ok(port).unwrap_or(false)))
    };
    wait::until("all nodes agree that the cluster is ok", SOON, || agreed().unwrap_or(false)).with_context(
        || ports.iter().map(|port| format!("{port}: {:#?}\n", agreement(*port))).collect::<String>(),
    )
}

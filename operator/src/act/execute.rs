//! One attempt at a step.

use super::Moved;
use super::connections::{Connections, Lane, error_text};
use super::move_keys::move_keys;
use futures::future::join_all;
use operator_planner::commands::{Errors, NodeCommand, Phase};
use operator_planner::{MemberId, PlannedStep};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

/// Checks what the step expects, then sends its phases.
pub(super) async fn execute(
    connections: &Connections,
    planned: &PlannedStep,
    addresses: &BTreeMap<MemberId, SocketAddr>,
) -> Result<Moved, String> {
    check(connections, planned, addresses).await?;
    let mut moved = Moved::default();
    for phase in planned.step.commands() {
        let begun = Instant::now();
        let kind = if matches!(phase, Phase::MoveKeys { .. }) { "keys" } else { "commands" };
        match phase {
            Phase::Send { commands, errors } => match (send(connections, &commands).await, errors) {
                (Err(error), Errors::Stop) => return Err(error),
                (Err(error), Errors::Ignore) => tracing::debug!(%error, "gossip will have to bring it"),
                (Ok(()), _) => {}
            },
            Phase::MoveKeys { source, target, slots, replace } => {
                moved.keys += move_keys(connections, source.address, target.address, &slots, replace).await?;
            }
            Phase::Platform | Phase::Report => {}
        }
        tracing::debug!(kind, took_ms = begun.elapsed().as_millis(), "a phase ended");
    }
    Ok(moved)
}

/// Asks each member that something is expected of, once.
async fn check(
    connections: &Connections,
    planned: &PlannedStep,
    addresses: &BTreeMap<MemberId, SocketAddr>,
) -> Result<(), String> {
    let members: std::collections::BTreeSet<MemberId> = planned.expect.iter().map(|e| e.member).collect();
    let ask = |member: MemberId| async move {
        let address = *addresses.get(&member).ok_or_else(|| format!("{member} has no address"))?;
        let report = connections.report(address).await.map_err(|why| format!("{member}: {why}"))?;
        Ok::<_, String>((member, report))
    };
    let mut reports = BTreeMap::new();
    for asked in join_all(members.into_iter().map(ask)).await {
        let (member, report) = asked?;
        reports.insert(member, report);
    }
    let violated = |e: &operator_planner::Expect| reports.get(&e.member).and_then(|r| e.violated_by(r));
    match planned.expect.iter().find_map(violated) {
        Some(reason) => Err(reason),
        None => Ok(()),
    }
}

/// Sends the commands of a phase: to all nodes at once, in one pipeline each.
async fn send(connections: &Connections, commands: &[NodeCommand]) -> Result<(), String> {
    let mut by_node: BTreeMap<SocketAddr, Vec<Vec<Vec<u8>>>> = BTreeMap::new();
    for command in commands {
        let args = command.args.iter().map(|a| a.as_bytes().to_vec()).collect();
        by_node.entry(command.to.address.client()).or_default().push(args);
    }
    let tell = |(address, args): (SocketAddr, Vec<Vec<Vec<u8>>>)| async move {
        let replies = connections.send(address, Lane::COMMANDS, &args).await?;
        let failed = args.iter().zip(&replies).find_map(|(args, reply)| Some((args, error_text(reply)?)));
        match failed {
            Some((args, error)) => {
                let words: Vec<_> = args.iter().map(|a| String::from_utf8_lossy(a)).collect();
                Err(format!("{address}: {}: {error}", words.join(" ")))
            }
            None => Ok(()),
        }
    };
    let results = join_all(by_node.into_iter().map(tell)).await;
    results.into_iter().collect()
}

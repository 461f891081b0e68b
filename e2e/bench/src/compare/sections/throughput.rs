//! Saturated servers: requests per second and CPU per request, the server on one core and the client on another.

use crate::compare::alone::Alone;
use crate::compare::client::closed::{self, Load};
use crate::compare::client::requests::{Operation, Pick};
use crate::compare::contender::{Contender, turns};
use crate::compare::table::Table;
use crate::compare::{CONNECTIONS, Settings, machine, progress};
use anyhow::Result;

const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;
const VALUE_LEN: usize = 64;
/// Pipelines, and how many times the requests of pipeline 1 last as long there.
const PIPELINES: [(usize, u64); 2] = [(1, 1), (16, 5)];

pub(crate) fn run(settings: &Settings, contenders: &[Contender]) -> Result<Table> {
    let how = format!(
        "Cluster mode, one master of all slots, {CONNECTIONS} connections, {} keys of 10 B, values of {VALUE_LEN} B. \
         The server has core {SERVER_CORE} to itself, one cheap client core {CLIENT_CORE}. CPU is that of the server's \
         process, user and system, all threads; the share says whether it was saturated.",
        settings.keys
    );
    let mut table = Table::new("Throughput and CPU per request", how, contenders);
    let mut servers = Vec::new();
    for who in contenders {
        servers.push(machine::on_core(SERVER_CORE, || Alone::start(who, &[]))?);
    }
    servers.iter().try_for_each(|server| server.fill(settings.keys, VALUE_LEN))?;
    for round in 0..settings.rounds {
        for (pipeline, times) in PIPELINES {
            for operation in [Operation::Set(VALUE_LEN), Operation::Get] {
                let requests = settings.requests * times;
                for i in turns(round, servers.len()) {
                    let load = Load {
                        operation,
                        keys: settings.keys,
                        pick: Pick::AtRandom,
                        connections: CONNECTIONS,
                        pipeline,
                        requests,
                    };
                    measure(&servers[i], &contenders[i], &load, &mut table)?;
                }
            }
        }
        progress("throughput", round, settings);
    }
    Ok(table)
}

fn measure(server: &Alone, who: &Contender, load: &Load, table: &mut Table) -> Result<()> {
    let before = server.cpu_seconds()?;
    let outcome = machine::on_core(CLIENT_CORE, || closed::run(server.port(), load))?;
    let cpu = server.cpu_seconds()? - before;
    let name = if load.operation == Operation::Get { "GET" } else { "SET" };
    let what = format!("{name}, pipeline {}", load.pipeline);
    table.add(&format!("{what}: requests/s"), 0, who, outcome.per_second());
    table.add(&format!("{what}: CPU s per million"), 2, who, cpu / outcome.requests as f64 * 1e6);
    table.add(&format!("{what}: share of its core"), 2, who, cpu / outcome.seconds);
    Ok(())
}

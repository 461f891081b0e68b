//! What writers feel of BGSAVE and of a replica that copies everything: an open load of half of what saturates.

use crate::compare::alone::{Alone, info};
use crate::compare::client::closed::{self, Load};
use crate::compare::client::paced::{self, Pace, Sample};
use crate::compare::client::requests::{Operation, Pick};
use crate::compare::contender::{Contender, turns};
use crate::compare::statistics::{median, quantile};
use crate::compare::table::Table;
use crate::compare::{CONNECTIONS, Settings, progress};
use anyhow::{Context, Result};
use e2e::client::info_field;
use e2e::{Client, wait};
use node_server_protocol::resp::Reply;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const VALUE_LEN: usize = 64;
/// Stretch in which nothing happens, before what is looked at.
const QUIET: Duration = Duration::from_secs(3);
/// Connections are made, and the server warms up, before it.
const WARM: Duration = Duration::from_secs(1);
/// How long a file or a copy may take under the load.
const LIMIT: Duration = Duration::from_secs(60);
/// How often an event may be too short to be measured.
const TRIES: usize = 5;
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Measurements of what saturates each server, of which the median counts.
const SATURATIONS: usize = 3;
/// A master waits so long for more replicas before it begins a copy; a server's default would be in the figures.
const AT_ONCE: [(&str, &str); 1] = [("repl-diskless-sync-delay", "0")];

pub(crate) fn run(settings: &Settings, contenders: &[Contender]) -> Result<Table> {
    let start = |who| Alone::start(who, &AT_ONCE);
    let servers: Vec<Alone> = contenders.iter().map(start).collect::<Result<_>>()?;
    servers.iter().try_for_each(|server| server.fill(settings.keys, VALUE_LEN))?;
    let rate = half_of_least(&servers, settings)?;
    let how = format!(
        "Cluster mode, {} keys of 10 B with {VALUE_LEN} B, {CONNECTIONS} connections, SET at {rate} per second for all: half of \
         what saturates the slowest. Requests leave when they are due and their latency counts from then. Nothing is \
         pinned: server, forked child, replica and client share the cores. {} s without and the whole event with.",
        settings.keys,
        QUIET.as_secs()
    );
    let mut table = Table::new("SET p99.9 during BGSAVE and a full sync", how, contenders);
    for round in 0..settings.rounds {
        for i in turns(round, servers.len()) {
            let (server, who) = (&servers[i], &contenders[i]);
            let saved = || measure(server, settings, rate, || save(&mut server.client()?));
            note(&mut table, who, "BGSAVE", &seen(saved)?)?;
            let copied = || {
                let (replica, master) = joined(server, who)?;
                let event = measure(server, settings, rate, || copy(&replica, &master))?;
                leave(server, replica)?;
                Ok(event)
            };
            note(&mut table, who, "full sync", &seen(copied)?)?;
        }
        progress("snapshot", round, settings);
    }
    Ok(table)
}

fn half_of_least(servers: &[Alone], settings: &Settings) -> Result<u64> {
    let load = Load {
        operation: Operation::Set(VALUE_LEN),
        keys: settings.keys,
        pick: Pick::AtRandom,
        connections: CONNECTIONS,
        pipeline: 1,
        requests: settings.requests,
    };
    let mut least = f64::MAX;
    for server in servers {
        let rates = (0..SATURATIONS).map(|_| Ok(closed::run(server.port(), &load)?.per_second()));
        let rates: Vec<f64> = rates.collect::<Result<_>>()?;
        least = least.min(median(&rates).context("nothing was measured")?);
    }
    Ok((least / 2.0) as u64)
}

/// Samples of a run, and when the event took place.
struct Event {
    samples: Vec<Sample>,
    quiet: Range<Duration>,
    during: Range<Duration>,
}

/// Loads the server, lets `event` happen in the middle of it, and waits for its end.
fn measure(
    server: &Alone,
    settings: &Settings,
    rate: u64,
    event: impl FnOnce() -> Result<()> + Send,
) -> Result<Event> {
    let operation = Operation::Set(VALUE_LEN);
    let pace = Pace { operation, keys: settings.keys, connections: CONNECTIONS, rate };
    let (stop, begun) = (AtomicBool::new(false), Instant::now());
    let happen = || {
        std::thread::sleep(WARM + QUIET); // the length of what is measured
        let from = begun.elapsed();
        let happened = event().map(|()| from..begun.elapsed());
        stop.store(true, Ordering::Relaxed);
        happened
    };
    std::thread::scope(|scope| {
        let control = scope.spawn(happen);
        let samples = paced::run(server.port(), &pace, begun, &stop);
        let during = control.join().map_err(|_| anyhow::anyhow!("the event panicked"))??;
        Ok(Event { samples: samples?, quiet: WARM..during.start, during })
    })
}

/// Again where it was over before a request was due.
fn seen(once: impl Fn() -> Result<Event>) -> Result<Event> {
    for _ in 1..TRIES {
        let event = once()?;
        if p999_ms(&event.samples, &event.during).is_some() {
            return Ok(event);
        }
    }
    once()
}

fn note(table: &mut Table, who: &Contender, what: &str, event: &Event) -> Result<()> {
    let p999 = |within: &Range<Duration>| {
        p999_ms(&event.samples, within)
            .with_context(|| format!("{}: no request before or during {what}", who.name()))
    };
    let length = event.during.end - event.during.start;
    table.add(&format!("before {what}: p99.9, ms"), 2, who, p999(&event.quiet)?);
    table.add(&format!("during {what}: p99.9, ms"), 2, who, p999(&event.during)?);
    table.add(&format!("length of {what}, s"), 2, who, length.as_secs_f64());
    Ok(())
}

/// p99.9 of the requests that were due within a stretch, in milliseconds; `None` when none was.
fn p999_ms(samples: &[Sample], within: &Range<Duration>) -> Option<f64> {
    let inside = samples.iter().filter(|sample| within.contains(&sample.due));
    let mut took: Vec<u32> = inside.map(|sample| sample.took_us).collect();
    (!took.is_empty()).then(|| f64::from(quantile(&mut took, 0.999)) / 1000.0)
}

/// BGSAVE, to its end.
fn save(client: &mut Client) -> Result<()> {
    let saves = info(client, "persistence", "rdb_saves")?;
    client.call(&["BGSAVE"])?;
    wait::until_every(LOOK_EVERY, "BGSAVE ends", LIMIT, || {
        client.text(&["INFO", "persistence"]).is_ok_and(|text| has_saved(&text, saves))
    })?;
    let text = client.text(&["INFO", "persistence"])?;
    anyhow::ensure!(info_field(&text, "rdb_last_bgsave_status") == Some("ok"), "BGSAVE failed:\n{text}");
    Ok(())
}

/// Whether INFO persistence tells of the end of another save than the first `before`. Redis and Valkey count a save when it
/// begins and the node when it ends; the node's may begin a moment after the reply to BGSAVE.
fn has_saved(info: &str, before: u64) -> bool {
    let saves = info_field(info, "rdb_saves").and_then(|count| count.parse().ok());
    saves.is_some_and(|count: u64| count > before) && info_field(info, "rdb_bgsave_in_progress") == Some("0")
}

/// An empty node that knows the master, and the master's id.
fn joined(server: &Alone, who: &Contender) -> Result<(Alone, String)> {
    let replica = Alone::outside(who, &AT_ONCE)?;
    let master = server.client()?.text(&["CLUSTER", "MYID"])?;
    let mut client = replica.client()?;
    client.call(&["CLUSTER", "MEET", "127.0.0.1", &server.port().to_string()])?;
    wait::until("the replica-to-be knows the master and is known", LIMIT, || {
        let sees = |client: &mut Client, id: &str| {
            let nodes = client.text(&["CLUSTER", "NODES"]).unwrap_or_default();
            nodes
                .lines()
                .any(|line| line.starts_with(id) && line.contains("connected") && !line.contains("handshake"))
        };
        let id = client.text(&["CLUSTER", "MYID"]).unwrap_or_default();
        sees(&mut client, &master) && server.client().is_ok_and(|mut other| sees(&mut other, &id))
    })?;
    Ok((replica, master))
}

/// CLUSTER REPLICATE, until the replica has everything.
fn copy(replica: &Alone, master: &str) -> Result<()> {
    let mut client = replica.client()?;
    client.call(&["CLUSTER", "REPLICATE", master])?;
    wait::until_every(LOOK_EVERY, "the replica has copied everything", LIMIT, || {
        let text = client.text(&["INFO", "replication"]).unwrap_or_default();
        info_field(&text, "master_link_status") == Some("up")
    })
}

/// Ends the replica and has the master forget it.
fn leave(server: &Alone, replica: Alone) -> Result<()> {
    let id = replica.client()?.text(&["CLUSTER", "MYID"])?;
    drop(replica);
    let forgotten = server.client()?.call(&["CLUSTER", "FORGET", &id])?;
    anyhow::ensure!(forgotten == Reply::Simple("OK".into()), "CLUSTER FORGET: {forgotten:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_save_that_has_only_begun_is_not_at_its_end() {
        let info = |saves, running| format!("rdb_bgsave_in_progress:{running}\r\nrdb_saves:{saves}\r\n");
        assert!(!has_saved(&info(3, 1), 2), "Redis counts it at its beginning");
        assert!(!has_saved(&info(2, 0), 2), "the node has not begun");
        assert!(!has_saved(&info(2, 1), 2), "the node counts it at its end");
        assert!(has_saved(&info(3, 0), 2));
        assert!(!has_saved("", 0));
    }

    #[test]
    fn only_requests_that_were_due_within_count() {
        let sample = |due, took_us| Sample { due: Duration::from_secs(due), took_us };
        let samples = [sample(1, 9000), sample(2, 2000), sample(3, 3000), sample(4, 9000)];
        let within = |from, to| Duration::from_secs(from)..Duration::from_secs(to);
        assert_eq!(p999_ms(&samples, &within(2, 4)), Some(3.0));
        assert_eq!(p999_ms(&samples, &within(5, 9)), None);
    }
}

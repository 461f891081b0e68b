//! A replica of ours that starts again goes on from where its own files end.

use crate::digest::{tail, wait_equal};
use crate::generate::Generator;
use crate::run::write;
use crate::support::{
    DATABASES, alone, info, payloads, ports, preload, seed, stat, wait_base, wait_offset, wait_up,
};
use anyhow::{Context, Result, ensure};
use e2e::{Binary, Server};

/// Commands before and after each restart.
const COUNT: usize = 1000;

/// How our replica keeps its data, and how it ends.
#[derive(Clone, Copy, Debug)]
enum Way {
    AppendOnlyKilled,
    AppendOnlyStopped,
    AppendOnlyRewritten,
    RdbStopped,
}

fn goes_on(real: Binary, way: Way) -> Result<()> {
    let ports = ports(3)?;
    let payloads = payloads(real, ports.port(2))?;
    let master = Server::start(alone(real, ports.port(0)))?;
    preload(&master, false, &payloads)?;
    let spec =
        alone(Binary::NodeServer, ports.port(1)).with("replicaof", format!("127.0.0.1 {}", master.port()));
    let spec = match way {
        Way::RdbStopped => spec.with("save", "3600 1000000"),
        _ => spec.with("appendonly", "yes").with("appendfsync", "always"),
    };
    let mut replica = Server::start(spec)?;
    wait_up(&replica)?;
    if !matches!(way, Way::RdbStopped) {
        wait_base(&replica)?;
    }
    let mut generator = Generator::new(seed(), payloads, false);
    let mut client = master.client()?;
    for round in 1..=2 {
        // The log goes on in this database, which it does not name again.
        client.call(&["SELECT", "9"])?;
        write(&mut client, &mut generator, COUNT)?;
        client.call(&["SELECT", "9"])?;
        client.call(&["SET", "{t}last", &round.to_string()])?;
        wait_offset(&master, &replica)?;
        match way {
            Way::AppendOnlyKilled => {
                wait_on_disk(&replica)?;
                replica.kill()?;
            }
            Way::AppendOnlyRewritten => {
                let finished = || replica.log().matches("AOF rewrite finished").count();
                let before = finished();
                replica.client()?.call(&["BGREWRITEAOF"])?;
                e2e::wait::until("it is rewritten", crate::support::SOON, || {
                    info(&replica, "persistence", "aof_rewrite_in_progress").is_ok_and(|text| text == "0")
                        && finished() > before
                })?;
                wait_on_disk(&replica)?;
                replica.kill()?;
            }
            Way::AppendOnlyStopped | Way::RdbStopped => {
                replica.stop()?;
            }
        }
        client.call(&["SET", "{t}meanwhile", &round.to_string()])?;
        replica.restart()?;
        wait_up(&replica)?;
        wait_equal(&master, &replica, &DATABASES)?;
        let syncs = (stat(&master, "sync_full")?, stat(&master, "sync_partial_ok")?);
        ensure!(syncs == (1, round as u64), "full and partial syncs: {syncs:?}\n{}", tail(&master));
    }
    Ok(())
}

/// What the master was told is on the replica's disk only a moment later.
fn wait_on_disk(replica: &Server) -> Result<()> {
    let dir = replica.dir().join("appendonlydir");
    let size = || -> Option<u64> {
        let files = std::fs::read_dir(&dir).ok()?;
        files.map(|file| Some(file.ok()?.metadata().ok()?.len())).sum()
    };
    let mut last = None;
    e2e::wait::until_every(
        std::time::Duration::from_millis(200),
        "its file stands still",
        crate::support::SOON,
        || {
            let now = size();
            let still = now.is_some() && now == last;
            last = now;
            still
        },
    )
}

fn goes_on_in(ways: &[Way], real: Binary) -> Result<()> {
    ways.iter().try_for_each(|way| goes_on(real, *way).with_context(|| format!("{way:?} of {real:?}")))
}

#[test]
fn a_restarted_replica_of_redis_goes_on() -> Result<()> {
    let ways = [Way::AppendOnlyKilled, Way::AppendOnlyStopped, Way::AppendOnlyRewritten, Way::RdbStopped];
    goes_on_in(&ways, Binary::Redis)
}

#[test]
fn a_restarted_replica_of_valkey_goes_on() -> Result<()> {
    goes_on_in(&[Way::AppendOnlyKilled, Way::RdbStopped], Binary::Valkey)
}

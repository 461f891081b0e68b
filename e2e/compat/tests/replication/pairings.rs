//! The digest test: a replica that follows through random writes says the same as its master of every key, whoever
//! wrote either of them, and also when its link is cut again and again.

use crate::digest::{Digest, wait_equal};
use crate::generate::Generator;
use crate::proxy::Proxy;
use crate::run::{FULL, Pair, cuts, syncs};
use crate::support::{DATABASES, alone, commands, follow, payloads, ports, preload, seed, wait_up};
use anyhow::{Context, Result, ensure};
use e2e::{Binary, Server};

fn is_ours(binary: Binary) -> bool {
    binary == Binary::NodeServer
}

fn follows(master: Binary, replica: Binary, cuts: usize) -> Result<()> {
    let ports = ports(3)?;
    let restored = is_ours(master);
    let real = if restored { replica } else { master };
    let payloads = payloads(real, ports.port(2))?;
    let master = Server::start(alone(master, ports.port(0)))?;
    let replica = Server::start(alone(replica, ports.port(1)))?;
    preload(&master, restored, &payloads)?;
    let link = Proxy::start(master.port())?;
    follow(&replica, link.port())?;
    wait_up(&replica)?;
    let before = syncs(&master)?;
    let pair = Pair { master: &master, replicas: &[&replica], databases: &DATABASES, link: Some(&link) };
    let done = pair.run(&mut Generator::new(seed(), payloads, false), commands(), cuts)?;
    let now = syncs(&master)?;
    ensure!(now == (before.0, before.1 + cuts as u64), "{before:?} syncs, then {now:?}");
    let digest = wait_equal(&master, &replica, &DATABASES)?;
    println!("{done:?}: {:?}", digest.types());
    ensure!(digest.has_expiring_field() == (real == Binary::Valkey), "fields that expire");
    Ok(())
}

fn both(master: Binary, replica: Binary) -> Result<()> {
    // The short run has no time for both, and the one without cuts finds less.
    let runs = if commands() < FULL { &[cuts()][..] } else { &[0, cuts()] };
    for &cuts in runs {
        follows(master, replica, cuts)
            .with_context(|| format!("{replica:?} follows {master:?}, {cuts} cuts, seed {}", seed()))?;
    }
    Ok(())
}

#[test]
fn digest_ours_follows_redis() -> Result<()> {
    both(Binary::Redis, Binary::NodeServer)
}

#[test]
fn digest_ours_follows_valkey() -> Result<()> {
    both(Binary::Valkey, Binary::NodeServer)
}

#[test]
fn digest_redis_follows_ours() -> Result<()> {
    both(Binary::NodeServer, Binary::Redis)
}

#[test]
fn digest_valkey_follows_ours() -> Result<()> {
    both(Binary::NodeServer, Binary::Valkey)
}

/// A replica that is made to differ, in one key after the other: what the tests above rely on.
#[test]
fn digest_sees_every_difference() -> Result<()> {
    let ports = ports(3)?;
    let payloads = payloads(Binary::Redis, ports.port(2))?;
    let master = Server::start(alone(Binary::NodeServer, ports.port(0)))?;
    let replica = Server::start(alone(Binary::Redis, ports.port(1)).with("replica-read-only", "no"))?;
    preload(&master, true, &payloads)?;
    follow(&replica, master.port())?;
    wait_up(&replica)?;
    let mut before = wait_equal(&master, &replica, &DATABASES)?;
    let mut client = replica.client()?;
    let kinds: Vec<String> = before.keys_of_each_type();
    ensure!(kinds.len() == 6, "{kinds:?}");
    let changes = kinds.iter().flat_map(|key| {
        [vec!["PEXPIREAT", key, "4000000000001"], vec!["DEL", key], vec!["SET", key, "something else"]]
    });
    let others = [vec!["SELECT", "3"], vec!["SET", "{t}more", "1"]];
    for change in changes.chain(others) {
        client.call(&change)?;
        let after = Digest::of(&replica, &DATABASES)?;
        ensure!(after != before || change[0] == "SELECT", "{change:?} was not seen");
        before = after;
    }
    Ok(())
}

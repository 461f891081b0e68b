//! The digest test: a replica that follows through random writes says the same as its master of every key, whoever
//! wrote either of them, and also when its link is cut again and again.

use crate::digest::{Digest, wait_equal};
use crate::generate::Generator;
use crate::proxy::Proxy;
use crate::support::{
    DATABASES, alone, commands, follow, payloads, ports, preload, seed, stat, wait_up, write,
};
use anyhow::{Context, Result, ensure};
use e2e::{Binary, Server, wait};

/// Cuts of the link in 100,000 commands, and at least so many.
const CUTS: usize = 50;
const CUTS_MIN: usize = 8;
const FULL: usize = 100_000;
/// Types that the data has at least at the end.
const TYPES: usize = 5;

fn is_ours(binary: Binary) -> bool {
    binary == Binary::NodeServer
}

/// Syncs that the master has given.
fn syncs(master: &Server) -> Result<(u64, u64)> {
    Ok((stat(master, "sync_full")?, stat(master, "sync_partial_ok")?))
}

fn follows(master: Binary, replica: Binary, cuts: usize) -> Result<()> {
    let ports = ports(3)?;
    let restored = is_ours(master);
    let payloads = payloads(if restored { replica } else { master }, ports.port(2))?;
    let master = Server::start(alone(master, ports.port(0)))?;
    let replica = Server::start(alone(replica, ports.port(1)))?;
    preload(&master, restored, &payloads)?;
    let link = Proxy::start(master.port())?;
    follow(&replica, link.port())?;
    wait_up(&replica)?;
    let (full, partial) = syncs(&master)?;
    let mut generator = Generator::new(seed(), payloads, false);
    let count = commands();
    let every = if cuts == 0 { usize::MAX } else { count / (cuts + 1) };
    let (mut made, mut left) = (0, every);
    write(&mut master.client()?, &mut generator, count, |sent| {
        if made < cuts && sent >= left {
            let before = syncs(&master)?;
            link.cut();
            (made, left) = (made + 1, left + every);
            wait::until("the replica has come again", crate::support::SOON, || {
                syncs(&master).is_ok_and(|now| now != before)
            })?;
        }
        Ok(())
    })?;
    let digest = wait_equal(&master, &replica, &DATABASES)?;
    let types = digest.types();
    ensure!(types.len() >= TYPES, "only {types:?}");
    let (all_full, all_partial) = syncs(&master)?;
    let (full, partial) = (all_full - full, all_partial - partial);
    println!("{count} commands, {cuts} cuts: {partial} partial and {full} full syncs; {types:?}");
    ensure!(made == cuts, "only {made} cuts were made");
    ensure!(partial as usize * 10 >= cuts * 9, "{partial} partial and {full} full syncs after {cuts} cuts");
    Ok(())
}

fn both(master: Binary, replica: Binary) -> Result<()> {
    let cuts = (commands() * CUTS / FULL).max(CUTS_MIN);
    // The short run has no time for both, and the one without cuts finds less.
    let runs = if commands() < FULL { &[cuts][..] } else { &[0, cuts] };
    for &cuts in runs {
        follows(master, replica, cuts)
            .with_context(|| format!("{replica:?} follows {master:?}, {cuts} cuts"))?;
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

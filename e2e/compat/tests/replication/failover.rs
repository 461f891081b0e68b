//! Masters of one kind and replicas of the other change places in a cluster: the old master follows the new one from
//! where it stands (PSYNC2), and both say the same of every key.

use crate::digest::{tail, wait_equal};
use crate::generate::Generator;
use crate::support::{SOON, alone, commands, fill_types, payloads, ports, seed, stat, wait_up, write};
use anyhow::{Context, Result, ensure};
use e2e::{Binary, Server, wait};
use e2e_compat::views;

fn node(binary: Binary, port: u16) -> Result<Server> {
    // Longer than any stall of a busy machine: nobody but CLUSTER FAILOVER is to change roles.
    let spec = alone(binary, port).with("cluster-enabled", "yes").with("cluster-node-timeout", 15_000);
    Server::start(spec)
}

/// Gives it all slots and waits until it serves.
fn own_all(master: &Server) -> Result<()> {
    let mut client = master.client()?;
    client.call(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])?;
    wait::until("it serves", SOON, || client.call(&["SET", "{t}a", "1"]).is_ok())
}

/// Makes the other one its replica.
fn form(master: &Server, replica: &Server) -> Result<()> {
    let mut client = master.client()?;
    client.call(&["CLUSTER", "MEET", "127.0.0.1", &replica.port().to_string()])?;
    views::wait_agreed(&[master.port(), replica.port()], 2)?;
    let id = client.text(&["CLUSTER", "MYID"])?;
    replica.client()?.call(&["CLUSTER", "REPLICATE", &id])?;
    wait_up(replica)?;
    views::wait_agreed(&[master.port(), replica.port()], 2)
}

/// `to` takes over from `from`, which then follows it.
fn fail_over(from: &Server, to: &Server) -> Result<()> {
    to.client()?.call(&["CLUSTER", "FAILOVER"])?;
    wait::until("the old master follows the new one", SOON, || views::follows(from.port(), to.port()))
        .with_context(|| format!("{}\n{}", tail(from), tail(to)))?;
    views::wait_agreed(&[from.port(), to.port()], 2)
}

fn change_places(master: Binary, replica: Binary) -> Result<()> {
    let ports = ports(3)?;
    let payloads = payloads(master, ports.port(2))?;
    let (master, replica) = (node(master, ports.port(0))?, node(replica, ports.port(1))?);
    own_all(&master)?;
    // Only a real server can make these.
    fill_types(&mut master.client()?)?;
    form(&master, &replica)?;
    let full = stat(&master, "sync_full")?;
    ensure!(full == 1, "{full} full syncs at the beginning");
    let mut generator = Generator::new(seed(), payloads, true);
    let count = commands() / 2;
    wait_equal(&master, &replica, &[0])?;
    fail_over(&master, &replica)?;
    // Before random commands may have flushed them.
    replica.client()?.call(&["RENAME", "{t}hash", "{t}renamed"])?;
    replica.client()?.call(&["PEXPIRE", "{t}zset", "100000000"])?;
    wait_equal(&replica, &master, &[0])?;
    write(&mut replica.client()?, &mut generator, count, |_| Ok(()))?;
    wait_equal(&replica, &master, &[0])?;
    fail_over(&replica, &master)?;
    write(&mut master.client()?, &mut generator, count, |_| Ok(()))?;
    let digest = wait_equal(&master, &replica, &[0])?;
    // Nobody has had to begin anew: each gave the other a partial sync.
    for (server, expected) in [(&master, (1, 1)), (&replica, (0, 1))] {
        let syncs = (stat(server, "sync_full")?, stat(server, "sync_partial_ok")?);
        ensure!(
            syncs == expected,
            "full and partial syncs of {}: {syncs:?}\n{}",
            server.port(),
            tail(server)
        );
    }
    println!("{count} commands after each of two failovers: {:?}", digest.types());
    Ok(())
}

#[test]
fn ours_and_redis_change_places() -> Result<()> {
    change_places(Binary::Redis, Binary::NodeServer)
}

#[test]
fn ours_and_valkey_change_places() -> Result<()> {
    change_places(Binary::Valkey, Binary::NodeServer)
}

//! Masters of one kind and replicas of the other change places in a cluster: the old master follows the new one from
//! where it stands (PSYNC2), and both say the same of every key.

use crate::digest::{tail, wait_equal};
use crate::generate::Generator;
use crate::proxy::Proxy;
use crate::run::{FULL, Pair, cuts, requests, syncs};
use crate::support::{BATCH, SOON, alone, commands, fill, fill_types, payloads, ports, seed, stat, wait_up};
use anyhow::{Context, Result, ensure};
use e2e::{Binary, Server, wait};
use e2e_compat::views;
use std::time::Duration;

/// Failovers in each direction of a long run.
const ROUNDS: usize = 5;
/// Cuts behind each failover of the short run.
const CUTS_SHORT: usize = 1;

/// A server votes once in two node timeouts for the replicas of the same master, and refuses until then. How often
/// CLUSTER FAILOVER is tried, and how long each try may take (it gives up after five seconds).
const TRIES: usize = 6;
const TRY: Duration = Duration::from_secs(7);

/// A node behind a link that can be cut: others reach it by the port that it announces.
struct Node {
    server: Server,
    link: Proxy,
}

impl Node {
    fn start(binary: Binary, port: u16) -> Result<Self> {
        let link = Proxy::start(port)?;
        // Longer than any stall of a busy machine: nobody but CLUSTER FAILOVER is to change roles.
        let spec = alone(binary, port).with("cluster-enabled", "yes").with("cluster-node-timeout", 15_000);
        let spec = spec.with("cluster-announce-port", link.port());
        let spec = spec.with("cluster-announce-bus-port", Self::bus_port(port));
        Ok(Self { server: Server::start(spec)?, link })
    }

    const fn bus_port(port: u16) -> u16 {
        port + 10_000
    }

    /// By which others know it.
    fn port(&self) -> u16 {
        self.link.port()
    }
}

/// Gives it all slots and waits until it serves.
fn own_all(master: &Server) -> Result<()> {
    let mut client = master.client()?;
    client.call(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])?;
    wait::until("it serves", SOON, || client.call(&["SET", "{t}a", "1"]).is_ok())
}

/// Makes the other one its replica.
fn form(master: &Node, replica: &Node) -> Result<()> {
    let mut client = master.server.client()?;
    let mut other = replica.server.client()?;
    let (port, bus) = (replica.port().to_string(), Node::bus_port(replica.server.port()).to_string());
    client.call(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])?;
    views::wait_agreed(&[master.port(), replica.port()], 2)?;
    let id = client.text(&["CLUSTER", "MYID"])?;
    other.call(&["CLUSTER", "REPLICATE", &id])?;
    wait_up(&replica.server)?;
    views::wait_agreed(&[master.port(), replica.port()], 2)
}

/// `to` takes over from `from`, which then follows it. Meanwhile somebody writes; what comes too late is refused.
fn fail_over(from: &Node, to: &Node, generator: &mut Generator) -> Result<()> {
    let mut writer = from.server.client()?;
    let batch: Vec<_> = (0..10 * BATCH).map(|_| generator.next()).collect();
    writer.send(&requests(&batch))?;
    generator.end_transaction();
    let mut result = Ok(());
    for _ in 0..TRIES {
        // Refused where the try before has made it a master meanwhile.
        to.server.client()?.command(&["CLUSTER", "FAILOVER"])?;
        let follows = || views::follows(from.port(), to.port());
        result = wait::until("the old master follows the new one", TRY, follows);
        if result.is_ok() {
            break;
        }
    }
    result.with_context(|| format!("{}\n{}", tail(&from.server), tail(&to.server)))?;
    views::wait_agreed(&[from.port(), to.port()], 2)
}

/// Failovers and random commands, one direction after the other.
struct Rounds {
    count: usize,
    /// Commands behind each failover.
    commands: usize,
    cuts: usize,
}

impl Rounds {
    fn new() -> Self {
        match commands() {
            all if all < FULL => Self { count: 1, commands: all / 2, cuts: CUTS_SHORT },
            all => Self { count: ROUNDS, commands: all / ROUNDS, cuts: cuts() / ROUNDS },
        }
    }

    fn change_places(&self, from: &Node, to: &Node, generator: &mut Generator) -> Result<()> {
        fail_over(from, to, generator)?;
        let mut client = to.server.client()?;
        fill(&mut client, generator.payloads(), &[0])?;
        client.call(&["RENAME", "{t}kept0", "{t}renamed"])?;
        client.call(&["PEXPIRE", "{t}kept1", "100000000"])?;
        let replicas = &[&from.server];
        let pair = Pair { master: &to.server, replicas, databases: &[0], link: Some(&to.link) };
        println!("{:?}", pair.run(generator, self.commands, self.cuts)?);
        Ok(())
    }
}

fn change_places(master: Binary, replica: Binary) -> Result<()> {
    let ports = ports(3)?;
    let payloads = payloads(master, ports.port(2))?;
    let (master, replica) = (Node::start(master, ports.port(0))?, Node::start(replica, ports.port(1))?);
    own_all(&master.server)?;
    // Only a real server can make these.
    fill_types(&mut master.server.client()?)?;
    form(&master, &replica)?;
    let full = stat(&master.server, "sync_full")?;
    ensure!(full == 1, "{full} full syncs at the beginning");
    let mut generator = Generator::new(seed(), payloads, true);
    wait_equal(&master.server, &replica.server, &[0])?;
    let rounds = Rounds::new();
    for _ in 0..rounds.count {
        rounds.change_places(&master, &replica, &mut generator)?;
        rounds.change_places(&replica, &master, &mut generator)?;
    }
    let digest = wait_equal(&master.server, &replica.server, &[0])?;
    // Nobody has had to begin anew: each gave the other a partial sync behind each failover and each cut.
    let partial = (rounds.count * (rounds.cuts + 1)) as u64;
    for (node, expected) in [(&master, (1, partial)), (&replica, (0, partial))] {
        let syncs = syncs(&node.server)?;
        ensure!(syncs == expected, "full and partial syncs: {syncs:?}\n{}", tail(&node.server));
    }
    println!("{} failovers each way: {:?}", rounds.count, digest.types());
    Ok(())
}

#[test]
fn ours_and_redis_change_places() -> Result<()> {
    change_places(Binary::Redis, Binary::NodeServer).with_context(|| format!("seed {}", seed()))
}

#[test]
fn ours_and_valkey_change_places() -> Result<()> {
    change_places(Binary::Valkey, Binary::NodeServer).with_context(|| format!("seed {}", seed()))
}

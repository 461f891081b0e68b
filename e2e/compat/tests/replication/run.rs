//! Random commands for a master while others follow it. They are compared on the way, and before anything wipes the data;
//! the link is cut, and goes on with what was written meanwhile.

use crate::digest::{TYPES, tail, wait_all_equal};
use crate::generate::{Command, Generator};
use crate::proxy::Proxy;
use crate::support::{BATCH, SOON, commands, fill, stat, wait_up};
use anyhow::{Context, Result, ensure};
use e2e::client::request;
use e2e::{Client, Server, wait};

/// Commands of a run that counts as a long one: `./test --full`.
pub const FULL: usize = 100_000;
/// Cuts of a link in so many commands, and at least so many.
const CUTS: usize = 50;
const CUTS_MIN: usize = 3;
/// Commands between two comparisons.
const STRETCH: usize = 2500;
/// Of so many stretches one, and the first, is followed by a flush.
const FLUSH_AFTER: usize = 2;

/// Cuts of a run of [`commands`].
pub fn cuts() -> usize {
    (commands() * CUTS / FULL).max(CUTS_MIN)
}

/// Who gets the commands, and who has to say the same.
pub struct Pair<'a> {
    pub master: &'a Server,
    pub replicas: &'a [&'a Server],
    pub databases: &'a [u16],
    /// On the way from the only replica to the master.
    pub link: Option<&'a Proxy>,
}

/// What has been done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub sent: usize,
    pub refused: usize,
    pub cuts: usize,
    pub comparisons: usize,
    pub flushes: usize,
    /// Bytes that partial syncs began with.
    pub resent: u64,
}

/// Syncs that the master has given: full and partial ones.
pub fn syncs(master: &Server) -> Result<(u64, u64)> {
    Ok((stat(master, "sync_full")?, stat(master, "sync_partial_ok")?))
}

impl Pair<'_> {
    /// Sends `count` commands and cuts the link `cuts` times. At least half of the commands have to be taken. A flush may
    /// come behind the last comparison: the caller's next one sees what it left.
    pub fn run(&self, generator: &mut Generator, count: usize, cuts: usize) -> Result<Done> {
        let mut done = Done::default();
        self.compare(&mut done)?;
        let mut client = self.master.client()?;
        let every = if cuts == 0 { usize::MAX } else { count / (cuts + 1) };
        let mut stretches = 0;
        while done.sent < count {
            let stretch = STRETCH.min(count - done.sent);
            let end = done.sent + stretch;
            while done.sent < end {
                if done.cuts < cuts && done.sent >= (done.cuts + 1) * every {
                    self.cut(&mut client, generator, &mut done)?;
                } else {
                    let batch = next_batch(generator, BATCH.min(end - done.sent));
                    send(&mut client, &batch, &mut done)?;
                }
            }
            end_transaction(&mut client, generator)?;
            self.compare(&mut done)?;
            stretches += 1;
            if stretches % FLUSH_AFTER == 1 {
                self.flush(&mut client, generator, &mut done)?;
            }
        }
        ensure!(done.cuts == cuts, "only {} cuts were made", done.cuts);
        ensure!(done.refused * 2 < done.sent, "{} of {} commands were refused", done.refused, done.sent);
        Ok(done)
    }

    fn compare(&self, done: &mut Done) -> Result<()> {
        let digest = wait_all_equal(self.master, self.replicas, self.databases);
        let types = digest.with_context(|| format!("after {done:?}"))?.types();
        ensure!(types.len() == TYPES, "only {types:?} after {done:?}");
        done.comparisons += 1;
        Ok(())
    }

    /// Ends the link within a batch, sends another one, and only then lets the replica come again.
    fn cut(&self, client: &mut Client, generator: &mut Generator, done: &mut Done) -> Result<()> {
        let link = self.link.context("a link to cut")?;
        let before = syncs(self.master)?;
        let known = resent(self.master).len();
        let batch = next_batch(generator, BATCH);
        client.send(&requests(&batch))?;
        link.cut();
        read_replies(client, batch.len(), done)?;
        let batch = next_batch(generator, BATCH);
        send(client, &batch, done)?;
        link.mend();
        done.cuts += 1;
        let come = || syncs(self.master).is_ok_and(|now| now != before);
        wait::until("the replica has come again", SOON, come).with_context(|| tail(self.master))?;
        self.replicas.iter().try_for_each(|replica| wait_up(replica))?;
        let now = syncs(self.master)?;
        ensure!(now == (before.0, before.1 + 1), "{before:?} syncs, then {now:?}\n{}", tail(self.master));
        let bytes: u64 = resent(self.master).iter().skip(known).sum();
        ensure!(bytes > 0, "nothing was written while the link was cut\n{}", tail(self.master));
        done.resent += bytes;
        Ok(())
    }

    /// Everything goes, or one database, and is there again behind it; now and then within a transaction.
    fn flush(&self, client: &mut Client, generator: &mut Generator, done: &mut Done) -> Result<()> {
        let flush = generator.flush();
        for command in flush {
            client.call(&command)?;
        }
        fill(client, generator.payloads(), self.databases)?;
        done.flushes += 1;
        Ok(())
    }
}

fn next_batch(generator: &mut Generator, count: usize) -> Vec<Command> {
    (0..count).map(|_| generator.next()).collect()
}

/// As it goes over the wire.
pub fn requests(commands: &[Command]) -> Vec<u8> {
    commands.iter().flat_map(|command| request(command)).collect()
}

fn send(client: &mut Client, batch: &[Command], done: &mut Done) -> Result<()> {
    client.send(&requests(batch))?;
    read_replies(client, batch.len(), done)
}

fn read_replies(client: &mut Client, count: usize, done: &mut Done) -> Result<()> {
    for _ in 0..count {
        let reply = client.read_reply()?;
        done.refused += usize::from(matches!(reply, node_server_protocol::resp::Reply::Error(_)));
    }
    done.sent += count;
    Ok(())
}

/// Ends a transaction if one is open.
fn end_transaction(client: &mut Client, generator: &mut Generator) -> Result<()> {
    // Refused where none is.
    client.command(&["EXEC"])?;
    generator.end_transaction();
    Ok(())
}

/// The same without anybody to compare.
pub fn write(client: &mut Client, generator: &mut Generator, count: usize) -> Result<()> {
    let mut done = Done::default();
    while done.sent < count {
        let batch = next_batch(generator, BATCH.min(count - done.sent));
        send(client, &batch, &mut done)?;
    }
    end_transaction(client, generator)?;
    ensure!(done.refused * 2 < done.sent, "{} of {} commands were refused", done.refused, done.sent);
    Ok(())
}

/// Bytes that each partial sync began with, by the master's log; ours says it in Redis's words.
fn resent(master: &Server) -> Vec<u64> {
    let log = master.log();
    let lengths = log.split("accepted. Sending ").skip(1);
    lengths.filter_map(|rest| rest.split_once(" bytes of backlog")?.0.parse().ok()).collect()
}

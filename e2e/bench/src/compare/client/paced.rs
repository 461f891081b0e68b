//! An open load: requests leave when they are due, and their latency counts from then.

use super::connection::{Connection, READ_LEN};
use super::requests::{Operation, Pick, Requests};
use super::schedule::Schedule;
use anyhow::{Result, ensure};
use mio::{Events, Poll, Token};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Requests without a reply: a server that cannot keep up with the rate gets there.
const OUTSTANDING_MAX: u64 = 4_000_000;
/// How long a run may take.
const RUN_MAX: Duration = Duration::from_secs(180);
/// Pause where nothing is due and nothing has come: short against what is measured, and the server may have the core.
const PAUSE: Duration = Duration::from_micros(20);

/// What to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) operation: Operation,
    pub(crate) keys: u64,
    pub(crate) connections: usize,
    /// Requests per second of all connections.
    pub(crate) rate: u64,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// When it was due, from the beginning.
    pub(crate) due: Duration,
    /// From then to its reply, in microseconds.
    pub(crate) took_us: u32,
}

struct Open {
    connection: Connection,
    /// Numbers of the requests that were due and have no reply yet.
    outstanding: VecDeque<u64>,
}

/// Sends to a port of 127.0.0.1 from `begun` until `stop`, then waits for the last replies.
///
/// # Errors
/// A reply is no success, the server does not keep up at all, or nobody says stop for three minutes.
pub(crate) fn run(port: u16, pace: &Pace, begun: Instant, stop: &AtomicBool) -> Result<Vec<Sample>> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(pace.connections);
    let mut all = Vec::new();
    for i in 0..pace.connections {
        let connection = Connection::open(port, poll.registry(), Token(i))?;
        all.push(Open { connection, outstanding: VecDeque::new() });
    }
    let schedule = Schedule::new(pace.rate);
    let mut requests = Requests::new(pace.operation, pace.keys, Pick::AtRandom, 1);
    // What was due while the connections were made is nobody's.
    let first = schedule.count(begun.elapsed());
    let (mut due, mut samples, mut buffer) = (first, Vec::new(), vec![0; READ_LEN]);
    loop {
        let stopped = stop.load(Ordering::Relaxed);
        let passed = begun.elapsed();
        ensure!(passed < RUN_MAX, "the load on port {port} was not stopped within {RUN_MAX:?}");
        let from = due;
        due = if stopped { due } else { schedule.count(passed).max(due) };
        for i in from..due {
            let open = &mut all[i as usize % pace.connections];
            open.outstanding.push_back(i);
            open.connection.queue(requests.next(1))?;
        }
        if due > from {
            all.iter_mut().try_for_each(|open| open.connection.flush())?;
        }
        let answered = samples.len() as u64;
        ensure!(
            due - first - answered < OUTSTANDING_MAX,
            "port {port} does not keep up with {}/s",
            pace.rate
        );
        if stopped && due - first == answered {
            return Ok(samples);
        }
        poll.poll(&mut events, Some(Duration::ZERO))?;
        for event in &events {
            receive(&mut all[event.token().0], &mut buffer, begun, schedule, &mut samples)?;
        }
        if due == from && events.is_empty() {
            std::thread::sleep(PAUSE);
        }
    }
}

fn receive(
    open: &mut Open,
    buffer: &mut [u8],
    begun: Instant,
    schedule: Schedule,
    samples: &mut Vec<Sample>,
) -> Result<()> {
    open.connection.flush()?;
    let replies = open.connection.receive(buffer)?;
    ensure!(replies <= open.outstanding.len() as u64, "more replies than requests");
    let now = begun.elapsed();
    for i in open.outstanding.drain(..replies as usize) {
        let due = schedule.due(i);
        let took = now.saturating_sub(due).as_micros();
        samples.push(Sample { due, took_us: u32::try_from(took).unwrap_or(u32::MAX) });
    }
    Ok(())
}

//! Saturation: every connection sends its next requests when it has the replies to the last ones.

use super::connection::{Connection, READ_LEN};
use super::requests::{Operation, Pick, Requests};
use anyhow::{Result, ensure};
use mio::{Events, Poll, Token};
use std::time::{Duration, Instant};

/// How long the server may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) operation: Operation,
    pub(crate) keys: u64,
    pub(crate) pick: Pick,
    pub(crate) connections: usize,
    /// Requests that a connection sends at once.
    pub(crate) pipeline: usize,
    pub(crate) requests: u64,
}

/// What it gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// From sending requests to the last of their replies, in microseconds.
    pub(crate) latencies_us: Vec<u32>,
}

impl Outcome {
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

struct Busy {
    connection: Connection,
    outstanding: u64,
    sent_at: Instant,
}

struct Client {
    requests: Requests,
    left: u64,
    pipeline: u64,
}

impl Client {
    fn send(&mut self, busy: &mut Busy) -> Result<()> {
        let count = self.left.min(self.pipeline);
        if count == 0 {
            return Ok(());
        }
        self.left -= count;
        busy.outstanding = count;
        busy.sent_at = Instant::now();
        busy.connection.send(self.requests.next(count as usize))
    }
}

/// Sends all the requests to a port of 127.0.0.1.
///
/// # Errors
/// A reply is no success, or none comes for 30 s.
pub(crate) fn run(port: u16, load: &Load) -> Result<Outcome> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(load.connections);
    let mut all = Vec::new();
    for i in 0..load.connections {
        let connection = Connection::open(port, poll.registry(), Token(i))?;
        all.push(Busy { connection, outstanding: 0, sent_at: Instant::now() });
    }
    let requests = Requests::new(load.operation, load.keys, load.pick, load.pipeline);
    let mut client = Client { requests, left: load.requests, pipeline: load.pipeline as u64 };
    let mut latencies_us = Vec::with_capacity(load.requests as usize / load.pipeline + load.connections);
    let mut buffer = vec![0; READ_LEN];
    let (begun, mut answered) = (Instant::now(), 0);
    all.iter_mut().try_for_each(|busy| client.send(busy))?;
    while answered < load.requests {
        poll.poll(&mut events, Some(SILENCE_MAX))?;
        ensure!(!events.is_empty(), "the server on port {port} has said nothing for {SILENCE_MAX:?}");
        for event in &events {
            let busy = &mut all[event.token().0];
            busy.connection.flush()?;
            let replies = busy.connection.receive(&mut buffer)?;
            ensure!(replies <= busy.outstanding, "more replies than requests");
            answered += replies;
            busy.outstanding -= replies;
            if replies > 0 && busy.outstanding == 0 {
                latencies_us.push(u32::try_from(busy.sent_at.elapsed().as_micros()).unwrap_or(u32::MAX));
                client.send(busy)?;
            }
        }
    }
    Ok(Outcome { requests: load.requests, seconds: begun.elapsed().as_secs_f64(), latencies_us })
}

//! Threads for commands without a time bound: they may wait for a slot's lock, which data threads never do.

use crate::mailbox::Mail;
use crate::node::{Node, now};
use node_server_engine::{Outcome, Session};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Most jobs that wait. Sessions beyond that wait in their own thread, parked.
const JOBS_MAX: usize = 1024;
/// How many worker threads there are.
pub const WORKERS: usize = 4;

/// How soon a job that has to wait is tried again.
const AGAIN: Duration = Duration::from_millis(1);

/// A session with a request to run.
#[derive(Debug)]
pub struct Job {
    /// The data thread that waits for it.
    pub thread: usize,
    /// The connection.
    pub id: u64,
    /// Its session.
    pub session: Session,
    /// Its request.
    pub args: Vec<Vec<u8>>,
}

/// A job that is through.
#[derive(Debug)]
pub struct Finished {
    /// The connection.
    pub id: u64,
    /// Its session, coming back.
    pub session: Session,
    /// What the request wrote.
    pub reply: Vec<u8>,
    /// How it ended; never with [`Outcome::Park`].
    pub outcome: Outcome,
    /// The request, for outcomes that need it.
    pub args: Vec<Vec<u8>>,
}

/// The pool.
#[derive(Debug, Default)]
pub struct Workers {
    jobs: Mutex<VecDeque<Box<Job>>>,
    arrived: Condvar,
}

impl Workers {
    /// Queues a job, or gives it back when [`JOBS_MAX`] wait already.
    ///
    /// # Errors
    /// The job itself.
    pub fn submit(&self, job: Box<Job>) -> Result<(), Box<Job>> {
        let mut jobs = self.jobs.lock();
        if jobs.len() >= JOBS_MAX {
            return Err(job);
        }
        jobs.push_back(job);
        self.arrived.notify_one();
        Ok(())
    }

    /// Starts [`WORKERS`] threads. They end with the process: a job that holds a slot cannot be interrupted.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn start(self: &Arc<Self>, node: &Arc<Node>) -> std::io::Result<()> {
        for n in 0..WORKERS {
            let (workers, node) = (Arc::clone(self), Arc::clone(node));
            std::thread::Builder::new().name(format!("worker-{n}")).spawn(move || workers.work(&node))?;
        }
        Ok(())
    }

    fn work(&self, node: &Node) {
        loop {
            let mut job = self.next();
            let mut reply = Vec::new();
            let slices: Vec<&[u8]> = job.args.iter().map(Vec::as_slice).collect();
            let outcome = node.engine.execute_offloaded(&mut job.session, &slices, now(), &mut reply);
            if outcome == Outcome::Park {
                self.again(job);
                continue;
            }
            let Job { thread, id, session, args } = *job;
            let finished = Finished { id, session, reply, outcome, args };
            node.mailboxes.post(thread, Mail::Offloaded(Box::new(finished)));
        }
    }

    /// A job that has to wait, as for the end of a pause of writes, is tried again a little later, behind the others.
    /// The wake-up that its session gets may come before the data thread has it back, so nobody waits for that. The
    /// queue grows by no more than [`WORKERS`] in this way.
    fn again(&self, job: Box<Job>) {
        std::thread::sleep(AGAIN);
        self.jobs.lock().push_back(job);
        self.arrived.notify_one();
    }

    fn next(&self) -> Box<Job> {
        let mut jobs = self.jobs.lock();
        loop {
            match jobs.pop_front() {
                Some(job) => return job,
                None => self.arrived.wait(&mut jobs),
            }
        }
    }
}

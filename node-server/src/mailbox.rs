//! Mail to the data threads: replies that were deferred, sessions that may go on, sockets, news.
//! The sender never waits. What can lie in a box is bounded by what the sessions have outstanding:
//! [`PENDING_MAX`] replies each, and one wake each.

use crate::workers::Finished;
use mio::Waker;
use node_server_protocol::Millis;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

/// Most deferred replies that one connection waits for at a time; further requests stay unparsed until some came.
pub const PENDING_MAX: usize = 4096;

/// Where a deferred reply goes. Replies of one session leave in the order of `seq`, whatever order they come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo {
    /// The data thread that owns the connection.
    pub thread: usize,
    /// The connection.
    pub session: u64,
    /// Which of its deferred requests this is.
    pub seq: u64,
}

/// Something for a data thread.
#[derive(Debug)]
pub enum Mail {
    /// The reply to a deferred request.
    Reply(ReplyTo, Vec<u8>),
    /// A parked session may try again.
    Wake(u64),
    /// An accepted connection.
    Client(std::net::TcpStream, std::net::SocketAddr),
    /// Replicas acknowledged more: gates and WAITs look again.
    Acks,
    /// A worker is through with a session's request.
    Offloaded(Box<Finished>),
    /// Accept from a listener again.
    Accept(usize),
    /// CONFIG SET changed something.
    Settings,
    /// Close a connection at once (CLIENT KILL).
    Kill(u64),
    /// The process ends: close connections when nothing is under way on them, all of them at the deadline, and end.
    Drain {
        /// When to stop being polite.
        deadline: Millis,
    },
}

struct Mailbox {
    mail: Mutex<Vec<Mail>>,
    waker: Waker,
    /// Whether the thread was already woken for what lies in the box.
    rung: AtomicBool,
}

/// The boxes of all data threads.
pub struct Mailboxes {
    boxes: Vec<Mailbox>,
    /// How many sessions wait for acknowledgements; zero spares [`Mailboxes::acks_advanced`] the work.
    gated: AtomicUsize,
    /// How many data threads have ended.
    ended: AtomicUsize,
}

impl Mailboxes {
    /// One box per waker; box `n` belongs to data thread `n`.
    #[must_use]
    pub fn new(wakers: Vec<Waker>) -> Self {
        let boxes = wakers
            .into_iter()
            .map(|waker| Mailbox { mail: Mutex::default(), waker, rung: AtomicBool::new(false) })
            .collect();
        Self { boxes, gated: AtomicUsize::new(0), ended: AtomicUsize::new(0) }
    }

    /// How many data threads there are.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.boxes.len()
    }

    /// The data thread of a connection: numbers are dealt out so that it follows from them.
    #[must_use]
    pub fn thread_of(&self, session: u64) -> usize {
        (session.saturating_sub(1) % self.boxes.len().max(1) as u64) as usize
    }

    /// Delivers a deferred reply: whole RESP replies, exactly one per request. A connection that has gone is ignored.
    pub fn reply(&self, to: ReplyTo, bytes: Vec<u8>) {
        self.post(to.thread, Mail::Reply(to, bytes));
    }

    /// Call it after `engine.acks()` was set: held replies and WAITs look again.
    pub fn acks_advanced(&self) {
        // Either this sees who waits, or who begins to wait sees what has advanced (see `gated`).
        fence(Ordering::SeqCst);
        if self.gated.load(Ordering::Acquire) > 0 {
            self.broadcast(|| Mail::Acks);
        }
    }

    /// Posts one mail to every thread.
    pub fn broadcast(&self, mail: impl Fn() -> Mail) {
        for thread in 0..self.boxes.len() {
            self.post(thread, mail());
        }
    }

    /// Posts to one thread and rings its bell if nobody has since it last looked.
    pub fn post(&self, thread: usize, mail: Mail) {
        let Some(target) = self.boxes.get(thread) else { return };
        target.mail.lock().push(mail);
        if !target.rung.swap(true, Ordering::AcqRel) {
            // Fails only when the thread's poll is gone, and then nobody waits for the mail.
            let _ = target.waker.wake();
        }
    }

    /// Takes everything out of a box; `into` keeps its capacity from turn to turn.
    pub fn collect(&self, thread: usize, into: &mut Vec<Mail>) {
        let Some(own) = self.boxes.get(thread) else { return };
        own.rung.store(false, Ordering::Release);
        std::mem::swap(&mut *own.mail.lock(), into);
    }

    /// A data thread has ended.
    pub fn thread_ended(&self) {
        self.ended.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether all data threads but one have.
    #[must_use]
    pub fn others_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire) + 1 >= self.boxes.len()
    }

    /// Whether all data threads have.
    #[must_use]
    pub fn all_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire) >= self.boxes.len()
    }

    /// A session began (`true`) or stopped to wait for acknowledgements.
    pub fn gated(&self, began: bool) {
        if began {
            self.gated.fetch_add(1, Ordering::AcqRel);
            fence(Ordering::SeqCst);
        } else {
            self.gated.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

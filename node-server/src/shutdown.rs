//! The way out: SIGTERM, SIGINT, SHUTDOWN, and errors that the node cannot go on with.
//!
//! One thread (the main one) takes the requests in turn. A master first lets a replica take over (`links`' side of
//! the bus does it), or outside of a cluster lets replicas catch up; then it goes on answering MOVED for [`LINGER_MS`], then connections are closed when nothing is
//! under way on them. All of it within `shutdown-timeout`, plus [`DRAIN_MS`] for the last connections.

mod waiting;

use crate::mailbox::{Mail, ReplyTo};
use crate::node::{FailoverState, HandOver, Node, ToBus, ToReplication, now};
use crate::persistence;
use node_server_protocol::Millis;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;
use waiting::Waited;

/// Most requests that wait; more than one is rare.
const REQUESTS_MAX: usize = 64;
/// How long a master that was taken over from still answers MOVED before it closes connections.
pub const LINGER_MS: u64 = 500;
/// How long connections may take to end after that: with their next reply, or when they have long been silent
/// (`client_link::leaving`).
pub const DRAIN_MS: u64 = 1500;
/// Longest wait for the last save; whoever runs the process may kill it sooner.
const SAVE_MAX: Duration = Duration::from_secs(600);
/// The reply to a SHUTDOWN that does not come about (Redis's words).
const REFUSED: &[u8] = b"-ERR Errors trying to SHUTDOWN. Check logs.\r\n";
/// How often ABORT is looked for during a wait.
const STEP: Duration = Duration::from_millis(20);

/// Why the process should end.
#[derive(Debug)]
pub enum Request {
    /// SIGTERM or SIGINT.
    Signal(i32),
    /// SHUTDOWN.
    Command {
        /// NOW: do not wait for a handover.
        now: bool,
        /// SAVE or NOSAVE; `None`: the data is saved if there are save points.
        save: Option<bool>,
        /// FORCE: end although the data could not be written.
        force: bool,
        /// Told when the shutdown is aborted.
        reply_to: ReplyTo,
    },
    /// SHUTDOWN ABORT.
    Abort {
        /// Told whether there was something to abort.
        reply_to: ReplyTo,
    },
    /// The node cannot go on.
    Fatal(String),
}

/// Where requests are sent.
#[derive(Clone, Debug)]
pub struct ShutdownHandle {
    sender: SyncSender<Request>,
}

impl ShutdownHandle {
    /// A handle and the end that [`run`] takes.
    #[must_use]
    pub fn new() -> (Self, Receiver<Request>) {
        let (sender, receiver) = sync_channel(REQUESTS_MAX);
        (Self { sender }, receiver)
    }

    /// Sends a request. With [`REQUESTS_MAX`] waiting the process is about to end anyway.
    pub fn request(&self, request: Request) {
        if let Err(TrySendError::Full(request)) = self.sender.try_send(request) {
            tracing::warn!("dropped {request:?}: a shutdown is under way already");
        }
    }
}

/// Serves until a shutdown is through, and says how the process ends.
#[must_use]
pub fn run(node: &Node, requests: &Receiver<Request>) -> ExitCode {
    // recv fails when every handle has gone, and the node holds one.
    while let Ok(request) = requests.recv() {
        let (immediately, save, force, mut askers) = match request {
            Request::Fatal(message) => return fail(node, &message),
            Request::Abort { reply_to } => {
                node.mailboxes.reply(reply_to, b"-ERR No shutdown in progress.\r\n".to_vec());
                continue;
            }
            Request::Signal(signal) => {
                let name = if signal == signal_hook::consts::SIGINT { "SIGINT" } else { "SIGTERM" };
                tracing::warn!("Received {name} scheduling shutdown...");
                (false, None, false, Vec::new())
            }
            Request::Command { now, save, force, reply_to } => (now, save, force, vec![reply_to]),
        };
        tracing::warn!("User requested shutdown...");
        if node.loading.give_up() {
            return leave_unloaded(node);
        }
        let waited = match immediately {
            true => Waited::Over(HandOver::NotNeeded),
            false => waiting::wait(node, requests, &mut askers),
        };
        match waited {
            Waited::Aborted => {
                tracing::info!("Shutdown manually aborted.");
                go_on(node, &askers);
            }
            Waited::Fatal(message) => return fail(node, &message),
            Waited::Over(handed_over) => {
                if let Err(reason) = prepare(node, save)
                    && !force
                {
                    stay(node, &reason, &askers);
                    continue;
                }
                for asker in askers {
                    // SHUTDOWN has no reply when it works: the connection ends.
                    node.mailboxes.post(asker.thread, Mail::Kill(asker.session));
                }
                return leave(node, handed_over, save, force);
            }
        }
    }
    ExitCode::FAILURE
}

fn fail(node: &Node, message: &str) -> ExitCode {
    tracing::error!("{message}");
    node.stop();
    ExitCode::FAILURE
}

/// Saves while everything still runs: a save that fails then is a reason to stay (Redis: finishShutdown).
fn prepare(node: &Node, save: Option<bool>) -> Result<(), String> {
    let (done, outcome) = sync_channel(1);
    if node.persistence.ask(persistence::Request::Prepare { save, done }).is_err() {
        return Err("the persistence thread does not take the request".into());
    }
    match outcome.recv_timeout(SAVE_MAX) {
        Ok(result) => result,
        Err(error) => Err(format!("no answer from the persistence thread ({error})")),
    }
}

/// Redis's words. Whoever runs the process may still kill it.
fn stay(node: &Node, reason: &str, askers: &[ReplyTo]) {
    tracing::error!("Error trying to save the DB, can't exit: {reason}");
    tracing::warn!("Errors trying to shut down the server. Check the logs for more information.");
    go_on(node, askers);
}

/// The process does not leave after all: writes go on, and everybody who sent SHUTDOWN is told.
fn go_on(node: &Node, askers: &[ReplyTo]) {
    node.set_shutdown(None);
    // In a cluster the core ends its pause, and a FAILOVER its own.
    let failing_over = node.replication.status.load().failover != FailoverState::None;
    if !node.config.settings().cluster_enabled && !failing_over {
        node.engine.resume_writes();
    }
    for asker in askers {
        node.mailboxes.reply(*asker, REFUSED.to_vec());
    }
}

/// Answers MOVED for a while, closes the connections between requests, ends the threads, writes what is to be on the disk.
fn leave(node: &Node, handed_over: HandOver, save: Option<bool>, force: bool) -> ExitCode {
    if handed_over == HandOver::Done {
        std::thread::sleep(Duration::from_millis(LINGER_MS));
    }
    let deadline = now().after(DRAIN_MS);
    node.mailboxes.broadcast(|| Mail::Drain { deadline });
    while !node.mailboxes.all_ended() && now() < deadline.after(DRAIN_MS) {
        std::thread::sleep(STEP);
    }
    stop_threads(node, deadline);
    let written = write_everything(node, save);
    if let Err(reason) = &written {
        tracing::error!("the data could not be written to the disk: {reason}");
    }
    tracing::warn!("Slotkeeper is now ready to exit, bye bye...");
    if written.is_ok() || force { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// While the data is being loaded nobody is served, nothing is handed over and nothing written, as by Redis: what is on
/// the disk is more than what is in memory.
fn leave_unloaded(node: &Node) -> ExitCode {
    tracing::warn!("The data was not loaded yet: nothing is written");
    stop_threads(node, now().after(DRAIN_MS));
    tracing::warn!("Slotkeeper is now ready to exit, bye bye...");
    ExitCode::SUCCESS
}

/// The end of the append-only file, and the last save.
fn write_everything(node: &Node, save: Option<bool>) -> Result<(), String> {
    let (done, outcome) = sync_channel(1);
    if node.persistence.ask(persistence::Request::Stop { save, done }).is_err() {
        return Err("the persistence thread does not take the request".into());
    }
    match outcome.recv_timeout(SAVE_MAX) {
        Ok(result) => result,
        Err(error) => Err(format!("no answer from the persistence thread ({error})")),
    }
}

fn stop_threads(node: &Node, deadline: Millis) {
    node.stop();
    // Threads that have ended already do not take the message, which is what it asks for.
    let _ = node.replication.ask(ToReplication::Stop);
    let (done, outcome) = sync_channel(1);
    if node.bus.ask(ToBus::Stop { done }).is_ok() {
        let left = deadline.after(DRAIN_MS).since(now());
        if outcome.recv_timeout(Duration::from_millis(left)) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the bus thread did not end in time; nodes.conf holds what was promised");
        }
    }
}

//! What the core wants done.

use super::Bus;
use super::sockets::LINK_QUEUE_MAX;
use crate::shutdown::Request;
use node_server_cluster::{Input, Level, LinkId, Output, Token};
use node_server_protocol::Millis;

/// Most times that outputs are drained in one turn: carrying one out may give the core something new.
const DRAINS_MAX: usize = 64;
/// The reply to a SETSLOT that was to be replicated by a node that has been demoted meanwhile. redis-cli goes on at these
/// words where a master has just given its last slot away, and so follows the taker before it could answer.
const OVERTAKEN: &[u8] = b"-ERR Please use SETSLOT only with masters.\r\n";

/// A command for the log. As many wait as connections have commands outstanding.
pub(super) struct Record {
    command: Vec<Vec<u8>>,
    /// What waits for it.
    reply: Option<(Token, Vec<u8>)>,
}

impl Bus {
    /// Carries out everything there is.
    pub(super) fn drain(&mut self) {
        for _ in 0..DRAINS_MAX {
            let mut outputs = Vec::new();
            while let Some(output) = self.cluster.poll_output() {
                outputs.push(output);
            }
            if outputs.is_empty() {
                break;
            }
            // The role before the table, the table before replies: whoever reads an OK meets what it promises.
            outputs.sort_by_key(urgency);
            for output in outputs {
                self.carry_out(output);
            }
        }
        let overtaken = self.node.engine.is_replica().then_some(OVERTAKEN);
        self.replies.look_at_acks(self.node.engine.acks(), overtaken, self.clock, &self.node.mailboxes);
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Connect { link, to } => self.sockets.connect(link, to),
            Output::Send { link, frame } => {
                if let Some(frame) = self.unless_held(link, frame) {
                    self.send(link, &frame);
                }
            }
            Output::Close { link } => self.sockets.close(link),
            Output::Persist { seq, text } => self.persist(seq, text),
            Output::Reply { token, bytes } => self.replies.reply(token, bytes, &self.node.mailboxes),
            Output::ReplicateThenReply { token, command, bytes } => {
                self.replicate(Record { command, reply: Some((token, bytes)) });
            }
            Output::Replicate { command } => self.replicate(Record { command, reply: None }),
            Output::Publish(routing) => self.publish(routing),
            Output::Follow { master, address, same_shard } => {
                if address.has_ip() {
                    self.change_role(Some((master, address.client(), same_shard)));
                }
            }
            Output::BecomeMaster => self.change_role(None),
            Output::DropKeys { slots } => {
                let now = self.clock;
                self.delete(move |node| {
                    let keys = node.engine.drop_slots(&slots, now);
                    if keys > 0 {
                        tracing::info!("Deleted {keys} keys of slots that this node has lost: {slots}");
                    }
                });
            }
            Output::DropAllKeys => self.drop_all(),
            Output::PauseWrites { until } => self.pause(until),
            Output::ResumeWrites => {
                self.pausing = None;
                self.node.engine.resume_writes();
            }
            Output::HandOver(outcome) => {
                if let Some(done) = self.handover.take() {
                    // The shutdown thread may have given up waiting.
                    let _ = done.try_send(outcome);
                }
            }
            Output::Log { level, message } => log(level, &message),
            Output::Fatal { message } => self.fatal(message),
        }
    }

    pub(super) fn send(&mut self, link: LinkId, frame: &[u8]) {
        let limit = match self.cluster.config_mut().link_sendbuf_limit {
            0 => LINK_QUEUE_MAX,
            limit => LINK_QUEUE_MAX.min(usize::try_from(limit).unwrap_or(LINK_QUEUE_MAX)),
        };
        if !self.sockets.send(link, frame, limit) && self.sockets.has(link) {
            tracing::warn!("closed a cluster bus link: more than {limit} bytes wait for the other node");
            self.sockets.close(link);
            self.input(Input::Closed { link });
        }
    }

    fn persist(&mut self, seq: u64, text: String) {
        if !self.writer.as_ref().is_some_and(|writer| writer.write(seq, text)) {
            self.fatal("the thread that writes nodes.conf has ended; start again".into());
        }
    }

    fn pause(&mut self, until: Millis) {
        self.node.engine.pause_writes(until);
        self.pausing = Some(until);
        self.look_at_pause();
    }

    /// Logs a record, or keeps it until writes go on.
    fn replicate(&mut self, record: Record) {
        let engine = &self.node.engine;
        let args: Vec<&[u8]> = record.command.iter().map(Vec::as_slice).collect();
        let offset = engine.append_record(&args);
        if offset.is_none() && !engine.is_replica() {
            self.unlogged.push_back(record);
            return;
        }
        let Some((token, bytes)) = record.reply else { return };
        match offset {
            Some(offset) if engine.acks().holds() => {
                self.replies.reply_after(token, bytes, offset, self.clock);
                self.node.replication.want_ack(offset);
            }
            Some(_) => self.replies.reply(token, bytes, &self.node.mailboxes),
            None => self.replies.reply(token, OVERTAKEN.into(), &self.node.mailboxes),
        }
    }

    /// Logs what was kept while writes were held back.
    pub(super) fn log_kept(&mut self) {
        if !self.unlogged.is_empty() && (!self.node.engine.writes_paused() || self.node.engine.is_replica()) {
            for record in std::mem::take(&mut self.unlogged) {
                self.replicate(record);
            }
        }
    }

    pub(super) fn fatal(&self, message: String) {
        self.node.shutdown.request(Request::Fatal(message));
    }
}

/// Demotions publish first and promotions follow first (see [`super::role`]); both before what others can see.
fn urgency(output: &Output) -> u8 {
    match output {
        Output::Log { .. } => 0,
        Output::BecomeMaster => 1,
        Output::Publish(_) => 2,
        Output::Follow { .. } => 3,
        Output::DropAllKeys => 4,
        _ => 5,
    }
}

fn log(level: Level, message: &str) {
    match level {
        Level::Debug => tracing::trace!("{message}"),
        Level::Verbose => tracing::debug!("{message}"),
        Level::Notice => tracing::info!("{message}"),
        Level::Warning => tracing::warn!("{message}"),
    }
}

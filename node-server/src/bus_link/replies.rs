//! Replies to CLUSTER commands: which connection each goes to, and which wait for a replica.

use crate::mailbox::{Mailboxes, ReplyTo};
use node_server_cluster::Token;
use node_server_engine::Acks;
use node_server_protocol::Millis;
use std::collections::{BTreeMap, VecDeque};

/// How long the reply to a replicated command waits for a replica in sync.
pub(super) const REPLICATED_WAIT_MS: u64 = 1000;

/// All commands under way. Bounded by what the connections may have outstanding.
#[derive(Debug, Default)]
pub(super) struct Replies {
    expected: BTreeMap<u64, ReplyTo>,
    next: u64,
    /// In the order of offset and deadline.
    replicated: VecDeque<Replicated>,
    /// Held while all keys are being deleted; `None`: nothing is.
    held: Option<Vec<(ReplyTo, Vec<u8>)>>,
}

#[derive(Debug)]
struct Replicated {
    offset: u64,
    deadline: Millis,
    to: ReplyTo,
    bytes: Vec<u8>,
}

impl Replies {
    /// A command goes to the core.
    pub(super) fn expect(&mut self, to: ReplyTo) -> Token {
        self.next += 1;
        self.expected.insert(self.next, to);
        Token(self.next)
    }

    /// The core's reply.
    pub(super) fn reply(&mut self, token: Token, bytes: Vec<u8>, mailboxes: &Mailboxes) {
        let Some(to) = self.expected.remove(&token.0) else {
            return tracing::error!("a reply to a CLUSTER command that nobody has sent");
        };
        self.deliver(to, bytes, mailboxes);
    }

    fn deliver(&mut self, to: ReplyTo, bytes: Vec<u8>, mailboxes: &Mailboxes) {
        match &mut self.held {
            Some(held) => held.push((to, bytes)),
            None => mailboxes.reply(to, bytes),
        }
    }

    /// The core's reply, once a replica in sync has acknowledged `offset`.
    pub(super) fn reply_after(&mut self, token: Token, bytes: Vec<u8>, offset: u64, now: Millis) {
        if let Some(to) = self.expected.remove(&token.0) {
            let deadline = now.after(REPLICATED_WAIT_MS);
            self.replicated.push_back(Replicated { offset, deadline, to, bytes });
        }
    }

    /// Sends the replies whose wait is over.
    /// A node that was demoted meanwhile says `overtaken` in their place.
    pub(super) fn look_at_acks(
        &mut self,
        acks: &Acks,
        overtaken: Option<&[u8]>,
        now: Millis,
        mailboxes: &Mailboxes,
    ) {
        let is_over = |r: &Replicated| acks.furthest() >= r.offset || !acks.holds() || r.deadline <= now;
        while let Some(Replicated { to, bytes, .. }) = self.replicated.pop_front_if(|r| is_over(r)) {
            self.deliver(to, overtaken.map_or(bytes, <[u8]>::to_vec), mailboxes);
        }
    }

    /// Whether some reply waits for a replica.
    pub(super) fn wait_for_acks(&self) -> bool {
        !self.replicated.is_empty()
    }

    /// When the first of them leaves anyway.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        self.replicated.front().map(|r| r.deadline)
    }

    /// From now on replies wait for [`Replies::release`].
    pub(super) fn hold(&mut self) {
        self.held.get_or_insert_default();
    }

    /// Sends what was held.
    pub(super) fn release(&mut self, mailboxes: &Mailboxes) {
        for (to, bytes) in self.held.take().unwrap_or_default() {
            mailboxes.reply(to, bytes);
        }
    }
}

#[cfg(test)]
mod tests;

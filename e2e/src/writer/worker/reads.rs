//! The commands that read.

use super::super::history::{Seen, State};
use super::super::router::{Outcome, Request};
use super::super::shared::Shared;
use super::super::value;
use super::Worker;
use node_server_protocol::key_slot;
use node_server_protocol::resp::Reply;

impl Worker {
    /// A key of any connection: what one was told, all must see.
    pub(super) async fn read_other(&mut self, pick: u64) {
        let owner = (pick >> 32) as usize % self.shared.ledgers.len();
        let key = {
            let ledger = self.shared.ledger(owner);
            if pick.is_multiple_of(4) { ledger.counter(pick >> 2) } else { ledger.single(pick >> 2) }
        };
        self.read(owner, key).await;
    }

    pub(super) async fn read(&mut self, owner: usize, index: usize) {
        let (name, is_counter, floor) = {
            let now = self.shared.now();
            let ledger = self.shared.ledger(owner);
            let key = ledger.key(index);
            (key.name.clone(), key.is_counter, key.history.floor(now))
        };
        let request = Request::new(key_slot(name.as_bytes()), &["GET", &name]);
        if let Some(replies) = self.ask(&request).await {
            self.shared.observe(owner, index, state(&name, is_counter, &replies[0]), floor, "GET of");
        }
    }

    /// MGET of three texts that only ever change together.
    pub(super) async fn read_group(&mut self, pick: u64) {
        let (group, names) = self.group(pick);
        let floors = {
            let now = self.shared.now();
            let ledger = self.shared.ledger(self.id);
            group.map(|key| ledger.key(key).history.floor(now))
        };
        let request = Request::new(key_slot(names[0].as_bytes()), &["MGET", &names[0], &names[1], &names[2]]);
        let Some(replies) = self.ask(&request).await else { return };
        let Some(Reply::Array(items)) = replies.first() else { return self.failed("unexpected reply").await };
        let states: Vec<_> = items.iter().zip(&names).map(|(item, name)| state(name, false, item)).collect();
        if states.len() != 3 || states.iter().any(|s| *s != states[0]) {
            self.shared
                .violation(format!("MGET of {}: keys that change together differ: {states:?}", names[0]));
        }
        for (i, state) in states.into_iter().enumerate() {
            self.shared.observe(self.id, group[i], state, floors[i], "MGET of");
        }
    }

    /// Sends a read.
    pub(super) async fn ask(&mut self, request: &Request) -> Option<Vec<Reply>> {
        self.tally.operations += 1;
        self.tally.reads += 1;
        match self.router.run(request).await {
            Outcome::Done { replies, .. } => {
                self.tally.acknowledged += 1;
                return Some(replies);
            }
            Outcome::Refused(error) => self.failed(&error).await,
            Outcome::NotSent(what) => self.failed(what).await,
            Outcome::Unknown(what) => {
                self.tally.unknown += 1;
                self.failed(what).await;
            }
        }
        None
    }
}

impl Shared {
    /// Writes down what a read of a key showed. `None`: no value of ours.
    pub(in super::super) fn observe(
        &self,
        owner: usize,
        index: usize,
        state: Option<State>,
        floor: u64,
        what: &str,
    ) {
        let mut ledger = self.ledger(owner);
        let key = ledger.key_mut(index);
        let seen = match state {
            Some(state) => key.history.observe(state, floor, u64::MAX),
            None => Seen::Foreign,
        };
        self.judge(&key.name, &seen, what);
        // Gone, as it should; or there when it must be gone, which has been judged.
        if state == Some(State::Absent) || seen != Seen::Fine {
            key.expires = None;
        }
    }
}

/// What a reply to GET says.
pub(in super::super) fn state(name: &str, is_counter: bool, reply: &Reply) -> Option<State> {
    match reply {
        Reply::Null if is_counter => Some(State::Number(0)),
        Reply::Null => Some(State::Absent),
        Reply::Bulk(bytes) if is_counter => std::str::from_utf8(bytes).ok()?.parse().ok().map(State::Number),
        Reply::Bulk(bytes) => value::decode(name, bytes),
        _ => None,
    }
}

//! The commands that write.

use super::super::history::State;
use super::super::ledger::{Group, Ledger};
use super::super::report::Loss;
use super::super::router::{Outcome, Request};
use super::super::shared::lock;
use super::super::value;
use super::Worker;
use super::effect::{Kind, Write};
use node_server_protocol::key_slot;
use node_server_protocol::resp::Reply;
use std::sync::Arc;

/// One value in so many is large.
const LARGE_ONE_IN: u64 = 100;

impl Worker {
    /// SET, DEL or PEXPIRE of a key. One that is expiring is only read; DEL and PEXPIRE need something to work on.
    pub(super) async fn change_single(&mut self, pick: u64, kind: Kind) {
        let (index, name, expiring, present) = {
            let ledger = self.shared.ledger(self.id);
            let index = ledger.single(pick);
            let key = ledger.key(index);
            (index, key.name.clone(), key.expires.is_some(), key.history.expected() != State::Absent)
        };
        if expiring {
            return self.read(self.id, index).await;
        }
        let slot = key_slot(name.as_bytes());
        let seq = self.next_seq();
        let write = match kind {
            Kind::Delete if present => {
                let request = Request::new(slot, &["DEL", &name]);
                Write { kind, seq, keys: vec![(index, State::Absent)], request }
            }
            Kind::Expire(ttl) if present => {
                let request = Request::new(slot, &["PEXPIRE", &name, &ttl.to_string()]);
                Write { kind, seq, keys: vec![(index, State::Absent)], request }
            }
            _ => {
                let value = self.value(&name, seq);
                let asks = pick.is_multiple_of(2);
                let args = [b"SET", name.as_bytes(), &value, b"GET"];
                let request = Request::new(slot, &args[..if asks { 4 } else { 3 }]);
                let kind = if asks { Kind::SetGet } else { Kind::Set };
                Write { kind, seq, keys: vec![(index, State::Text(seq))], request }
            }
        };
        self.write(write).await;
    }

    pub(super) async fn increment(&mut self, pick: u64) {
        let (index, name, next) = self.next_number(|ledger| ledger.counter(pick));
        let request = Request::new(key_slot(name.as_bytes()), &["INCR", &name]);
        let seq = self.next_seq();
        self.write(Write { kind: Kind::Increment, seq, keys: vec![(index, next)], request }).await;
    }

    fn next_number(&self, pick: impl Fn(&Ledger) -> usize) -> (usize, String, State) {
        let ledger = self.shared.ledger(self.id);
        let index = pick(&ledger);
        let key = ledger.key(index);
        let number = if let State::Number(n) = key.history.expected() { n } else { 0 };
        (index, key.name.clone(), State::Number(number + 1))
    }

    pub(super) async fn set_group(&mut self, pick: u64) {
        let (group, names) = self.group(pick);
        let seq = self.next_seq();
        let mut args = vec![b"MSET".to_vec()];
        for name in &names[..3] {
            args.push(name.clone().into_bytes());
            args.push(self.value(name, seq));
        }
        let request = Request::new(key_slot(names[0].as_bytes()), &args);
        let keys = group[..3].iter().map(|key| (*key, State::Text(seq))).collect();
        self.write(Write { kind: Kind::MultiSet, seq, keys, request }).await;
    }

    pub(super) async fn transact(&mut self, pick: u64) {
        let (group, names) = self.group(pick);
        let (_, _, next) = self.next_number(|_| group[3]);
        let seq = self.next_seq();
        let mut request = Request::new(key_slot(names[0].as_bytes()), &["MULTI"]);
        for name in &names[..3] {
            request = request.and(&[b"SET", name.as_bytes(), &self.value(name, seq)]);
        }
        let request = request.and(&["INCR", &names[3]]).and(&["EXEC"]);
        let mut keys: Vec<_> = group[..3].iter().map(|key| (*key, State::Text(seq))).collect();
        keys.push((group[3], next));
        self.write(Write { kind: Kind::Transaction, seq, keys, request }).await;
    }

    pub(super) fn group(&self, pick: u64) -> (Group, [String; 4]) {
        let ledger = self.shared.ledger(self.id);
        let group = ledger.group(pick);
        (group, group.map(|key| ledger.key(key).name.clone()))
    }

    pub(super) async fn increment_shared(&mut self, pick: u64) {
        let shared = Arc::clone(&self.shared);
        let counter = &shared.counters[pick as usize % shared.counters.len()];
        let (name, floor) = {
            let mut counter = lock(counter);
            (counter.name.clone(), counter.begin())
        };
        let slot = key_slot(name.as_bytes());
        self.tally.operations += 1;
        match self.router.run(&Request::new(slot, &["INCR", &name])).await {
            Outcome::Done { replies, .. } => {
                let [Reply::Integer(value)] = replies[..] else {
                    return self.failed("unexpected reply").await;
                };
                let result = lock(counter).acknowledge(value.unsigned_abs(), floor);
                self.tally.acknowledged += 1;
                self.shared.succeeded(slot);
                if let Err(text) = result
                    && (self.shared.options.loss == Loss::None || text.contains("attempts"))
                {
                    self.shared.violation(format!("{name}: {text}"));
                }
            }
            Outcome::Refused(error) => self.failed(&error).await,
            Outcome::NotSent(what) => self.failed(what).await,
            Outcome::Unknown(what) => {
                self.tally.unknown += 1;
                self.failed(what).await;
            }
        }
    }

    fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    fn value(&mut self, key: &str, seq: u64) -> Vec<u8> {
        let random = self.random.next();
        let large = random.is_multiple_of(LARGE_ONE_IN);
        value::encode(key, seq, if large { value::LARGE } else { 16 + (random >> 8) as usize % 200 })
    }
}

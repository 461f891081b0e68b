//! One connection: picks commands, sends them, and writes down what became of them.

use super::history::{Basis, Mastership, State};
use super::ledger::Group;
use super::report::Tally;
use super::router::{Outcome, Request, Router};
use super::shared::{Shared, lock};
use super::value;
use crate::random::Random;
use node_server_protocol::key_slot;
use node_server_protocol::resp::Reply;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Pause after a failure, so that a dead master is not asked in a busy loop.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);
/// One value in so many is large.
const LARGE_ONE_IN: u64 = 100;
/// PEXPIRE's longest time to live in milliseconds.
const TTL_MAX: u64 = 300;

/// What a write does.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Set,
    /// SET with GET: tells what was there before.
    SetGet,
    Delete,
    Expire(u64),
    Increment,
    MultiSet,
    Transaction,
}

/// A write that is about to be sent.
struct Write {
    kind: Kind,
    seq: u64,
    /// Keys with what they hold afterwards.
    keys: Vec<(usize, State)>,
    request: Request,
}

/// What a reply says of one key.
struct Effect {
    before: Option<State>,
    /// `None`: the command found nothing to do.
    after: Option<State>,
}

pub(super) struct Worker {
    id: usize,
    shared: Arc<Shared>,
    router: Router,
    random: Random,
    seq: u64,
    tally: Tally,
}

impl Worker {
    pub(super) fn new(id: usize, shared: Arc<Shared>, router: Router) -> Self {
        let random = random_of(shared.options.seed, id);
        Self { id, shared, router, random, seq: 0, tally: Tally::default() }
    }

    /// Sends commands until the writer is stopped.
    pub(super) async fn run(mut self) -> Tally {
        let per_second =
            self.shared.options.operations_per_second / self.shared.options.connections.max(1) as u64;
        let mut pace = interval(Duration::from_micros(1_000_000 / per_second.max(1)));
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let shared = Arc::clone(&self.shared);
        loop {
            // Made before the look, so that no halt falls between.
            let halted = shared.halted();
            if shared.is_stopped() {
                break;
            }
            let paced = async {
                pace.tick().await;
                self.step().await;
            };
            tokio::select! {
                biased;
                () = halted => break,
                () = paced => {}
            }
        }
        self.count_dropped();
        self.tally.redirections = self.router.counts.clone();
        self.tally.latency = self.router.latency.clone();
        self.tally
    }

    /// What a halt has cut off was sent or not: nobody knows.
    fn count_dropped(&mut self) {
        let known = self.tally.acknowledged + self.tally.failures.values().sum::<u64>();
        let dropped = self.tally.operations.saturating_sub(known);
        if dropped > 0 {
            self.tally.unknown += dropped;
            *self.tally.failures.entry("halted".into()).or_default() += dropped;
        }
    }

    async fn step(&mut self) {
        let pick = self.random.next();
        match self.random.next() % 100 {
            0..30 => self.change_single(pick, Kind::Set).await,
            30..37 => self.change_single(pick, Kind::Delete).await,
            37..41 => self.change_single(pick, Kind::Expire(1 + pick % TTL_MAX)).await,
            41..56 => self.increment(pick).await,
            56..61 => self.increment_shared(pick).await,
            61..69 => self.set_group(pick).await,
            69..77 => self.transact(pick).await,
            77..85 => self.read_group(pick).await,
            85..95 => {
                let key = self.shared.ledger(self.id).single(pick);
                self.read(self.id, key).await;
            }
            _ => self.read_other(pick).await,
        }
    }

    /// SET, DEL or PEXPIRE of a key. One that is expiring is only read; DEL and PEXPIRE need something to work on.
    async fn change_single(&mut self, pick: u64, kind: Kind) {
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

    async fn increment(&mut self, pick: u64) {
        let (index, name, next) = self.next_number(|ledger| ledger.counter(pick));
        let request = Request::new(key_slot(name.as_bytes()), &["INCR", &name]);
        let seq = self.next_seq();
        self.write(Write { kind: Kind::Increment, seq, keys: vec![(index, next)], request }).await;
    }

    fn next_number(&self, pick: impl Fn(&super::ledger::Ledger) -> usize) -> (usize, String, State) {
        let ledger = self.shared.ledger(self.id);
        let index = pick(&ledger);
        let key = ledger.key(index);
        let number = if let State::Number(n) = key.history.expected() { n } else { 0 };
        (index, key.name.clone(), State::Number(number + 1))
    }

    async fn set_group(&mut self, pick: u64) {
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

    async fn transact(&mut self, pick: u64) {
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

    fn group(&self, pick: u64) -> (Group, [String; 4]) {
        let ledger = self.shared.ledger(self.id);
        let group = ledger.group(pick);
        (group, group.map(|key| ledger.key(key).name.clone()))
    }

    async fn write(&mut self, write: Write) {
        let (name, bases): (String, Vec<Basis>) = {
            let now = self.shared.now();
            let mut ledger = self.shared.ledger(self.id);
            let name = ledger.key(write.keys[0].0).name.clone();
            let mut begin = |(key, state): &(usize, State)| {
                let history = &mut ledger.key_mut(*key).history;
                let basis = history.basis(now);
                history.begin(write.seq, *state);
                basis
            };
            (name, write.keys.iter().map(&mut begin).collect())
        };
        self.tally.operations += 1;
        match self.router.run(&write.request).await {
            Outcome::Done { replies, by } => match effects(&write, &name, &replies) {
                Some(effects) => self.settle(&write, effects, &bases, &by),
                None => self.unknown(&write, "unexpected reply").await,
            },
            Outcome::Refused { error, by } => self.refused(&error, &by).await,
            Outcome::NotSent(what) => {
                self.withdraw(&write);
                self.failed(what).await;
            }
            Outcome::Unknown(what) => self.unknown(&write, what).await,
        }
    }

    fn settle(&mut self, write: &Write, effects: Vec<Effect>, bases: &[Basis], by: &Arc<Mastership>) {
        let now = self.shared.now();
        let gone_by = match write.kind {
            Kind::Expire(ttl) => Some(now + ttl + self.shared.options.expiry_slack_ms),
            _ => None,
        };
        let mut ledger = self.shared.ledger(self.id);
        for (((index, _), effect), basis) in write.keys.iter().zip(effects).zip(bases) {
            if let Some(before) = effect.before {
                let seen = ledger.observe(*index, before, *basis, write.seq, by);
                self.shared.judge(&ledger.key(*index).name, &seen, &format!("{:?} of", write.kind));
            }
            let key = ledger.key_mut(*index);
            match effect.after {
                Some(after) => {
                    key.history.acknowledge(write.seq, after, by, now, gone_by.unwrap_or(now));
                    key.expires = gone_by;
                }
                None => key.history.withdraw(write.seq),
            }
        }
        ledger.count(by, now);
        self.tally.acknowledged += 1;
        self.shared.succeeded(write.request.slot);
    }

    fn withdraw(&self, write: &Write) {
        let mut ledger = self.shared.ledger(self.id);
        for (key, _) in &write.keys {
            ledger.key_mut(*key).history.withdraw(write.seq);
        }
    }

    async fn unknown(&mut self, write: &Write, what: &str) {
        let keys: Vec<usize> = write.keys.iter().map(|(key, _)| *key).collect();
        self.shared.ledger(self.id).give_up(&keys);
        self.tally.unknown += 1;
        self.failed(what).await;
    }

    /// Counts a refusal by the error's code, or the error, and who said it.
    async fn refused(&mut self, error: &str, by: &str) {
        let code = error.split(' ').next().filter(|word| word.bytes().all(|b| b.is_ascii_uppercase()));
        self.failed(&format!("{} of {by}", code.unwrap_or(error))).await;
    }

    /// Counts a failure by what happened.
    async fn failed(&mut self, what: &str) {
        *self.tally.failures.entry(what.to_owned()).or_default() += 1;
        sleep(FAILURE_PAUSE).await;
    }

    async fn increment_shared(&mut self, pick: u64) {
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
                    && (self.shared.options.loss == super::Loss::None || text.contains("attempts"))
                {
                    self.shared.violation(format!("{name}: {text}"));
                }
            }
            Outcome::Refused { error, by } => self.refused(&error, &by).await,
            Outcome::NotSent(what) => self.failed(what).await,
            Outcome::Unknown(what) => {
                self.tally.unknown += 1;
                self.failed(what).await;
            }
        }
    }

    /// A key of any connection: what one was told, all must see.
    async fn read_other(&mut self, pick: u64) {
        let owner = (pick >> 32) as usize % self.shared.ledgers.len();
        let key = {
            let ledger = self.shared.ledger(owner);
            if pick.is_multiple_of(4) { ledger.counter(pick >> 2) } else { ledger.single(pick >> 2) }
        };
        self.read(owner, key).await;
    }

    async fn read(&mut self, owner: usize, index: usize) {
        let (name, is_counter, basis) = {
            let now = self.shared.now();
            let ledger = self.shared.ledger(owner);
            let key = ledger.key(index);
            (key.name.clone(), key.is_counter, key.history.basis(now))
        };
        let request = Request::new(key_slot(name.as_bytes()), &["GET", &name]);
        if let Some((replies, by)) = self.ask(&request).await {
            self.shared.observe(owner, index, state(&name, is_counter, &replies[0]), basis, &by, "GET of");
        }
    }

    /// MGET of three texts that only ever change together.
    async fn read_group(&mut self, pick: u64) {
        let (group, names) = self.group(pick);
        let bases = {
            let now = self.shared.now();
            let ledger = self.shared.ledger(self.id);
            group.map(|key| ledger.key(key).history.basis(now))
        };
        let request = Request::new(key_slot(names[0].as_bytes()), &["MGET", &names[0], &names[1], &names[2]]);
        let Some((replies, by)) = self.ask(&request).await else { return };
        let Some(Reply::Array(items)) = replies.first() else { return self.failed("unexpected reply").await };
        let states: Vec<_> = items.iter().zip(&names).map(|(item, name)| state(name, false, item)).collect();
        if states.len() != 3 || states.iter().any(|s| *s != states[0]) {
            self.shared
                .violation(format!("MGET of {}: keys that change together differ: {states:?}", names[0]));
        }
        for (i, state) in states.into_iter().enumerate() {
            self.shared.observe(self.id, group[i], state, bases[i], &by, "MGET of");
        }
    }

    /// Sends a read.
    async fn ask(&mut self, request: &Request) -> Option<(Vec<Reply>, Arc<Mastership>)> {
        self.tally.operations += 1;
        self.tally.reads += 1;
        match self.router.run(request).await {
            Outcome::Done { replies, by } => {
                self.tally.acknowledged += 1;
                return Some((replies, by));
            }
            Outcome::Refused { error, by } => self.refused(&error, &by).await,
            Outcome::NotSent(what) => self.failed(what).await,
            Outcome::Unknown(what) => {
                self.tally.unknown += 1;
                self.failed(what).await;
            }
        }
        None
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

impl Shared {
    /// Writes down what a read of a key by that master showed. `None`: no value of ours.
    pub(super) fn observe(
        &self,
        owner: usize,
        index: usize,
        state: Option<State>,
        basis: Basis,
        by: &Arc<Mastership>,
        what: &str,
    ) {
        let mut ledger = self.ledger(owner);
        let seen = match state {
            Some(state) => ledger.observe(index, state, basis, u64::MAX, by),
            None => super::history::Seen::Foreign,
        };
        let key = ledger.key_mut(index);
        self.judge(&key.name, &seen, what);
        // Gone, as it should; or there when it must be gone, which has been judged.
        let is_gone = state == Some(State::Absent) && key.history.shows_newest();
        if is_gone || seen != super::history::Seen::Fine {
            key.expires = None;
        }
    }
}

/// The choices of one connection: the seeds of two are far apart in the one sequence that SplitMix64 goes through.
fn random_of(seed: u64, connection: usize) -> Random {
    Random(Random(seed.wrapping_add(connection as u64)).next())
}

/// What a reply to GET says.
pub(super) fn state(name: &str, is_counter: bool, reply: &Reply) -> Option<State> {
    match reply {
        Reply::Null if is_counter => Some(State::Number(0)),
        Reply::Null => Some(State::Absent),
        Reply::Bulk(bytes) if is_counter => std::str::from_utf8(bytes).ok()?.parse().ok().map(State::Number),
        Reply::Bulk(bytes) => value::decode(name, bytes),
        _ => None,
    }
}

/// What the replies say of each key, in the order of `write.keys`; the first has that name. `None`: not what such a command answers.
fn effects(write: &Write, name: &str, replies: &[Reply]) -> Option<Vec<Effect>> {
    let after = |i: usize| Some(write.keys[i].1);
    let plain =
        |count: usize| (0..count).map(|i| Effect { before: None, after: after(i) }).collect::<Vec<_>>();
    let number = |n: i64| {
        let value = u64::try_from(n).ok().filter(|n| *n > 0)?;
        Some(Effect { before: Some(State::Number(value - 1)), after: Some(State::Number(value)) })
    };
    match (write.kind, replies) {
        (Kind::Set | Kind::MultiSet, [Reply::Simple(ok)]) if ok == "OK" => Some(plain(write.keys.len())),
        (Kind::SetGet, [Reply::Null]) => Some(vec![Effect { before: Some(State::Absent), after: after(0) }]),
        // A text that is not ours matches no attempt: number 0 is never given to a text.
        (Kind::SetGet, [Reply::Bulk(old)]) => {
            let old = value::decode(name, old).unwrap_or(State::Text(0));
            Some(vec![Effect { before: Some(old), after: after(0) }])
        }
        (Kind::Delete | Kind::Expire(_), [Reply::Integer(1)]) => Some(plain(1)),
        (Kind::Delete, [Reply::Integer(0)]) => {
            Some(vec![Effect { before: Some(State::Absent), after: after(0) }])
        }
        (Kind::Expire(_), [Reply::Integer(0)]) => {
            Some(vec![Effect { before: Some(State::Absent), after: None }])
        }
        (Kind::Increment, [Reply::Integer(n)]) => Some(vec![number(*n)?]),
        (Kind::Transaction, [.., Reply::Array(items)]) => match &items[..] {
            [Reply::Simple(a), Reply::Simple(b), Reply::Simple(c), Reply::Integer(n)]
                if [a, b, c].iter().all(|ok| *ok == "OK") =>
            {
                let mut effects = plain(3);
                effects.push(number(*n)?);
                Some(effects)
            }
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::random_of;
    use std::collections::BTreeSet;

    /// All connections did the same, a step apart.
    #[test]
    fn every_connection_makes_its_own_choices() {
        let draws = |connection| {
            let mut random = random_of(1, connection);
            (0..1000).map(|_| random.next()).collect::<BTreeSet<_>>()
        };
        assert!((0..8).all(|a| (0..a).all(|b| draws(a).is_disjoint(&draws(b)))));
    }
}

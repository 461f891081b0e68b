//! The end check: every key is read, and what is missing must be a suffix.

use super::Ran;
use super::history::{Mastership, Promise, State};
use super::ledger::Ledger;
use super::report::{Loss, LostWrites, Report, Tally};
use super::router::{Outcome, Request, Router};
use super::shared::{Shared, lock};
use super::worker::state;
use node_server_protocol::key_slot;
use node_server_protocol::resp::Reply;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long one key may refuse to be read.
const READ_LIMIT: Duration = Duration::from_secs(30);
const READ_PAUSE: Duration = Duration::from_millis(100);

/// Reads all keys and sums up.
pub(super) async fn check(shared: &Shared, router: &mut Router, tally: Tally, ran: Ran) -> Report {
    wait_for_expiry(shared).await;
    let mut keys_checked = 0;
    for owner in 0..shared.ledgers.len() {
        keys_checked += check_ledger(shared, router, owner).await;
    }
    let mut shared_lost = 0;
    for i in 0..shared.counters.len() {
        shared_lost += check_counter(shared, router, i).await;
        keys_checked += 1;
    }
    let lost_writes: Vec<LostWrites> =
        (0..shared.ledgers.len()).flat_map(|owner| check_suffixes(shared, owner)).collect();
    let lost = shared_lost + lost_writes.iter().map(|l| l.lost).sum::<u64>();
    let (violation_count, violations) = shared.violations();
    Report {
        duration_ms: ran.duration_ms,
        loss: shared.options.loss,
        failed: tally.failures.values().sum(),
        tally,
        keys_checked,
        lost,
        lost_writes,
        longest_gap_ms: ran.longest_gap_ms,
        violation_count,
        violations,
    }
}

/// Until the last key that shall expire must have.
async fn wait_for_expiry(shared: &Shared) {
    let last = |ledger: &Ledger| ledger.keys().iter().filter_map(|key| key.expires).max();
    let last = (0..shared.ledgers.len()).filter_map(|i| last(&shared.ledger(i))).max().unwrap_or(0);
    sleep(Duration::from_millis((last + 1).saturating_sub(shared.now()))).await;
}

async fn check_ledger(shared: &Shared, router: &mut Router, owner: usize) -> u64 {
    let count = shared.ledger(owner).keys().len();
    let mut states = Vec::with_capacity(count);
    for index in 0..count {
        let (name, is_counter, basis) = {
            let ledger = shared.ledger(owner);
            let key = ledger.key(index);
            (key.name.clone(), key.is_counter, key.history.basis(shared.now()))
        };
        match read(router, &name).await {
            Ok((reply, by)) => {
                let state = state(&name, is_counter, &reply);
                shared.observe(owner, index, state, basis, &by, "at the end");
                states.push(state);
            }
            Err(why) => {
                shared.violation(format!("at the end {name} cannot be read: {why}"));
                states.push(None);
            }
        }
    }
    check_groups(shared, owner, &states);
    count as u64
}

/// Texts that only ever change together are of the same write, also where nobody knows whether it was done.
fn check_groups(shared: &Shared, owner: usize, states: &[Option<State>]) {
    let ledger = shared.ledger(owner);
    for group in ledger.all_groups() {
        let texts = [0, 1, 2].map(|i| states[group[i]]);
        if texts.iter().any(|text| *text != texts[0]) {
            let name = &ledger.key(group[0]).name;
            shared.violation(format!("at the end keys that change together with {name} differ: {texts:?}"));
        }
    }
}

/// Gives the number of lost increments.
async fn check_counter(shared: &Shared, router: &mut Router, i: usize) -> u64 {
    let name = lock(&shared.counters[i]).name.clone();
    let value = match read(router, &name).await {
        Ok((Reply::Null, _)) => 0,
        Ok((Reply::Bulk(bytes), _)) => String::from_utf8_lossy(&bytes).parse().unwrap_or(u64::MAX),
        Ok((other, _)) => return broken(shared, format!("at the end {name} holds {other:?}")),
        Err(why) => return broken(shared, format!("at the end {name} cannot be read: {why}")),
    };
    let counter = lock(&shared.counters[i]);
    if let Err(text) = counter.end(value)
        && (shared.options.loss == Loss::None || text.contains("attempts"))
    {
        shared.violation(format!("{name} {text}"));
    }
    counter.lost(value)
}

fn broken(shared: &Shared, text: String) -> u64 {
    shared.violation(text);
    0
}

/// Reads a key, however long the cluster takes to serve it, up to a limit.
async fn read(router: &mut Router, name: &str) -> Result<(Reply, Arc<Mastership>), String> {
    let request = Request::new(key_slot(name.as_bytes()), &["GET", name]);
    let deadline = Instant::now() + READ_LIMIT;
    loop {
        let why = match router.run(&request).await {
            Outcome::Done { mut replies, by } => {
                return replies.pop().map(|reply| (reply, by)).ok_or_else(|| "no reply".into());
            }
            Outcome::Refused { error, .. } => error,
            Outcome::NotSent(what) | Outcome::Unknown(what) => what.to_owned(),
        };
        if Instant::now() >= deadline {
            return Err(why);
        }
        sleep(READ_PAUSE).await;
    }
}

/// What one connection lost, per master. Nothing that it wrote to the same master later may have survived.
fn check_suffixes(shared: &Shared, connection: usize) -> Vec<LostWrites> {
    let ledger = shared.ledger(connection);
    if shared.options.loss == Loss::Suffix {
        for contradiction in ledger.evidence.contradictions() {
            shared.violation(format!("connection {connection} {contradiction}"));
        }
    }
    let survivors =
        by_master(ledger.keys().iter().filter_map(|key| Some((key.name.as_str(), key.history.survivor()?))));
    let lost =
        by_master(ledger.keys().iter().flat_map(|key| key.history.lost().map(|p| (key.name.as_str(), p))));
    let mut all = Vec::new();
    for (by, lost) in lost {
        let Some((first_key, first)) = lost.iter().min_by_key(|(_, promise)| promise.seq) else { continue };
        let kept = survivors.get(&by).into_iter().flatten().filter(|(_, s)| s.seq >= first.seq);
        let kept: Vec<_> = kept.map(|(key, survivor)| (survivor.seq, *key)).collect();
        if let (Some((seq, key)), Loss::Suffix) = (kept.iter().min(), shared.options.loss) {
            shared.violation(format!(
                "connection {connection} lost write {} ({first_key}) at {} and kept {} later ones, first {seq} ({key})",
                first.seq,
                by.node,
                kept.len()
            ));
        }
        let (acknowledged, last_at) = ledger.acknowledged.get(&by).copied().unwrap_or_default();
        all.push(LostWrites {
            connection,
            master: by.node.clone(),
            // One write may have changed several keys.
            lost: lost.iter().map(|(_, p)| p.seq).collect::<std::collections::BTreeSet<_>>().len() as u64,
            acknowledged,
            first_at_ms: first.at,
            span_ms: last_at.saturating_sub(first.at),
        });
    }
    all
}

type Promises<'k> = BTreeMap<Arc<Mastership>, Vec<(&'k str, Promise)>>;

fn by_master<'k>(promises: impl Iterator<Item = (&'k str, Promise)>) -> Promises<'k> {
    let mut all = Promises::new();
    for (key, promise) in promises {
        all.entry(Arc::clone(&promise.by)).or_default().push((key, promise));
    }
    all
}

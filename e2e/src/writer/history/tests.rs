use super::*;

const ALL: u64 = u64::MAX;

fn master() -> Arc<Mastership> {
    Arc::new(Mastership { node: "127.0.0.1:1".into(), replid: "r".into() })
}

/// A key with these states, all acknowledged, numbered from 1.
fn acknowledged(states: &[State]) -> History {
    let mut history = History::new(State::Absent);
    for (i, state) in states.iter().enumerate() {
        let seq = i as u64 + 1;
        history.begin(seq, *state);
        history.acknowledge(seq, *state, &master(), 10 * seq, 10 * seq);
    }
    history
}

#[test]
fn the_last_acknowledged_and_later_attempts_are_fine() {
    let mut history = acknowledged(&[State::Text(1)]);
    history.begin(2, State::Text(2));
    assert_eq!(history.floor(ALL), 1);
    assert_eq!(history.clone().observe(State::Text(1), 1, ALL), Seen::Fine);
    assert_eq!(history.observe(State::Text(2), 1, ALL), Seen::Fine);
    assert_eq!(history.floor(ALL), 2, "what was seen may not go away");
    assert_eq!(history.observe(State::Text(1), 2, ALL), Seen::Backwards { found: 1, floor: 2, lost: 0 });
}

#[test]
fn lost_writes_are_counted_once() {
    let mut history = acknowledged(&[State::Text(1), State::Text(2), State::Text(3)]);
    assert_eq!(history.observe(State::Text(1), 3, ALL), Seen::Backwards { found: 1, floor: 3, lost: 2 });
    assert_eq!(history.observe(State::Text(1), history.floor(ALL), ALL), Seen::Fine);
    let seqs: Vec<u64> = history.lost().map(|p| p.seq).collect();
    assert_eq!(seqs, [2, 3]);
    assert_eq!(history.survivor().unwrap().seq, 1);
    assert_eq!(history.expected(), State::Text(1));
}

/// Where all keys were lost, a key deleted last seemed to be a write that had outlived earlier ones.
#[test]
fn an_absent_key_is_no_survivor() {
    let mut history = acknowledged(&[State::Text(1), State::Absent]);
    assert_eq!(history.observe(State::Absent, 2, ALL), Seen::Fine);
    assert!(history.survivor().is_none());
}

#[test]
fn a_lost_write_that_comes_back_was_a_stale_read() {
    let mut history = acknowledged(&[State::Text(1), State::Text(2)]);
    history.observe(State::Text(1), 2, ALL);
    assert_eq!(history.observe(State::Text(2), 1, ALL), Seen::CameBack { found: 2 });
}

#[test]
fn resurrection() {
    let mut history = acknowledged(&[State::Text(1), State::Absent]);
    assert_eq!(
        history.observe(State::Text(1), history.floor(ALL), ALL),
        Seen::Backwards { found: 1, floor: 2, lost: 1 }
    );
}

#[test]
fn values_of_nobody() {
    assert_eq!(acknowledged(&[State::Text(1)]).observe(State::Text(9), 1, ALL), Seen::Foreign);
    let mut counter = acknowledged(&[State::Number(1)]);
    counter.begin(2, State::Number(2));
    // INCR answered 3: the counter was 2 before, which nobody had made it.
    assert_eq!(counter.observe(State::Number(2), 1, 2), Seen::Foreign);
}

#[test]
fn an_expiry_may_show_until_it_must() {
    let mut history = acknowledged(&[State::Text(1)]);
    history.begin(2, State::Absent);
    history.acknowledge(2, State::Absent, &master(), 100, 300);
    assert_eq!((history.floor(299), history.floor(300)), (1, 2));
    assert_eq!(history.observe(State::Text(1), history.floor(299), ALL), Seen::Fine);
    assert!(matches!(history.observe(State::Text(1), history.floor(300), ALL), Seen::Backwards { .. }));
}

/// A read was answered while the key was deleted, and looked at when an expiry of the next value was under way: the value was
/// then taken for gone.
#[test]
fn an_absent_key_is_taken_for_absent_since_as_long_as_can_be() {
    let mut history = acknowledged(&[State::Text(1), State::Absent, State::Text(3)]);
    history.begin(4, State::Absent);
    history.acknowledge(4, State::Absent, &master(), 100, 300);
    assert_eq!(history.observe(State::Absent, 2, ALL), Seen::Fine);
    assert_eq!(history.observe(State::Text(3), history.floor(200), ALL), Seen::Fine);
}

#[test]
fn a_withdrawn_attempt_cannot_be_seen() {
    let mut history = acknowledged(&[State::Text(1)]);
    history.begin(2, State::Text(2));
    history.withdraw(2);
    assert_eq!(history.observe(State::Text(2), 1, ALL), Seen::Foreign);
}

#[test]
fn a_counter_counts_again_after_a_loss() {
    let mut history = acknowledged(&[State::Number(1), State::Number(2)]);
    history.begin(3, State::Number(3));
    // INCR answered 2: it had gone back to 1.
    assert_eq!(history.observe(State::Number(1), 2, 3), Seen::Backwards { found: 1, floor: 2, lost: 1 });
    history.acknowledge(3, State::Number(2), &master(), 50, 50);
    assert_eq!(history.observe(State::Number(2), history.floor(ALL), ALL), Seen::Fine);
}

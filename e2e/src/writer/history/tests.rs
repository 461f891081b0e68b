use super::*;

const ALL: u64 = u64::MAX;

fn master() -> Arc<Mastership> {
    Arc::new(Mastership { node: "127.0.0.1:1".into(), replid: "r".into() })
}

/// A read that began before any loss.
const fn from(floor: u64) -> Basis {
    Basis { floor, losses: 0 }
}

/// A key with these states, all acknowledged, numbered from 1.
fn acknowledged(states: &[State]) -> History {
    let first = if let State::Number(_) = states[0] { State::Number(0) } else { State::Absent };
    let mut history = History::new(first);
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
    assert_eq!(history.basis(ALL).floor, 1);
    assert_eq!(history.clone().observe(State::Text(1), from(1), ALL), Seen::Fine);
    assert_eq!(history.observe(State::Text(2), from(1), ALL), Seen::Fine);
    assert_eq!(history.basis(ALL).floor, 2, "what was seen may not go away");
    assert_eq!(
        history.observe(State::Text(1), from(2), ALL),
        Seen::Backwards { found: 1, floor: 2, lost: 0 }
    );
}

#[test]
fn lost_writes_are_counted_once() {
    let mut history = acknowledged(&[State::Text(1), State::Text(2), State::Text(3)]);
    assert_eq!(
        history.observe(State::Text(1), from(3), ALL),
        Seen::Backwards { found: 1, floor: 3, lost: 2 }
    );
    assert_eq!(history.observe(State::Text(1), history.basis(ALL), ALL), Seen::Fine);
    let seqs: Vec<u64> = history.lost().map(|p| p.seq).collect();
    assert_eq!(seqs, [2, 3]);
    assert_eq!(history.survivor().unwrap().seq, 1);
    assert_eq!(history.expected(), State::Text(1));
}

/// Where all keys were lost, a key deleted last seemed to be a write that had outlived earlier ones.
#[test]
fn an_absent_key_is_no_survivor() {
    let mut history = acknowledged(&[State::Text(1), State::Absent]);
    assert_eq!(history.observe(State::Absent, from(2), ALL), Seen::Fine);
    assert!(history.survivor().is_none());
}

#[test]
fn a_lost_write_that_comes_back_was_a_stale_read() {
    let mut history = acknowledged(&[State::Text(1), State::Text(2)]);
    history.observe(State::Text(1), from(2), ALL);
    assert_eq!(history.clone().observe(State::Text(2), from(2), ALL), Seen::Fine, "it began before");
    assert_eq!(history.observe(State::Text(2), history.basis(ALL), ALL), Seen::CameBack { found: 2 });
}

#[test]
fn resurrection() {
    let mut history = acknowledged(&[State::Text(1), State::Absent]);
    assert_eq!(
        history.observe(State::Text(1), history.basis(ALL), ALL),
        Seen::Backwards { found: 1, floor: 2, lost: 1 }
    );
}

#[test]
fn values_of_nobody() {
    assert_eq!(acknowledged(&[State::Text(1)]).observe(State::Text(9), from(1), ALL), Seen::Foreign);
    let mut counter = acknowledged(&[State::Number(1)]);
    counter.begin(2, State::Number(2));
    // INCR answered 3: the counter was 2 before, which nobody had made it.
    assert_eq!(counter.observe(State::Number(2), from(1), 2), Seen::Foreign);
}

#[test]
fn an_expiry_may_show_until_it_must() {
    let mut history = acknowledged(&[State::Text(1)]);
    history.begin(2, State::Absent);
    history.acknowledge(2, State::Absent, &master(), 100, 300);
    assert_eq!((history.basis(299).floor, history.basis(300).floor), (1, 2));
    assert_eq!(history.observe(State::Text(1), history.basis(299), ALL), Seen::Fine);
    assert!(matches!(history.observe(State::Text(1), history.basis(300), ALL), Seen::Backwards { .. }));
}

/// A read was answered while the key was deleted, and looked at when an expiry of the next value was under way: the value was
/// then taken for gone.
#[test]
fn an_absent_key_is_taken_for_absent_since_as_long_as_can_be() {
    let mut history = acknowledged(&[State::Text(1), State::Absent, State::Text(3)]);
    history.begin(4, State::Absent);
    history.acknowledge(4, State::Absent, &master(), 100, 300);
    assert_eq!(history.observe(State::Absent, from(2), ALL), Seen::Fine);
    assert_eq!(history.observe(State::Text(3), history.basis(200), ALL), Seen::Fine);
}

#[test]
fn a_withdrawn_attempt_cannot_be_seen() {
    let mut history = acknowledged(&[State::Text(1)]);
    history.begin(2, State::Text(2));
    history.withdraw(2);
    assert_eq!(history.observe(State::Text(2), from(1), ALL), Seen::Foreign);
}

#[test]
fn a_counter_counts_again_after_a_loss() {
    let mut history = acknowledged(&[State::Number(1), State::Number(2)]);
    history.begin(3, State::Number(3));
    // INCR answered 2: it had gone back to 1.
    assert_eq!(
        history.observe(State::Number(1), from(2), 3),
        Seen::Backwards { found: 1, floor: 2, lost: 1 }
    );
    history.acknowledge(3, State::Number(2), &master(), 50, 50);
    assert_eq!(history.observe(State::Number(2), history.basis(ALL), ALL), Seen::Fine);
}

/// A counter that was lost is at 1 again, which it had been before: somebody who reads it before its owner hears of it sees
/// nothing that has come back.
#[test]
fn a_number_that_is_reached_again_has_not_come_back() {
    let mut history = acknowledged(&[State::Number(1), State::Number(2)]);
    history.observe(State::Number(0), from(2), ALL);
    let basis = history.basis(ALL);
    history.begin(3, State::Number(1));
    assert_eq!(history.observe(State::Number(1), basis, ALL), Seen::Fine);
    assert_eq!(history.observe(State::Number(2), basis, ALL), Seen::CameBack { found: 2 });
}

/// As above, and the increment began when its owner did not know of the loss.
#[test]
fn an_increment_under_way_counts_from_where_a_loss_has_left() {
    let mut history = acknowledged(&[State::Number(1), State::Number(2)]);
    let before = history.basis(ALL);
    history.begin(3, State::Number(3));
    history.observe(State::Number(0), before, ALL);
    assert_eq!(history.clone().observe(State::Number(1), history.basis(ALL), ALL), Seen::Fine);
    assert_eq!(history.clone().observe(State::Number(3), before, ALL), Seen::Fine, "before the loss");
    assert_eq!(history.observe(State::Number(3), history.basis(ALL), ALL), Seen::CameBack { found: 3 });
    assert_eq!(history.observe(State::Number(0), before, 3), Seen::Backwards { found: 0, floor: 2, lost: 0 });
    history.acknowledge(3, State::Number(1), &master(), 50, 50);
    assert_eq!(history.basis(ALL).floor, 3);
    assert_eq!(history.lost().map(|p| p.seq).collect::<Vec<_>>(), [1, 2]);
}

/// Two reads were under way when the counter was lost; the second was looked at when its owner had counted on.
#[test]
fn a_loss_that_is_noticed_twice_is_one() {
    let mut history = acknowledged(&[State::Number(1), State::Number(2)]);
    let before = history.basis(ALL);
    history.observe(State::Number(0), before, ALL);
    history.begin(3, State::Number(1));
    history.acknowledge(3, State::Number(1), &master(), 50, 50);
    history.begin(4, State::Number(2));
    assert_eq!(
        history.observe(State::Number(0), before, ALL),
        Seen::Backwards { found: 0, floor: 2, lost: 0 }
    );
    assert_eq!(history.observe(State::Number(2), history.basis(ALL), ALL), Seen::Fine);
}

/// A deletion that was lost looks like the loss of the key.
#[test]
fn a_key_lost_after_a_lost_deletion_has_not_come_back() {
    let mut history = acknowledged(&[State::Text(1), State::Absent]);
    history.observe(State::Text(1), from(2), ALL);
    let basis = history.basis(ALL);
    assert_eq!(history.observe(State::Absent, basis, ALL), Seen::Backwards { found: 0, floor: 1, lost: 1 });
}

/// The owner had counted on from what was lost, and a read saw the number that its increment made.
#[test]
fn what_was_acknowledged_behind_a_reads_floor_is_no_number_to_count_on_from() {
    let mut history = acknowledged(&[State::Number(1), State::Number(2)]);
    let before = history.basis(ALL);
    history.begin(3, State::Number(3));
    history.acknowledge(3, State::Number(3), &master(), 30, 30);
    assert_eq!(
        history.observe(State::Number(1), before, ALL),
        Seen::Backwards { found: 1, floor: 2, lost: 1 }
    );
    let basis = history.basis(ALL);
    assert_eq!(history.expected(), State::Number(3));
    history.begin(4, State::Number(4));
    assert_eq!(history.observe(State::Number(2), basis, ALL), Seen::Fine);
    assert_eq!(history.observe(State::Number(5), basis, ALL), Seen::Foreign);
}

#[test]
fn an_increment_acknowledged_after_its_loss_was_noticed() {
    let mut history = acknowledged(&[State::Number(1), State::Number(2)]);
    let before = history.basis(ALL);
    history.begin(3, State::Number(3));
    history.observe(State::Number(0), before, ALL);
    assert_eq!(history.observe(State::Number(2), before, 3), Seen::Fine);
    history.acknowledge(3, State::Number(3), &master(), 50, 50);
    let basis = history.basis(ALL);
    history.begin(4, State::Number(4));
    assert_eq!(history.observe(State::Number(1), basis, ALL), Seen::Fine);
}

#[test]
fn absent_read_before_a_loss_takes_nothing_more_away() {
    let mut history = acknowledged(&[State::Text(1), State::Absent]);
    let before = history.basis(ALL);
    history.observe(State::Text(1), before, ALL);
    assert_eq!(history.observe(State::Absent, before, ALL), Seen::Fine);
    assert_eq!(history.lost().map(|p| p.seq).collect::<Vec<_>>(), [2]);
    assert_eq!(history.observe(State::Text(1), history.basis(ALL), ALL), Seen::Fine);
}

#[test]
fn absent_may_have_been_read_before_the_deletion_under_way_began() {
    let mut history = acknowledged(&[State::Text(1)]);
    let before = history.basis(ALL);
    history.begin(2, State::Text(2));
    history.acknowledge(2, State::Text(2), &master(), 20, 20);
    history.begin(3, State::Absent);
    assert_eq!(history.observe(State::Absent, before, ALL), Seen::Fine);
    let basis = history.basis(ALL);
    history.acknowledge(3, State::Absent, &master(), 30, 30);
    history.observe(State::Text(2), basis, ALL);
    assert_eq!(history.lost().count(), 0);
}

/// It was never answered: the new master may have made 1 of 0.
#[test]
fn a_counter_with_an_increment_of_unknown_outcome_is_no_survivor() {
    let mut history = acknowledged(&[State::Number(1), State::Number(2)]);
    history.begin(3, State::Number(3));
    history.observe(State::Number(1), history.basis(ALL), ALL);
    assert!(history.survivor().is_none());
}

/// A read that was answered before the expiry was asked for does not show it.
#[test]
fn only_the_newest_attempt_ends_an_expiry() {
    let mut history = acknowledged(&[State::Text(1), State::Absent]);
    let before = history.basis(ALL);
    history.begin(3, State::Text(3));
    history.acknowledge(3, State::Text(3), &master(), 30, 30);
    history.begin(4, State::Absent);
    history.acknowledge(4, State::Absent, &master(), 40, 300);
    assert_eq!(history.observe(State::Absent, before, ALL), Seen::Fine);
    assert!(!history.shows_newest());
    assert_eq!(history.observe(State::Absent, history.basis(200), ALL), Seen::Fine);
    assert!(history.shows_newest());
}

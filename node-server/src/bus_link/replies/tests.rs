use super::*;
use crate::mailbox::Mail;
use mio::{Poll, Token as Bell, Waker};
use node_server_engine::ReplicaAck;

struct Fixture {
    replies: Replies,
    mailboxes: Mailboxes,
    acks: Acks,
    _poll: Poll,
}

fn fixture() -> Fixture {
    let poll = Poll::new().unwrap();
    let mailboxes = Mailboxes::new(vec![Waker::new(poll.registry(), Bell(0)).unwrap()]);
    Fixture { replies: Replies::default(), mailboxes, acks: Acks::default(), _poll: poll }
}

fn to(seq: u64) -> ReplyTo {
    ReplyTo { thread: 0, session: 1, seq }
}

impl Fixture {
    /// The replies that have arrived, by `seq`.
    fn arrived(&self) -> Vec<u64> {
        let mut mail = Vec::new();
        self.mailboxes.collect(0, &mut mail);
        let seq = |mail| match mail {
            Mail::Reply(to, _) => to.seq,
            other => panic!("unexpected {other:?}"),
        };
        mail.into_iter().map(seq).collect()
    }

    fn look(&mut self, now: u64) {
        self.replies.look_at_acks(&self.acks, None, Millis(now), &self.mailboxes);
    }
}

#[test]
fn each_reply_goes_to_who_asked_once() {
    let mut f = fixture();
    let (a, b) = (f.replies.expect(to(1)), f.replies.expect(to(2)));
    f.replies.reply(b, b"+OK\r\n".to_vec(), &f.mailboxes);
    f.replies.reply(b, b"+OK\r\n".to_vec(), &f.mailboxes);
    f.replies.reply(a, b"+OK\r\n".to_vec(), &f.mailboxes);
    assert_eq!(f.arrived(), [2, 1]);
}

#[test]
fn replicated_replies_wait_for_a_replica_or_the_deadline() {
    let mut f = fixture();
    f.acks.set(vec![ReplicaAck { offset: 5, in_sync: true, on_disk: 0 }]);
    for (seq, offset) in [(1, 10), (2, 20), (3, 30)] {
        let token = f.replies.expect(to(seq));
        f.replies.reply_after(token, b"+OK\r\n".to_vec(), offset, Millis(1000));
    }
    f.look(1000);
    assert!(f.arrived().is_empty() && f.replies.wait_for_acks());
    assert_eq!(f.replies.next_deadline(), Some(Millis(1000 + REPLICATED_WAIT_MS)));
    f.acks.set(vec![ReplicaAck { offset: 20, in_sync: true, on_disk: 0 }]);
    f.look(1001);
    assert_eq!(f.arrived(), [1, 2]);
    f.look(1000 + REPLICATED_WAIT_MS);
    assert_eq!(f.arrived(), [3]);
    assert!(!f.replies.wait_for_acks());
}

#[test]
fn a_lost_replica_is_not_waited_for() {
    let mut f = fixture();
    f.acks.set(vec![ReplicaAck { offset: 5, in_sync: true, on_disk: 0 }]);
    let token = f.replies.expect(to(1));
    f.replies.reply_after(token, b"+OK\r\n".to_vec(), 10, Millis(0));
    f.acks.set(Vec::new());
    f.look(1);
    assert_eq!(f.arrived(), [1]);
}

#[test]
fn a_demoted_node_does_not_say_ok() {
    let mut f = fixture();
    f.acks.set(vec![ReplicaAck { offset: 5, in_sync: true, on_disk: 0 }]);
    let token = f.replies.expect(to(1));
    f.replies.reply_after(token, b"+OK\r\n".to_vec(), 10, Millis(0));
    f.acks.set(Vec::new());
    f.replies.look_at_acks(&f.acks, Some(b"-TRYAGAIN\r\n"), Millis(1), &f.mailboxes);
    let mut mail = Vec::new();
    f.mailboxes.collect(0, &mut mail);
    assert!(matches!(&mail[..], [Mail::Reply(_, bytes)] if bytes == b"-TRYAGAIN\r\n"));
}

#[test]
fn replies_wait_until_all_keys_are_gone() {
    let mut f = fixture();
    f.replies.hold();
    let token = f.replies.expect(to(1));
    f.replies.reply(token, b"+OK\r\n".to_vec(), &f.mailboxes);
    assert!(f.arrived().is_empty());
    f.replies.release(&f.mailboxes);
    assert_eq!(f.arrived(), [1]);
    let token = f.replies.expect(to(2));
    f.replies.reply(token, b"+OK\r\n".to_vec(), &f.mailboxes);
    assert_eq!(f.arrived(), [2]);
}

//! Replies on their way to a client: in the order of the requests, behind the gate (design.md, The node, 6).

use node_server_engine::Hold;
use node_server_protocol::{Millis, NodeId, Slot};
use std::collections::VecDeque;

/// A buffer that grew beyond this is given back once it is empty.
const KEEP_MAX: usize = 64 * 1024;
/// Most gates kept apart; beyond it the last one takes in the next ones, which only lets bytes leave later.
const GATES_MAX: usize = 1024;

/// Bytes from `at` on may not leave before what they depend on is on the disk and at a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gate {
    at: u64,
    hold: Hold,
}

/// What opens gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Offset that a replica has acknowledged.
    pub acknowledged: u64,
    /// Offset up to which the log is on the disk.
    pub synced: u64,
    /// The time.
    pub now: Millis,
}

impl Gate {
    fn is_open(&self, reached: Reached) -> bool {
        let Hold { offset, deadline, disk, .. } = self.hold;
        disk <= reached.synced && (offset <= reached.acknowledged || deadline <= reached.now)
    }
}

/// A reply that was deferred, or that has to wait behind one.
#[derive(Debug)]
struct Pending {
    seq: u64,
    bytes: Option<Vec<u8>>,
    hold: Option<Hold>,
}

/// Replies of one connection.
#[derive(Debug, Default)]
pub struct Output {
    /// Replies whose turn has come; the first `sent` bytes have left.
    ready: Vec<u8>,
    sent: usize,
    /// Position in the connection's stream of `ready[0]`.
    start: u64,
    gates: VecDeque<Gate>,
    pending: VecDeque<Pending>,
    next_seq: u64,
    /// Bytes in `pending`.
    pending_bytes: usize,
    /// Where the reply of the present request goes while earlier ones are pending.
    scratch: Vec<u8>,
}

impl Output {
    /// Where the next request writes its reply. Call [`Output::finish`] after it.
    pub fn begin(&mut self) -> &mut Vec<u8> {
        if self.pending.is_empty() { &mut self.ready } else { &mut self.scratch }
    }

    /// Where [`Output::begin`] will write from, for [`Output::finish`].
    #[must_use]
    pub fn mark(&self) -> usize {
        if self.pending.is_empty() { self.ready.len() } else { 0 }
    }

    /// What was written since `mark`.
    #[must_use]
    pub fn written(&self, mark: usize) -> &[u8] {
        if self.pending.is_empty() { &self.ready[mark..] } else { &self.scratch[mark..] }
    }

    /// The reply that was begun at `mark` is whole. `hold`: what has to happen before it may leave.
    pub fn finish(&mut self, mark: usize, hold: Option<Hold>) {
        if self.pending.is_empty() {
            if let Some(hold) = hold {
                self.close_gate(self.start + mark as u64, hold);
            }
            return;
        }
        if self.scratch.is_empty() && hold.is_none() {
            return;
        }
        let bytes = std::mem::take(&mut self.scratch);
        self.pending_bytes += bytes.len();
        let seq = self.take_seq();
        self.pending.push_back(Pending { seq, bytes: Some(bytes), hold });
    }

    /// What was written since [`Output::mark`] is dropped: the request runs again later.
    pub fn undo(&mut self, mark: usize) {
        self.begin().truncate(mark);
    }

    /// The reply to the present request comes later; its number.
    pub fn defer(&mut self) -> u64 {
        let seq = self.take_seq();
        self.pending.push_back(Pending { seq, bytes: None, hold: None });
        seq
    }

    /// A deferred reply came. `false`: nobody waits for it.
    pub fn fulfil(&mut self, seq: u64, bytes: Vec<u8>) -> bool {
        let Some(pending) = self.pending.iter_mut().find(|p| p.seq == seq && p.bytes.is_none()) else {
            return false;
        };
        self.pending_bytes += bytes.len();
        pending.bytes = Some(bytes);
        while self.pending.front().is_some_and(|p| p.bytes.is_some()) {
            let Some(Pending { bytes: Some(bytes), hold, .. }) = self.pending.pop_front() else { break };
            self.pending_bytes -= bytes.len();
            let mark = self.ready.len();
            self.ready.extend_from_slice(&bytes);
            if let Some(hold) = hold {
                self.close_gate(self.start + mark as u64, hold);
            }
        }
        true
    }

    /// How many replies are still to come.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether a gate is closed.
    #[must_use]
    pub fn is_gated(&self) -> bool {
        !self.gates.is_empty()
    }

    /// The largest offset that a gate waits for a replica to acknowledge.
    #[must_use]
    pub fn gated_offset(&self) -> Option<u64> {
        self.gates.iter().map(|gate| gate.hold.offset).filter(|offset| *offset > 0).max()
    }

    /// When the first gate stops waiting for a replica.
    #[must_use]
    pub fn gate_deadline(&self) -> Option<Millis> {
        self.gates.front().filter(|gate| gate.hold.offset > 0).map(|gate| gate.hold.deadline)
    }

    /// Opens the gates that wait for nothing more.
    pub fn open_gates(&mut self, reached: Reached) {
        while self.gates.front().is_some_and(|gate| gate.is_open(reached)) {
            self.gates.pop_front();
        }
    }

    /// Opens the gates before redirections that hold without them: no reply tells of anything there.
    pub fn open_asks(&mut self, holds: impl Fn(Slot, NodeId) -> bool) {
        self.gates.retain(|gate| !gate.hold.asks.is_some_and(|(slot, to)| holds(slot, to)));
    }

    /// Bytes that may leave now.
    #[must_use]
    pub fn sendable(&self) -> &[u8] {
        let end = match self.gates.front() {
            Some(gate) => (gate.at - self.start) as usize,
            None => self.ready.len(),
        };
        &self.ready[self.sent..end]
    }

    /// The first `bytes` of [`Output::sendable`] have left.
    pub fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
        assert!(self.sent <= self.ready.len(), "more was sent than written");
        if self.sent == self.ready.len() {
            self.start += self.sent as u64;
            self.ready.clear();
            self.sent = 0;
            if self.ready.capacity() > KEEP_MAX {
                self.ready = Vec::new();
            }
        } else if self.sent > KEEP_MAX && self.sent > self.ready.len() / 2 {
            self.start += self.sent as u64;
            self.ready.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Bytes written and not sent, wherever they wait.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.ready.len() - self.sent + self.pending_bytes
    }

    /// Whether every request was answered and every answer sent.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.unsent() == 0 && self.pending.is_empty()
    }

    fn close_gate(&mut self, at: u64, hold: Hold) {
        let full = self.gates.len() >= GATES_MAX;
        match self.gates.back_mut().filter(|_| full) {
            Some(Gate { hold: last, .. }) => {
                last.offset = last.offset.max(hold.offset);
                last.deadline = last.deadline.max(hold.deadline);
                last.disk = last.disk.max(hold.disk);
                last.asks = None;
            }
            None => self.gates.push_back(Gate { at, hold }),
        }
    }

    fn take_seq(&mut self) -> u64 {
        self.next_seq += 1;
        self.next_seq
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(output: &mut Output, text: &str, replica: Option<(u64, Millis)>) {
        let hold = replica.map(|(offset, deadline)| Hold { offset, deadline, ..Hold::default() });
        let mark = output.mark();
        output.begin().extend_from_slice(text.as_bytes());
        output.finish(mark, hold);
    }

    fn reached(acknowledged: u64, synced: u64, now: Millis) -> Reached {
        Reached { acknowledged, synced, now }
    }

    fn sendable(output: &Output) -> &str {
        std::str::from_utf8(output.sendable()).unwrap()
    }

    #[test]
    fn deferred_replies_leave_in_the_order_of_their_requests() {
        let mut output = Output::default();
        write(&mut output, "1", None);
        let second = output.defer();
        let third = output.defer();
        write(&mut output, "4", None);
        assert_eq!((sendable(&output), output.pending(), output.unsent()), ("1", 3, 2));
        assert!(output.fulfil(third, b"3".to_vec()));
        assert!(!output.fulfil(third, b"again".to_vec()));
        assert_eq!(sendable(&output), "1");
        assert!(output.fulfil(second, b"2".to_vec()));
        assert_eq!((sendable(&output), output.pending(), output.unsent()), ("1234", 0, 4));
        output.sent(4);
        assert!(output.is_done());
        write(&mut output, "5", None);
        assert_eq!(sendable(&output), "5");
    }

    #[test]
    fn the_gate_holds_a_reply_and_what_follows_until_acknowledged() {
        let mut output = Output::default();
        write(&mut output, "a", None);
        write(&mut output, "b", Some((10, Millis(500))));
        write(&mut output, "c", None);
        write(&mut output, "d", Some((20, Millis(600))));
        assert_eq!(sendable(&output), "a");
        output.sent(1);
        assert_eq!(
            (sendable(&output), output.gated_offset(), output.gate_deadline()),
            ("", Some(20), Some(Millis(500)))
        );
        output.open_gates(reached(10, 0, Millis(0)));
        assert_eq!(sendable(&output), "bc");
        output.sent(2);
        output.open_gates(reached(10, 0, Millis(599)));
        assert_eq!(sendable(&output), "");
        output.open_gates(reached(10, 0, Millis(600)));
        assert_eq!(sendable(&output), "d", "bounded by the deadline");
        assert!(!output.is_gated());
    }

    #[test]
    fn the_disk_is_waited_for_without_end() {
        let mut output = Output::default();
        let mark = output.mark();
        output.begin().extend_from_slice(b"a");
        output.finish(mark, Some(Hold { offset: 10, deadline: Millis(500), disk: 30, asks: None }));
        assert_eq!((output.gated_offset(), output.gate_deadline()), (Some(10), Some(Millis(500))));
        output.open_gates(reached(10, 29, Millis(9999)));
        assert_eq!(sendable(&output), "");
        output.open_gates(reached(9, 30, Millis(499)));
        assert_eq!(sendable(&output), "");
        output.open_gates(reached(9, 30, Millis(500)));
        assert_eq!(sendable(&output), "a");
    }

    #[test]
    fn redirections_that_hold_leave_before_anything_else_that_is_held() {
        let slot = |n| Slot::new(n).unwrap();
        let to = NodeId::from_bytes([2; 20]);
        let mut output = Output::default();
        for (text, asks) in [("a", Some((slot(1), to))), ("b", Some((slot(2), to))), ("c", None)] {
            let mark = output.mark();
            output.begin().extend_from_slice(text.as_bytes());
            output.finish(mark, Some(Hold { offset: 10, deadline: Millis(500), disk: 0, asks }));
        }
        output.open_asks(|slot, _| slot.number() == 2);
        assert_eq!(sendable(&output), "", "the first one waits on");
        output.open_asks(|slot, _| slot.number() == 1);
        assert_eq!(sendable(&output), "ab");
        output.open_asks(|_, _| true);
        assert!(output.is_gated(), "no redirection");
    }

    #[test]
    fn a_held_reply_behind_a_deferred_one_is_held_as_well() {
        let mut output = Output::default();
        let first = output.defer();
        write(&mut output, "b", Some((10, Millis(500))));
        output.fulfil(first, b"a".to_vec());
        assert_eq!(sendable(&output), "a");
        output.open_gates(reached(10, 0, Millis(0)));
        assert_eq!(sendable(&output), "ab");
    }

    #[test]
    fn what_is_undone_leaves_no_trace() {
        let mut output = Output::default();
        write(&mut output, "a", None);
        let mark = output.mark();
        output.begin().extend_from_slice(b"half");
        output.undo(mark);
        assert_eq!(sendable(&output), "a");
        let seq = output.defer();
        let mark = output.mark();
        output.begin().extend_from_slice(b"half");
        output.undo(mark);
        output.fulfil(seq, b"b".to_vec());
        assert_eq!(sendable(&output), "ab");
    }

    #[test]
    fn gates_are_bounded() {
        let mut output = Output::default();
        for i in 0..(GATES_MAX as u64 + 100) {
            write(&mut output, "x", Some((i, Millis(i))));
        }
        assert_eq!(output.gates.len(), GATES_MAX);
        output.open_gates(reached(GATES_MAX as u64 + 98, 0, Millis(0)));
        assert_eq!(output.sendable().len(), GATES_MAX - 1);
        output.open_gates(reached(GATES_MAX as u64 + 99, 0, Millis(0)));
        assert_eq!(output.sendable().len(), GATES_MAX + 100);
    }

    #[test]
    fn long_streams_are_sent_in_pieces() {
        let mut output = Output::default();
        let text: String = (0..300_000).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
        write(&mut output, &text, None);
        let mut seen = String::new();
        while !output.is_done() {
            let n = output.sendable().len().min(1000);
            seen.push_str(std::str::from_utf8(&output.sendable()[..n]).unwrap());
            output.sent(n);
        }
        assert_eq!(seen, text);
    }
}

//! What a run gave.

use super::latency::Latency;
use super::router::Counts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

/// What may get lost in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Loss {
    /// Nothing: reshaping, handover, rolling change, drain.
    None,
    /// A suffix of each connection's writes to a master that was killed, paused or cut off. It is counted.
    Suffix,
}

/// Counts of one connection, or of all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Commands (a transaction is one).
    pub operations: u64,
    /// Reads among them.
    pub reads: u64,
    /// Answered, without an error.
    pub acknowledged: u64,
    /// Sent and never answered; failures as well.
    pub unknown: u64,
    /// Failures by error code or by what happened, the unknown ones included.
    pub failures: BTreeMap<String, u64>,
    /// Redirections, reconnections and connections that could not be made: no failures.
    pub redirections: Counts,
    /// How long they took.
    pub latency: Latency,
}

impl AddAssign<&Self> for Tally {
    fn add_assign(&mut self, other: &Self) {
        self.operations += other.operations;
        self.reads += other.reads;
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        for (what, count) in &other.failures {
            *self.failures.entry(what.clone()).or_default() += count;
        }
        self.redirections += &other.redirections;
        self.latency += &other.latency;
    }
}

/// Writes that one connection lost with one master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostWrites {
    /// The connection.
    pub connection: usize,
    /// The master's address.
    pub master: String,
    /// Acknowledged writes that were found missing. What had been overwritten before cannot be told.
    pub lost: u64,
    /// Writes that this master acknowledged to this connection.
    pub acknowledged: u64,
    /// When the first of them was acknowledged, in milliseconds of the run.
    pub first_at_ms: u64,
    /// From the first lost to the last acknowledged write, in milliseconds: how far the replica was behind.
    pub span_ms: u64,
}

/// The report of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// How long the writer wrote, in milliseconds.
    pub duration_ms: u64,
    /// What may get lost.
    pub loss: Loss,
    /// All counts.
    #[serde(flatten)]
    pub tally: Tally,
    /// Sum of the failures.
    pub failed: u64,
    /// Keys that were read at the end.
    pub keys_checked: u64,
    /// Acknowledged writes found missing, in sum.
    pub lost: u64,
    /// The same per connection and master; counters that all connections share are only in the sum.
    pub lost_writes: Vec<LostWrites>,
    /// Longest time in milliseconds without a successful write to the slots that each node owned at the start.
    pub longest_gap_ms: BTreeMap<String, u64>,
    /// How many promises were broken.
    pub violation_count: u64,
    /// The first of them in words.
    pub violations: Vec<String>,
}

impl Report {
    /// No promise was broken. Failures are no broken promises.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.violation_count == 0
    }

    /// # Panics
    /// A promise was broken; the message is the report.
    pub fn assert_clean(&self) {
        assert!(self.is_clean(), "{self}");
    }

    /// # Panics
    /// A promise was broken or a command failed; the message is the report.
    pub fn assert_no_failures(&self) {
        self.assert_clean();
        assert!(self.failed == 0, "{self}");
    }

    /// The longest gap of all owners in milliseconds.
    #[must_use]
    pub fn longest_gap(&self) -> u64 {
        self.longest_gap_ms.values().copied().max().unwrap_or(0)
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report has only strings as keys")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (t, r) = (&self.tally, &self.tally.redirections);
        let seconds = self.duration_ms as f64 / 1000.0;
        writeln!(f, "checked writer: {} operations ({} reads) in {seconds:.1} s", t.operations, t.reads)?;
        writeln!(
            f,
            "  acknowledged {}, failed {}, of these unknown {}",
            t.acknowledged, self.failed, t.unknown
        )?;
        writeln!(f, "  redirections: {} MOVED, {} ASK, {} TRYAGAIN", r.moved, r.ask, r.try_again)?;
        writeln!(f, "  reconnected {}, connections not made {}", r.reconnects, r.connect_failures)?;
        let [p50, p99, longest] = [0.5, 0.99, 1.0].map(|part| t.latency.quantile_ms(part));
        writeln!(f, "  took {p50:.2} ms (median), {p99:.2} ms (99 %), {longest:.0} ms (longest)")?;
        for (what, count) in &t.failures {
            writeln!(f, "  failure {what}: {count}")?;
        }
        for (owner, gap) in &self.longest_gap_ms {
            writeln!(f, "  longest time without a write to the slots of {owner}: {gap} ms")?;
        }
        writeln!(f, "  lost {} (may lose: {:?}), {} keys checked", self.lost, self.loss, self.keys_checked)?;
        for l in &self.lost_writes {
            let (span, all) = (l.span_ms, l.acknowledged);
            writeln!(
                f,
                "  connection {} lost {} of {all} at {} within {span} ms",
                l.connection, l.lost, l.master
            )?;
        }
        writeln!(f, "  broken promises: {}", self.violation_count)?;
        self.violations.iter().try_for_each(|text| writeln!(f, "  ! {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let mut tally = Tally { operations: 3, reads: 1, acknowledged: 2, unknown: 1, ..Tally::default() };
        tally.failures.insert("no reply in time".into(), 1);
        tally.latency.record(Duration::from_millis(7));
        let master = "10.0.0.1:6379".to_owned();
        let lost = LostWrites {
            connection: 1,
            master: master.clone(),
            lost: 2,
            acknowledged: 9,
            first_at_ms: 4,
            span_ms: 5,
        };
        let report = Report {
            duration_ms: 10,
            loss: Loss::Suffix,
            tally,
            failed: 1,
            keys_checked: 2,
            lost: 2,
            lost_writes: vec![lost],
            longest_gap_ms: BTreeMap::from([(master, 8)]),
            violation_count: 1,
            violations: vec!["x".into()],
        };
        let read: Report = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(read.to_string(), report.to_string());
    }
}

//! A master that dies takes a suffix of what it acknowledged with it: its successor has everything up to some write and nothing
//! behind it. What reads of the successor have shown of the former's writes must fit that, also where it was written over
//! before the end.

use super::history::{Mastership, Promise};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whose writes, and who was asked for them.
type Succession = (Arc<Mastership>, Arc<Mastership>);
/// A write's number among those of its connection, and its key.
type Write = (u64, String);

/// What reads have shown of one connection's writes.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence(BTreeMap<Succession, Shown>);

#[derive(Clone, Debug, Default)]
struct Shown {
    first_missing: Option<Write>,
    last_kept: Option<Write>,
}

impl Evidence {
    /// A write was found missing.
    pub(super) fn missing(&mut self, key: &str, write: &Promise, at: &Arc<Mastership>) {
        let shown = self.of(write, at);
        if shown.first_missing.as_ref().is_none_or(|(seq, _)| write.seq < *seq) {
            shown.first_missing = Some((write.seq, key.to_owned()));
        }
    }

    /// A write was found.
    pub(super) fn kept(&mut self, key: &str, write: &Promise, at: &Arc<Mastership>) {
        if write.by == *at {
            return;
        }
        let shown = self.of(write, at);
        if shown.last_kept.as_ref().is_none_or(|(seq, _)| write.seq > *seq) {
            shown.last_kept = Some((write.seq, key.to_owned()));
        }
    }

    fn of(&mut self, write: &Promise, at: &Arc<Mastership>) -> &mut Shown {
        self.0.entry((Arc::clone(&write.by), Arc::clone(at))).or_default()
    }

    /// Successors that have something and not all before it, in words.
    pub(super) fn contradictions(&self) -> Vec<String> {
        let told = |((by, at), shown): (&Succession, &Shown)| {
            let ((missing, lost_key), (kept, kept_key)) =
                (shown.first_missing.as_ref()?, shown.last_kept.as_ref()?);
            (kept >= missing).then(|| {
                let (by, at) = (&by.node, &at.node);
                format!(
                    "wrote {missing} ({lost_key}) and then {kept} ({kept_key}) to {by}: {at} had the second and not the first"
                )
            })
        };
        self.0.iter().filter_map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mastership(replid: &str) -> Arc<Mastership> {
        Arc::new(Mastership { node: format!("node-{replid}"), replid: replid.into() })
    }

    fn write(seq: u64, by: &Arc<Mastership>) -> Promise {
        Promise { seq, by: Arc::clone(by), at: seq }
    }

    #[test]
    fn a_successor_has_a_prefix() {
        let (former, successor, third) = (mastership("a"), mastership("b"), mastership("c"));
        let mut evidence = Evidence::default();
        for seq in [3, 1, 2] {
            evidence.kept("k", &write(seq, &former), &successor);
        }
        evidence.missing("m", &write(6, &former), &successor);
        evidence.missing("m", &write(5, &former), &successor);
        // Who wrote it has it, as long as it lives; another successor is another matter.
        evidence.kept("k", &write(9, &former), &former);
        evidence.kept("k", &write(9, &former), &third);
        assert_eq!(evidence.contradictions(), [""; 0]);
        // Half of a transaction.
        evidence.kept("k5", &write(5, &former), &successor);
        assert_eq!(
            evidence.contradictions(),
            ["wrote 5 (m) and then 5 (k5) to node-a: node-b had the second and not the first"]
        );
    }
}

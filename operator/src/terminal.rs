//! What a person sees of `operator local`: one line per change, and a table with slot bars.

use crate::status::{REFUSED, holds};
use node_server_protocol::{SLOT_COUNT, SlotRange, SlotSet};
use operator_api::{NodeState, PlanStatus, RedisClusterStatus, ShardStatus};
use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

/// Characters of a slot bar; one stands for 16384 / this many slots.
const BAR: usize = 48;
/// What is waited for is said when it has not come for so long, and so is what is refused.
const PATIENCE: Duration = Duration::from_secs(1);

/// Prints what changes.
pub struct Terminal<W> {
    out: W,
    begun: Instant,
    /// What is waited for: since when, and whether that was said.
    waits: BTreeMap<String, (Instant, bool)>,
    table: String,
}

impl<W: Write> Terminal<W> {
    /// Prints to `out`; times count from now.
    pub fn new(out: W) -> Self {
        Self { out, begun: Instant::now(), waits: BTreeMap::new(), table: String::new() }
    }

    /// One line with the time since the beginning.
    pub fn line(&mut self, text: &str) {
        self.print(&format!("{:8.2}s  {text}\n", self.begun.elapsed().as_secs_f64()));
    }

    /// What is refused and what is waited for, once that lasts: each when it was not said before.
    pub fn waits(&mut self, plan: &PlanStatus, now: Instant) {
        let mut waits = BTreeMap::new();
        for line in &plan.waiting {
            let (since, said) = self.waits.remove(line).unwrap_or((now, false));
            let due = now.duration_since(since) >= PATIENCE;
            if due && !said {
                let prefix = if line.starts_with(REFUSED) { "" } else { "waiting for " };
                self.line(&format!("{prefix}{line}"));
            }
            waits.insert(line.clone(), (since, said || due));
        }
        self.waits = waits;
    }

    /// The table, when it has changed since it was last shown.
    pub fn table(&mut self, name: &str, status: &RedisClusterStatus) {
        let table = table(name, status);
        if table != self.table {
            self.print(&table);
            self.table = table;
        }
    }

    /// A terminal that has gone away is no reason to stop healing a cluster.
    fn print(&mut self, text: &str) {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        if let Err(error) = written {
            tracing::debug!(%error, "could not print");
        }
    }
}

fn table(name: &str, status: &RedisClusterStatus) -> String {
    let ready = if holds(status, "Ready") { "Ready" } else { "not Ready" };
    let mut text = format!(
        "\n  {name}: {ready}, {} masters, {} of {SLOT_COUNT} slots served, epoch {}\n",
        status.masters, status.slots_covered, status.current_epoch
    );
    for shard in &status.shards {
        text.push_str(&format!(
            "  {:<10} {} {:>5}  {}\n",
            shard.name,
            bar(shard),
            shard.slot_count,
            shard.slots
        ));
        for node in &shard.nodes {
            let why = if node.why.is_empty() { String::new() } else { format!("  ({})", node.why) };
            let short = node.id.get(..8).unwrap_or("-");
            text.push_str(&format!(
                "    {:<10} {:<8} {short:<8} {}{why}\n",
                node.pod,
                node.role,
                state(node.state)
            ));
        }
    }
    text.push('\n');
    text
}

const fn state(state: NodeState) -> &'static str {
    match state {
        NodeState::Ok => "ok",
        NodeState::Syncing => "syncing",
        NodeState::ClosedEmpty => "closed: empty",
        NodeState::Dead => "dead",
        NodeState::Unknown => "unknown",
    }
}

/// Where in 0…16383 a shard's slots lie.
fn bar(shard: &ShardStatus) -> String {
    let ranges = shard.slots.split(',').filter_map(|r| r.parse::<SlotRange>().ok());
    let set: SlotSet = ranges.collect();
    let width = usize::from(SLOT_COUNT) / BAR;
    let mut counts = [0; BAR];
    for slot in set.iter() {
        counts[(slot.index() / width).min(BAR - 1)] += 1;
    }
    counts
        .iter()
        .map(|n| {
            if *n == 0 {
                '·'
            } else if *n * 2 < width {
                '▌'
            } else {
                '█'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_where_the_slots_are() {
        let shard = |slots: &str| ShardStatus { slots: slots.into(), ..ShardStatus::default() };
        assert_eq!(bar(&shard("0-16383")), "█".repeat(BAR));
        assert_eq!(bar(&shard("")), "·".repeat(BAR));
        assert!(bar(&shard("0-8191")).starts_with(&"█".repeat(BAR / 2 - 1)));
        assert!(bar(&shard("0-8191")).ends_with(&"·".repeat(BAR / 2 - 1)));
        assert_eq!(bar(&shard("0-10")).chars().next(), Some('▌'));
    }

    #[test]
    fn a_wait_is_said_once_and_only_when_it_takes_long() {
        let (mut out, now) = (Vec::new(), Instant::now());
        let mut terminal = Terminal::new(&mut out);
        let plan = |waiting: &[&str]| PlanStatus {
            waiting: waiting.iter().map(ToString::to_string).collect(),
            ..PlanStatus::default()
        };
        let both = plan(&["refused: to forget it", "demo-0-0 to answer"]);
        terminal.waits(&both, now);
        terminal.waits(&both, now + PATIENCE / 2);
        terminal.waits(&both, now + PATIENCE);
        terminal.waits(&both, now + PATIENCE * 2);
        terminal.waits(&plan(&[]), now + PATIENCE * 2);
        terminal.waits(&plan(&["demo-0-0 to answer"]), now + PATIENCE * 2);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches("refused: to forget it").count(), 1);
        assert_eq!(text.matches("waiting for demo-0-0 to answer").count(), 1);
    }
}

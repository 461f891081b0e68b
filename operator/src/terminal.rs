//! What a person sees of `operator local`: one line per change, and a table with slot bars.

use crate::status::holds;
use node_server_protocol::{SLOT_COUNT, SlotRange, SlotSet};
use operator_api::{NodeState, RedisClusterStatus, ShardStatus};
use std::io::Write;
use std::time::Instant;

/// Characters of a slot bar; one stands for 16384 / this many slots.
const BAR: usize = 48;

/// Prints what changes.
pub struct Terminal<W> {
    out: W,
    begun: Instant,
    last: Vec<String>,
    table: String,
}

impl<W: Write> Terminal<W> {
    /// Prints to `out`; times count from now.
    pub fn new(out: W) -> Self {
        Self { out, begun: Instant::now(), last: Vec::new(), table: String::new() }
    }

    /// One line with the time since the beginning.
    pub fn line(&mut self, text: &str) {
        self.print(&format!("{:8.2}s  {text}\n", self.begun.elapsed().as_secs_f64()));
    }

    /// What will be done and what is waited for, as far as it was not said the last time.
    pub fn plan(&mut self, status: &RedisClusterStatus) {
        let lines: Vec<String> = status
            .plan
            .next
            .iter()
            .cloned()
            .chain(status.plan.waiting.iter().map(|w| format!("… {w}")))
            .collect();
        for line in lines.iter().filter(|l| !self.last.contains(l)).cloned().collect::<Vec<_>>() {
            self.line(&line);
        }
        self.last = lines;
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
    fn a_line_of_the_plan_is_said_once() {
        let mut out = Vec::new();
        let mut terminal = Terminal::new(&mut out);
        let mut status = RedisClusterStatus::default();
        status.plan.next = vec!["meet".into()];
        terminal.plan(&status);
        terminal.plan(&status);
        status.plan.next.clear();
        terminal.plan(&status);
        status.plan.next = vec!["meet".into()];
        terminal.plan(&status);
        assert_eq!(String::from_utf8(out).unwrap().matches("meet").count(), 2);
    }
}

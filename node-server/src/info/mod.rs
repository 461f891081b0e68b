//! INFO, with Redis's headings and the fields that clients, redis-cli and redis_exporter read.

mod process;
mod replication;
mod statistics;
pub mod system;
pub mod text;

use crate::node::Node;
use node_server_protocol::Millis;
use text::InfoText;

/// The Redis release whose commands and replies this server follows. Clients choose features by it.
pub const REDIS_VERSION: &str = "7.2.4";

type Writer = fn(&Node, Millis, &mut InfoText);

/// Section, whether plain INFO shows it, whether `all` does, and who writes it.
const SECTIONS: &[(&str, bool, bool, Writer)] = &[
    ("server", true, true, process::server),
    ("clients", true, true, process::clients),
    ("memory", true, true, process::memory),
    ("persistence", true, true, process::persistence),
    ("stats", true, true, statistics::stats),
    ("replication", true, true, replication::replication),
    ("cpu", true, true, process::cpu),
    ("modules", true, false, process::modules),
    ("commandstats", false, true, statistics::command_stats),
    ("errorstats", true, true, statistics::error_stats),
    ("latencystats", false, true, statistics::latency_stats),
    ("cluster", true, true, process::cluster),
    ("keyspace", true, true, statistics::keyspace),
];

/// The text for the sections that were asked for; none means the default ones. Unknown names give nothing.
#[must_use]
pub fn info(node: &Node, wanted: &[&[u8]], now: Millis) -> String {
    let mut out = InfoText::default();
    for (name, by_default, in_all, write) in SECTIONS {
        if is_wanted(name, *by_default, *in_all, wanted) {
            write(node, now, &mut out);
        }
    }
    out.finish()
}

fn is_wanted(name: &str, by_default: bool, in_all: bool, wanted: &[&[u8]]) -> bool {
    if wanted.is_empty() {
        return by_default;
    }
    wanted.iter().any(|word| match word.to_ascii_lowercase().as_slice() {
        b"default" => by_default,
        b"all" => in_all,
        b"everything" => true,
        word => word == name.as_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(wanted: &[&str]) -> Vec<&'static str> {
        let wanted: Vec<&[u8]> = wanted.iter().map(|w| w.as_bytes()).collect();
        let shown = SECTIONS.iter().filter(|(name, d, a, _)| is_wanted(name, *d, *a, &wanted));
        shown.map(|(name, ..)| *name).collect()
    }

    #[test]
    fn words_choose_sections_as_in_redis() {
        assert!(!sections(&[]).contains(&"commandstats"));
        assert_eq!(sections(&["default"]), sections(&[]));
        assert!(sections(&["ALL"]).contains(&"commandstats") && !sections(&["all"]).contains(&"modules"));
        assert_eq!(sections(&["everything"]).len(), SECTIONS.len());
        assert_eq!(sections(&["Keyspace", "server", "nonsense"]), ["server", "keyspace"]);
    }
}

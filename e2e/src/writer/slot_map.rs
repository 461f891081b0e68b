//! Who owns which slot, as CLUSTER SLOTS says.

use node_server_protocol::resp::Reply;
use node_server_protocol::{SLOT_COUNT, Slot};

/// A client's idea of the owners.
#[derive(Clone, Debug)]
pub(super) struct SlotMap {
    nodes: Vec<String>,
    owners: Vec<Option<usize>>,
}

impl SlotMap {
    pub(super) fn new() -> Self {
        Self { nodes: Vec::new(), owners: vec![None; usize::from(SLOT_COUNT)] }
    }

    pub(super) fn owner(&self, slot: Slot) -> Option<&str> {
        self.owner_index(slot).map(|i| self.nodes[i].as_str())
    }

    /// Index of the owner in [`Self::nodes`].
    pub(super) fn owner_index(&self, slot: Slot) -> Option<usize> {
        self.owners[slot.index()]
    }

    pub(super) fn nodes(&self) -> &[String] {
        &self.nodes
    }

    pub(super) fn set_owner(&mut self, slot: Slot, node: &str) {
        self.owners[slot.index()] = Some(self.index(node));
    }

    fn index(&mut self, node: &str) -> usize {
        self.nodes.iter().position(|known| known == node).unwrap_or_else(|| {
            self.nodes.push(node.to_owned());
            self.nodes.len() - 1
        })
    }

    /// Takes over a reply of CLUSTER SLOTS that `asked` (host:port) gave. Slots that it does not mention keep their
    /// owner. False when it is no such reply.
    pub(super) fn update(&mut self, reply: &Reply, asked: &str) -> bool {
        let Reply::Array(entries) = reply else { return false };
        !entries.is_empty() && entries.iter().all(|entry| self.update_range(entry, asked).is_some())
    }

    fn update_range(&mut self, entry: &Reply, asked: &str) -> Option<()> {
        let Reply::Array(fields) = entry else { return None };
        let [Reply::Integer(first), Reply::Integer(last), Reply::Array(master), replicas @ ..] = &fields[..]
        else {
            return None;
        };
        let [host, Reply::Integer(port), ..] = &master[..] else { return None };
        let node = node_name(&host_text(host), *port, asked);
        let index = self.index(&node);
        for slot in *first..=*last {
            let slot = Slot::new(u16::try_from(slot).ok()?)?;
            self.owners[slot.index()] = Some(index);
        }
        for replica in replicas {
            if let Reply::Array(fields) = replica
                && let [host, Reply::Integer(port), ..] = &fields[..]
            {
                self.index(&node_name(&host_text(host), *port, asked));
            }
        }
        Some(())
    }
}

fn host_text(host: &Reply) -> String {
    match host {
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    }
}

/// An empty host means that of the node that was asked.
fn node_name(host: &str, port: i64, asked: &str) -> String {
    let host = if host.is_empty() { host_of(asked) } else { host };
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn host_of(node: &str) -> &str {
    node.rsplit_once(':').map_or(node, |(host, _)| host)
}

/// What an error reply asks a client to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Redirection {
    /// The slot belongs to that node now.
    Moved(Slot, String),
    /// This once, ask that node.
    Ask(String),
    /// The keys are on both sides of a move.
    TryAgain,
}

impl Redirection {
    /// Reads an error text that `asked` gave.
    pub(super) fn parse(error: &str, asked: &str) -> Option<Self> {
        let mut words = error.split(' ');
        let kind = words.next()?;
        if kind == "TRYAGAIN" {
            return Some(Self::TryAgain);
        }
        if kind != "MOVED" && kind != "ASK" {
            return None;
        }
        let slot = Slot::new(words.next()?.parse().ok()?)?;
        let (host, port) = words.next()?.rsplit_once(':')?;
        let to = node_name(host, port.parse().ok()?, asked);
        Some(if kind == "MOVED" { Self::Moved(slot, to) } else { Self::Ask(to) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections() {
        let slot = Slot::new(5).unwrap();
        let parse = |text| Redirection::parse(text, "10.0.0.1:7");
        assert_eq!(parse("MOVED 5 10.0.0.2:7002"), Some(Redirection::Moved(slot, "10.0.0.2:7002".into())));
        assert_eq!(parse("MOVED 5 :7002"), Some(Redirection::Moved(slot, "10.0.0.1:7002".into())));
        assert_eq!(parse("ASK 5 2001:db8::1:7002"), Some(Redirection::Ask("[2001:db8::1]:7002".into())));
        assert_eq!(parse("TRYAGAIN Multiple keys"), Some(Redirection::TryAgain));
        assert_eq!(parse("CLUSTERDOWN The cluster is down"), None);
        assert_eq!(parse("MOVED 16384 a:1"), None);
    }

    #[test]
    fn cluster_slots() {
        let node = |host: &str, port| Reply::Array(vec![Reply::Bulk(host.into()), Reply::Integer(port)]);
        let range = |a, b, n| Reply::Array(vec![Reply::Integer(a), Reply::Integer(b), n]);
        let mut map = SlotMap::new();
        let reply = Reply::Array(vec![range(0, 9, node("a", 1)), range(10, 16_383, node("", 2))]);
        assert!(map.update(&reply, "b:9"));
        assert_eq!(map.owner(Slot::FIRST), Some("a:1"));
        assert_eq!(map.owner(Slot::LAST), Some("b:2"));
        assert!(!map.update(&Reply::Error("ERR".into()), "b:9"));
    }
}

//! Commands that only look.

use super::NodeName;
use crate::Cluster;
use crate::config::EndpointType;
use crate::io::DatasetInfo;
use crate::node::Node;
use crate::stats::TYPES;
use node_server_protocol::resp::ReplyWriter;
use node_server_protocol::routing::Serving;
use node_server_protocol::{Family, SLOT_COUNT, Slot};
use std::collections::BTreeMap;
use std::fmt::Write as _;

impl Cluster {
    pub(crate) fn nodes_reply(&self, family: Family) -> String {
        let mut text = String::new();
        for node in self.view.nodes.values() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", self.view.line(node, self.links.is_up(node.link), Some(family)));
        }
        text
    }

    pub(super) fn replicas_reply(
        &self,
        name: &NodeName,
        family: Family,
        reply: &mut ReplyWriter<'_>,
    ) -> Result<(), String> {
        let known = name.id().and_then(|id| self.view.node(id));
        let node = known.ok_or_else(|| format!("ERR Unknown node {name}"))?;
        if node.is_replica() {
            return Err("ERR The specified node is not a master".into());
        }
        let replicas: Vec<&Node> = self.view.replicas_of(node.id).collect();
        reply.array(replicas.len());
        for replica in replicas {
            let line = self.view.line(replica, self.links.is_up(replica.link), Some(family));
            reply.bulk(line.to_string().as_bytes());
        }
        Ok(())
    }

    pub(super) fn count_failure_reports(
        &mut self,
        name: &NodeName,
        reply: &mut ReplyWriter<'_>,
    ) -> Result<(), String> {
        let known = name.id().and_then(|id| self.view.node(id)).map(|n| n.id);
        let id = known.ok_or_else(|| format!("ERR Unknown node {name}"))?;
        reply.integer(self.failure_reports(id) as i64);
        Ok(())
    }

    pub(super) fn info_reply(&self, keys: DatasetInfo) -> String {
        let count = |wanted: fn(&Node) -> bool| -> usize {
            self.view.nodes.values().filter(|n| wanted(n)).map(|n| n.slots.len()).sum()
        };
        let (pfail, fail) = (count(|n| n.is_suspect() && !n.is_failed()), count(Node::is_failed));
        let assigned = count(|_| true);
        let fields = [
            ("cluster_state", if self.serving() == Serving::Ok { "ok".into() } else { "fail".to_owned() }),
            ("cluster_slots_assigned", assigned.to_string()),
            ("cluster_slots_ok", (assigned - pfail - fail).to_string()),
            ("cluster_slots_pfail", pfail.to_string()),
            ("cluster_slots_fail", fail.to_string()),
            ("cluster_known_nodes", self.view.nodes.len().to_string()),
            ("cluster_size", self.view.size().to_string()),
            ("cluster_current_epoch", self.view.current_epoch.to_string()),
            ("cluster_my_epoch", self.view.shard_master().config_epoch.to_string()),
        ];
        let mut text = String::new();
        for (name, value) in fields {
            let _ = write!(text, "{name}:{value}\r\n");
        }
        write_counts(&mut text, &self.stats.sent, "sent");
        write_counts(&mut text, &self.stats.received, "received");
        text.push_str("total_cluster_links_buffer_limit_exceeded:0\r\n");
        if self.guard.is_closed() {
            text.push_str("cluster_closed_empty:1\r\n");
        }
        self.write_shards_trouble(&mut text);
        let _ = write!(text, "cluster_quarantined_slots:{}\r\n", keys.quarantined_slots);
        let _ = write!(text, "cluster_quarantined_keys:{}\r\n", keys.quarantined_keys);
        // Their keys are still here; the operator asks before it opens an owner without data.
        let kept = self.slots_kept_for_others();
        if !kept.is_empty() {
            let _ = write!(text, "cluster_lost_slots:{kept}\r\n");
        }
        text
    }

    /// What an operator asks before it has a replica take over by force: whether the replica has a copy at all, and how long
    /// ago each master out of reach last said that it serves, in seconds (-1: not since this node's start). What such a
    /// master acknowledged until then may be missing on a replica that had lost its link before.
    fn write_shards_trouble(&self, text: &mut String) {
        if !self.view.i_am_master() && !self.has_copy {
            text.push_str("cluster_no_copy:1\r\n");
        }
        let lost = |n: &&Node| n.is_failed() || n.is_suspect() || !self.links.is_up(n.link);
        let masters = self.view.others().filter(|n| n.votes()).filter(lost);
        let entry = |n: &Node| {
            let ago_s = n.served.map_or(-1, |at| (self.now.since(at) / 1000) as i64);
            format!("{}={ago_s}", n.id)
        };
        let entries: Vec<String> = masters.map(entry).collect();
        let _ = write!(text, "cluster_unreachable_masters:{}\r\n", entries.join(","));
    }

    pub(super) fn links_reply(&self, reply: &mut ReplyWriter<'_>) {
        let links: Vec<_> = self.links.all.iter().filter(|(_, link)| link.node.is_some()).collect();
        reply.array(links.len());
        for (id, link) in links {
            reply.map(6);
            reply.bulk(b"direction");
            reply.bulk(if id.is_inbound() { b"from" } else { b"to" });
            reply.bulk(b"node");
            reply.bulk(link.node.map(|n| n.to_string()).unwrap_or_default().as_bytes());
            reply.bulk(b"create-time");
            reply.integer(link.created.0 as i64);
            reply.bulk(b"events");
            reply.bulk(if link.up { b"r" } else { b"rw" });
            // The queues are the shell's.
            for field in ["send-buffer-allocated", "send-buffer-used"] {
                reply.bulk(field.as_bytes());
                reply.integer(0);
            }
        }
    }

    /// Owned slots as ranges, ascending, each with its owner.
    fn owned_ranges(&self) -> Vec<(Slot, Slot, &Node)> {
        let owners = self.view.nodes.values().filter(|n| !n.slots.is_empty());
        let mut ranges: Vec<_> =
            owners.flat_map(|n| n.slots.ranges().into_iter().map(move |r| (r.start(), r.end(), n))).collect();
        ranges.sort_by_key(|(start, _, _)| *start);
        debug_assert!(ranges.len() <= usize::from(SLOT_COUNT));
        ranges
    }

    /// A replica that clients may be sent to: it lives and has data.
    fn is_available(&self, node: &Node) -> bool {
        !node.is_failed() && self.offset_of(node) > 0
    }

    pub(super) fn offset_of(&self, node: &Node) -> u64 {
        if node.id == self.view.me { self.replication.offset } else { node.offset.unwrap_or(0) }
    }

    pub(super) fn slots_reply(&self, family: Family, reply: &mut ReplyWriter<'_>) {
        let mut replicas: BTreeMap<_, Vec<&Node>> = BTreeMap::new();
        for node in self.view.nodes.values().filter(|n| n.is_replica() && self.is_available(n)) {
            replicas.entry(node.master).or_default().push(node);
        }
        let ranges = self.owned_ranges();
        reply.array(ranges.len());
        for (start, end, owner) in ranges {
            let copies = replicas.get(&Some(owner.id)).map_or(&[][..], Vec::as_slice);
            reply.array(3 + copies.len());
            reply.integer(start.number().into());
            reply.integer(end.number().into());
            self.slots_node(owner, family, reply);
            copies.iter().for_each(|node| self.slots_node(node, family, reply));
        }
    }

    /// Endpoint, port, name, and what else there is to reach it by.
    fn slots_node(&self, node: &Node, family: Family, reply: &mut ReplyWriter<'_>) {
        let kind = self.config.endpoint_type;
        let address = node.address_for(family);
        let ip = if address.has_ip() { address.ip.to_string() } else { String::new() };
        reply.array(4);
        if kind == EndpointType::Unknown {
            reply.null();
        } else {
            reply.bulk(self.endpoint(node, family).as_bytes());
        }
        reply.integer(address.port.into());
        reply.bulk(&node.id.to_hex());
        let ip = Some(("ip", ip.as_str())).filter(|_| kind != EndpointType::Ip);
        let hostname = node.announced.hostname.as_deref().filter(|_| kind != EndpointType::Hostname);
        let zone = node.announced.zone.as_deref();
        let more = [ip, hostname.map(|h| ("hostname", h)), zone.map(|z| ("availability-zone", z))];
        let more: Vec<_> = more.into_iter().flatten().collect();
        reply.map(more.len());
        for (name, value) in more {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        }
    }
}

fn write_counts(text: &mut String, counts: &BTreeMap<&'static str, u64>, what: &str) {
    for name in TYPES {
        if let Some(count) = counts.get(name) {
            let _ = write!(text, "cluster_stats_messages_{name}_{what}:{count}\r\n");
        }
    }
    let total: u64 = counts.values().sum();
    let _ = write!(text, "cluster_stats_messages_{what}:{total}\r\n");
}

//! CLUSTER SHARDS.

use crate::Cluster;
use crate::node::Node;
use node_server_protocol::Family;
use node_server_protocol::resp::ReplyWriter;

impl Cluster {
    pub(super) fn shards_reply(&self, family: Family, reply: &mut ReplyWriter<'_>) {
        let masters: Vec<&Node> =
            self.view.nodes.values().filter(|n| !n.is_replica() && !n.in_handshake()).collect();
        reply.array(masters.len());
        for master in masters {
            let ranges = master.slots.ranges();
            reply.map(2);
            reply.bulk(b"slots");
            reply.array(ranges.len() * 2);
            for range in ranges {
                reply.integer(range.start().number().into());
                reply.integer(range.end().number().into());
            }
            let replicas: Vec<&Node> = self.view.replicas_of(master.id).collect();
            reply.bulk(b"nodes");
            reply.array(1 + replicas.len());
            self.shard_node(master, family, reply);
            replicas.into_iter().for_each(|node| self.shard_node(node, family, reply));
        }
    }

    fn shard_node(&self, node: &Node, family: Family, reply: &mut ReplyWriter<'_>) {
        let address = node.address_for(family);
        let (hostname, zone) = (&node.announced.hostname, &node.announced.zone);
        let ip = if address.has_ip() { address.ip.to_string() } else { String::new() };
        let offset = self.offset_of(node);
        let health = if node.is_failed() {
            "fail"
        } else if node.is_replica() && offset == 0 {
            "loading"
        } else {
            "online"
        };
        let role = if node.is_replica() { "replica" } else { "master" };
        reply.map(7 + usize::from(hostname.is_some()) + usize::from(zone.is_some()));
        let mut field = |name: &str, value: &str| {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        };
        field("id", &node.id.to_string());
        reply.bulk(b"port");
        reply.integer(address.port.into());
        let mut field = |name: &str, value: &str| {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        };
        field("ip", &ip);
        field("endpoint", &self.endpoint(node, family));
        if let Some(hostname) = hostname {
            field("hostname", hostname);
        }
        field("role", role);
        reply.bulk(b"replication-offset");
        reply.integer(offset as i64);
        reply.bulk(b"health");
        reply.bulk(health.as_bytes());
        if let Some(zone) = zone {
            reply.bulk(b"availability-zone");
            reply.bulk(zone.as_bytes());
        }
    }
}

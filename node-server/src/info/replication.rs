//! The replication section.

use super::text::InfoText;
use crate::node::{MasterLink, Node, ReplicationStatus};
use node_server_engine::log::History;
use node_server_protocol::Millis;

pub(super) fn replication(node: &Node, now: Millis, out: &mut InfoText) {
    let status = node.replication.status.load();
    let settings = node.config.settings();
    let log = node.engine.log();
    let (first, bytes) = log.backlog();
    out.heading("Replication");
    let about =
        About { offset: log.end(), priority: settings.replica_priority, good: node.good_replicas(now) };
    write_links(&status, &about, now, out);
    out.field("master_failover_state", status.failover.word());
    write_history(&log.history(), log.end(), out);
    // The log is there from the start, until `repl-backlog-ttl`; Redis makes its backlog with the first replica.
    let active = !log.is_asleep();
    out.field("repl_backlog_active", u8::from(active));
    out.field("repl_backlog_size", log.capacity());
    out.field("repl_backlog_first_byte_offset", if active { first + 1 } else { 0 });
    // Asleep it holds at most what the append-only file is about to write.
    out.field("repl_backlog_histlen", if active { bytes } else { 0 });
}

/// What the links' fields need besides the status.
struct About {
    offset: u64,
    priority: u64,
    /// Replicas that count for `min-replicas-to-write`, where it asks for any.
    good: Option<usize>,
}

fn write_links(status: &ReplicationStatus, about: &About, now: Millis, out: &mut InfoText) {
    match &status.master {
        None => out.field("role", "master"),
        Some(master) => write_master_link(master, about.offset, about.priority, now, out),
    }
    out.field("connected_slaves", status.replicas.len());
    if let Some(good) = about.good {
        out.field("min_slaves_good_slaves", good);
    }
    for (n, replica) in status.replicas.iter().enumerate() {
        let lag = now.since(replica.last_ack) / 1000;
        let (ip, port, state) = (&replica.ip, replica.port, replica.state);
        let line = format!("ip={ip},port={port},state={state},offset={},lag={lag}", replica.offset);
        out.field(&format!("slave{n}"), line);
    }
}

fn write_history(history: &History, offset: u64, out: &mut InfoText) {
    out.field("master_replid", &history.replid);
    out.field("master_replid2", &history.replid2);
    out.field("master_repl_offset", offset);
    out.field("second_repl_offset", history.second_offset);
}

fn write_master_link(master: &MasterLink, offset: u64, priority: u64, now: Millis, out: &mut InfoText) {
    let up = master.state == "connected";
    let seconds = |since: Option<Millis>| since.map_or(-1, |at| (now.since(at) / 1000) as i64);
    out.field("role", "slave");
    out.field("master_host", &master.host);
    out.field("master_port", master.port);
    out.field("master_link_status", if up { "up" } else { "down" });
    out.field("master_last_io_seconds_ago", if up { seconds(master.last_io) } else { -1 });
    out.field("master_sync_in_progress", u8::from(master.state == "sync"));
    out.field("slave_read_repl_offset", offset);
    out.field("slave_repl_offset", offset);
    if master.resync && !up {
        // Not Redis's. The operator asks it: Redis tells by an offset of 0, and -1 below would be wrong after a link.
        out.field("master_sync_unfinished", 1);
    }
    if !up {
        out.field("master_link_down_since_seconds", seconds(master.down_since));
    }
    out.field("slave_priority", priority);
    out.field("slave_read_only", 1);
    out.field("replica_announced", 1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::ReplicaLink;

    fn text(status: &ReplicationStatus) -> String {
        let mut out = InfoText::default();
        write_links(status, &About { offset: 42, priority: 100, good: Some(1) }, Millis(10_000), &mut out);
        out.finish()
    }

    #[test]
    fn a_master_lists_its_replicas() {
        let replica = ReplicaLink {
            ip: "127.0.0.1".into(),
            port: 7,
            state: "online",
            offset: 40,
            last_ack: Millis(8900),
        };
        let status = ReplicationStatus { replicas: vec![replica], ..ReplicationStatus::default() };
        let text = text(&status);
        assert!(
            text.starts_with("role:master\r\nconnected_slaves:1\r\nmin_slaves_good_slaves:1\r\n"),
            "{text}"
        );
        assert!(text.contains("slave0:ip=127.0.0.1,port=7,state=online,offset=40,lag=1\r\n"), "{text}");
    }

    #[test]
    fn a_replica_tells_of_its_link() {
        let mut link = MasterLink {
            host: "127.0.0.2".into(),
            port: 8,
            id: None,
            state: "connected",
            last_io: Some(Millis(7000)),
            resync: false,
            down_since: None,
        };
        let up = text(&ReplicationStatus { master: Some(link.clone()), ..ReplicationStatus::default() });
        let expected = "role:slave\r\nmaster_host:127.0.0.2\r\nmaster_port:8\r\nmaster_link_status:up\r\n\
                        master_last_io_seconds_ago:3\r\nmaster_sync_in_progress:0\r\n";
        assert!(up.starts_with(expected), "{up}");
        link.state = "sync";
        link.down_since = Some(Millis(5000));
        link.resync = true;
        let down = text(&ReplicationStatus { master: Some(link), ..ReplicationStatus::default() });
        assert!(!up.contains("unfinished") && down.contains("master_sync_unfinished:1\r\n"), "{down}");
        assert!(down.contains("master_link_status:down\r\nmaster_last_io_seconds_ago:-1\r\n"), "{down}");
        assert!(down.contains("master_sync_in_progress:1\r\n") && down.contains("down_since_seconds:5\r\n"));
    }
}

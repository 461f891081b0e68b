//! ROLE.

use crate::node::{Node, ReplicationStatus};
use node_server_protocol::resp::ReplyWriter;

/// Answers ROLE from what the replication thread last said.
pub fn role(node: &Node, reply: &mut ReplyWriter<'_>) {
    let status = node.replication.status.load();
    write(&status, node.engine.log().end(), reply);
}

fn write(status: &ReplicationStatus, offset: u64, reply: &mut ReplyWriter<'_>) {
    let Some(master) = &status.master else {
        reply.array(3);
        reply.bulk(b"master");
        reply.integer(offset as i64);
        reply.array(status.replicas.len());
        for replica in &status.replicas {
            reply.array(3);
            reply.bulk(replica.ip.as_bytes());
            reply.bulk(replica.port.to_string().as_bytes());
            reply.bulk(replica.offset.to_string().as_bytes());
        }
        return;
    };
    reply.array(5);
    reply.bulk(b"slave");
    reply.bulk(master.host.as_bytes());
    reply.integer(i64::from(master.port));
    reply.bulk(master.state.as_bytes());
    reply.integer(if master.state == "connected" { offset as i64 } else { -1 });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{MasterLink, ReplicaLink};
    use node_server_protocol::Millis;
    use node_server_protocol::resp::Protocol;

    fn text(status: &ReplicationStatus) -> String {
        let mut out = Vec::new();
        write(status, 42, &mut ReplyWriter::new(&mut out, Protocol::Resp2));
        String::from_utf8(out).unwrap().replace("\r\n", " ")
    }

    #[test]
    fn a_master_names_its_replicas_and_a_replica_its_master() {
        let mut status = ReplicationStatus::default();
        assert_eq!(text(&status), "*3 $6 master :42 *0 ");
        let replica =
            ReplicaLink { ip: "::1".into(), port: 7, state: "online", offset: 5, last_ack: Millis(0) };
        status.replicas.push(replica);
        assert_eq!(text(&status), "*3 $6 master :42 *1 *3 $3 ::1 $1 7 $1 5 ");
        let mut link = MasterLink {
            host: "h".into(),
            port: 1,
            state: "sync",
            id: None,
            last_io: None,
            resync: false,
            down_since: None,
        };
        status.master = Some(link.clone());
        assert_eq!(text(&status), "*5 $5 slave $1 h :1 $4 sync :-1 ");
        link.state = "connected";
        status.master = Some(link);
        assert_eq!(text(&status), "*5 $5 slave $1 h :1 $9 connected :42 ");
    }
}

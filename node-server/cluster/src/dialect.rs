//! What a peer understands, learned from what it says (reference/cluster-bus §1.4 and §1.5).
//!
//! Redis and Valkey share the messages and part ways in the extensions: Redis 7.0 knows host names alone and complains in
//! its log about each other one, type 4 means two things and makes Redis 8 drop the packet, and Valkey has flags that Redis
//! never heard of. Nobody says which it is, so each is told by its flags. Redis 8's inner secret (type 4) is read and
//! never sent: it lets its modules' connections in, and this node has neither.

use node_server_protocol::bus::{Header, MessageFlags, NodeFlags, OwnFlags};

/// What a peer understands, the more the further down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dialect {
    /// No extensions. So is everybody until it was heard.
    #[default]
    Plain,
    /// Redis 7.0, which says that it has extensions only while it has a host name to tell.
    Hostnames,
    /// Redis from 7.2 on and Valkey 7.2: host name, node name, forgotten nodes, shard id.
    Redis,
    /// Valkey from 8.0 on and nodes of this project: also what clients shall use, and availability zones.
    Valkey,
}

/// Flags that only Valkey sets, from 8.0 on.
const VALKEY: NodeFlags =
    NodeFlags::LIGHT_PUBLISH.with(NodeFlags::LIGHT_MODULE).with(NodeFlags::MY_MASTER_FAIL);

impl Dialect {
    /// By what a node says of itself.
    pub(crate) fn of(header: &Header) -> Self {
        let by_flags = Self::of_flags(header.flags);
        if header.own.contains(OwnFlags::READS_ALL) {
            Self::Valkey
        } else if by_flags == Self::Plain && header.message_flags.contains(MessageFlags::EXT_DATA) {
            Self::Hostnames
        } else {
            by_flags
        }
    }

    /// By what others say of a node. They pass on what flags they know, and "has extensions" is also how those mark Redis 7.0
    /// that have had a host name from it: only what Valkey alone sets counts.
    pub(crate) const fn by_hearsay(flags: NodeFlags) -> Self {
        if flags.intersects(VALKEY) { Self::Valkey } else { Self::Plain }
    }

    /// By its own flags.
    const fn of_flags(flags: NodeFlags) -> Self {
        if flags.intersects(VALKEY) {
            Self::Valkey
        } else if flags.contains(NodeFlags::EXTENSIONS) {
            Self::Redis
        } else {
            Self::Plain
        }
    }
}

//! The sets of flags (reference/cluster-bus §1.2 and §1.4).

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

macro_rules! flag_set {
    ($(#[$doc:meta])* $name:ident($int:ty) { $($(#[$flag_doc:meta])* $flag:ident = $bit:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($int);

        impl $name {
            $($(#[$flag_doc])* pub const $flag: Self = Self($bit);)*

            /// No flag.
            #[must_use]
            pub const fn empty() -> Self {
                Self(0)
            }

            /// From the wire; bits without a name are kept.
            #[must_use]
            pub const fn from_bits(bits: $int) -> Self {
                Self(bits)
            }

            /// For the wire.
            #[must_use]
            pub const fn bits(self) -> $int {
                self.0
            }

            /// Whether all flags of `other` are here.
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether any flag of `other` is here.
            #[must_use]
            pub const fn intersects(self, other: Self) -> bool {
                self.0 & other.0 != 0
            }

            /// These flags and those of `other`.
            #[must_use]
            pub const fn with(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// These flags but those of `other`.
            #[must_use]
            pub const fn without(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }
        }

        impl BitOr for $name {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                self.with(other)
            }
        }

        impl BitOrAssign for $name {
            fn bitor_assign(&mut self, other: Self) {
                *self = self.with(other);
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let known = [$(($bit, $text)),*];
                let mut list = f.debug_set();
                for (_, text) in known.iter().filter(|(bit, _)| self.0 & bit != 0) {
                    list.entry(&format_args!("{text}"));
                }
                let rest = known.iter().fold(self.0, |rest, (bit, _)| rest & !bit);
                if rest != 0 {
                    list.entry(&format_args!("{rest:#x}"));
                }
                list.finish()
            }
        }
    };
}

flag_set! {
    /// What a header says of its sender, a gossip entry of its node, and CLUSTER NODES of a node.
    NodeFlags(u16) {
        /// A master.
        MASTER = 0x0001 "master",
        /// A replica.
        REPLICA = 0x0002 "replica",
        /// Suspected dead by the sender alone.
        PFAIL = 0x0004 "pfail",
        /// Found dead by a majority of the masters.
        FAIL = 0x0008 "fail",
        /// The sender itself.
        MYSELF = 0x0010 "myself",
        /// Its name is not known yet.
        HANDSHAKE = 0x0020 "handshake",
        /// Its address is not known.
        NOADDR = 0x0040 "noaddr",
        /// Shall be sent a MEET.
        MEET = 0x0080 "meet",
        /// A master that replicas of others may move to.
        MIGRATE_TO = 0x0100 "migrate-to",
        /// A replica that starts no election of its own.
        NO_FAILOVER = 0x0200 "nofailover",
        /// Understands ping extensions.
        EXTENSIONS = 0x0400 "extensions",
        /// Valkey: understands light headers of PUBLISH.
        LIGHT_PUBLISH = 0x0800 "light-publish",
        /// Valkey: understands light headers of MODULE, and MEET sent more than once.
        LIGHT_MODULE = 0x1000 "light-module",
        /// Valkey: a replica that sees its master as failed.
        MY_MASTER_FAIL = 0x2000 "my-master-fail",
    }
}

flag_set! {
    /// The first `mflags` byte of a header.
    MessageFlags(u8) {
        /// The master holds its writes for a manual failover.
        PAUSED = 0x01 "paused",
        /// Vote even if the master seems to live.
        FORCE_ACK = 0x02 "force-ack",
        /// Ping extensions follow the gossip, or are understood.
        EXT_DATA = 0x04 "ext-data",
    }
}

flag_set! {
    /// What a node of this project says in bytes of the header that Redis and Valkey leave unused.
    OwnFlags(u8) {
        /// It reads what either dialect has to say.
        READS_ALL = 0x01 "reads-all",
        /// This message has all that the node has to say: what is missing is not so (any more).
        SAYS_ALL = 0x02 "says-all",
    }
}

//! What is known about a command. One table of these drives dispatch, arity, flags, ACL categories, key specs and
//! COMMAND. Facts: the command reference of Redis 7.2 (redis.io/docs/latest/commands) and COMMAND's own output.

use super::call::{NodeHandler, SessionHandler, SlotHandler};
use crate::HostCommand;
use std::ops::BitOr;

/// How a command is run.
#[derive(Clone, Copy)]
pub enum Run {
    /// It touches keys of one slot, under that slot's lock.
    Slot(SlotHandler),
    /// It touches no key.
    Session(SessionHandler),
    /// It looks into slots of its own choice. With [`Flags::OFFLOAD`] it runs on a worker thread.
    Node(NodeHandler),
    /// The shell answers it.
    Host(HostCommand),
    /// Only its subcommands can be run.
    Container,
}

/// Flags, as COMMAND INFO shows them; some are the engine's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Flags(pub u32);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// May change keys.
    pub const WRITE: Self = Self(1);
    /// Only reads keys.
    pub const READONLY: Self = Self(1 << 1);
    /// May grow memory: refused when there is none left.
    pub const DENYOOM: Self = Self(1 << 2);
    /// For administrators.
    pub const ADMIN: Self = Self(1 << 3);
    /// About publish and subscribe.
    pub const PUBSUB: Self = Self(1 << 4);
    /// Not in scripts.
    pub const NOSCRIPT: Self = Self(1 << 5);
    /// May wait.
    pub const BLOCKING: Self = Self(1 << 6);
    /// Answered while the data is loaded.
    pub const LOADING: Self = Self(1 << 7);
    /// Answered by a replica without its master.
    pub const STALE: Self = Self(1 << 8);
    /// Not in MONITOR.
    pub const SKIP_MONITOR: Self = Self(1 << 9);
    /// Not in the slow log.
    pub const SKIP_SLOWLOG: Self = Self(1 << 10);
    /// Carries its own ASKING.
    pub const ASKING: Self = Self(1 << 11);
    /// Takes constant or logarithmic time.
    pub const FAST: Self = Self(1 << 12);
    /// Needs no authentication.
    pub const NO_AUTH: Self = Self(1 << 13);
    /// Key specs alone do not find all keys.
    pub const MOVABLE_KEYS: Self = Self(1 << 14);
    /// Not in MULTI.
    pub const NO_MULTI: Self = Self(1 << 15);
    /// Not while the log is being read back asynchronously (Redis's no_async_loading).
    pub const NO_ASYNC_LOADING: Self = Self(1 << 16);
    /// Keys are optional.
    pub const NO_MANDATORY_KEYS: Self = Self(1 << 17);
    /// Allowed when the server is busy with a script.
    pub const ALLOW_BUSY: Self = Self(1 << 18);
    /// Ours: has no time bound and runs on a worker thread.
    pub const OFFLOAD: Self = Self(1 << 24);
    /// Ours: runs at once even inside MULTI.
    pub const IN_MULTI_NOW: Self = Self(1 << 25);
    /// Ours: its reply is held until a replica in sync has its effect (rule 11).
    pub const HOLD: Self = Self(1 << 26);
    /// Ours: may create keys in a slot that is being imported although they are missing.
    pub const IMPORTS: Self = Self(1 << 27);
    /// Ours: keys that a slot in migration lacks are no reason to redirect.
    pub const MIGRATES: Self = Self(1 << 28);
    /// Ours: the cluster core answers it; a transaction has only such commands or none.
    pub const BY_CORE: Self = Self(1 << 29);
    /// Ours: also answered while a full sync is loaded, which begins here with its first byte.
    pub const FULL_SYNC: Self = Self(1 << 30);
    /// Ours: changes the node's role, for which nobody may hold a slot.
    pub const ROLE: Self = Self(1 << 31);

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// COMMAND INFO's words, in Redis's order.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        const WORDS: &[(Flags, &str)] = &[
            (Flags::WRITE, "write"),
            (Flags::READONLY, "readonly"),
            (Flags::DENYOOM, "denyoom"),
            (Flags::ADMIN, "admin"),
            (Flags::PUBSUB, "pubsub"),
            (Flags::NOSCRIPT, "noscript"),
            (Flags::BLOCKING, "blocking"),
            (Flags::LOADING, "loading"),
            (Flags::STALE, "stale"),
            (Flags::SKIP_MONITOR, "skip_monitor"),
            (Flags::SKIP_SLOWLOG, "skip_slowlog"),
            (Flags::ASKING, "asking"),
            (Flags::FAST, "fast"),
            (Flags::NO_AUTH, "no_auth"),
            (Flags::MOVABLE_KEYS, "movablekeys"),
            (Flags::NO_MULTI, "no_multi"),
            (Flags::NO_ASYNC_LOADING, "no_async_loading"),
            (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
            (Flags::ALLOW_BUSY, "allow_busy"),
        ];
        WORDS.iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, word)| *word)
    }
}

impl BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

/// COMMAND DOCS' group; it also gives an ACL category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Cluster management.
    Cluster,
    /// Connections.
    Connection,
    /// Keys of any type.
    Generic,
    /// The server.
    Server,
    /// Strings.
    String,
    /// Transactions.
    Transactions,
}

impl Group {
    /// COMMAND DOCS' word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Connection => "connection",
            Self::Generic => "generic",
            Self::Server => "server",
            Self::String => "string",
            Self::Transactions => "transactions",
        }
    }
}

/// Where keys begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At this argument.
    Index(i32),
    /// Behind this word, looked for from this argument on (negative: from the end, backwards).
    Keyword(&'static str, i32),
    /// Cannot be said.
    Unknown,
}

/// How keys go on from where they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Up to `last` (relative to the beginning; negative: from the end), every `step`-th argument; `limit` above 1
    /// means only the first 1/`limit` of them.
    Range {
        /// Last key.
        last: i32,
        /// Distance between keys.
        step: i32,
        /// Divides what is left.
        limit: i32,
    },
    /// At `number` (relative to the beginning) stands how many keys there are, the first at `first`.
    Count {
        /// Where the number stands.
        number: i32,
        /// Where the first key stands.
        first: i32,
        /// Distance between keys.
        step: i32,
    },
    /// Cannot be said.
    Unknown,
}

/// Some of a command's keys.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// What is done with them, as COMMAND INFO shows it: "RO access", "RW update", "OW insert", "RM delete" and so on.
    pub flags: &'static [&'static str],
    /// Where they begin.
    pub begin: Begin,
    /// How they go on.
    pub find: Find,
    /// For people.
    pub notes: &'static str,
}

/// One key at argument `at`.
#[must_use]
pub const fn one_key(at: i32, flags: &'static [&'static str]) -> KeySpec {
    keys(at, 0, 1, flags)
}

/// Keys from argument `first` to `last` (relative to `first`; negative: from the end), every `step`-th.
#[must_use]
pub const fn keys(first: i32, last: i32, step: i32, flags: &'static [&'static str]) -> KeySpec {
    KeySpec { flags, begin: Begin::Index(first), find: Find::Range { last, step, limit: 0 }, notes: "" }
}

/// Everything about a command.
#[derive(Clone, Copy)]
pub struct Spec {
    /// Lower case; a subcommand's is `container|sub`.
    pub name: &'static str,
    /// Number of arguments, the name included; negative: at least that many.
    pub arity: i32,
    /// Flags.
    pub flags: Flags,
    /// ACL categories beyond those that flags and group give, without `@`.
    pub categories: &'static [&'static str],
    /// Keys.
    pub keys: &'static [KeySpec],
    /// Group.
    pub group: Group,
    /// First Redis version that has it.
    pub since: &'static str,
    /// Time complexity.
    pub complexity: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// `syscmd`: nodes send it to each other.
    pub doc_flags: &'static [&'static str],
    /// What to use instead.
    pub deprecated: Option<Deprecated>,
    /// Hints for cluster clients (`request_policy:…`, `response_policy:…`, `nondeterministic_output`).
    pub tips: &'static [&'static str],
    /// For COMMAND DOCS.
    pub arguments: &'static [Argument],
    /// Subcommands.
    pub subcommands: &'static [Spec],
    /// How it is run.
    pub run: Run,
}

/// Since when a command should not be used any more, and what replaces it.
#[derive(Clone, Copy, Debug)]
pub struct Deprecated {
    /// Redis version.
    pub since: &'static str,
    /// In words.
    pub by: &'static str,
}

/// One argument, for COMMAND DOCS.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// `key`, `string`, `integer`, `double`, `pattern`, `unix-time`, `pure-token`, `oneof` or `block`.
    pub kind: &'static str,
    /// The word before it, or itself for `pure-token`.
    pub token: &'static str,
    /// Which key spec it belongs to.
    pub key_spec: Option<usize>,
    /// `optional`, `multiple`, `multiple_token`.
    pub flags: &'static [&'static str],
    /// Parts of `oneof` and `block`.
    pub parts: &'static [Argument],
}

impl Argument {
    /// To be completed with `..Argument::BASE`.
    pub const BASE: Self =
        Self { name: "", kind: "string", token: "", key_spec: None, flags: &[], parts: &[] };
}

impl Spec {
    /// To be completed with `..Spec::BASE`.
    pub const BASE: Self = Self {
        name: "",
        arity: 1,
        flags: Flags::NONE,
        categories: &[],
        keys: &[],
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "",
        doc_flags: &[],
        deprecated: None,
        tips: &[],
        arguments: &[],
        subcommands: &[],
        run: Run::Container,
    };

    /// Whether `count` arguments are right.
    #[must_use]
    pub const fn accepts(&self, count: usize) -> bool {
        if self.arity >= 0 {
            count == self.arity as usize
        } else {
            count >= self.arity.unsigned_abs() as usize
        }
    }

    /// Whether it may change keys.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        self.flags.has(Flags::WRITE)
    }
}

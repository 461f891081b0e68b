//! What was seen: by the platform of its members, and by each node of itself and the others.

use crate::member::MemberId;
use crate::text;
use node_server_protocol::{Address, Epoch, NodeId, Role, Slot, SlotRange, SlotSet};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Something that was seen, or the reason why it was not. Never an empty list in place of the second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact<T> {
    /// It was seen.
    Known(T),
    /// It was not.
    Unknown(Why),
}

impl<T> Fact<T> {
    /// The value, if it was seen.
    pub const fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }

    /// Why it was not seen.
    pub const fn why(&self) -> Option<&Why> {
        match self {
            Self::Known(_) => None,
            Self::Unknown(why) => Some(why),
        }
    }
}

/// Why something is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It was not asked (yet).
    NotAsked,
    /// Nothing runs there yet, or the platform knows no address.
    NotRunning,
    /// The address refused the connection: nobody listens there.
    Refused,
    /// No answer within the time allowed.
    TimedOut,
    /// The node is loading its data.
    Loading,
    /// Anything else, in words.
    Failed(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("not asked yet"),
            Self::NotRunning => f.write_str("not running"),
            Self::Refused => f.write_str("connection refused"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Loading => f.write_str("loading its data"),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}

/// Everything that was seen in one look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The platform's members; unknown when the platform did not answer.
    pub members: Fact<BTreeMap<MemberId, Member>>,
    /// Node ids that were members' of this cluster, and whose process is proven gone for good: its member has another
    /// process with another identity, or was removed. Silence does not put an id here.
    #[serde(default)]
    pub gone: Vec<Gone>,
}

/// An identity of ours that will not come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// The node id it had.
    #[serde(with = "text::node_id")]
    pub id: NodeId,
    /// The member it was.
    pub member: MemberId,
    /// What proves it.
    pub proof: Proof,
}

/// One pod or process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The platform's unique name of this very pod or process; another one after a replacement.
    pub uid: String,
    /// Where the platform says that it listens.
    #[serde(with = "text::address")]
    pub address: Address,
    /// Alive or dead, and how we know.
    pub life: Life,
    /// It was asked to go: no step may count on it.
    #[serde(default)]
    pub leaving: bool,
    /// Its data is on a volume, and outlives its process.
    #[serde(default)]
    pub on_volume: bool,
    /// The node id that this very uid last said it has, if the operator remembers one. Tells whose death it is when the
    /// member answers no more; without it the address in the others' views tells.
    #[serde(default, with = "text::optional_node_id")]
    pub last_id: Option<NodeId>,
    /// What the node itself said.
    pub node: Fact<NodeReport>,
}

/// Evidence of life or death from the platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// It is new and about to run: nothing speaks against it so far. What is missing, in words.
    Starting(String),
    /// It exists and does not run yet, and nobody can say when it will; why, in words.
    Pending(String),
    /// It runs, says the platform.
    Running,
    /// It has ended, and this proves it.
    Terminated(Proof),
    /// The platform cannot say (its kubelet is silent, for example); why, in words.
    Unknown(String),
}

impl Life {
    /// It has not run so far, says the platform.
    pub(crate) const fn never_ran(&self) -> bool {
        matches!(self, Self::Starting(_) | Self::Pending(_))
    }
}

/// What proves that a process is dead (design.md, "Dead is proven"). Silence and a deleted Pod object do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// 1: the container that was seen has terminated, said by a kubelet whose Lease is fresh; or the process was reaped.
    /// The platform does not say it of a declared pod that ended in order on a volume: that one is about to come back.
    Terminated,
    /// 2: its address refuses connections though nobody asked it to go, and its best replica says that it has lost the
    /// link. Never enough for a takeover.
    Refused,
    /// The process lives and says that it is a master without the data it owned slots for: it serves nothing and has
    /// nothing (the empty-restart guard). As good as 1 for its data.
    ClosedEmpty,
    /// 3: an administrator said so: the Node object is deleted or tainted out-of-service.
    Administrator,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminated => "its process has ended",
            Self::Refused => "its address refuses connections and its replica has lost the link",
            Self::ClosedEmpty => "it came back without its data and serves nothing",
            Self::Administrator => "an administrator declared its machine dead",
        })
    }
}

/// What one node says about itself and the others, read in one pipeline over one connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Its name.
    #[serde(with = "text::node_id")]
    pub id: NodeId,
    /// What it thinks it is.
    #[serde(with = "text::role")]
    pub role: Role,
    /// `cluster_current_epoch`.
    #[serde(with = "text::epoch")]
    pub current_epoch: Epoch,
    /// `cluster_my_epoch`: of the master whose slots it has.
    #[serde(with = "text::epoch")]
    pub config_epoch: Epoch,
    /// `cluster_state:ok`.
    pub cluster_ok: bool,
    /// `cluster_closed_empty:1`: a master that started without the data it owned slots for, and serves nothing.
    #[serde(default)]
    pub closed_empty: bool,
    /// `cluster_no_copy:1`: a replica that was told to follow its master and has not been in sync with it: what it has is
    /// somebody else's.
    #[serde(default)]
    pub no_copy: bool,
    /// `cluster_unreachable_masters`: masters with slots that it does not reach. `None`: it cannot say.
    #[serde(default)]
    pub unreachable: Option<Vec<Unreachable>>,
    /// How many keys it has (DBSIZE).
    pub keys: Fact<u64>,
    /// Its replication.
    pub replication: Replication,
    /// CLUSTER NODES: itself and every node it knows.
    pub view: Vec<ViewLine>,
    /// Its slots that are open.
    #[serde(default)]
    pub open_slots: Vec<OpenSlot>,
    /// Keys it has in slots that it (or, of a replica, its master) does not own and does not import. An implementation
    /// that cannot be asked cheaply leaves it `Unknown(NotAsked)`; that stops a removal only together with `keys`.
    pub stray_keys: Fact<Vec<SlotKeys>>,
    /// What it can do beyond Redis 7.0.
    #[serde(default)]
    pub capabilities: Capabilities,
}

/// A master that one node does not reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreachable {
    /// Its name.
    #[serde(with = "text::node_id")]
    pub id: NodeId,
    /// How long ago it last told this node that it is a master and serves, in seconds. One that only reads its files does
    /// not say so. `None`: not since this node's start.
    pub served_s: Option<u64>,
}

/// INFO replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replication {
    /// How far its log reaches (`master_repl_offset` or `slave_repl_offset`).
    pub offset: u64,
    /// Of a replica, how the link to its master is.
    pub link: ReplicaLink,
    /// For how long it has been down, in seconds (`master_link_down_since_seconds`), where it was up before.
    #[serde(default)]
    pub down_s: Option<u64>,
}

/// A replica's link to its master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaLink {
    /// It is a master.
    NotReplica,
    /// `master_link_status:up`: a full copy that follows.
    Up,
    /// A full sync is under way: its data is not a copy yet.
    Syncing,
    /// `master_link_status:down`; its data is as it was when the link went.
    Down,
    /// Down, and never up since it was started, or told to follow this master (`master_link_down_since_seconds:-1`): what
    /// it has is from its own file or from a former master, and may be far behind. Also one that was granted a full sync
    /// and did not get all of it (`master_sync_unfinished:1`): its master's log had left it behind.
    NeverUp,
}

/// One line of CLUSTER NODES.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewLine {
    /// Whose line it is.
    #[serde(with = "text::node_id")]
    pub id: NodeId,
    /// Where the viewer thinks it listens.
    #[serde(with = "text::address")]
    pub address: Address,
    /// Its flags.
    #[serde(default)]
    pub flags: ViewFlags,
    /// The master it copies.
    #[serde(with = "text::optional_node_id")]
    pub master: Option<NodeId>,
    /// Its config epoch.
    #[serde(with = "text::epoch")]
    pub config_epoch: Epoch,
    /// The viewer's link to it is up (always, of the viewer's own line).
    pub connected: bool,
    /// The slots the viewer gives it.
    #[serde(with = "text::ranges")]
    pub slots: Vec<SlotRange>,
}

impl ViewLine {
    /// Its slots as a set.
    #[must_use]
    pub fn slot_set(&self) -> SlotSet {
        self.slots.iter().copied().collect()
    }
}

/// Flags of a line of CLUSTER NODES that the planner looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ViewFlags {
    /// The viewer itself.
    pub myself: bool,
    /// `fail?`: suspected by the viewer.
    pub pfail: bool,
    /// `fail`: agreed dead.
    pub fail: bool,
    /// Being introduced; its id is made up.
    pub handshake: bool,
    /// Its address is not known.
    pub noaddr: bool,
}

/// A slot on its way, as one node has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSlot {
    /// Which.
    #[serde(with = "text::slot")]
    pub slot: Slot,
    /// Coming or going.
    pub state: OpenState,
    /// How many keys of it this node has.
    pub keys: Fact<u64>,
}

/// Coming or going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenState {
    /// `[slot->-id]`.
    MigratingTo(#[serde(with = "text::node_id")] NodeId),
    /// `[slot-<-id]`.
    ImportingFrom(#[serde(with = "text::node_id")] NodeId),
}

/// Keys in one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotKeys {
    /// Which.
    #[serde(with = "text::slot")]
    pub slot: Slot,
    /// How many.
    pub keys: u64,
}

/// What a node can do beyond Redis 7.0, asked by capability and never by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// It has CLUSTER REOPEN.
    pub reopen: bool,
}

impl NodeReport {
    /// Its line about itself.
    #[must_use]
    pub fn myself(&self) -> Option<&ViewLine> {
        self.line(self.id)
    }

    /// What it says about `id`.
    #[must_use]
    pub fn line(&self, id: NodeId) -> Option<&ViewLine> {
        self.view.iter().find(|line| line.id == id && !line.flags.handshake)
    }

    /// The slots it says it owns: none, of a replica.
    #[must_use]
    pub fn own_slots(&self) -> SlotSet {
        match self.role {
            Role::Master => self.myself().map(ViewLine::slot_set).unwrap_or_default(),
            Role::Replica { .. } => SlotSet::new(),
        }
    }

    /// Nobody is known to it but itself.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.view.iter().all(|line| line.id == self.id)
    }
}

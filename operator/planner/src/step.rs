//! The next things to do. A step is an attempt: `execute` checks its expectations again just before it is sent,
//! sends it once, and leaves the rest to the next look. Every step may be repeated without harm.

use crate::member::MemberId;
use crate::observed::{NodeReport, Proof};
use crate::text;
use node_server_protocol::{Address, Epoch, NodeId, Role, SlotSet};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A node that a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeRef {
    /// Which member it is.
    pub member: MemberId,
    /// Its name.
    #[serde(with = "text::node_id")]
    pub id: NodeId,
    /// Where it listens, says the platform.
    #[serde(with = "text::address")]
    pub address: Address,
}

/// How a replica takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailoverMode {
    /// `CLUSTER FAILOVER`: the master lives and hands over without losing a write.
    Graceful,
    /// `CLUSTER FAILOVER FORCE`: the master is proven dead and a majority of the masters can vote.
    Forced(Proof),
    /// `CLUSTER FAILOVER TAKEOVER`: no vote can succeed, and the master is proven dead by proof 1 or 3.
    Takeover(Proof),
}

/// What kind of a move of slots it is. `others` of the step are told in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveKind {
    /// The source owns the slots: IMPORTING on the target, MIGRATING on the source, keys by MIGRATE (again with REPLACE
    /// where a try's outcome is unclear) until the source has none, NODE on the target, then the source, then the others.
    /// Open states that are already there are set again; that is how an interrupted move is taken up.
    Handover,
    /// The target owns the slots already, by a higher epoch, and the source still claims them or has keys of them (the
    /// last SETSLOT reached one side only, or two owners). The source is set MIGRATING to the target if it claims the
    /// slot, else IMPORTING from it (so that it may send MIGRATE), keys go WITHOUT REPLACE (a key that the owner has is
    /// the newer one; the source's copy is then deleted by NODE), then NODE and STABLE on the source, NODE on the others.
    Merge {
        /// The source claims the slots.
        claimed: bool,
    },
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Platform: bring the member into being (pod or process). Starting it again after it ended is the platform's.
    EnsureMember {
        /// Which.
        member: MemberId,
    },
    /// `CLUSTER SET-CONFIG-EPOCH` on a fresh node before it meets anybody, so that new masters never claim with one epoch.
    SetConfigEpoch {
        /// Whose.
        node: NodeRef,
        /// Which.
        #[serde(with = "text::epoch")]
        epoch: Epoch,
    },
    /// `CLUSTER MEET` on `at` with the address of `peer`.
    Meet {
        /// Who is told.
        at: NodeRef,
        /// Whom it is to know.
        peer: NodeRef,
    },
    /// Slots that nobody owns get an owner: `CLUSTER ADDSLOTSRANGE` on it (ADDSLOTS where that is unknown), or SETSLOT NODE
    /// and BUMPEPOCH where it takes them for another's.
    AssignSlots {
        /// The new owner.
        owner: NodeRef,
        /// Which slots.
        #[serde(with = "text::slot_set")]
        slots: SlotSet,
        /// Its own view gives them to a node that does not claim them.
        #[serde(default)]
        mistaken: bool,
    },
    /// Slots whose owner and every copy are proven gone get an empty owner: `CLUSTER SETSLOT … NODE owner` on the owner,
    /// `CLUSTER BUMPEPOCH` on it, then SETSLOT NODE on the others. Only under `allowDataLoss`, after [`Step::ReportLoss`].
    ReplaceOwner {
        /// The new owner.
        owner: NodeRef,
        /// The owner that is gone.
        #[serde(with = "text::node_id")]
        previous: NodeId,
        /// Which slots.
        #[serde(with = "text::slot_set")]
        slots: SlotSet,
        /// Every other reporting node.
        others: Vec<NodeRef>,
    },
    /// `CLUSTER REPLICATE master` on the replica.
    Replicate {
        /// Who becomes a replica.
        replica: NodeRef,
        /// Of whom.
        master: NodeRef,
    },
    /// Moves slots with their keys.
    MigrateSlots {
        /// Which, at most [`crate::plan::MIGRATE_BATCH_SLOTS`].
        #[serde(with = "text::slot_set")]
        slots: SlotSet,
        /// Who has them.
        source: NodeRef,
        /// Who gets them.
        target: NodeRef,
        /// How.
        kind: MoveKind,
        /// The other masters, told the new owner at the end (they would hear it anyway).
        others: Vec<NodeRef>,
    },
    /// `CLUSTER SETSLOT … STABLE` on a node: the open state has no keys behind it and leads nowhere.
    CloseSlots {
        /// Where.
        node: NodeRef,
        /// Which slots.
        #[serde(with = "text::slot_set")]
        slots: SlotSet,
    },
    /// A replica takes over.
    Failover {
        /// The replica that is told.
        replica: NodeRef,
        /// Whose slots it takes.
        #[serde(with = "text::node_id")]
        master: NodeId,
        /// How.
        mode: FailoverMode,
    },
    /// `CLUSTER FORGET id` on each of `at`.
    Forget {
        /// Whom.
        #[serde(with = "text::node_id")]
        id: NodeId,
        /// The member it is or was, if it is known.
        member: Option<MemberId>,
        /// Who forgets.
        at: Vec<NodeRef>,
    },
    /// `CLUSTER RESET SOFT` on a node without keys and slots that all others have forgotten.
    Reset {
        /// Which.
        node: NodeRef,
    },
    /// Platform: stop the member and let it go. It owns nothing, has nothing that is not elsewhere, and is forgotten.
    RemoveMember {
        /// Which.
        member: MemberId,
        /// This very pod or process and no other of its name.
        uid: String,
    },
    /// Says in status and events that data is lost, before what makes it final.
    ReportLoss {
        /// Of which shard.
        shard: u16,
        /// Which slots.
        #[serde(with = "text::slot_set")]
        slots: SlotSet,
        /// How it came to that, in words.
        reason: String,
    },
    /// `CLUSTER REOPEN` on a master that the empty-restart guard closed. Only under `allowDataLoss`, after `ReportLoss`.
    Reopen {
        /// Which.
        node: NodeRef,
    },
}

/// What must still hold just before a step is sent; checked against a fresh report of that member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expect {
    /// Whom to ask.
    pub member: MemberId,
    /// The node that must answer there.
    #[serde(with = "text::node_id")]
    pub id: NodeId,
    /// What it must say.
    pub what: What,
}

/// What a node must say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Nothing more than its id.
    Answers,
    /// Its role is this.
    Role(#[serde(with = "text::role")] Role),
    /// It owns all these slots, says its own view.
    Owns(#[serde(with = "text::slot_set")] SlotSet),
    /// It owns no slot.
    OwnsNothing,
    /// It claims none of these slots for itself.
    ClaimsNone(#[serde(with = "text::slot_set")] SlotSet),
    /// It has none of these slots open.
    NotOpen(#[serde(with = "text::slot_set")] SlotSet),
    /// Nobody owns any of these slots, says its view.
    Unowned(#[serde(with = "text::slot_set")] SlotSet),
    /// It has no key.
    NoKeys,
    /// In its view, `master` still has this config epoch, and slots, its own or coming: nobody has taken over since. A
    /// replica that took over from a master without any would be a second master with the shard's keys.
    EpochOf {
        /// Whose.
        #[serde(with = "text::node_id")]
        master: NodeId,
        /// The epoch that was seen.
        #[serde(with = "text::epoch")]
        epoch: Epoch,
    },
    /// It is closed by the empty-restart guard and has no key.
    ClosedEmpty,
    /// It knows nobody but itself.
    Alone,
}

impl Expect {
    /// What does not hold any more, in words; `None` when the step may be sent.
    #[must_use]
    pub fn violated_by(&self, report: &NodeReport) -> Option<String> {
        if report.id != self.id {
            return Some(format!("{} is {} now, not {}", self.member, report.id, self.id));
        }
        self.what.violated_by(report).map(|reason| format!("{}: {reason}", self.member))
    }
}

impl What {
    fn violated_by(&self, report: &NodeReport) -> Option<String> {
        let no_keys = || report.keys.known() == Some(&0);
        let holds = match self {
            Self::Answers => true,
            Self::Role(role) => report.role == *role,
            Self::Owns(slots) => slots.difference(&report.own_slots()).is_empty(),
            Self::OwnsNothing => report.own_slots().is_empty(),
            Self::NotOpen(slots) => report.open_slots.iter().all(|open| !slots.contains(open.slot)),
            Self::ClaimsNone(slots) => report.own_slots().intersection(slots).is_empty(),
            Self::Unowned(slots) => report.view.iter().all(|l| l.slot_set().intersection(slots).is_empty()),
            Self::NoKeys => no_keys(),
            Self::EpochOf { master, epoch } => report.line(*master).is_some_and(|l| {
                l.config_epoch == *epoch && !(l.slots.is_empty() && report.open_slots.is_empty())
            }),
            Self::ClosedEmpty => report.closed_empty && no_keys(),
            Self::Alone => report.is_alone(),
        };
        (!holds).then(|| format!("expected {self}"))
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answers => f.write_str("an answer"),
            Self::Role(Role::Master) => f.write_str("a master"),
            Self::Role(Role::Replica { of }) => write!(f, "a replica of {of}"),
            Self::Owns(slots) => write!(f, "the owner of {slots}"),
            Self::OwnsNothing => f.write_str("no slots"),
            Self::NotOpen(slots) => write!(f, "none of {slots} on its way"),
            Self::ClaimsNone(slots) => write!(f, "no claim of {slots}"),
            Self::Unowned(slots) => write!(f, "no owner of {slots}"),
            Self::NoKeys => f.write_str("no keys"),
            Self::EpochOf { master, epoch } => write!(f, "{master} at config epoch {epoch}"),
            Self::ClosedEmpty => f.write_str("a master closed because it is empty"),
            Self::Alone => f.write_str("a node that knows nobody"),
        }
    }
}

//! What is declared, parsed: a `Desired` that exists is consistent.

use crate::member::MemberId;
use node_server_protocol::{SLOT_COUNT, Slot, SlotSet};

/// The most nodes that one cluster may have.
pub const MAX_NODES: u32 = 1000;
/// The most replicas per master.
pub const MAX_REPLICAS_PER_MASTER: u16 = 5;
/// The heaviest weight.
pub const MAX_WEIGHT: u16 = 100;
/// The longest name of a cluster.
pub const MAX_NAME_LEN: usize = 40;

/// How the slots are to be spread over the masters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Counts differ by at most one.
    Balanced,
    /// In proportion to these weights, one for each master.
    Weighted(Vec<u16>),
    /// Exactly these.
    Declared(Vec<SlotSet>),
}

/// The fields of a declaration as they were written, not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Name of the cluster.
    pub name: String,
    /// `spec.masters`.
    pub masters: u16,
    /// `spec.replicasPerMaster`.
    pub replicas_per_master: u16,
    /// `spec.slots`; weights may be fewer than masters (a missing one is 1).
    pub distribution: Distribution,
    /// `spec.recovery.allowDataLoss`.
    pub allow_data_loss: bool,
    /// `spec.paused`.
    pub paused: bool,
}

/// A checked declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    spec: Spec,
}

/// Why a declaration cannot be followed: field, value and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDesired {
    /// The name is no DNS label or too long.
    #[error(
        "metadata.name: {0:?}: use 1 to 40 of a-z, 0-9 and '-', beginning with a letter and not ending with '-'"
    )]
    Name(String),
    /// No master.
    #[error("spec.masters: 0: at least 1 master is needed")]
    NoMaster,
    /// Too many nodes.
    #[error("spec.masters × (1 + spec.replicasPerMaster): {0}: at most 1000 nodes")]
    TooManyNodes(u32),
    /// Too many replicas.
    #[error("spec.replicasPerMaster: {0}: allowed is 0 to 5")]
    TooManyReplicas(u16),
    /// A weight out of range.
    #[error("spec.slots[{index}].weight: {weight}: allowed is 1 to 100")]
    Weight {
        /// Which entry.
        index: usize,
        /// Its weight.
        weight: u16,
    },
    /// More weights than masters.
    #[error("spec.slots: {weights} weights for {masters} masters: at most one for each")]
    TooManyWeights {
        /// How many weights.
        weights: usize,
        /// How many masters.
        masters: u16,
    },
    /// Not one entry per master.
    #[error(
        "spec.slots: {entries} entries with ranges for {masters} masters: exactly one for each; change slots and masters in one edit"
    )]
    RangesForMasters {
        /// How many entries.
        entries: usize,
        /// How many masters.
        masters: u16,
    },
    /// A slot declared twice.
    #[error(
        "spec.slots[{index}].ranges: slot {slot} is already in an earlier entry: every slot exactly once"
    )]
    SlotTwice {
        /// The entry that repeats it.
        index: usize,
        /// The slot.
        slot: Slot,
    },
    /// A slot not declared.
    #[error("spec.slots: slot {0} is in no entry: every slot exactly once")]
    SlotMissing(Slot),
}

impl Desired {
    /// Checks a declaration.
    ///
    /// # Errors
    /// The first field that does not hold, with its value and what is allowed.
    pub fn parse(mut spec: Spec) -> Result<Self, BadDesired> {
        check_name(&spec.name)?;
        if spec.masters == 0 {
            return Err(BadDesired::NoMaster);
        }
        if spec.replicas_per_master > MAX_REPLICAS_PER_MASTER {
            return Err(BadDesired::TooManyReplicas(spec.replicas_per_master));
        }
        let nodes = u32::from(spec.masters) * u32::from(spec.replicas_per_master + 1);
        if nodes > MAX_NODES {
            return Err(BadDesired::TooManyNodes(nodes));
        }
        match &mut spec.distribution {
            Distribution::Balanced => {}
            Distribution::Weighted(weights) => check_weights(weights, spec.masters)?,
            Distribution::Declared(sets) => check_declared(sets, spec.masters)?,
        }
        Ok(Self { spec })
    }

    /// Name of the cluster.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// How many masters, at least one.
    #[must_use]
    pub const fn masters(&self) -> u16 {
        self.spec.masters
    }

    /// How many replicas each.
    #[must_use]
    pub const fn replicas_per_master(&self) -> u16 {
        self.spec.replicas_per_master
    }

    /// How the slots are to be spread; weights are complete.
    #[must_use]
    pub const fn distribution(&self) -> &Distribution {
        &self.spec.distribution
    }

    /// Whether a shard whose every copy is gone may be opened empty.
    #[must_use]
    pub const fn allow_data_loss(&self) -> bool {
        self.spec.allow_data_loss
    }

    /// Plan and report, change nothing.
    #[must_use]
    pub const fn paused(&self) -> bool {
        self.spec.paused
    }

    /// Every member that should exist, in order.
    pub fn members(&self) -> impl Iterator<Item = MemberId> + '_ {
        (0..self.masters()).flat_map(|s| (0..=self.replicas_per_master()).map(move |o| MemberId::new(s, o)))
    }

    /// Whether this member should exist.
    #[must_use]
    pub const fn wants(&self, member: MemberId) -> bool {
        member.shard < self.spec.masters && member.ordinal <= self.spec.replicas_per_master
    }
}

fn check_name(name: &str) -> Result<(), BadDesired> {
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    if letters && begins && name.len() <= MAX_NAME_LEN && !name.ends_with('-') {
        Ok(())
    } else {
        Err(BadDesired::Name(name.into()))
    }
}

fn check_weights(weights: &mut Vec<u16>, masters: u16) -> Result<(), BadDesired> {
    if weights.len() > usize::from(masters) {
        return Err(BadDesired::TooManyWeights { weights: weights.len(), masters });
    }
    if let Some((index, weight)) =
        weights.iter().copied().enumerate().find(|(_, w)| *w == 0 || *w > MAX_WEIGHT)
    {
        return Err(BadDesired::Weight { index, weight });
    }
    weights.resize(usize::from(masters), 1);
    Ok(())
}

fn check_declared(sets: &[SlotSet], masters: u16) -> Result<(), BadDesired> {
    if sets.len() != usize::from(masters) {
        return Err(BadDesired::RangesForMasters { entries: sets.len(), masters });
    }
    let mut all = SlotSet::new();
    for (index, set) in sets.iter().enumerate() {
        if let Some(slot) = all.intersection(set).iter().next() {
            return Err(BadDesired::SlotTwice { index, slot });
        }
        all = all.union(set);
    }
    if all.len() < usize::from(SLOT_COUNT)
        && let Some(slot) = SlotSet::full().difference(&all).iter().next()
    {
        return Err(BadDesired::SlotMissing(slot));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

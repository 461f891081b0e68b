//! A place in the cluster that the platform fills with a pod or a process.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Shard and ordinal. `demo-0-1` is ordinal 1 of shard 0 of the cluster `demo`; its role is found, not fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MemberId {
    /// Which shard, from 0.
    pub shard: u16,
    /// Which member of the shard, from 0.
    pub ordinal: u16,
}

/// Text that is not `SHARD-ORDINAL`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a member (shard and ordinal as in \"0-1\"): {0:?}")]
pub struct BadMemberId(pub String);

impl MemberId {
    /// Ordinal `ordinal` of shard `shard`.
    #[must_use]
    pub const fn new(shard: u16, ordinal: u16) -> Self {
        Self { shard, ordinal }
    }

    /// The platform's name for it, as in `demo-0-1`.
    #[must_use]
    pub fn name(self, cluster: &str) -> String {
        format!("{cluster}-{self}")
    }

    /// The member that the platform calls `name`, if it is one of `cluster`'s.
    #[must_use]
    pub fn from_name(cluster: &str, name: &str) -> Option<Self> {
        name.strip_prefix(cluster)?.strip_prefix('-')?.parse().ok()
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.shard, self.ordinal)
    }
}

impl FromStr for MemberId {
    type Err = BadMemberId;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let number = |t: &str| t.parse::<u16>().ok().filter(|n| n.to_string() == t);
        s.split_once('-')
            .and_then(|(shard, ordinal)| Some(Self::new(number(shard)?, number(ordinal)?)))
            .ok_or_else(|| BadMemberId(s.into()))
    }
}

impl TryFrom<String> for MemberId {
    type Error = BadMemberId;
    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

impl From<MemberId> for String {
    fn from(id: MemberId) -> Self {
        id.to_string()
    }
}

//! Names of histories: replication ids.

/// The id that names nothing.
pub const NO_REPLID: &str = "0000000000000000000000000000000000000000";

/// The history that the log continues, and the one before the last failover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// 40 hex digits.
    pub replid: String,
    /// The history before; [`NO_REPLID`] for none.
    pub replid2: String,
    /// First offset, counted from 1, that is no longer `replid2`'s; -1 for none.
    pub second_offset: i64,
}

impl History {
    /// A history that continues none.
    #[must_use]
    pub fn new(replid: String) -> Self {
        Self { replid, replid2: NO_REPLID.into(), second_offset: -1 }
    }

    /// The log goes on under another name from `end` on.
    pub(super) fn shift(&mut self, replid: String, end: u64) {
        self.replid2 = std::mem::replace(&mut self.replid, replid);
        self.second_offset = i64::try_from(end).unwrap_or(i64::MAX).saturating_add(1);
    }

    /// Whether what `replid` says before `offset` (counted from 1) is also ours.
    pub(super) fn covers(&self, replid: &[u8], offset: i64) -> bool {
        let same = |ours: &str| ours != NO_REPLID && ours.as_bytes().eq_ignore_ascii_case(replid);
        same(&self.replid) || (self.second_offset >= 0 && same(&self.replid2) && offset <= self.second_offset)
    }
}

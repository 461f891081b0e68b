//! Waiting for what kubectl says: each look is a process, and the machine that is looked at is often this one.

use anyhow::Result;
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(250);

/// Looks until the condition holds.
pub(crate) fn until(what: &str, limit: Duration, condition: impl FnMut() -> bool) -> Result<()> {
    e2e::wait::until_every(EVERY, what, limit, condition)
}

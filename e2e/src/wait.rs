//! Waiting for a condition, with a deadline.

use anyhow::{Result, bail};
use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks at the condition until it holds. Blocks the thread: in async code call it from `spawn_blocking`
/// or use [`until_async`].
///
/// # Errors
/// The condition did not hold within `limit`; the message says `what`.
pub fn until(what: &str, limit: Duration, condition: impl FnMut() -> bool) -> Result<()> {
    until_every(LOOK_EVERY, what, limit, condition)
}

/// As [`until`], for a condition that is dear to look at.
///
/// # Errors
/// The condition did not hold within `limit`.
pub fn until_every(
    every: Duration,
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> bool,
) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() >= deadline {
            bail!("waited {} s in vain: {what}", limit.as_secs_f32());
        }
        thread::sleep(every);
    }
    Ok(())
}

/// As [`until`], for async code. The condition itself may block only briefly.
///
/// # Errors
/// The condition did not hold within `limit`.
pub async fn until_async(
    what: &str,
    limit: Duration,
    mut condition: impl AsyncFnMut() -> bool,
) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !condition().await {
        if Instant::now() >= deadline {
            bail!("waited {} s in vain: {what}", limit.as_secs_f32());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

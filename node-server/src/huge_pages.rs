//! Transparent huge pages: with them a large node spends less on each request, but every thread's first allocations fill
//! pages of 2 MiB, four times of what an empty node takes otherwise. So they come with the data. Nothing forks here, so
//! the reason why redis-server never wants them does not hold.

use rustix::thread::{disable_transparent_huge_pages, transparent_huge_pages_are_disabled};
use std::sync::atomic::{AtomicBool, Ordering};

/// The data from which on they are worth their memory, in bytes.
const FROM: u64 = 16 << 20;

/// Whether the process, which has one switch for all its threads, may still get huge pages.
static MAY_COME: AtomicBool = AtomicBool::new(false);

/// The process takes none for now; never, if `for_good` or whoever started it has said so. A kernel that has no such
/// switch keeps its own rules.
pub(crate) fn refuse(for_good: bool) {
    let refused = transparent_huge_pages_are_disabled()
        .and_then(|already| disable_transparent_huge_pages(true).map(|()| already));
    match refused {
        Ok(already) => MAY_COME.store(!already && !for_good, Ordering::Relaxed),
        Err(error) => tracing::debug!("Huge pages are as the system has them: {error}"),
    }
}

/// Takes them from now on if there is so much data, in bytes. What is in small pages already, the kernel moves.
pub(crate) fn allow_for(data: u64) {
    if data < FROM || !MAY_COME.swap(false, Ordering::Relaxed) {
        return;
    }
    if let Err(error) = disable_transparent_huge_pages(false) {
        tracing::debug!("No huge pages: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, since the switch is the process's.
    #[test]
    fn they_come_with_the_data_unless_somebody_said_no() {
        let refused = || transparent_huge_pages_are_disabled().unwrap();
        assert!(!refused(), "whoever runs the tests has refused them");
        refuse(false);
        allow_for(FROM - 1);
        assert!(refused());
        allow_for(FROM);
        assert!(!refused());
        refuse(true);
        allow_for(u64::MAX);
        assert!(refused(), "disable-thp yes");
        refuse(false);
        allow_for(u64::MAX);
        assert!(refused(), "whoever started the process had said so");
        disable_transparent_huge_pages(false).unwrap();
    }
}

//! The node's clock: that of the wall, which keys expire by and which others see, but one that never goes back. Every
//! timer reads it too: were it set back by ten minutes, nothing would be synced and nobody declared dead for ten
//! minutes. So it then goes on, a little slower, until the wall's has come up to it.

use node_server_protocol::Millis;
use parking_lot::Mutex;
use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How fast it goes while it is ahead of the wall's: timers take a third longer, and a step back is made up for in four
/// times its length.
const AHEAD_PACE: (u64, u64) = (3, 4);

static CLOCK: LazyLock<Mutex<Clock>> =
    LazyLock::new(|| Mutex::new(Clock { base: wall(), at: Instant::now() }));

/// The time at one moment, from which it goes on.
struct Clock {
    base: Millis,
    at: Instant,
}

impl Clock {
    fn read(&mut self, wall: Millis, at: Instant) -> Millis {
        let passed = at.saturating_duration_since(self.at).as_millis() as u64;
        let least = self.base.after(passed * AHEAD_PACE.0 / AHEAD_PACE.1);
        if wall < least {
            // Not moved on from: what is less than a millisecond would be lost at each reading.
            return least;
        }
        *self = Self { base: wall, at: at.max(self.at) };
        wall
    }
}

fn wall() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Millis(since.map_or(0, |d| d.as_millis() as u64))
}

/// The time now. The shell reads it here and hands it to the pure crates.
#[must_use]
pub fn now() -> Millis {
    // Both are read under the lock, so that no reader gets an older time behind another.
    let mut clock = CLOCK.lock();
    clock.read(wall(), Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_follows_the_wall_and_slows_down_where_that_goes_back() {
        let start = Instant::now();
        let mut clock = Clock { base: Millis(1_000_000), at: start };
        let mut read = |wall, passed_us| clock.read(Millis(wall), start + Duration::from_micros(passed_us)).0;
        assert_eq!(read(1_000_005, 5000), 1_000_005);
        assert_eq!(read(1_600_005, 6000), 1_600_005, "set forward");
        assert_eq!(read(1_600_004, 6100), 1_600_005, "a millisecond back");
        assert_eq!(read(1_000_405, 406_000), 1_600_305, "set back by ten minutes: it goes on at its pace");
        let small = (0..4000).map(|n| read(1_000_405, 406_000 + n * 100)).next_back();
        assert_eq!(small, Some(1_600_604), "however often it is read");
        assert_eq!(read(3_400_005, 2_400_006_000), 3_400_005, "the wall's has come up to it");
        assert_eq!(read(3_400_006, 2_400_007_000), 3_400_006);
    }
}

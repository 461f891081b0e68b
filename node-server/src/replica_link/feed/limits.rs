//! The bounds on a replica: silence, and bytes that wait for it.

use super::{Hub, Replica, ReplicaState};
use crate::config::OutputLimit;
use crate::node::now;
use node_server_protocol::Millis;
use std::io;
use std::time::Duration;

/// How often they are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// The class of `client-output-buffer-limit` that replicas are.
const REPLICA_CLASS: usize = 1;

/// Ends when the replica is beyond a bound.
pub(super) async fn watch(hub: &Hub, number: u64) -> io::Result<()> {
    let mut since = None;
    loop {
        tokio::time::sleep(WATCH_EVERY).await;
        let settings = hub.node.config.settings();
        let end = hub.node.engine.log().end();
        let look = |replica: &mut Replica| (replica.last_sign(), waiting(replica, end));
        let Some((last_sign, waiting)) = hub.update(number, look) else { return Ok(()) };
        let silent_s = now().since(last_sign) / 1000;
        if silent_s > settings.repl_timeout_s {
            return Err(io::Error::other(format!("nothing from it for {silent_s} s (repl-timeout)")));
        }
        let limit = at_least_backlog(settings.output_limits[REPLICA_CLASS], settings.repl_backlog_size);
        if beyond(&limit, waiting, &mut since, now()) {
            let limit = "client-output-buffer-limit replica";
            return Err(io::Error::other(format!("{waiting} bytes wait for it ({limit})")));
        }
    }
}

/// Bytes of the log that are held for the replica. Before its snapshot has begun there are none: where it goes on is not
/// known yet.
fn waiting(replica: &Replica, end: u64) -> u64 {
    match replica.state {
        ReplicaState::Waiting => 0,
        ReplicaState::Sending | ReplicaState::Online => end.saturating_sub(replica.sent),
    }
}

/// What the backlog keeps anyway costs nothing to wait for: a smaller hard limit would only make syncs partial ones that
/// begin at once again (Redis 7: checkClientOutputBufferLimits).
fn at_least_backlog(limit: OutputLimit, backlog: u64) -> OutputLimit {
    OutputLimit { hard: if limit.hard > 0 { limit.hard.max(backlog) } else { 0 }, ..limit }
}

/// Whether so many waiting bytes are too many; `since`: when they first were above the soft limit.
fn beyond(limit: &OutputLimit, waiting: u64, since: &mut Option<Millis>, now: Millis) -> bool {
    if limit.hard > 0 && waiting > limit.hard {
        return true;
    }
    if limit.soft == 0 || waiting <= limit.soft {
        *since = None;
        return false;
    }
    let since = *since.get_or_insert(now);
    now.since(since) >= limit.soft_seconds * 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_at_once_and_soft_after_a_while() {
        let limit = OutputLimit { hard: 100, soft: 50, soft_seconds: 2 };
        let mut since = None;
        assert!(beyond(&limit, 101, &mut since, Millis(0)));
        assert!(!beyond(&limit, 60, &mut since, Millis(0)));
        assert!(!beyond(&limit, 50, &mut since, Millis(1000)), "below again: the time begins anew");
        assert!(!beyond(&limit, 60, &mut since, Millis(2000)));
        assert!(beyond(&limit, 60, &mut since, Millis(4000)));
        assert!(!beyond(&OutputLimit::default(), u64::MAX, &mut since, Millis(0)), "zeros are no limit");
        assert_eq!(at_least_backlog(limit, 1000).hard, 1000);
        assert_eq!(at_least_backlog(limit, 10), limit);
        assert_eq!(at_least_backlog(OutputLimit::default(), 1000).hard, 0);
    }
}

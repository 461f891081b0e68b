//! Looks at every member over one kept-open connection each. Reads only. One that does not answer delays no other.

mod watcher;

pub(crate) use watcher::{connect, report};

use crate::platform::Seen;
use operator_planner::{Fact, Life, Member, MemberId, NodeReport, Observed, Why};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use watcher::Answer;

/// How long a look waits for nodes that answered the look before.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// Connections to all members.
#[derive(Default)]
pub struct Observer {
    watched: BTreeMap<MemberId, Watched>,
    look: u64,
    /// Notified when a connection ends, which a dead process makes known at once.
    disturbed: Arc<Notify>,
}

struct Watched {
    seen: Seen,
    look: watch::Sender<u64>,
    answers: watch::Receiver<Answer>,
    overdue: bool,
}

impl Observer {
    /// One look at everything. What does not answer in time is unknown, with the reason.
    pub async fn look(
        &mut self,
        members: Fact<BTreeMap<MemberId, Seen>>,
        gone: Vec<operator_planner::observed::Gone>,
    ) -> Observed {
        let seen = match members {
            Fact::Unknown(why) => return Observed { members: Fact::Unknown(why), gone },
            Fact::Known(seen) => seen,
        };
        self.follow(&seen);
        self.look += 1;
        for watched in self.watched.values() {
            watched.look.send_replace(self.look);
        }
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let mut members = BTreeMap::new();
        for (id, seen) in seen {
            let node = match self.watched.get_mut(&id) {
                Some(watched) => watched.answer(self.look, deadline).await,
                None => Fact::Unknown(Why::NotRunning),
            };
            let Seen { uid, address, life, leaving, on_volume, last_id } = seen;
            members.insert(id, Member { uid, address, life, leaving, on_volume, last_id, node });
        }
        Observed { members: Fact::Known(members), gone }
    }

    /// Returns when a node has let its connection go.
    pub async fn disturbed(&self) {
        self.disturbed.notified().await;
    }

    /// Watches running members, and no others. A replaced process or a new address gets a new connection.
    fn follow(&mut self, seen: &BTreeMap<MemberId, Seen>) {
        let same = |a: &Seen, b: &Seen| a.uid == b.uid && a.address == b.address;
        let runs = |s: &Seen| matches!(s.life, Life::Running | Life::Unknown(_));
        self.watched.retain(|id, w| seen.get(id).is_some_and(|s| same(s, &w.seen) && runs(s)));
        for (id, seen) in seen.iter().filter(|(_, s)| runs(s)) {
            self.watched.entry(*id).or_insert_with(|| {
                let (look, looks) = watch::channel(0);
                let answers = watcher::spawn(seen.address.client(), looks, Arc::clone(&self.disturbed));
                Watched { seen: seen.clone(), look, answers, overdue: false }
            });
        }
    }
}

impl Watched {
    /// The answer to this look. Nobody waits for a node that has not answered the look before either.
    async fn answer(&mut self, look: u64, deadline: Instant) -> Fact<NodeReport> {
        self.overdue = self.overdue && self.answers.borrow().look + 1 < look;
        let deadline = if self.overdue { Instant::now() } else { deadline };
        let answered = |answer: &Answer| answer.look >= look;
        match tokio::time::timeout_at(deadline.into(), self.answers.wait_for(answered)).await {
            Ok(Ok(answer)) => return answer.node.clone(),
            Ok(Err(_)) => return Fact::Unknown(Why::Failed("its watcher has ended".into())),
            Err(_) => {}
        }
        self.overdue = true;
        Fact::Unknown(Why::TimedOut)
    }
}

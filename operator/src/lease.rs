//! Leader election by a Lease, as client-go does it: who holds it renews it; who waits takes it when it was not renewed
//! for as long as it says, measured by the waiter's own clock and never by the holder's. A holder that could not renew
//! in time ends its process: it cannot know whether another works already.

use anyhow::Context as _;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use std::time::{Duration, Instant};

/// How long a Lease holds without being renewed.
const HOLDS: Duration = Duration::from_secs(15);
/// A holder that could not renew for so long is none any more. Below [`HOLDS`], so that it ends before another begins.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Time between two tries.
const RETRY: Duration = Duration::from_secs(2);
/// How often a Lease that changes meanwhile is let go again.
const RELEASES_MAX: usize = 5;
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(4);

/// One candidate for one Lease.
pub struct Election {
    api: Api<Lease>,
    name: String,
    identity: String,
    seen: Option<Seen>,
}

/// The Lease as it last changed, by our own clock.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    holder: Option<String>,
    renewed: Option<MicroTime>,
    since: Instant,
}

/// What came of a try for a Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    /// It is ours now.
    Ours,
    /// Somebody else has it.
    Others,
    /// It changed between reading and writing.
    Changed,
}

/// What to do about a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is ours, or free: write our name.
    Take,
    /// Somebody else has it.
    Wait,
}

impl Election {
    /// `client` must neither retry nor wait for ever: a request that hangs is one that failed.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        let api = Api::namespaced(client, namespace);
        Self { api, name: name.into(), identity: identity.into(), seen: None }
    }

    /// Waits until the Lease is ours.
    ///
    /// # Errors
    /// Never by itself; the API server's errors are logged and tried again.
    pub async fn acquire(&mut self) -> anyhow::Result<()> {
        loop {
            match self.attempt().await {
                Ok(Attempt::Ours) => return Ok(()),
                Ok(Attempt::Others | Attempt::Changed) => {}
                Err(error) => tracing::warn!(lease = self.name, "could not try for the Lease: {error:#}"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Renews for as long as that works.
    ///
    /// # Errors
    /// The Lease is another's, or could not be renewed in time: this process must end.
    pub async fn hold(&mut self) -> anyhow::Error {
        let mut renewed = tokio::time::Instant::now();
        loop {
            tokio::time::sleep(RETRY).await;
            // Others count from when they see it, which is no earlier than this.
            let begun = tokio::time::Instant::now();
            match tokio::time::timeout_at(renewed + RENEW_DEADLINE, self.attempt()).await {
                Ok(Ok(Attempt::Ours)) => renewed = begun,
                Ok(Ok(Attempt::Others)) => {
                    return anyhow::anyhow!("another operator holds the Lease {}", self.name);
                }
                // By an earlier try of ours that was given up: the next one tells.
                Ok(Ok(Attempt::Changed)) => {}
                Ok(Err(error)) => tracing::warn!(lease = self.name, "could not renew the Lease: {error:#}"),
                Err(_) => {
                    let lease = &self.name;
                    return anyhow::anyhow!("the Lease {lease} could not be renewed for {RENEW_DEADLINE:?}");
                }
            }
        }
    }

    /// Lets it go, so that another need not wait.
    ///
    /// # Errors
    /// The API server's; or it changed each time that it was read.
    pub async fn release(&mut self) -> anyhow::Result<()> {
        for _ in 0..RELEASES_MAX {
            let lease = self.get().await?.filter(|l| holder(l) == Some(self.identity.as_str()));
            let Some(mut lease) = lease else { return Ok(()) };
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(now());
            // Our own last renewal may have been under way yet.
            if self.replace(&lease).await? == Attempt::Ours {
                return Ok(());
            }
        }
        anyhow::bail!("the Lease {} changed {RELEASES_MAX} times while it was let go", self.name)
    }

    /// Takes it, or renews it.
    async fn attempt(&mut self) -> anyhow::Result<Attempt> {
        let Some(lease) = self.get().await? else {
            return self.create().await;
        };
        self.notice(&lease, Instant::now());
        if self.verdict(&lease, Instant::now()) == Verdict::Wait {
            return Ok(Attempt::Others);
        }
        let ours = self.taken(lease);
        self.replace(&ours).await
    }

    fn notice(&mut self, lease: &Lease, at: Instant) {
        let holder = holder(lease).map(String::from);
        let renewed = lease.spec.as_ref().and_then(|s| s.renew_time.clone());
        let same = self.seen.as_ref().is_some_and(|s| s.holder == holder && s.renewed == renewed);
        if !same {
            self.seen = Some(Seen { holder, renewed, since: at });
        }
    }

    fn verdict(&self, lease: &Lease, at: Instant) -> Verdict {
        let Some(holder) = holder(lease).filter(|h| !h.is_empty()) else { return Verdict::Take };
        let seconds = lease.spec.as_ref().and_then(|s| s.lease_duration_seconds);
        let holds = seconds.and_then(|s| u64::try_from(s).ok()).map_or(HOLDS, Duration::from_secs);
        let expired = self.seen.as_ref().is_some_and(|s| at.duration_since(s.since) > holds);
        if holder == self.identity || expired { Verdict::Take } else { Verdict::Wait }
    }

    /// The Lease with our name in it.
    fn taken(&self, mut lease: Lease) -> Lease {
        let was_ours = holder(&lease) == Some(self.identity.as_str());
        let spec = lease.spec.get_or_insert_default();
        spec.renew_time = Some(now());
        spec.lease_duration_seconds = Some(HOLDS.as_secs() as i32);
        if !was_ours {
            spec.holder_identity = Some(self.identity.clone());
            spec.acquire_time = Some(now());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + 1);
        }
        lease
    }

    async fn get(&self) -> anyhow::Result<Option<Lease>> {
        let got = tokio::time::timeout(REQUEST, self.api.get_opt(&self.name)).await;
        got.context("the API server did not answer")?
            .with_context(|| format!("reading the Lease {}", self.name))
    }

    async fn create(&self) -> anyhow::Result<Attempt> {
        let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
        let lease = self.taken(Lease { metadata, spec: Some(LeaseSpec::default()) });
        let params = PostParams::default();
        let created = tokio::time::timeout(REQUEST, self.api.create(&params, &lease)).await;
        outcome(created.context("the API server did not answer")?)
    }

    /// Writes over the very version that was read, and nothing newer.
    async fn replace(&self, lease: &Lease) -> anyhow::Result<Attempt> {
        let params = PostParams::default();
        let replaced = tokio::time::timeout(REQUEST, self.api.replace(&self.name, &params, lease)).await;
        outcome(replaced.context("the API server did not answer")?)
    }
}

/// A conflict is an answer: somebody was faster.
fn outcome(result: Result<Lease, kube::Error>) -> anyhow::Result<Attempt> {
    match result {
        Ok(_) => Ok(Attempt::Ours),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
            Ok(Attempt::Changed)
        }
        Err(error) => Err(error).context("writing the Lease"),
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref()
}

fn now() -> MicroTime {
    MicroTime(Timestamp::now())
}

#[cfg(test)]
mod tests;

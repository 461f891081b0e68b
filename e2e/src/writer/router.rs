//! A client that follows redirections and tells what became of every request.

use super::history::Mastership;
use super::latency::Latency;
use super::link::{Broken, Link};
use super::slot_map::{Redirection, SlotMap};
use crate::client::request;
use node_server_protocol::Slot;
use node_server_protocol::resp::Reply;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// MOVED and ASK followed for one request, or between two TRYAGAINs.
const REDIRECTIONS_MAX: usize = 16;
/// As clients do, from the fifth on with a pause that doubles so often, a second and a half in all: two nodes that each take
/// the other for the owner are about to hear who is.
const REDIRECTIONS_AT_ONCE: usize = 4;
const PAUSE_DOUBLINGS_MAX: usize = 4;
/// TRYAGAIN taken for one request, with a pause after each: 30 s.
const TRY_AGAIN_MAX: u32 = 3000;
/// Attempts to reach an owner for one request, with a pause and a fresh look at the owners after each: about 1 s.
const REACH_MAX: u32 = 40;
/// Pause before a request is tried again.
const PAUSE: Duration = Duration::from_millis(10);
const REACH_PAUSE: Duration = Duration::from_millis(25);

/// What a client is told besides results.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// MOVED followed.
    pub moved: u64,
    /// ASK followed.
    pub ask: u64,
    /// TRYAGAIN waited out.
    pub try_again: u64,
    /// Connections that were closed with no command in flight.
    pub reconnects: u64,
    /// Connections that could not be made; the request went elsewhere or was tried again.
    pub connect_failures: u64,
}

impl AddAssign<&Self> for Counts {
    fn add_assign(&mut self, other: &Self) {
        self.moved += other.moved;
        self.ask += other.ask;
        self.try_again += other.try_again;
        self.reconnects += other.reconnects;
        self.connect_failures += other.connect_failures;
    }
}

/// Commands that go to one node in one piece.
pub(super) struct Request {
    pub(super) slot: Slot,
    pub(super) bytes: Vec<u8>,
    pub(super) replies: usize,
}

impl Request {
    pub(super) fn new<A: AsRef<[u8]>>(slot: Slot, args: &[A]) -> Self {
        Self { slot, bytes: request(args), replies: 1 }
    }

    /// With one more command right behind.
    pub(super) fn and<A: AsRef<[u8]>>(mut self, args: &[A]) -> Self {
        self.bytes.extend(request(args));
        self.replies += 1;
        self
    }
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Answered, with no error among the replies.
    Done { replies: Vec<Reply>, by: Arc<Mastership> },
    /// Answered with an error, by that node.
    Refused { error: String, by: String },
    /// Never sent.
    NotSent(&'static str),
    /// Sent and never answered.
    Unknown(&'static str),
}

/// A cluster client with one connection per node and one request at a time.
pub(super) struct Router {
    seeds: Vec<String>,
    password: Option<String>,
    reply_limit: Duration,
    standalone: bool,
    map: SlotMap,
    links: BTreeMap<String, Link>,
    pub(super) counts: Counts,
    pub(super) latency: Latency,
}

#[derive(Default)]
struct Tries {
    /// Who said what, since the request was sent or TRYAGAIN was waited out.
    redirections: Vec<String>,
    try_again: u32,
    reach: u32,
}

impl Router {
    pub(super) fn new(seeds: Vec<String>, password: Option<String>, reply_limit: Duration) -> Self {
        let (map, links, counts) = (SlotMap::new(), BTreeMap::new(), Counts::default());
        let (standalone, latency) = (false, Latency::default());
        Self { seeds, password, reply_limit, standalone, map, links, counts, latency }
    }

    /// For one server outside cluster mode: it serves all slots.
    pub(super) fn standalone(mut self) -> Self {
        self.standalone = true;
        self
    }

    pub(super) const fn map(&self) -> &SlotMap {
        &self.map
    }

    /// Sends a request to the owner of its slot, wherever that is.
    pub(super) async fn run(&mut self, request: &Request) -> Outcome {
        let begun = Instant::now();
        let outcome = self.deliver(request).await;
        self.latency.record(begun.elapsed());
        outcome
    }

    async fn deliver(&mut self, request: &Request) -> Outcome {
        let mut tries = Tries::default();
        let mut ask_at: Option<String> = None;
        loop {
            let asking = ask_at.is_some();
            let Some(node) = ask_at.take().or_else(|| self.map.owner(request.slot).map(String::from)) else {
                if self.seek_owner(None, &mut tries).await {
                    continue;
                } else {
                    return Outcome::NotSent("no owner");
                }
            };
            match self.exchange(&node, request, asking).await {
                Err(Broken::InFlight(what)) => return Outcome::Unknown(what),
                Err(Broken::NotSent) if self.seek_owner(Some(&node), &mut tries).await => {}
                Err(Broken::NotSent) => return Outcome::NotSent("unreachable"),
                Ok((replies, by)) => match first_error(&replies) {
                    None => return Outcome::Done { replies, by },
                    Some(error) => match Redirection::parse(error, &node) {
                        None => return Outcome::Refused { error: error.to_owned(), by: node },
                        Some(redirection) => match self.follow(redirection, &node, &mut tries).await {
                            Ok(next) => ask_at = next,
                            Err(error) => return Outcome::Refused { error, by: node },
                        },
                    },
                },
            }
        }
    }

    /// Gives the node to ask once, if it is not the owner.
    async fn follow(
        &mut self,
        redirection: Redirection,
        from: &str,
        tries: &mut Tries,
    ) -> Result<Option<String>, String> {
        if let Redirection::TryAgain = redirection {
            self.counts.try_again += 1;
            tries.try_again += 1;
            // Each round may go by way of ASK; it is TRYAGAIN's own bound that ends this.
            tries.redirections.clear();
            sleep(PAUSE).await;
            return if tries.try_again < TRY_AGAIN_MAX {
                Ok(None)
            } else {
                Err("TRYAGAIN without end".into())
            };
        }
        tries.redirections.push(format!("{from} {redirection:?}"));
        if tries.redirections.len() > REDIRECTIONS_MAX {
            let last = &tries.redirections[REDIRECTIONS_MAX - 2..];
            return Err(format!("more than {REDIRECTIONS_MAX} redirections, the last {}", last.join(", ")));
        }
        if let Some(late @ 1..) = tries.redirections.len().checked_sub(REDIRECTIONS_AT_ONCE) {
            sleep(PAUSE * (1 << (late - 1).min(PAUSE_DOUBLINGS_MAX))).await;
        }
        match redirection {
            Redirection::Moved(slot, to) => {
                self.counts.moved += 1;
                self.map.set_owner(slot, &to);
                if let Some(link) = self.links.get_mut(from) {
                    link.forget_mastership();
                }
                Ok(None)
            }
            Redirection::Ask(to) => {
                self.counts.ask += 1;
                Ok(Some(to))
            }
            Redirection::TryAgain => Ok(None),
        }
    }

    /// Looks again who owns what, after a pause. False: tried often enough.
    async fn seek_owner(&mut self, unreachable: Option<&str>, tries: &mut Tries) -> bool {
        tries.reach += 1;
        if tries.reach > 1 {
            sleep(REACH_PAUSE).await;
        }
        self.refresh(unreachable).await;
        tries.reach <= REACH_MAX
    }

    /// Asks one node after the other for the owners until one answers: first those that are connected, for a pod that is gone
    /// does not even refuse; the one that was not reached comes last.
    pub(super) async fn refresh(&mut self, unreachable: Option<&str>) -> bool {
        if let (true, Some(node)) = (self.standalone, self.seeds.first().cloned()) {
            Slot::all().for_each(|slot| self.map.set_owner(slot, &node));
            return self.link(&node).await.is_some();
        }
        let known: BTreeSet<String> = self.map.nodes().iter().chain(&self.seeds).cloned().collect();
        let mut nodes: Vec<String> = known.into_iter().collect();
        nodes.sort_by_key(|node| (unreachable == Some(node.as_str()), !self.links.contains_key(node)));
        let (ask, limit) = (request(&["CLUSTER", "SLOTS"]), self.reply_limit);
        for node in nodes {
            let Some(link) = self.link(&node).await else { continue };
            match link.exchange(&ask, 1, limit).await {
                Ok(replies) if self.map.update(&replies[0], &node) => {
                    // Who is master of what may be another stretch of it by now.
                    self.links.values_mut().for_each(Link::forget_mastership);
                    return true;
                }
                Ok(_) => {}
                Err(_) => drop(self.links.remove(&node)),
            }
        }
        false
    }

    /// Sends to one node, whoever owns the slot.
    pub(super) async fn exchange(
        &mut self,
        node: &str,
        request: &Request,
        asking: bool,
    ) -> Result<(Vec<Reply>, Arc<Mastership>), Broken> {
        let limit = self.reply_limit;
        if self.drop_closed(node) {
            // As cluster clients do: who lost a node looks who owns what before it goes there again. Another process, which
            // knows of no owners yet, may listen there by now.
            return Err(Broken::NotSent);
        }
        let link = self.link(node).await.ok_or(Broken::NotSent)?;
        // Asking who the node is is no command of the caller's: it was not sent then.
        let by = match link.mastership(limit).await {
            Ok(by) => by,
            Err(_) => {
                self.links.remove(node);
                return Err(Broken::NotSent);
            }
        };
        let replies = if asking {
            let bytes = [&crate::client::request(&["ASKING"])[..], &request.bytes].concat();
            link.exchange(&bytes, request.replies + 1, limit).await.map(|mut replies| replies.split_off(1))
        } else {
            link.exchange(&request.bytes, request.replies, limit).await
        };
        if let Err(broken) = &replies {
            self.links.remove(node);
            self.counts.reconnects += u64::from(matches!(broken, Broken::NotSent));
        }
        replies.map(|replies| (replies, by))
    }

    /// Whether the node has closed the connection, which goes.
    fn drop_closed(&mut self, node: &str) -> bool {
        let closed = self.links.get(node).is_some_and(Link::is_closed);
        if closed {
            self.links.remove(node);
            self.counts.reconnects += 1;
        }
        closed
    }

    /// The open connection to the node, or a new one.
    async fn link(&mut self, node: &str) -> Option<&mut Link> {
        self.drop_closed(node);
        if !self.links.contains_key(node) {
            match Link::connect(node, self.password.as_deref(), self.reply_limit).await {
                Some(link) => drop(self.links.insert(node.to_owned(), link)),
                None => self.counts.connect_failures += 1,
            }
        }
        self.links.get_mut(node)
    }
}

/// The first error, also within the reply of EXEC. A redirection within a transaction makes EXEC fail as well.
fn first_error(replies: &[Reply]) -> Option<&str> {
    replies.iter().find_map(|reply| match reply {
        Reply::Error(text) => Some(text.as_str()),
        Reply::Array(items) => first_error(items),
        _ => None,
    })
}

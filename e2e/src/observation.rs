//! The invariant check of proof.md by eyes of our own: every member is asked directly, and the operator's planner judges
//! what they say. Nothing that the operator itself saw or wrote of the nodes is used.

use crate::answers::{Answers, Count};
use crate::declared::{Declared, Place};
use crate::wait;
use anyhow::{Context, Result};
use node_server_protocol::address::BUS_PORT_OFFSET;
use node_server_protocol::{Address, SlotSet};
use operator_planner::{Fact, Life, Member, MemberId, NodeReport, Observed, Violation, Why, check};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long an edit may take to be followed: machines that tests run on are busy.
pub const CONVERGE_LIMIT: Duration = Duration::from_secs(180);

impl Declared {
    /// What every member says now.
    ///
    /// # Errors
    /// The operator has not begun yet.
    pub fn observe(&self) -> Result<Observed> {
        let places = self.places()?;
        let members = places.iter().map(|(member, place)| (*member, seen(place, Count::Foreign))).collect();
        Ok(Observed { members: Fact::Known(members), gone: Vec::new() })
    }

    /// What one member says now.
    ///
    /// # Errors
    /// There is no such member, or it does not answer.
    pub fn report(&self, member: MemberId) -> Result<NodeReport> {
        report(&self.place(member)?, Count::Open)
    }

    /// What breaks the invariants now; nothing once everything is as declared.
    ///
    /// # Errors
    /// The operator has not begun yet, or the manifest does not hold.
    pub fn violations(&self) -> Result<Vec<Violation>> {
        Ok(check(&self.manifest()?.desired, &self.observe()?))
    }

    /// Waits until no invariant is broken and the operator says Ready.
    ///
    /// # Errors
    /// Not so within 90 s; the message says what is missing.
    pub fn wait_converged(&self) -> Result<()> {
        let mut wrong = Vec::new();
        let what = format!("everything is as declared in\n{}", self.declaration());
        wait::until(&what, CONVERGE_LIMIT, || {
            // The cheap question first: nodes have better to do than to count keys for us.
            self.says_ready()
                && self.violations().is_ok_and(|found| {
                    wrong = found;
                    wrong.is_empty()
                })
        })
        .with_context(|| {
            let words: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            format!("owned {:?}, wrong: {words:#?}\n{}", self.owned(), self.said_tail())
        })
    }

    fn says_ready(&self) -> bool {
        let status = self.status();
        let ready = |c: &serde_json::Value| c["type"] == "Ready" && c["status"] == "True";
        status["conditions"].as_array().is_some_and(|all| all.iter().any(ready))
    }

    /// The master of a shard: the member that owns slots, or that all take for a master.
    ///
    /// # Errors
    /// None answers as a master.
    pub fn master_of(&self, shard: u16) -> Result<MemberId> {
        let reports = self.reports()?;
        let masters = reports.iter().filter(|(m, r)| m.shard == shard && r.role.is_master());
        let best = masters.max_by_key(|(_, r)| (r.own_slots().len(), r.config_epoch));
        best.map(|(m, _)| *m).with_context(|| format!("shard {shard} has no master"))
    }

    /// A replica of a shard.
    ///
    /// # Errors
    /// None answers as a replica.
    pub fn replica_of(&self, shard: u16) -> Result<MemberId> {
        let reports = self.reports()?;
        let found = reports.iter().find(|(m, r)| m.shard == shard && !r.role.is_master());
        found.map(|(m, _)| *m).with_context(|| format!("shard {shard} has no replica"))
    }

    /// The slots of each shard, as its own nodes say.
    ///
    /// # Errors
    /// The operator has not begun yet.
    pub fn owned(&self) -> Result<Vec<SlotSet>> {
        let mut owned: BTreeMap<u16, SlotSet> = BTreeMap::new();
        for (member, report) in self.reports()? {
            let slots = owned.entry(member.shard).or_default();
            *slots = slots.union(&report.own_slots());
        }
        Ok(owned.into_values().collect())
    }

    fn reports(&self) -> Result<BTreeMap<MemberId, NodeReport>> {
        let places = self.places()?;
        let known = |(member, place): (&MemberId, &Place)| Some((*member, report(place, Count::Open).ok()?));
        Ok(places.iter().filter_map(known).collect())
    }
}

fn seen(place: &Place, of: Count) -> Member {
    let address =
        Address { ip: place.address().ip(), port: place.port, bus_port: place.port + BUS_PORT_OFFSET };
    let node = match report(place, of) {
        Ok(report) => Fact::Known(report),
        Err(error) => Fact::Unknown(Why::Failed(format!("{error:#}"))),
    };
    let (uid, life) = (place.uid.clone(), Life::Running);
    Member { uid, address, life, leaving: false, on_volume: false, last_id: None, node }
}

fn report(place: &Place, of: Count) -> Result<NodeReport> {
    Answers::ask(&mut place.client()?, of)?.report()
}

//! How many messages of each type were sent and received, for CLUSTER INFO.

use std::collections::BTreeMap;

/// The types in the order in which CLUSTER INFO lists them.
pub(crate) const TYPES: &[&str] = &[
    "ping",
    "pong",
    "meet",
    "fail",
    "publish",
    "auth-req",
    "auth-ack",
    "update",
    "mfstart",
    "module",
    "publishshard",
];

#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) sent: BTreeMap<&'static str, u64>,
    pub(crate) received: BTreeMap<&'static str, u64>,
}

impl Stats {
    pub(crate) fn sent(&mut self, name: &'static str) {
        *self.sent.entry(name).or_default() += 1;
    }

    pub(crate) fn received(&mut self, name: &'static str) {
        *self.received.entry(name).or_default() += 1;
    }
}

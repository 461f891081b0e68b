//! `spec.slots`: weights or exact ranges, and the rules that the API server checks them by.
//!
//! Start and chain say that everything is covered, total then says that nothing is covered twice.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The share of one master: a weight, or its exact ranges.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.weight) != has(self.ranges)")
    .message("an entry of slots has either weight or ranges")
    .reason(Reason::FieldValueInvalid))]
pub struct SlotsEntry {
    /// Share in proportion to the other masters' weights, 1 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::weight_schema")]
    pub weight: Option<i32>,

    /// The slots of this master, as in `["0-5460"]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::ranges_schema")]
    pub ranges: Option<Vec<String>>,
}

/// Every range runs forward and ends at 16383 at most.
pub const RULE_ORDER: &str = "self.exists(e, has(e.weight)) || self.all(e, e.ranges.all(r, int(r.substring(0, r.indexOf('-'))) <= int(r.substring(r.indexOf('-') + 1)) && int(r.substring(r.indexOf('-') + 1)) <= 16383))";
/// What is said then.
pub const SAY_ORDER: &str = "slots: every range must run from a lower to a higher slot, at most 16383";
/// Slot 0 is covered.
pub const RULE_START: &str =
    "self.exists(e, has(e.weight)) || self.exists(e, e.ranges.exists(r, r.startsWith('0-')))";
/// What is said then.
pub const SAY_START: &str = "slots: no range begins with slot 0";
/// As many slots as there are.
pub const RULE_TOTAL: &str = "self.exists(e, has(e.weight)) || self.map(e, e.ranges.map(r, int(r.substring(r.indexOf('-') + 1)) - int(r.substring(0, r.indexOf('-'))) + 1).sum()).sum() == 16384";
/// What is said then.
pub const SAY_TOTAL: &str = "slots: the ranges must cover each of the 16384 slots exactly once";
/// Behind every range another begins, or it is the last.
pub const RULE_CHAIN: &str = "self.exists(e, has(e.weight)) || [self.map(e, e.ranges.map(r, int(r.substring(0, r.indexOf('-')))))].all(S, self.all(e, e.ranges.all(r, r.endsWith('-16383') || S.exists(l, (int(r.substring(r.indexOf('-') + 1)) + 1) in l))))";
/// What is said then.
pub const SAY_CHAIN: &str =
    "slots: there is a gap: behind every range but the one that ends at 16383 another must begin";
/// So many ranges fit the API server's budget for rules.
pub const RULE_BOUND: &str = "self.exists(e, has(e.weight)) || self.map(e, e.ranges.size()).sum() <= 512";
/// What is said then.
pub const SAY_BOUND: &str = "slots: at most 512 ranges in all";

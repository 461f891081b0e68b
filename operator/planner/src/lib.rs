//! `plan(&Desired, &Observed) -> Plan`: the next safe steps towards what is declared, what is being waited for, and
//! what is refused and why. Pure, total and deterministic: no I/O, no clock, no randomness, no error, no panic on any
//! input. Nothing is remembered between two calls; everything follows from what platform and nodes say.
//!
//! Forbidden here: to conclude anything from silence. What did not answer is [`Fact::Unknown`], and no removal, no
//! reassignment and no forgetting follows from it.

pub mod check;
pub mod commands;
pub mod desired;
pub mod distribution;
mod draft;
pub mod explain;
mod layout;
pub mod member;
pub mod observed;
mod ownership;
pub mod plan;
pub mod report;
mod safety;
mod stage;
pub mod step;
mod text;
pub mod unsafe_;
pub mod waiting;
mod world;

pub use check::{Violation, check};
pub use desired::{BadDesired, Desired, Distribution, Spec};
pub use explain::{Explanation, Names, explain};
pub use member::MemberId;
pub use observed::{Fact, Life, Member, NodeReport, Observed, Proof, Why};
pub use plan::{Destinations, Plan, PlannedStep, plan};
pub use step::{Expect, FailoverMode, MoveKind, NodeRef, Step};
pub use unsafe_::Unsafe;
pub use waiting::Waiting;

//! The planner against a model cluster.
#![allow(clippy::unwrap_used, reason = "all of this is test code, helpers too")]

mod convergence;
mod copies;
mod laws;
mod model;
mod nonsense;
mod older_copy;
mod story;
mod votes;

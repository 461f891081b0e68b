//! The operator: observes, plans, acts, over and over. The planner decides; this shell only looks and does.

pub mod act;
pub mod build;
pub mod controller;
pub mod dump;
pub mod lease;
pub mod manifest;
pub mod metrics;
pub mod observe;
pub mod plan_command;
pub mod platform;
pub mod reconcile;
pub mod run;
pub mod status;
pub mod story;
pub mod terminal;

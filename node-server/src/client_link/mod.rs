//! Clients: one readiness loop per data thread, four phases a turn.

pub mod input;
pub mod output;

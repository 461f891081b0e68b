//! What a user is promised, each kept under the checked writer by `operator local` with real processes.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test, and clippy takes only test functions for one"
)]

mod edits;
mod kill;
mod lag;
mod mid_slot;
mod operator_killed;
mod reshard;
mod scene;
mod terminate;

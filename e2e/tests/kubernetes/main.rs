//! What a user is promised on Kubernetes, each with the checked writer and the invariant check, on any cluster:
//! `KUBECONFIG=… cargo test -p e2e --test kubernetes`. Without it, on the kind cluster of `e2e/kind/up`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test, and clippy takes only test functions for one"
)]

mod all_deleted;
mod children;
mod client;
mod cluster;
mod create;
mod deletion;
mod dump;
mod graceful;
mod killed;
mod kind;
mod machines;
mod operator_harmed;
mod platform;
mod reaction;
mod refusal;
mod reshape;
mod scale;
mod scene;
mod wait;

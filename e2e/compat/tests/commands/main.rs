//! CLUSTER and the redirections, word for word as redis-server 7.0.15 has them; and the rest of redis-cli's and
//! redis-benchmark's cluster modes.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod errors;
mod tools;

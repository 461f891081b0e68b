//! A client that is much cheaper than the servers: one thread, requests made beforehand, replies only counted.
//! redis-benchmark takes more of its core than a fast server does of its own.

pub(crate) mod closed;
mod connection;
pub(crate) mod paced;
mod replies;
pub(crate) mod requests;
mod schedule;

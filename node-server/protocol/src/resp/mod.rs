//! RESP2 and RESP3 (redis.io/docs/latest/develop/reference/protocol-spec): requests in, replies out, and replies
//! in for those parts of the project that are clients.

pub mod reply;
pub mod request;
pub mod writer;

pub use reply::{Reply, ReplyError, parse_reply};
pub use request::{Limits, Parsed, RequestError, parse_request};
pub use writer::{NUMBER_TEXT_MAX, Protocol, ReplyWriter, format_number, put_number, until_nul};

#[cfg(test)]
mod tests;

//! BGSAVE and BGREWRITEAOF in a transaction: scheduled at once, by the state that the persistence thread last told of.

use crate::node::Node;
use crate::persistence::Request;
use node_server_protocol::resp::ReplyWriter;

/// Another thread has too much to do.
const OVERLOADED: &str = "TRYAGAIN the server is overloaded, try again";

pub(super) fn background_save(node: &Node, reply: &mut ReplyWriter<'_>) {
    if node.persistence.status.get().has_begun.save {
        return reply.error("ERR Background save already in progress");
    }
    schedule(
        node,
        Request::BackgroundSave { reply_to: None, schedule: true },
        "Background saving scheduled",
        reply,
    );
}

pub(super) fn rewrite(node: &Node, reply: &mut ReplyWriter<'_>) {
    let status = node.persistence.status.get();
    if status.has_begun.rewrite {
        return reply.error("ERR Background append only file rewriting already in progress");
    }
    if !status.aof_on {
        return reply.error(crate::persistence::NO_AOF);
    }
    schedule(node, Request::Rewrite(None), "Background append only file rewriting scheduled", reply);
}

fn schedule(node: &Node, request: Request, text: &str, reply: &mut ReplyWriter<'_>) {
    match node.persistence.ask(request) {
        Ok(()) => reply.simple(text),
        Err(_) => reply.error(OVERLOADED),
    }
}

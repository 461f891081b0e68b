//! Every request gets exactly one reply, in its place, whatever the request has to wait for: another thread, a worker,
//! a busy slot, a barrier.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{Server, encode};
use node_server_protocol::resp::Reply;

const CLIENTS: usize = 8;
/// Pipelines of one client.
const ROUNDS: usize = 12;

/// A request, and whether a reply to it is one that it can have.
type Exchange = (Vec<u8>, Box<dyn Fn(&Reply) -> bool + Send>);

fn expect(args: &[&str], fits: impl Fn(&Reply) -> bool + Send + 'static) -> Exchange {
    (encode(args), Box::new(fits))
}

fn is_ok(reply: &Reply) -> bool {
    *reply == Reply::Simple("OK".into())
}

/// Between any two requests stands an ECHO, which shows at once when a reply is missing or there is one too many.
fn pipeline(client: usize, round: usize) -> Vec<Exchange> {
    let mut all: Vec<Exchange> = vec![
        expect(&["FLUSHALL"], is_ok),
        expect(&["INCR", "n"], |reply| matches!(reply, Reply::Integer(_))),
        expect(&["MULTI"], is_ok),
        expect(&["FLUSHALL"], |reply| *reply == Reply::Simple("QUEUED".into())),
        expect(&["EXEC"], |reply| matches!(reply, Reply::Array(replies) if replies.len() == 1)),
        expect(&["SET", "text", &"x".repeat(100_000)], is_ok),
        expect(&["WAIT", "1", "5"], |reply| *reply == Reply::Integer(0)),
        expect(&["SCAN", "0"], |reply| matches!(reply, Reply::Array(parts) if parts.len() == 2)),
        expect(&["FLUSHDB", "ASYNC"], is_ok),
        expect(&["NONESUCH"], |reply| matches!(reply, Reply::Error(_))),
        expect(&["MIGRATE", "127.0.0.1", "1", "nokey", "0", "5"], |reply| {
            *reply == Reply::Simple("NOKEY".into())
                || matches!(reply, Reply::Error(text) if text.starts_with("TRYAGAIN"))
        }),
    ];
    if round.is_multiple_of(4) {
        all.push(expect(&["DEBUG", "SLEEP-SLOT", "n", "0.005"], is_ok));
    }
    // Every client in an order of its own.
    let len = all.len();
    all.rotate_left((client * 5 + round) % len);
    let start = all.iter().position(|(request, _)| *request == encode(&["MULTI"])).unwrap();
    all.rotate_left(start);
    let mut woven = Vec::new();
    for (n, exchange) in all.into_iter().enumerate() {
        woven.push(exchange);
        // Not between MULTI and EXEC.
        if n >= 2 {
            let tag = format!("{client}-{round}-{n}");
            let echoed = Reply::Bulk(tag.clone().into_bytes());
            woven.push(expect(&["ECHO", &tag], move |reply| *reply == echoed));
        }
    }
    woven
}

#[test]
fn every_request_has_one_reply_in_its_place() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let mut client = server.client();
            std::thread::spawn(move || {
                for round in 0..ROUNDS {
                    let exchanges = pipeline(n, round);
                    let bytes: Vec<u8> = exchanges.iter().flat_map(|(request, _)| request.clone()).collect();
                    client.send_raw(&bytes);
                    for (request, fits) in &exchanges {
                        let reply = client.receive();
                        assert!(
                            fits(&reply),
                            "{reply:?} to {}",
                            request[..request.len().min(200)].escape_ascii()
                        );
                    }
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
}

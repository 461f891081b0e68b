//! Phases 2 and 3: parse and prefetch everything that was received, then execute it.

use super::{DataThread, Hub};
use crate::mailbox::PENDING_MAX;
use node_server_engine::Prepared;
use node_server_protocol::resp::request::{Limits, Parsed, RequestError, parse_request};
use smallvec::SmallVec;

/// Most requests of one connection executed in one turn, so that one busy client does not starve the others.
const REQUESTS_MAX: usize = 256;
/// How many requests are prepared together, of whatever connections: enough that memory is there when a request runs, and
/// few enough that what was prefetched first is still in the first cache.
const BATCH: usize = 32;

/// The arguments of one request.
pub(super) enum Args<'b> {
    /// In the input buffer.
    Borrowed(SmallVec<[&'b [u8]; 8]>),
    /// Of an inline request, with quotes undone.
    Owned(Vec<Vec<u8>>),
    /// The client broke the protocol.
    Broken(RequestError),
}

/// A parsed request and where it ends in its connection's input.
pub(super) struct Request<'b> {
    pub(super) at: usize,
    pub(super) args: Args<'b>,
    pub(super) end: usize,
    prepared: Prepared,
}

impl DataThread {
    pub(super) fn serve(&mut self) {
        let Self { inputs, hub, .. } = self;
        let known = Limits { bulk_len: hub.settings.proto_max_bulk_len as usize, ..Limits::default() };
        let stranger = Limits { stranger: true, ..known };
        let mut batch: Vec<Request<'_>> = Vec::with_capacity(BATCH);
        let mut unfinished: SmallVec<[Unfinished; 16]> = SmallVec::new();
        hub.node.replication.begin_turn();
        for i in 0..hub.active.len() {
            let at = hub.active[i];
            let input = &inputs[at];
            if !hub.may_serve(at) || !input.is_worth_parsing() {
                continue;
            }
            // Of one who may be about to say the password one request at a time: what follows has other bounds then.
            let (limits, most) = if hub.is_stranger(at) { (&stranger, 1) } else { (&known, REQUESTS_MAX) };
            match parse_all(at, input.bytes(), (limits, most), hub, &mut batch) {
                Rest::Unfinished(rest) => unfinished.push(rest),
                Rest::Nothing => {}
                Rest::More => hub.next.push(at),
            }
        }
        hub.execute_batch(&mut batch);
        drop(batch);
        if hub.node.replication.end_turn() {
            hub.node.persistence.note_growth();
        }
        // Input that was not executed, because a request before it has to wait, is parsed again.
        unfinished
            .retain(|rest| hub.connections[rest.at].as_ref().is_some_and(|c| c.consumed == rest.begins));
        for i in 0..hub.active.len() {
            let at = hub.active[i];
            let Some(connection) = hub.connections[at].as_deref_mut() else { continue };
            let consumed = std::mem::take(&mut connection.consumed);
            if consumed > 0 {
                inputs[at].advance(consumed);
            }
        }
        for rest in unfinished {
            inputs[rest.at].at_least = rest.at_least;
        }
    }
}

/// The beginning of a request.
struct Unfinished {
    at: usize,
    /// Where in the input it begins.
    begins: usize,
    /// How long it has to be before it is worth another look.
    at_least: usize,
}

/// What follows the requests that were parsed.
enum Rest {
    Unfinished(Unfinished),
    Nothing,
    /// More than is executed in one turn.
    More,
}

fn parse_all<'b>(
    at: usize,
    bytes: &'b [u8],
    (limits, most): (&Limits, usize),
    hub: &mut Hub,
    batch: &mut Vec<Request<'b>>,
) -> Rest {
    let mut position = 0;
    for _ in 0..most {
        if position == bytes.len() {
            return Rest::Nothing;
        }
        if batch.len() >= BATCH {
            hub.execute_batch(batch);
        }
        match parse_request(&bytes[position..], limits) {
            Ok(Parsed::Request { args, consumed }) => {
                position += consumed;
                let prepared = hub.node.engine.prepare(&args);
                batch.push(Request { at, args: Args::Borrowed(args), end: position, prepared });
            }
            Ok(Parsed::Inline { args, consumed }) => {
                position += consumed;
                let prepared = Prepared::default();
                batch.push(Request { at, args: Args::Owned(args), end: position, prepared });
            }
            Ok(Parsed::Incomplete { at_least }) => {
                return Rest::Unfinished(Unfinished { at, begins: position, at_least });
            }
            Err(error) => {
                let prepared = Prepared::default();
                batch.push(Request { at, args: Args::Broken(error), end: bytes.len(), prepared });
                return Rest::Nothing;
            }
        }
    }
    Rest::More
}

impl Hub {
    /// Whether the connection's next request may be executed.
    fn may_serve(&self, at: usize) -> bool {
        let connection = self.connections[at].as_deref();
        connection.is_some_and(|c| c.is_open() && c.output.pending() < PENDING_MAX)
    }

    /// Whether the connection has yet to say the password.
    fn is_stranger(&self, at: usize) -> bool {
        let session = self.connections[at].as_deref().and_then(|c| c.session.as_ref());
        session.is_some_and(|session| self.node.engine.is_stranger(session))
    }

    /// Executes what was parsed, when its memory is on its way.
    fn execute_batch(&mut self, batch: &mut Vec<Request<'_>>) {
        if batch.len() > 1 {
            let engine = &self.node.engine;
            batch.iter().for_each(|request| engine.prefetch_position(&request.prepared));
            batch.iter().for_each(|request| engine.prefetch_entry(&request.prepared));
        }
        for request in batch.drain(..) {
            self.execute_request(request);
        }
    }

    fn execute_request(&mut self, request: Request<'_>) {
        let Request { at, args, end, prepared } = request;
        // An earlier request of this connection may have parked or closed it.
        if !self.may_serve(at) {
            return;
        }
        match args {
            Args::Borrowed(args) => self.execute(at, &args, &prepared, end),
            Args::Owned(args) => {
                let args: SmallVec<[&[u8]; 8]> = args.iter().map(Vec::as_slice).collect();
                self.execute(at, &args, &prepared, end);
            }
            Args::Broken(error) => self.break_off(at, &error, end),
        }
    }

    /// Tells the client what it did wrong, and closes.
    fn break_off(&mut self, at: usize, error: &RequestError, end: usize) {
        let Some(connection) = self.connection(at) else { return };
        tracing::debug!("Protocol error ({error}) from client: id={}", connection.client.id);
        let mark = connection.output.mark();
        connection.output.begin().extend_from_slice(format!("-ERR {error}\r\n").as_bytes());
        connection.output.finish(mark, None);
        connection.consumed = end;
        connection.closing = true;
    }
}

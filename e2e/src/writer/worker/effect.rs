//! Writes, and what their replies say.

use super::super::history::State;
use super::super::router::Request;
use super::super::value;
use node_server_protocol::resp::Reply;

/// What a write does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Set,
    /// SET with GET: tells what was there before.
    SetGet,
    Delete,
    Expire(u64),
    Increment,
    MultiSet,
    Transaction,
}

/// A write that is about to be sent.
pub(super) struct Write {
    pub(super) kind: Kind,
    pub(super) seq: u64,
    /// Keys with what they hold afterwards.
    pub(super) keys: Vec<(usize, State)>,
    pub(super) request: Request,
}

/// What a reply says of one key.
pub(super) struct Effect {
    pub(super) before: Option<State>,
    /// `None`: the command found nothing to do.
    pub(super) after: Option<State>,
}

/// What the replies say of each key, in the order of `write.keys`; the first has that name. `None`: not what such a command answers.
pub(super) fn effects(write: &Write, name: &str, replies: &[Reply]) -> Option<Vec<Effect>> {
    let after = |i: usize| Some(write.keys[i].1);
    let plain =
        |count: usize| (0..count).map(|i| Effect { before: None, after: after(i) }).collect::<Vec<_>>();
    let number = |n: i64| {
        let value = u64::try_from(n).ok().filter(|n| *n > 0)?;
        Some(Effect { before: Some(State::Number(value - 1)), after: Some(State::Number(value)) })
    };
    match (write.kind, replies) {
        (Kind::Set | Kind::MultiSet, [Reply::Simple(ok)]) if ok == "OK" => Some(plain(write.keys.len())),
        (Kind::SetGet, [Reply::Null]) => Some(vec![Effect { before: Some(State::Absent), after: after(0) }]),
        // A text that is not ours matches no attempt: number 0 is never given to a text.
        (Kind::SetGet, [Reply::Bulk(old)]) => {
            let old = value::decode(name, old).unwrap_or(State::Text(0));
            Some(vec![Effect { before: Some(old), after: after(0) }])
        }
        (Kind::Delete | Kind::Expire(_), [Reply::Integer(1)]) => Some(plain(1)),
        (Kind::Delete, [Reply::Integer(0)]) => {
            Some(vec![Effect { before: Some(State::Absent), after: after(0) }])
        }
        (Kind::Expire(_), [Reply::Integer(0)]) => {
            Some(vec![Effect { before: Some(State::Absent), after: None }])
        }
        (Kind::Increment, [Reply::Integer(n)]) => Some(vec![number(*n)?]),
        (Kind::Transaction, [.., Reply::Array(items)]) => match &items[..] {
            [Reply::Simple(a), Reply::Simple(b), Reply::Simple(c), Reply::Integer(n)]
                if [a, b, c].iter().all(|ok| *ok == "OK") =>
            {
                let mut effects = plain(3);
                effects.push(number(*n)?);
                Some(effects)
            }
            _ => None,
        },
        _ => None,
    }
}

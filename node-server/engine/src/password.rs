//! The password of the default user, who is the only one there is (`requirepass`).

use crate::Engine;
use crate::command::{CommandError, CommandResult};
use crate::session::{Session, SessionId};
use arc_swap::ArcSwapOption;
use node_server_protocol::Millis;
use std::hint::black_box;
use std::sync::Arc;

/// The one user.
const USER: &[u8] = b"default";

/// What a client has to say before it is served; nothing: everybody is.
#[derive(Default)]
pub(crate) struct Password {
    secret: ArcSwapOption<Vec<u8>>,
}

impl Password {
    /// Whether `given` is right. Takes as long for one wrong password as for another of its length.
    fn is(&self, given: &[u8]) -> bool {
        self.secret.load().as_ref().is_none_or(|secret| is_same(secret, given))
    }
}

/// Compares every byte of `given`, whatever the first ones were, so that the time tells nothing of `secret`.
fn is_same(secret: &[u8], given: &[u8]) -> bool {
    let mut different = u8::from(secret.len() != given.len());
    for (at, byte) in given.iter().enumerate() {
        // `secret` is not empty; where it is shorter the lengths have decided.
        let own = secret.get(at % secret.len().max(1)).copied().unwrap_or_default();
        different = black_box(different | (own ^ byte));
    }
    black_box(different) == 0
}

impl Engine {
    /// `requirepass`; empty: none. Who is connected and has been served goes on being served.
    pub fn set_password(&self, password: &[u8]) {
        let secret = (!password.is_empty()).then(|| Arc::new(password.to_vec()));
        self.password.secret.store(secret);
    }

    /// Whether clients have to say a password.
    #[must_use]
    pub fn asks_password(&self) -> bool {
        self.password.secret.load().is_some()
    }

    /// The session of a connection just made. Whether it has to say a password is decided now, as in Redis: one that
    /// is set later is asked of those alone who come later.
    #[must_use]
    pub fn new_session(&self, id: SessionId, now: Millis) -> Session {
        let mut session = Session::new(id, now);
        session.authenticated = !self.asks_password();
        session
    }

    /// Whether the session has yet to say the password.
    #[must_use]
    pub fn is_stranger(&self, session: &Session) -> bool {
        !session.authenticated && self.asks_password()
    }

    /// AUTH without a user: says so when there is nothing to authenticate with.
    pub(crate) fn authenticate_default(&self, session: &mut Session, password: &[u8]) -> CommandResult {
        if !self.asks_password() {
            return Err(CommandError::text(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
            ));
        }
        self.authenticate(session, USER, password)
    }

    /// From now on the session is the user's. A wrong password changes nothing.
    pub(crate) fn authenticate(&self, session: &mut Session, user: &[u8], password: &[u8]) -> CommandResult {
        if user != USER || !self.password.is(password) {
            return Err(CommandError::text("WRONGPASS invalid username-password pair or user is disabled."));
        }
        session.authenticated = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_bytes_are_the_same() {
        assert!(is_same(b"secret", b"secret"));
        for other in [
            b"".as_slice(),
            b"s",
            b"secre",
            b"secrets",
            b"Secret",
            b"secreT",
            b"secretsecret",
            b"\0\0\0\0\0\0",
        ] {
            assert!(!is_same(b"secret", other), "{other:?}");
        }
        assert!(is_same(b"", b""));
        assert!(!is_same(b"", b"x"));
    }
}

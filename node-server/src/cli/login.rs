//! The password that is said to every node, as redis-cli says it.

use super::connection::Connection;
use node_server_protocol::resp::Reply;
use std::io::Write as _;

/// The environment variable that has the password when the command line does not.
pub(super) const VARIABLE: &str = "REDISCLI_AUTH";
/// redis-cli's words.
const WARNING: &str =
    "Warning: Using a password with '-a' or '-u' option on the command line interface may not be safe.";

/// Who we say that we are. Its `Debug` is for tests alone.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    /// Say nothing of a password on the command line.
    pub(super) silent: bool,
}

impl Login {
    /// Warns of a password on the command line, and takes the environment's where there is none.
    pub(super) fn complete(&mut self, environment: Option<String>) {
        if self.password.is_none() {
            self.password = environment;
        } else if !self.silent {
            say(WARNING);
        }
    }

    /// Says it. A refusal is shown and no more: the node may serve us all the same.
    pub(super) fn say(&self, connection: &mut Connection) -> Result<(), String> {
        let Some(password) = &self.password else { return Ok(()) };
        let mut command = vec!["AUTH".to_owned()];
        command.extend(self.user.clone());
        command.push(password.clone());
        if let Reply::Error(refusal) = connection.call(&command)? {
            say(&format!("AUTH failed: {refusal}"));
        }
        Ok(())
    }
}

fn say(text: &str) {
    // Nothing can be done for a reader that has gone.
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_comes_before_the_environment() {
        let complete = |password: Option<&str>| {
            let mut login = Login { password: password.map(String::from), silent: true, ..Login::default() };
            login.complete(Some("e".into()));
            login.password
        };
        assert_eq!((complete(None).as_deref(), complete(Some("a")).as_deref()), (Some("e"), Some("a")));
    }
}

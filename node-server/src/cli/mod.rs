//! `node-server cli [-c] COMMAND…`: commands to a node, printed as redis-cli does. For an image without a shell, where no
//! redis-cli is at hand.

mod connection;
mod format;
mod login;

use connection::Connection;
use login::Login;
use node_server_protocol::resp::Reply;
use node_server_protocol::resp::request::split_quoted;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

/// Most redirections that one command follows.
const REDIRECTIONS_MAX: usize = 16;
const USAGE: &str = "\
Usage: node-server cli [-c] [-h HOST] [-p PORT] [-a PASSWORD] [--raw | --no-raw] [COMMAND [ARGUMENT...]]
Without COMMAND, commands are read from standard input, one a line.
  -c        follow MOVED and ASK
  -h HOST   server [default: 127.0.0.1]
  -p PORT   port [default: 6379]
  -a PASSWORD, --pass PASSWORD
            password, which others on this machine can see: better in the
            environment variable REDISCLI_AUTH
  --user USER
            user [default: default]
  --no-auth-warning
            do not say that others can see it
  --raw     replies as they are (default when standard output is no terminal)
  --no-raw  replies with their types (default on a terminal)
";

/// What the command line says.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    follow: bool,
    host: String,
    port: u16,
    raw: Option<bool>,
    login: Login,
    command: Vec<String>,
}

/// The program.
#[must_use]
pub fn main(args: &[String]) -> ExitCode {
    let needs_command = std::io::stdin().is_terminal();
    let complete = |o: &Options| !needs_command || !o.command.is_empty();
    let parsed = parse(args).and_then(|o| if complete(&o) { Ok(o) } else { Err("no command".into()) });
    let mut options = match parsed {
        Ok(options) => options,
        Err(reason) => {
            // Nothing can be done for a reader that has gone.
            let _ = write!(std::io::stderr(), "{reason}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    options.login.complete(std::env::var(login::VARIABLE).ok());
    match run(&options, &mut std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            let _ = writeln!(std::io::stderr(), "{reason}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options {
        follow: false,
        host: "127.0.0.1".into(),
        port: 6379,
        raw: None,
        login: Login::default(),
        command: Vec::new(),
    };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "-c" => options.follow = true,
            "--raw" => options.raw = Some(true),
            "--no-raw" => options.raw = Some(false),
            "-a" | "--pass" => options.login.password = Some(value()?.clone()),
            "--user" => options.login.user = Some(value()?.clone()),
            "--no-auth-warning" => options.login.silent = true,
            "-h" => options.host = value()?.clone(),
            "-p" => {
                let port = value()?;
                options.port = port.parse().map_err(|_| format!("-p {port}: no port"))?;
            }
            option if option.starts_with('-') => return Err(format!("{option}: no such option")),
            _ => {
                options.command = std::iter::once(arg).chain(rest).cloned().collect();
                return Ok(options);
            }
        }
    }
    Ok(options)
}

fn run(options: &Options, out: &mut impl std::io::Write) -> Result<(), String> {
    let mut connection = Connection::open(&options.host, options.port)?;
    options.login.say(&mut connection)?;
    if !options.command.is_empty() {
        connection = ask(options, connection, &options.command, out)?;
        return go_on(options, connection, out);
    }
    for (number, line) in (1..).zip(std::io::stdin().lines()) {
        let line = line.map_err(|e| format!("could not read standard input: {e}"))?;
        let words =
            split_quoted(line.as_bytes()).ok_or_else(|| format!("line {number}: unbalanced quotes"))?;
        let words: Vec<String> = words.iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect();
        if !words.is_empty() {
            connection = ask(options, connection, &words, out)?;
        }
    }
    Ok(())
}

/// Prints the reply to one command; gives the connection that it came from.
fn ask(
    options: &Options,
    mut connection: Connection,
    command: &[String],
    out: &mut impl std::io::Write,
) -> Result<Connection, String> {
    let mut reply = connection.call(command)?;
    for _ in 0..REDIRECTIONS_MAX {
        let Some(to) = redirection(&reply).filter(|_| options.follow) else { break };
        let host = if to.host.is_empty() { connection.host().to_owned() } else { to.host };
        if std::io::stdout().is_terminal() {
            let text = format!("-> Redirected to slot [{}] located at {host}:{}\n", to.slot, to.port);
            write(out, text.as_bytes())?;
        }
        connection = Connection::open(&host, to.port)?;
        options.login.say(&mut connection)?;
        if to.asking {
            connection.call(&["ASKING".into()])?;
        }
        reply = connection.call(command)?;
    }
    write(out, &options.print(&reply))?;
    Ok(connection)
}

/// Prints what follows the first reply of a command whose replies do not end.
fn go_on(options: &Options, mut connection: Connection, out: &mut impl std::io::Write) -> Result<(), String> {
    while goes_on(&options.command) {
        match connection.receive()? {
            Some(reply) => write(out, &options.print(&reply))?,
            None => break,
        }
    }
    Ok(())
}

impl Options {
    /// As in redis-cli, a program that reads the reply gets the reply alone.
    fn print(&self, reply: &Reply) -> Vec<u8> {
        let raw = self.raw.unwrap_or_else(|| !std::io::stdout().is_terminal());
        if raw { format::raw(reply) } else { format::typed(reply) }
    }
}

fn write(out: &mut impl std::io::Write, bytes: &[u8]) -> Result<(), String> {
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|e| format!("could not print: {e}"))
}

/// Commands whose replies do not end.
fn goes_on(command: &[String]) -> bool {
    let name = command.first().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
    matches!(name.as_str(), "subscribe" | "psubscribe" | "ssubscribe" | "monitor")
}

struct Redirection {
    asking: bool,
    slot: String,
    host: String,
    port: u16,
}

/// `MOVED slot host:port` or `ASK slot host:port`.
fn redirection(reply: &Reply) -> Option<Redirection> {
    let Reply::Error(text) = reply else { return None };
    let mut words = text.split(' ');
    let asking = match words.next()? {
        "MOVED" => false,
        "ASK" => true,
        _ => return None,
    };
    let slot = words.next()?.to_owned();
    let (host, port) = words.next()?.rsplit_once(':')?;
    Some(Redirection { asking, slot, host: host.to_owned(), port: port.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(String::from).collect()
    }

    #[test]
    fn options_end_where_the_command_begins() {
        let options = parse(&words("-c -p 7001 set -c -p")).unwrap();
        assert!(options.follow);
        assert_eq!((options.port, options.command), (7001, words("set -c -p")));
        for (bad, says) in [("-p x get", "no port"), ("-x get", "no such option"), ("-p", "needs a value")] {
            assert!(parse(&words(bad)).unwrap_err().contains(says), "{bad}");
        }
        assert!(parse(&[]).unwrap().command.is_empty(), "commands come from standard input");
    }

    #[test]
    fn redirections() {
        let to = |text: &str| redirection(&Reply::Error(text.into()));
        let moved = to("MOVED 5798 fd00::1:7002").unwrap();
        assert_eq!((moved.asking, moved.host.as_str(), moved.port), (false, "fd00::1", 7002));
        assert!(to("ASK 1 :7002").unwrap().host.is_empty());
        assert!(to("CLUSTERDOWN The cluster is down").is_none());
    }
}

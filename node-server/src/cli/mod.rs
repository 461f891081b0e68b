//! `node-server cli [-c] COMMAND…`: one command to a node, printed as redis-cli does. For an image without a shell,
//! where no redis-cli is at hand.

mod connection;
mod format;

use connection::Connection;
use node_server_protocol::resp::Reply;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

/// Most redirections that one command follows.
const REDIRECTIONS_MAX: usize = 16;
const USAGE: &str = "\
Usage: node-server cli [-c] [-h HOST] [-p PORT] [--raw | --no-raw] COMMAND [ARGUMENT...]
  -c        follow MOVED and ASK
  -h HOST   server [default: 127.0.0.1]
  -p PORT   port [default: 6379]
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
    command: Vec<String>,
}

/// The program.
#[must_use]
pub fn main(args: &[String]) -> ExitCode {
    let options = match parse(args) {
        Ok(options) => options,
        Err(reason) => {
            // Nothing can be done for a reader that has gone.
            let _ = write!(std::io::stderr(), "{reason}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    match run(&options, &mut std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            let _ = writeln!(std::io::stderr(), "{reason}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options =
        Options { follow: false, host: "127.0.0.1".into(), port: 6379, raw: None, command: Vec::new() };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "-c" => options.follow = true,
            "--raw" => options.raw = Some(true),
            "--no-raw" => options.raw = Some(false),
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
    Err("no command".into())
}

fn run(options: &Options, out: &mut impl std::io::Write) -> Result<(), String> {
    // As in redis-cli, a program that reads the reply gets the reply alone.
    let on_terminal = std::io::stdout().is_terminal();
    let raw = options.raw.unwrap_or(!on_terminal);
    let print = |reply: &Reply| if raw { format::raw(reply) } else { format::typed(reply) };
    let mut connection = Connection::open(&options.host, options.port)?;
    let mut reply = connection.call(&options.command)?;
    for _ in 0..REDIRECTIONS_MAX {
        let Some(to) = redirection(&reply).filter(|_| options.follow) else { break };
        let host = if to.host.is_empty() { connection.host().to_owned() } else { to.host };
        if on_terminal {
            write(
                out,
                format!("-> Redirected to slot [{}] located at {host}:{}\n", to.slot, to.port).as_bytes(),
            )?;
        }
        connection = Connection::open(&host, to.port)?;
        if to.asking {
            connection.call(&["ASKING".into()])?;
        }
        reply = connection.call(&options.command)?;
    }
    write(out, &print(&reply))?;
    while goes_on(&options.command) {
        match connection.receive()? {
            Some(reply) => write(out, &print(&reply))?,
            None => break,
        }
    }
    Ok(())
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
        assert_eq!(parse(&[]).unwrap_err(), "no command");
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

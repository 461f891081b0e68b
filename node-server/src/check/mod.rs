//! `node-server check rdb FILE` and `node-server check aof FILE [--fix]`: what is in a file, and whether the node would
//! load it.

mod aof;
mod rdb;

#[cfg(test)]
mod aof_tests;

pub use aof::{Cut, check_aof};
pub use rdb::check_rdb;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
Usage: node-server check rdb FILE
       node-server check aof FILE [--fix]
       node-server check aof --truncate-to-timestamp SECONDS FILE
Says what is in a file and whether it is whole; ends with 1 if it is not. No server may write to it meanwhile.
  FILE   of aof: a part of an append only file, or its manifest, for all parts
  --fix  cuts off a tail that a crash has torn. What was promised to somebody is never cut off.
  --truncate-to-timestamp
         cuts off what was written behind this Unix second, where the file says when that was (aof-timestamp-enabled)
         and nothing else follows. Keep a copy.
";

/// The program.
#[must_use]
pub fn main(args: &[String]) -> ExitCode {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut out = std::io::stdout().lock();
    let checked = match words.as_slice() {
        ["rdb", file] if !file.starts_with("--") => check_rdb(Path::new(file), &mut out),
        ["aof", file] if !file.starts_with("--") => check_aof(Path::new(file), Cut::Nothing, &mut out),
        ["aof", "--fix", file] | ["aof", file, "--fix"] => check_aof(Path::new(file), Cut::Torn, &mut out),
        ["aof", "--truncate-to-timestamp", second, file]
        | ["aof", file, "--truncate-to-timestamp", second] => match second.parse() {
            Ok(second) => check_aof(Path::new(file), Cut::After(second), &mut out),
            Err(_) => Err(anyhow::anyhow!("Invalid timestamp, aborting...")),
        },
        ["-h" | "--help"] => {
            // Nothing can be done for a reader that has gone.
            let _ = out.write_all(USAGE.as_bytes());
            return ExitCode::SUCCESS;
        }
        _ => {
            let _ = write!(std::io::stderr(), "{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    match checked {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

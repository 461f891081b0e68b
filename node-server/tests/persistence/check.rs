//! `node-server check`.

use super::*;
use std::io::Write as _;
use std::process::{Command, Output};

fn check(args: &[&str], file: &Path) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = file.to_str().unwrap();
    let mut all = vec!["check"];
    all.extend(args);
    all.insert(2, file);
    let output = common::run(&all, dir.path(), "");
    (output.status.success(), text(&output))
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap() + &String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn files_that_were_written_are_good_and_redis_says_so_too() {
    let mut server = Server::start(ALWAYS);
    let mut client = server.client();
    wait_based(&mut client);
    assert_eq!(client.text(&["SET", "key", "value"]), "OK");
    assert_eq!(client.text(&["SAVE"]), "OK");
    server.kill();
    let rdb = server.dir.path().join("dump.rdb");
    let (is_good, said) = check(&["rdb"], &rdb);
    assert!(is_good && said.contains("keys: 1") && said.contains("checksum OK"), "{said}");
    let manifest = appended(&server).join("appendonly.aof.manifest");
    let (is_good, said) = check(&["aof"], &manifest);
    assert!(
        is_good && said.matches("is valid").count() == 2 && said.contains("last seal: log offset"),
        "{said}"
    );
    for (program, file) in [("redis-check-rdb", &rdb), ("redis-check-aof", &manifest)] {
        let output = Command::new(program).arg(file).output().unwrap();
        assert!(output.status.success(), "{program}: {}", text(&output));
    }
    let last = last_increment(&appended(&server));
    let whole = std::fs::read(&last).unwrap();
    std::fs::File::options().append(true).open(&last).unwrap().write_all(b"*2\r\n$3\r\nDE").unwrap();
    for file in [&manifest, &last] {
        let (is_good, said) = check(&["aof"], file);
        assert!(!is_good && said.contains(&format!("it is whole until byte {}", whole.len())), "{said}");
    }
    let (is_good, said) = check(&["aof", "--fix"], &manifest);
    assert!(is_good && said.contains(&format!("to {} bytes", whole.len())), "{said}");
    assert_eq!(std::fs::read(&last).unwrap(), whole);
    server.start_again(&[ALWAYS, &["--aof-load-truncated", "no"]].concat());
    assert_eq!(server.client().text(&["GET", "key"]), "value");
    server.kill();
    let mut bytes = std::fs::read(&rdb).unwrap();
    bytes.pop();
    std::fs::write(&rdb, bytes).unwrap();
    let (is_good, said) = check(&["rdb"], &rdb);
    assert!(!is_good && said.contains("BAD at byte"), "{said}");
}

#[test]
fn usage_and_files_that_are_not_there() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["check"][..],
        &["check", "rdb"],
        &["check", "all", "x"],
        &["check", "rdb", "x", "--fix"],
        &["check", "aof", "--truncate-to-timestamp", "9"],
    ] {
        let output = common::run(args, dir.path(), "");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(text(&output).starts_with("Usage: node-server check rdb FILE"), "{}", text(&output));
    }
    let output = common::run(&["check", "aof", "--truncate-to-timestamp", "12x", "x"], dir.path(), "");
    assert!(!output.status.success() && text(&output).contains("Invalid timestamp, aborting..."));
    let output = common::run(&["check", "--help"], dir.path(), "");
    assert!(output.status.success() && text(&output).contains("--fix"));
    assert!(text(&common::run(&["--help"], dir.path(), "")).contains("node-server check aof FILE"));
    for kind in ["rdb", "aof"] {
        let (is_good, said) = check(&[kind], Path::new("/no/such/file"));
        assert!(!is_good && said.contains("/no/such/file"), "{said}");
    }
}

//! A file with seals is what the programs of Redis 7.0.15 accept.
#![allow(clippy::disallowed_methods, reason = "the test hands a file to another program")]

use super::scanner_tests::{Writer, command};
use std::process::Command;

fn redis_check_aof(name: &str, bytes: &[u8]) -> String {
    let path = std::env::temp_dir().join(format!("slotkeeper-{name}-{}.aof", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    let output = Command::new("redis-check-aof").arg(&path).output();
    std::fs::remove_file(&path).unwrap();
    String::from_utf8(output.expect("redis-check-aof is needed: install redis-tools").stdout).unwrap()
}

#[test]
fn redis_check_aof_accepts_seals() {
    let mut writer = Writer::new();
    for value in [&b"1"[..], b"2\r\n"] {
        writer.append(&command(&[b"MULTI"]));
        writer.append(&command(&[b"SET", b"key", value]));
        writer.append(&command(&[b"EXEC"]));
        writer.seal();
    }
    let text = redis_check_aof("whole", &writer.bytes);
    assert!(text.contains("is valid"), "{text}");
    let whole = writer.bytes.len();
    writer.append(&command(&[b"MULTI"]));
    let text = redis_check_aof("torn", &writer.bytes);
    assert!(text.contains("is not valid") && text.contains(&format!("ok_up_to={whole},")), "{text}");
}

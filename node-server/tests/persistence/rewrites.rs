//! When the append-only file is rewritten by itself: `auto-aof-rewrite-percentage` and `-min-size`.

use super::*;

fn figure(client: &mut Client, field: &str) -> u64 {
    client.info("persistence", field).parse().unwrap()
}

/// Writes new keys until the file is so large. What INFO says of its size is what the thread has looked at: it has
/// decided about a rewrite by then.
fn grow_to(client: &mut Client, prefix: &str, size: u64) {
    const KEYS: usize = 50;
    for n in 0.. {
        let before = figure(client, "aof_current_size");
        if before >= size {
            return;
        }
        set_many(client, &format!("{prefix}:{n}"), KEYS);
        until("it is in the file", || {
            (figure(client, "aof_current_size") >= before + KEYS as u64 * 80).then_some(())
        });
    }
}

/// Writes more than that, until there is a rewrite.
fn grow_until_rewritten(client: &mut Client, prefix: &str, size: u64) {
    let (rewrites, begin) = (figure(client, "aof_rewrites"), figure(client, "aof_current_size"));
    // A hundred bytes and some for each.
    set_many(client, prefix, ((size - begin) / 80) as usize);
    until("it is rewritten", || (figure(client, "aof_rewrites") > rewrites).then_some(()));
    until("nothing is under way", || (figure(client, "aof_rewrite_in_progress") == 0).then_some(()));
}

fn set_config(client: &mut Client, name: &str, value: &str) {
    assert_eq!(client.text(&["CONFIG", "SET", name, value]), "OK");
}

#[test]
fn growth_rewrites_the_file_and_less_does_not() {
    let server = Server::start(&[EVERYSEC, &["--auto-aof-rewrite-min-size", "200kb"]].concat());
    let mut client = server.client();
    wait_based(&mut client);
    let rewrites = |client: &mut Client| {
        let begun = server.log().matches("Background append only file rewriting started").count() as u64;
        (figure(client, "aof_rewrites"), begun)
    };
    // Many times what it was, and small.
    grow_to(&mut client, "small", 150_000);
    assert!(figure(&mut client, "aof_base_size") < 10_000);
    assert_eq!(rewrites(&mut client), (1, 1));
    grow_until_rewritten(&mut client, "large", 260_000);
    assert_eq!(rewrites(&mut client), (2, 2));
    // Large, and less than double.
    let base = figure(&mut client, "aof_base_size");
    assert!(base > 100_000 && base < 300_000, "{base}");
    set_config(&mut client, "auto-aof-rewrite-min-size", "1");
    grow_to(&mut client, "half", base + base / 2);
    assert_eq!(rewrites(&mut client), (2, 2));
    grow_until_rewritten(&mut client, "double", base * 2 + 10_000);
    assert_eq!(rewrites(&mut client), (3, 3));
    // The percentage is asked, and 0 is never.
    let base = figure(&mut client, "aof_base_size");
    set_config(&mut client, "auto-aof-rewrite-percentage", "0");
    grow_to(&mut client, "never", base * 3);
    assert_eq!(rewrites(&mut client), (3, 3));
    set_config(&mut client, "auto-aof-rewrite-percentage", "300");
    grow_to(&mut client, "threefold", base * 3 + base / 2);
    assert_eq!(rewrites(&mut client), (3, 3));
    set_config(&mut client, "auto-aof-rewrite-percentage", "50");
    until("it is rewritten", || (rewrites(&mut client) == (4, 4)).then_some(()));
}

//! The process is killed at any moment. (The kernel goes on: what is lost with its memory is the matter of the tests in
//! `append_only::crash_tests`, and of the order of system calls here.)

use super::*;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What one writer was told, and when.
type Told = Vec<Instant>;

/// Numbers that a seed decides (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// Counts a key up, alone and with another one, until the server is gone or `stop`; the moments of its replies. The
/// first may be on the way to the disk for all that the client knows.
fn writer(mut client: Client, name: String, stop: Arc<AtomicBool>) -> JoinHandle<Told> {
    std::thread::spawn(move || {
        let (one, left, right) =
            (format!("{{{name}}}one"), format!("{{{name}}}left"), format!("{{{name}}}right"));
        let mut request = common::encode(&["INCR", &one]);
        for args in [&["MULTI"][..], &["INCR", &left], &["INCR", &right], &["EXEC"]] {
            request.extend(common::encode(args));
        }
        let mut told = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            if std::io::Write::write_all(&mut client.stream, &request).is_err() {
                break;
            }
            for n in 0..5 {
                match client.try_receive() {
                    None => return told,
                    Some(Reply::Error(text)) => panic!("{text}"),
                    Some(_) if n == 4 => told.push(Instant::now()),
                    Some(_) => {}
                }
            }
        }
        told
    })
}

/// What is there after a start must be all that was told, and at most one round more.
fn check(server: &Server, before: &mut [u64], told: Vec<Told>, may_be_lost: impl Fn(&Told) -> u64) {
    let mut client = server.client();
    for (n, told) in told.into_iter().enumerate() {
        let key = |side: &str| format!("{{w{n}}}{side}");
        let (one, left) = (number(&mut client, &key("one")), number(&mut client, &key("left")));
        let right = number(&mut client, &key("right"));
        assert_eq!(left, right, "half a transaction");
        let (acknowledged, lost) = (before[n] + told.len() as u64, may_be_lost(&told));
        for found in [one, left] {
            assert!(
                found + lost >= acknowledged,
                "{acknowledged} acknowledged, {found} found, {lost} may be lost"
            );
            assert!(found <= acknowledged + 1, "{acknowledged} acknowledged, {found} found");
        }
        assert!(one == left || one == left + 1, "{one} {left}");
        // Counting goes on from what is there.
        assert_eq!(client.text(&["SET", &key("one"), &left.to_string()]), "OK");
        before[n] = left;
    }
}

const WRITERS: usize = 4;

fn start_writers(server: &Server, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<Told>> {
    (0..WRITERS).map(|n| writer(server.client(), format!("w{n}"), Arc::clone(stop))).collect()
}

/// Waits until each writer was told something: then it counts for the second time.
fn wait_told(server: &Server, before: &[u64]) {
    let mut client = server.client();
    for (n, before) in before.iter().enumerate() {
        let one = format!("{{w{n}}}one");
        until("the writer was told something", || (number(&mut client, &one) >= before + 2).then_some(()));
    }
}

#[test]
fn always_loses_nothing_that_was_acknowledged() {
    let args = [ALWAYS, &["--io-threads", "2", "--auto-aof-rewrite-min-size", "64kb"]].concat();
    let mut server = Server::start(&args);
    let mut before = [0; WRITERS];
    for round in 0..10 {
        let mut random = Random(round);
        let stop = Arc::new(AtomicBool::new(false));
        let writers = start_writers(&server, &stop);
        // The moment is what is tested: there is nothing to wait for.
        std::thread::sleep(Duration::from_millis(random.below(400)));
        server.kill();
        let told = writers.into_iter().map(|w| w.join().unwrap()).collect();
        server.start_again(&args);
        check(&server, &mut before, told, |_| 0);
    }
    assert!(before.iter().all(|count| *count > 0), "{before:?}");
}

#[test]
fn everysec_loses_two_seconds_at_most() {
    let mut server = Server::start(EVERYSEC);
    wait_based(&mut server.client());
    let mut before = [0; WRITERS];
    for round in 0..2 {
        let stop = Arc::new(AtomicBool::new(false));
        let writers = start_writers(&server, &stop);
        wait_told(&server, &before);
        std::thread::sleep(Duration::from_millis(2300 + Random(round).below(900)));
        let killed = Instant::now();
        server.kill();
        let told: Vec<Told> = writers.into_iter().map(|w| w.join().unwrap()).collect();
        let late = |at: &&Instant| killed.saturating_duration_since(**at) < Duration::from_secs(2);
        assert!(
            told.iter().all(|t| t.iter().filter(|at| !late(at)).count() > 0),
            "nobody wrote early enough"
        );
        server.start_again(EVERYSEC);
        check(&server, &mut before, told, |told| told.iter().filter(late).count() as u64);
    }
}

/// Long enough for all that happens before somebody lets go of the disk.
const SLOW: Duration = Duration::from_secs(5);
/// Longer than a busy machine makes of the time until the server is killed.
const HANGING: Duration = Duration::from_secs(30);

/// The disk hangs in a sync: after a while nothing is acknowledged any more, until it answers.
#[test]
fn everysec_loses_two_seconds_at_most_where_the_disk_hangs() {
    let mut server = Server::start(EVERYSEC);
    wait_based(&mut server.client());
    let mut strace = slow_syncs(&server, HANGING);
    let stop = Arc::new(AtomicBool::new(false));
    let writers = start_writers(&server, &stop);
    std::thread::sleep(Duration::from_millis(4800));
    let killed = Instant::now();
    server.child.kill().unwrap();
    // Otherwise the process is there until the sync ends.
    strace.kill().unwrap();
    strace.wait().unwrap();
    server.kill();
    let told: Vec<Told> = writers.into_iter().map(|w| w.join().unwrap()).collect();
    let last = *told.iter().filter_map(|told| told.last()).max().unwrap();
    assert!(
        killed.saturating_duration_since(last) > Duration::from_secs(1),
        "the disk did not hang, or replies left"
    );
    let late = |at: &&Instant| last.saturating_duration_since(**at) < Duration::from_secs(2);
    server.start_again(EVERYSEC);
    check(&server, &mut [0; WRITERS], told, |told| told.iter().filter(late).count() as u64);
}

/// A master with data, and a server that has a file of its own before it gets that.
fn about_to_be_promoted() -> (Server, Server) {
    let master = Server::start(&[]);
    set_many(&mut master.client(), "key", 100);
    let server = Server::start(EVERYSEC);
    wait_based(&mut server.client());
    (master, server)
}

/// Gives `server` the data of `master`, and lets it go on with that as a master.
fn promote(server: &Server, master: &Server) {
    let mut client = server.client();
    client.text(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
    until("it is in sync", || (client.info("replication", "master_link_status") == "up").then_some(()));
    assert_eq!(client.text(&["REPLICAOF", "NO", "ONE"]), "OK");
}

/// The base without which the process does not leave waits for a save under way, and whoever waits for the base has to
/// see the end of that.
#[test]
fn leaving_waits_for_a_save_that_is_in_the_way_of_the_base() {
    let (master, mut server) = about_to_be_promoted();
    let mut client = server.client();
    let mut strace = slow_syncs(&server, SLOW);
    assert_eq!(client.text(&["BGSAVE"]), "Background saving started");
    until("the save is under way", || server.log().contains("Background saving started").then_some(()));
    promote(&server, &master);
    server.signal("TERM");
    until("it is about to leave", || server.log().contains("requested shutdown").then_some(()));
    common::signal(strace.id(), "INT");
    strace.wait().unwrap();
    assert_eq!(server.wait(), Some(0), "{}", server.log());
    server.start_again(EVERYSEC);
    assert_eq!(server.client().text(&["DBSIZE"]), "100", "{}", server.log());
}

/// The thread of the files, by its name.
fn files_thread(server: &Server) -> String {
    let tasks = format!("/proc/{}/task", server.child.id());
    let mut tasks = std::fs::read_dir(tasks).unwrap().map(|task| task.unwrap().path());
    let named = |task: &PathBuf| std::fs::read_to_string(task.join("comm")).unwrap().trim() == "persistence";
    tasks.find(named).unwrap().file_name().unwrap().to_str().unwrap().to_owned()
}

/// Found under load: the thread of the files was asked whether the process may leave before it had seen that the data had
/// become another one, and to end before it looked again. The process left in order, without the base.
#[test]
fn leaving_sees_that_the_data_has_become_another_one() {
    let (master, mut server) = about_to_be_promoted();
    let mut client = server.client();
    let thread = files_thread(&server);
    // Its sync takes long, so that the data changes behind its back; and so does telling others, so that the end is asked
    // for before it goes on.
    let mut strace = Command::new("strace")
        .args(["-qq", "-e", "trace=fdatasync,futex", "-o", "/dev/null", "-p", &thread])
        .args(["-e", "inject=fdatasync:delay_enter=4000000", "-e", "inject=futex:delay_exit=2500000"])
        .stderr(Stdio::null())
        .spawn()
        .expect("strace is needed: apt-get install strace");
    let status = format!("/proc/{}/task/{thread}/status", server.child.id());
    until("strace has hold of it", || {
        (!std::fs::read_to_string(&status).unwrap().contains("TracerPid:\t0\n")).then_some(())
    });
    client.text(&["SET", "own", "1"]);
    let syscall = format!("/proc/{}/task/{thread}/syscall", server.child.id());
    let fdatasync = if cfg!(target_arch = "aarch64") { "83 " } else { "75 " };
    until("it syncs", || std::fs::read_to_string(&syscall).unwrap().starts_with(fdatasync).then_some(()));
    promote(&server, &master);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0), "{}", server.log());
    strace.wait().unwrap();
    server.start_again(EVERYSEC);
    assert_eq!(server.client().text(&["DBSIZE"]), "100", "{}", server.log());
}

/// A replica that was given other data is promoted before its file has the base that goes with it: what is written then
/// is in no file that counts, so nothing is acknowledged before there is one.
#[test]
fn a_promoted_replica_acknowledges_nothing_before_its_base_is_complete() {
    let (master, mut server) = about_to_be_promoted();
    let mut client = server.client();
    let mut strace = slow_syncs(&server, SLOW);
    promote(&server, &master);
    let stop = Arc::new(AtomicBool::new(false));
    let writers = start_writers(&server, &stop);
    // Longer than `everysec` may lose: what left before the last two seconds would be missed.
    std::thread::sleep(Duration::from_millis(3000));
    assert_eq!(client.text(&["PING"]), "PONG", "what depends on no write is answered");
    let killed = Instant::now();
    server.kill();
    strace.wait().unwrap();
    let told: Vec<Told> = writers.into_iter().map(|w| w.join().unwrap()).collect();
    let late = |at: &&Instant| killed.saturating_duration_since(**at) < Duration::from_secs(2);
    let complete = server.log().matches("AOF rewrite finished").count();
    assert_eq!(complete, 1, "the base was complete too soon for this test");
    server.start_again(EVERYSEC);
    check(&server, &mut [0; WRITERS], told, |told| told.iter().filter(late).count() as u64);
    // With the base the replies leave.
    let mut strace = slow_syncs(&server, SLOW);
    promote(&server, &master);
    client = server.client();
    client.send(&["SET", "held", "x"]);
    common::signal(strace.id(), "INT");
    strace.wait().unwrap();
    assert_eq!(client.receive(), Reply::Simple("OK".into()));
    // `everysec` may lose what it has just acknowledged.
    let on_disk = client.call(&["WAITAOF", "1", "0", "20000"]);
    assert_eq!(on_disk, Reply::Array(vec![Reply::Integer(1), Reply::Integer(0)]));
    server.kill();
    server.start_again(EVERYSEC);
    assert_eq!(server.client().text(&["GET", "held"]), "x");
}

#[test]
fn rewrites_under_writes_lose_nothing_and_add_nothing() {
    let args = [ALWAYS, &["--io-threads", "2"]].concat();
    let mut server = Server::start(&args);
    let mut before = [0; WRITERS];
    let mut client = server.client();
    wait_based(&mut client);
    for round in 0..3 {
        let stop = Arc::new(AtomicBool::new(false));
        let writers = start_writers(&server, &stop);
        let others: Vec<_> = (0..2000).map(|n| format!("other:{round}:{n}")).collect();
        for key in &others {
            client.send(&["SET", key, "a value"]);
        }
        others.iter().for_each(|_| drop(client.receive()));
        (0..2).for_each(|_| rewrite(&mut client));
        if round < 2 {
            stop.store(true, Ordering::Relaxed);
        } else {
            server.kill();
        }
        let told = writers.into_iter().map(|w| w.join().unwrap()).collect();
        if round < 2 {
            server.signal("TERM");
            assert_eq!(server.wait(), Some(0), "{}", server.log());
        }
        server.start_again(&args);
        client = server.client();
        check(&server, &mut before, told, |_| 0);
        assert_eq!(client.text(&["DBSIZE"]), (2000 * (round + 1) + 3 * WRITERS).to_string());
        let manifest = std::fs::read_to_string(appended(&server).join("appendonly.aof.manifest")).unwrap();
        let named = manifest.lines().count();
        // What a kill tore off is beside them.
        let is_data = |e: &std::fs::DirEntry| e.file_name() != "appendonly.aof.cut-off";
        let files = std::fs::read_dir(appended(&server)).unwrap().map(|e| e.unwrap()).filter(is_data);
        assert_eq!(files.count(), named + 1, "{manifest}");
    }
}

/// The system calls of a server while `act` runs, one a line; then it is killed.
fn traced(server: &mut Server, client: &mut Client, act: impl FnOnce(&mut Client)) -> Vec<String> {
    let file = server.dir.path().join("strace");
    let mut strace = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=write,fdatasync,sendto", "-s", "200", "-o"])
        .arg(&file)
        .args(["-p", &server.child.id().to_string()])
        .stderr(Stdio::null())
        .spawn()
        .expect("strace is needed: apt-get install strace");
    let trace = || std::fs::read_to_string(&file).unwrap_or_default();
    until("strace sees it", || {
        client.text(&["PING"]);
        trace().contains("PONG").then_some(())
    });
    act(client);
    server.kill();
    strace.wait().unwrap();
    trace().lines().map(str::to_owned).collect()
}

/// Where a sync ends between the writing of `what` and the sending of `reply`, from a line on; the line behind the
/// reply.
///
/// # Panics
/// None does.
fn synced_between(lines: &[String], from: usize, what: &str, reply: &str) -> usize {
    let after = |from: usize, is_it: &dyn Fn(&str) -> bool| {
        let at = lines.iter().skip(from).position(|line| is_it(line));
        from + at.unwrap_or_else(|| panic!("not behind line {from} of\n{}", lines.join("\n")))
    };
    let written = after(from, &|line| line.contains("write(") && line.contains(what));
    let synced = after(written, &|line| line.contains("fdatasync") && line.ends_with("= 0"));
    let sent = after(from, &|line| line.contains("sendto(") && line.contains(reply));
    assert!(written < synced && synced < sent, "{what}:\n{}", lines[from..=sent].join("\n"));
    sent + 1
}

/// A reply leaves when the bytes that it promises were synced: as strace sees it.
#[test]
fn replies_leave_after_the_sync() {
    let mut server = Server::start(ALWAYS);
    let mut client = server.client();
    wait_based(&mut client);
    let lines = traced(&mut server, &mut client, |client| {
        for n in 0..20 {
            assert_eq!(client.text(&["SET", "key", &format!("value-{n}-end")]), "OK");
        }
        assert_eq!(client.text(&["FLUSHALL"]), "OK");
        assert_eq!(client.text(&["MULTI"]), "OK");
        assert_eq!(client.text(&["INCR", "counter"]), "QUEUED");
        assert!(matches!(client.call(&["EXEC"]), Reply::Array(_)));
    });
    let mut from = 0;
    for n in 0..20 {
        from = synced_between(&lines, from, &format!("value-{n}-end"), "\"+OK\\r\\n\"");
    }
    from = synced_between(&lines, from, "FLUSHALL", "\"+OK\\r\\n\"");
    synced_between(&lines, from, "counter", "\"*1\\r\\n:1\\r\\n\"");
}

/// A source that came back with the key would answer for it although the target has it.
#[test]
fn migrates_reply_leaves_after_the_sync() {
    let mut server = Server::start(ALWAYS);
    let target = Server::start(&[]);
    let mut client = server.client();
    wait_based(&mut client);
    let port = target.port.to_string();
    let lines = traced(&mut server, &mut client, |client| {
        for n in 0..20 {
            let key = format!("key-{n}-end");
            client.text(&["SET", &key, "value"]);
            assert_eq!(client.text(&["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"]), "OK");
        }
    });
    let mut from = 0;
    for n in 0..20 {
        let deletion = format!("DEL\\r\\n${}\\r\\nkey-{n}-end", format!("key-{n}-end").len());
        from = synced_between(
            &lines,
            from,
            &format!("SET\\r\\n${}\\r\\nkey-{n}-end", format!("key-{n}-end").len()),
            "\"+OK\\r\\n\"",
        );
        from = synced_between(&lines, from, &deletion, "\"+OK\\r\\n\"");
    }
}

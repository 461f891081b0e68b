//! A file that the node wrote, cut at every byte of its tail, and the node's own start in this process. `CUT_TAIL` says how
//! many bytes these are: 1024, which is a turn of all that is written; 4096 in ./test --full, since each is two starts.

use super::*;
use node_server::config::{ConfigStore, Loaded, Settings, grammar::CommandLine, load::load};
use node_server::host::NodeHost;
use node_server::mailbox::Mailboxes;
use node_server::node::{Node, Parts, now};
use node_server::persistence::{self, Request};
use node_server::shutdown::{self, ShutdownHandle};
use node_server::start::random_id;
use node_server_engine::{Engine, Options, Outcome, SessionId};
use node_server_protocol::resp::parse_reply;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How often it is looked whether a start is through.
const GLANCE: Duration = Duration::from_micros(200);
/// Threads that start nodes.
const STARTS: usize = 2;

type Data = BTreeMap<String, String>;

/// What was written, and how long the file was when that was acknowledged.
struct Written {
    dir: PathBuf,
    name: String,
    bytes: Vec<u8>,
    states: Vec<(u64, Data)>,
    _server: Server,
}

/// A server is killed after writes of several kinds, each of them on the disk before its reply.
fn written(tail: u64) -> Written {
    let mut server = Server::start(ALWAYS);
    let mut client = server.client();
    wait_based(&mut client);
    let dir = appended(&server);
    let file = last_increment(&dir);
    let len = || std::fs::metadata(&file).unwrap().len();
    let mut data = Data::new();
    let mut states = vec![(len(), data.clone())];
    for n in 0.. {
        let (key, value) = (format!("key:{}", n % 7), format!("{n}:{}", "v".repeat(n % 90)));
        match n % 5 {
            0 => {
                let requests = [&["MULTI"][..], &["SET", "a", &value], &["SET", "b", &value], &["EXEC"]];
                requests.iter().for_each(|request| client.send(request));
                requests.iter().for_each(|_| assert!(!matches!(client.receive(), Reply::Error(_))));
                data.insert("a".into(), value.clone());
                data.insert("b".into(), value);
            }
            1 => {
                client.call(&["DEL", &key]);
                data.remove(&key);
            }
            _ => {
                assert_eq!(client.text(&["SET", &key, &value, "EX", "1000000"]), "OK");
                data.insert(key, value);
            }
        }
        states.push((len(), data.clone()));
        if len() > states[0].0 + tail {
            break;
        }
    }
    server.kill();
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    Written { dir, name, bytes: std::fs::read(&file).unwrap(), states, _server: server }
}

/// All that the test writes; nothing else is there.
fn data_of(engine: &Engine) -> Data {
    let mut session = engine.new_session(SessionId(1), now());
    let mut data = Data::new();
    for key in ["a", "b"].map(str::to_owned).into_iter().chain((0..7).map(|n| format!("key:{n}"))) {
        let mut reply = Vec::new();
        assert_eq!(engine.execute(&mut session, &[b"GET", key.as_bytes()], now(), &mut reply), Outcome::Done);
        match parse_reply(&reply).unwrap() {
            Some((Reply::Bulk(value), _)) => _ = data.insert(key, String::from_utf8(value).unwrap()),
            Some((Reply::Null, _)) => {}
            other => panic!("{key}: {other:?}"),
        }
    }
    assert_eq!(engine.keyspace().len(), data.len() as u64);
    data
}

fn configuration(aof_load_truncated: &str) -> Loaded {
    let args = [ALWAYS, &["--save", "", "--aof-load-truncated", aof_load_truncated]].concat();
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    load(&CommandLine::parse(&args).unwrap(), "").unwrap()
}

/// Starts on this directory, and ends again. The data, or why it was refused.
fn start(dir: &Path, loaded: &Loaded) -> Result<Data, String> {
    let settings = Arc::new(Settings::from_values(&loaded.values));
    let (shutdown, requests) = ShutdownHandle::new();
    let host = Arc::new(NodeHost::default());
    let options = Options { cluster: false, ..Options::default() };
    let engine = Arc::new(Engine::new(options, Arc::clone(&host) as _));
    let plan = persistence::plan_in(dir, settings).map_err(|error| format!("{error:#}"))?;
    let parts = Parts {
        config: ConfigStore::new(loaded.clone()),
        mailboxes: Mailboxes::new(Vec::new()),
        loading: plan.loading(),
        engine: Arc::clone(&engine),
        shutdown,
        started: now(),
        run_id: random_id().unwrap(),
        clients_max: 1,
    };
    let (node, _receivers) = Node::new(parts, &host);
    persistence::load(&node, plan, false).unwrap();
    while engine.is_loading() {
        if let Ok(shutdown::Request::Fatal(message)) = requests.recv_timeout(GLANCE) {
            return Err(message);
        }
    }
    let data = data_of(&engine);
    let (done, ended) = std::sync::mpsc::sync_channel(1);
    node.persistence.ask(Request::Stop { save: Some(false), done }).unwrap();
    ended.recv_timeout(common::SOON).unwrap().unwrap();
    Ok(data)
}

/// Starts where the file is cut, in a directory of its own.
struct Starts<'w> {
    written: &'w Written,
    scratch: tempfile::TempDir,
    /// `aof-load-truncated` no and yes.
    strict: Loaded,
    lenient: Loaded,
    /// What has been started once more: the same again would be no other file.
    again: BTreeSet<Data>,
}

impl<'w> Starts<'w> {
    fn new(written: &'w Written) -> Self {
        let memory = Path::new("/dev/shm");
        let scratch = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let scratch = scratch.unwrap();
        std::fs::create_dir(scratch.path().join("appendonlydir")).unwrap();
        let (strict, lenient) = (configuration("no"), configuration("yes"));
        Self { written, scratch, strict, lenient, again: BTreeSet::new() }
    }
}

fn check_cut(starts: &mut Starts<'_>, len: u64) {
    let (written, scratch) = (starts.written, starts.scratch.path());
    for entry in std::fs::read_dir(&written.dir).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), scratch.join("appendonlydir").join(entry.file_name())).unwrap();
    }
    let file = scratch.join("appendonlydir").join(&written.name);
    let cut = &written.bytes[..len as usize];
    std::fs::write(&file, cut).unwrap();
    let acknowledged = written.states.iter().rposition(|(end, _)| *end <= len).unwrap();
    // The next one may be there as a whole, without its seal.
    let may_be = &written.states[acknowledged..(acknowledged + 2).min(written.states.len())];
    let check = |found: &Data| {
        assert!(
            may_be.iter().any(|(_, data)| data == found),
            "cut to {len}: {found:?} is none of {may_be:?}"
        );
    };
    match start(scratch, &starts.strict) {
        Ok(data) => {
            check(&data);
            assert!(std::fs::read(&file).unwrap().starts_with(cut), "cut to {len}: it was cut further");
            std::fs::write(&file, cut).unwrap();
        }
        Err(said) => {
            assert_ne!(written.states[acknowledged].0, len, "cut to {len}: it is whole: {said}");
            assert!(said.contains("Unexpected end of file reading the append only file"), "{said}");
            assert!(said.contains(&*file.to_string_lossy()) && said.contains("aof-load-truncated"), "{said}");
            assert_eq!(std::fs::read(&file).unwrap(), cut, "cut to {len}: it is left as it was");
        }
    }
    let data = start(scratch, &starts.lenient).unwrap_or_else(|said| panic!("cut to {len}: {said}"));
    check(&data);
    // What it has cut is whole, and the same.
    if starts.again.insert(data.clone()) {
        assert_eq!(start(scratch, &starts.strict), Ok(data), "cut to {len}");
    }
}

#[test]
fn cut_at_every_byte_of_the_tail() {
    let tail = std::env::var("CUT_TAIL").map_or(1024, |text| text.parse().unwrap());
    let written = written(tail);
    let (begin, end) = (written.states[0].0, written.bytes.len() as u64);
    assert!(end - begin >= tail && written.states.last().unwrap().0 == end);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut starts = Starts::new(&written);
        loop {
            let len = end - tail + next.fetch_add(1, Ordering::Relaxed) as u64;
            if len > end {
                return;
            }
            check_cut(&mut starts, len);
        }
    };
    std::thread::scope(|scope| (0..STARTS).for_each(|_| drop(scope.spawn(work))));
}

use super::grammar::{CommandLine, ConfigError, Line, Origin, read_text};
use super::load::{fatal_block, load};
use super::rewrite::rewritten;
use super::table::{DIRECTIVES, index};
use super::values::Values;
use super::{ConfigStore, Fsync, Settings};
use std::path::Path;

fn args(text: &str) -> Vec<String> {
    text.split_whitespace().map(String::from).collect()
}

fn load_text(text: &str) -> Result<Values, ConfigError> {
    let command_line = CommandLine::default();
    load(&command_line, text).map(|l| l.values)
}

fn reason(text: &str) -> String {
    match load_text(text) {
        Err(ConfigError::Line { reason, .. } | ConfigError::Rule(reason)) => reason,
        other => panic!("{text:?} gave {other:?}"),
    }
}

#[test]
fn defaults_are_canonical_and_names_are_unique() {
    let mut names = std::collections::BTreeSet::new();
    for directive in DIRECTIVES {
        for name in std::iter::once(directive.name).chain(directive.alias) {
            assert!(names.insert(name), "{name} twice");
        }
        let words: Vec<String> = match directive.default {
            "" => vec![String::new()],
            text if directive.kind.is_multi() => args(text),
            text => vec![text.into()],
        };
        let start = "normal 0 0 0 slave 0 0 0 pubsub 0 0 0";
        let present = if directive.name == "client-output-buffer-limit" { start } else { "" };
        let canonical = directive.kind.canonical(&words, present);
        assert_eq!(canonical.as_deref(), Ok(directive.default), "{}", directive.name);
    }
    let settings = Settings::from_values(&Values::default());
    assert_eq!((settings.port, settings.bus_port()), (6379, 16379));
}

#[test]
fn the_tutorials_file_parses() {
    let text = r#"
daemonize yes
pidfile "/tmp/redis01/log/redis.pid"
port 7001
timeout 300
cluster-enabled yes
cluster-config-file '/tmp/redis01/nodes.conf'
cluster-node-timeout 15000
loglevel debug
logfile "/tmp/redis01/log/redis.log"
databases 16
save 900 1
save 300 10
save 60 10000
rdbcompression yes
dbfilename "dump.rdb"
dir "/tmp"
appendonly yes
appendfsync always
bind 0.0.0.0
"#;
    let values = load_text(text).unwrap();
    assert_eq!(values.get("save"), "900 1 300 10 60 10000");
    let settings = Settings::from_values(&values);
    assert_eq!(settings.save, [(900, 1), (300, 10), (60, 10000)]);
    assert_eq!((settings.appendonly, settings.appendfsync), (true, Fsync::Always));
    assert_eq!(settings.nodes_conf(), Path::new("/tmp/redis01/nodes.conf"));
    assert_eq!((settings.port, settings.timeout_s, settings.cluster_node_timeout_ms), (7001, 300, 15_000));
    assert_eq!(settings.bind, ["0.0.0.0"]);
}

#[test]
fn the_test_suites_file_parses() {
    let text = "always-show-logo yes\nnotify-keyspace-events KEA\ndaemonize no\npidfile /var/run/redis.pid\nport 6379\n\
        timeout 0\nbind 127.0.0.1\nloglevel verbose\nlogfile ''\ndatabases 16\nlatency-monitor-threshold 1\n\
        repl-diskless-sync-delay 0\nsave ''\nrdbcompression yes\ndbfilename dump.rdb\ndir ./\n\
        slave-serve-stale-data yes\nappendonly no\nappendfsync everysec\nno-appendfsync-on-rewrite no\n\
        activerehashing yes\nenable-protected-configs yes\nenable-debug-command yes\nenable-module-command yes\n\
        propagation-error-behavior panic\nshutdown-on-sigterm force\nenable-debug-assert yes\nunixsocket /tmp/x\n\
        cluster-ping-interval 100\ncluster-databases 1\ncluster-slot-stats-enabled yes\n\
        hide-user-data-from-log no\nuse-exit-on-panic yes\nrdb-version-check relaxed\nrdb-key-save-delay 1000\n\
        loading-process-events-interval-bytes 1024\nsave \n";
    let values = load_text(text).unwrap();
    assert_eq!(values.get("replica-serve-stale-data"), "yes");
    assert_eq!(values.get("save"), "");
    // As redis-server 7.0.15 takes it.
    assert_eq!(load_text("save 900 1\nsave\n").unwrap().get("save"), "");
}

#[test]
fn refusals_are_in_redis_words() {
    for (text, expected) in [
        ("foo bar", "Bad directive or wrong number of arguments"),
        ("port abc", "argument couldn't be parsed into an integer"),
        ("port 70000", "argument must be between 0 and 65535 inclusive"),
        ("port 1 2", "wrong number of arguments"),
        ("maxmemory 1xb", "argument must be a memory value"),
        ("appendonly maybe", "argument must be 'yes' or 'no'"),
        ("loglevel foo", "argument(s) must be one of the following: debug, verbose, notice, warning"),
        ("save 900", "Invalid save parameters"),
        ("dir /nonexistent", "No such file or directory"),
        ("bind \"a", "Unbalanced quotes in configuration line"),
        ("client-output-buffer-limit normal 1 2", "Wrong number of arguments in buffer limit configuration."),
        (
            "client-output-buffer-limit foo 1 2 3",
            "Invalid client class specified in buffer limit configuration.",
        ),
        (
            "cluster-announce-hostname \"a b\"",
            "Hostnames may only contain alphanumeric characters, hyphens or dots",
        ),
        ("cluster-announce-human-nodename \"a b\"", "Announced human node name contained invalid character"),
        ("availability-zone a=b", "Availability zone contained invalid character"),
        ("cluster-announce-client-ipv4 ::1", "Invalid IPv4 address"),
        ("cluster-announce-client-ipv6 1.2.3.4", "Invalid IPv6 address"),
        ("notify-keyspace-events QQ", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
        ("replicaof 127.0.0.1 1\ncluster-enabled yes", "replicaof directive not allowed in cluster mode"),
    ] {
        assert_eq!(reason(text), expected, "{text}");
    }
    for text in ["aclfile x", "tls-port 1", "user default on", "cluster-enabled yes\nport 60000"] {
        assert!(load_text(text).is_err(), "{text}");
    }
}

#[test]
fn directives_without_effect_are_named() {
    let values = load_text("maxmemory 1gb\nport 7\ntimeout 3\nhz 10\nmaxmemory-policy noeviction\n").unwrap();
    assert_eq!(super::rules::without_effect(&values), ["maxmemory"]);
    // Nothing is forked and nothing shared: there is nothing to choose.
    let values = load_text("repl-diskless-sync no\nrepl-diskless-sync-delay 5\n").unwrap();
    assert_eq!(super::rules::without_effect(&values), ["repl-diskless-sync", "repl-diskless-sync-delay"]);
    for name in super::table::ACTED_ON {
        assert!(DIRECTIVES.iter().any(|d| d.name == *name), "{name} is no directive");
    }
}

#[test]
fn the_fatal_block_names_place_line_and_reason() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("redis.conf");
    std::fs::write(&file, "port 7001\n\nfoo bar\n").unwrap();
    let command_line = CommandLine::parse(&[file.display().to_string()]).unwrap();
    let block = fatal_block(&load(&command_line, "").unwrap_err());
    let place = format!("In the file '{}'", file.display());
    let lines: Vec<&str> = block.lines().collect();
    assert_eq!(lines[1], "*** FATAL CONFIG FILE ERROR (Slotkeeper 0.1.0) ***");
    assert_eq!(
        lines[2..],
        [
            place.as_str(),
            "Reading the configuration file, at line 3",
            ">>> 'foo bar'",
            "Bad directive or wrong number of arguments"
        ]
    );
    let missing = load(&CommandLine::parse(&args("/nonexistent.conf")).unwrap(), "").unwrap_err();
    let expected = "Fatal error, can't open config file '/nonexistent.conf': No such file or directory";
    assert_eq!(fatal_block(&missing), expected);
}

#[test]
fn passwords_are_not_repeated() {
    for text in ["requirepass hidden more", "masterauth \"hidden", "RequirePass a hidden"] {
        let block = fatal_block(&load_text(text).unwrap_err());
        assert!(block.contains("***") && !block.contains("hidden"), "{block}");
    }
    let settings = Settings::from_values(&load_text("requirepass hidden\nmasterauth hidden\n").unwrap());
    assert_eq!(settings.requirepass.0, "hidden");
    assert!(!format!("{settings:?}").contains("hidden"));
}

#[test]
fn the_command_line_is_read_as_redis_server_does() {
    let parsed =
        CommandLine::parse(&args("/etc/r.conf --port 7 --save 900 1 --bind a b - --save --x y")).unwrap();
    assert_eq!(parsed.file.as_deref(), Some(Path::new("/etc/r.conf")));
    assert!(parsed.standard_input);
    let words: Vec<String> = parsed.options.iter().map(|l| l.words.join(" ")).collect();
    assert_eq!(words, ["port 7", "save 900 1", "bind a b", "save ", "x y"]);
    assert_eq!(parsed.options[4].text, "x \"y\"");
    assert!(CommandLine::parse(&args("-")).unwrap().standard_input);
    assert!(CommandLine::parse(&args("- foo")).is_err());
    let later_wins = load(&CommandLine::parse(&args("- --port 8")).unwrap(), "port 7").unwrap();
    assert_eq!(later_wins.values.get("port"), "8");
}

#[test]
fn includes_are_followed_in_place_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("inner"), "port 2\ntimeout 5\n").unwrap();
    std::fs::write(path("outer"), format!("port 1\ninclude {}\ntimeout 6\n", path("inner"))).unwrap();
    let values = load(&CommandLine::parse(&[path("outer")]).unwrap(), "").unwrap().values;
    assert_eq!((values.get("port"), values.get("timeout")), ("2", "6"));
    std::fs::write(path("loop"), format!("include {}\n", path("loop"))).unwrap();
    let error = load(&CommandLine::parse(&[path("loop")]).unwrap(), "").unwrap_err();
    assert!(error.to_string().contains("deeper than 16"), "{error}");
}

fn store(text: &str) -> ConfigStore {
    ConfigStore::new(load(&CommandLine::default(), text).unwrap())
}

fn glob(pattern: &str, name: &str) -> bool {
    pattern == "*" || pattern == name
}

#[test]
fn get_shows_names_and_aliases() {
    let store = store("slave-priority 3\n");
    let get = |name: &str| store.get(&[name], glob);
    assert_eq!(get("replica-priority"), [("replica-priority".into(), "3".into())]);
    assert_eq!(get("slave-priority"), [("slave-priority".into(), "3".into())]);
    assert_eq!(get("cluster-ping-interval").len(), 1);
    assert!(!get("*").iter().any(|(name, _)| name == "cluster-ping-interval"));
    assert!(get("*").len() > 180);
}

#[test]
fn get_answers_names_as_they_were_asked_for() {
    let store = store("");
    let names = |patterns: &[&str]| {
        let found = store.get(patterns, |pattern, name| pattern == "MAX*Y" && name == "maxmemory");
        found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names(&["MaxMemory"]), ["MaxMemory"]);
    assert_eq!(names(&["MAXMEMORY", "maxmemory"]), ["MAXMEMORY"]);
    assert_eq!(names(&["MAX*Y", "MAXMEMORY"]), ["maxmemory"]);
    assert_eq!(names(&["SLAVEOF"]), ["SLAVEOF"]);
    // No glob to Redis, and no name.
    assert!(names(&["max\\memory"]).is_empty());
}

#[test]
fn a_bad_value_is_told_with_the_directives_own_name() {
    let message = store("").set(&[("MaxMemory", "bad")]).unwrap_err().to_string();
    assert_eq!(
        message,
        "ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be a memory value"
    );
    assert_eq!(
        store("").set(&[("maxmemory", ""), ("maxmemory-clients", "kb")]).map(|names| names.len()),
        Ok(2)
    );
    let message = store("").set(&[("TIMEOUT", "1"), ("timeout", "2")]).unwrap_err().to_string();
    assert!(message.contains("'timeout') - duplicate parameter"), "{message}");
}

#[test]
fn set_changes_all_or_nothing() {
    let store = store("");
    let message = |pairs: &[(&str, &str)]| store.set(pairs).unwrap_err().to_string();
    let failed = "ERR CONFIG SET failed (possibly related to argument";
    assert_eq!(
        message(&[("timeout", "5"), ("maxmemory-policy", "foo")]).split(" - ").next().unwrap(),
        format!("{failed} 'maxmemory-policy')")
    );
    assert_eq!(store.settings().timeout_s, 0);
    assert_eq!(message(&[("foo", "1")]), "ERR Unknown option or number of arguments for CONFIG SET - 'foo'");
    assert_eq!(
        message(&[("timeout", "1"), ("timeout", "2")]),
        format!("{failed} 'timeout') - duplicate parameter")
    );
    assert_eq!(
        message(&[("daemonize", "yes")]),
        format!("{failed} 'daemonize') - can't set immutable config")
    );
    assert_eq!(message(&[("dir", "/tmp")]), format!("{failed} 'dir') - can't set protected config"));
    assert!(
        message(&[("timeout", "3"), ("tls-cluster", "yes")]).starts_with(&format!("{failed} 'tls-cluster')"))
    );
    assert!(message(&[("timeout", "x"), ("foo", "1")]).starts_with("ERR Unknown option"));
    assert_eq!(store.set(&[("timeout", "7"), ("maxmemory", "1kb")]).unwrap(), ["timeout", "maxmemory"]);
    let settings = store.settings();
    assert_eq!((settings.timeout_s, settings.maxmemory), (7, 1024));
    store.set(&[("client-output-buffer-limit", "normal 1mb 2 3")]).unwrap();
    let limits = store.settings().output_limits;
    assert_eq!((limits[0].hard, limits[0].soft, limits[0].soft_seconds), (1 << 20, 2, 3));
    assert_eq!(limits[1].hard, 268_435_456);
}

#[test]
fn rewrite_keeps_comments_and_order() {
    let old = "# the port\nport 7001\n\ntimeout 1\nmaxmemory 100mb\ninclude other.conf\n# end\n";
    let mut values = Values::default();
    let mut lines: Vec<Line> = Vec::new();
    read_text(&old.replace("include other.conf", ""), &Origin::StandardInput, 0, &mut lines).unwrap();
    super::load::apply(&mut values, &lines).unwrap();
    assert_eq!(rewritten(old, &values), old);
    values.replace(index("timeout"), "9").unwrap();
    values.replace(index("cluster-announce-hostname"), "a.b").unwrap();
    values.replace(index("client-output-buffer-limit"), "pubsub 1 2 3").unwrap();
    values.replace(index("proc-title-template"), "a b").unwrap();
    let new = rewritten(old, &values);
    let expected = format!(
        "{}# Generated by CONFIG REWRITE\nproc-title-template \"a b\"\n\
         client-output-buffer-limit pubsub 1 2 3\ncluster-announce-hostname a.b\n",
        old.replace("timeout 1", "timeout 9")
    );
    assert_eq!(new, expected);
    assert_eq!(rewritten(&new, &values), new, "rewriting again changes nothing");
}

/// Redis writes its default nowhere, and none where it was taken away.
#[test]
fn save_points_are_the_default_until_a_line_says_otherwise() {
    let points = |text: &str| load_text(text).unwrap().get("save").to_owned();
    let default = "3600 1 300 100 60 10000";
    assert_eq!(points(""), default);
    assert_eq!(points("save 900 1\nsave 300 10\n"), "900 1 300 10");
    assert_eq!((points("save \"\""), points("save \"\"\nsave 5 6")), (String::new(), "5 6".into()));
    let mut values = Values::default();
    assert_eq!(rewritten("port 6379\n", &values), "port 6379\n");
    values.replace(index("save"), "").unwrap();
    assert!(rewritten("port 6379\n", &values).ends_with("\nsave \"\"\n"));
    values.replace(index("save"), default).unwrap();
    assert_eq!(values.get("save"), default);
}

#[test]
fn rewrite_replaces_several_lines_of_one_directive() {
    let mut values = Values::default();
    values.set(index("save"), &args("900 1 60 5")).unwrap();
    let new = rewritten("save 1 1\nsave 2 2\nsave 3 3\nport 6379\n", &values);
    assert_eq!(new, "save 900 1\nsave 60 5\nport 6379\n");
    values.replace(index("save"), "").unwrap();
    assert_eq!(rewritten("save 1 1\nport 1\n", &values), "save \"\"\nport 6379\n");
}

#[test]
fn a_rewritten_value_is_read_back() {
    for word in ["", "a b", "quote\" back\\ '", "#", "tab\t", "ünï", "\u{1}"] {
        let text = format!("logfile {}\n", super::kind::quoted(word));
        assert_eq!(load_text(&text).unwrap().get("logfile"), word, "{text}");
    }
}

#[test]
fn a_rewrite_is_atomic_and_leaves_no_temporary_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("redis.conf");
    std::fs::write(&file, "timeout 1\n").unwrap();
    let command_line = CommandLine::parse(&[file.display().to_string()]).unwrap();
    let store = ConfigStore::new(load(&command_line, "").unwrap());
    store.set(&[("timeout", "3")]).unwrap();
    store.rewrite().unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "timeout 3\n");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

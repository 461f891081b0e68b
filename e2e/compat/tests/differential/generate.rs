//! A stream of commands from a seed: valid ones from templates, then damaged now and then.

/// One command on one of the connections.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub connection: usize,
    pub args: Vec<Vec<u8>>,
    /// Sent as an inline command.
    pub inline: bool,
}

impl Step {
    /// Whether it is this command.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.args[0].eq_ignore_ascii_case(name.as_bytes())
    }
}

/// Templates: capital letters stand for something random, `[…]` for options that are there half the time, `a|b` for
/// one of several words.
/// K key, V value, I integer, F float, R ttl (relative), U unix time in s, M unix time in ms, P pattern, D payload.
const TEMPLATES: &[&str] = &[
    "set K V",
    "set K V",
    "set K V",
    "set K V [nx|xx] [get] [ex|px R]",
    "set K V [keepttl] [get|nx|xx]",
    "set K V exat U [nx]",
    "set K V pxat M [xx]",
    "set K V ex R px R",
    "set K V nx xx",
    "set K V keepttl ex R",
    "set K I",
    "set K F",
    "get K",
    "get K",
    "getset K V",
    "getdel K",
    "getex K",
    "getex K ex|px R",
    "getex K exat U",
    "getex K pxat M",
    "getex K persist",
    "getex K persist ex R",
    "append K V",
    "strlen K",
    "incr K",
    "decr K",
    "incrby K I",
    "decrby K I",
    "incrbyfloat K F",
    "setnx K V",
    "setex K R V",
    "psetex K R V",
    "mget K K",
    "mget K K K",
    "mset K V",
    "mset K V K V",
    "mset K V K",
    "msetnx K V K V",
    "setrange K I V",
    "getrange K I I",
    "substr K I I",
    "lcs K K",
    "lcs K K len",
    "lcs K K idx",
    "lcs K K idx minmatchlen I withmatchlen",
    "lcs K K idx len",
    "del K",
    "del K K",
    "unlink K K",
    "exists K",
    "exists K K K",
    "touch K K",
    "type K",
    "rename K K",
    "renamenx K K",
    "copy K K",
    "copy K K replace",
    "copy K K db I",
    "copy K K db 0 replace",
    "expire K R",
    "expire K R nx|xx|gt|lt",
    "expire K R nx gt",
    "expire K R gt lt",
    "pexpire K R",
    "pexpire K R nx|xx|gt|lt",
    "expireat K U",
    "expireat K U nx|xx|gt|lt",
    "pexpireat K M",
    "pexpireat K M gt|lt|xx|bad",
    "persist K",
    "ttl K",
    "pttl K",
    "expiretime K",
    "pexpiretime K",
    "object encoding K",
    "object refcount K",
    "object idletime K",
    "object freq K",
    "object help",
    "object bad K",
    "object",
    "dump K",
    "restore K R D",
    "restore K 0 D replace",
    "restore K M D absttl replace",
    "restore K 0 D idletime I",
    "restore K 0 D freq I",
    "restore K 0 D replace idletime 5 freq 5",
    "restore K 0 V",
    "restore-asking K 0 D replace",
    "keys P",
    "scan 0 count 100000",
    "scan 0 match P count 100000",
    "scan 0 type string|list|bad count 100000",
    "scan I",
    "scan 0 count I",
    "scan 0 bad",
    "randomkey",
    "dbsize",
    "ping",
    "ping V",
    "ping V V",
    "echo V",
    "select 0",
    "select I",
    "select bad",
    "time bad",
    "wait 0 0",
    "wait I 1",
    "wait 0 bad",
    "hello",
    "hello 2",
    "hello 3",
    "hello 4",
    "hello bad",
    "hello 3 setname V",
    "hello 3 auth default V",
    "hello 3 bad",
    "client getname",
    "client setname V",
    "client id",
    "client bad",
    "client reply on",
    "client no-evict on|off|bad",
    "client",
    "asking",
    "readonly",
    "readwrite",
    "reset",
    "quit",
    "multi",
    "multi",
    "multi",
    "exec",
    "exec",
    "exec",
    "discard",
    "watch K",
    "watch K K",
    "unwatch",
    "flushall",
    "flushall sync|async|bad",
    "flushdb",
    "bad V V",
    "foo|bar",
    "get",
    "command getkeys get K",
    "command getkeys mset K V K V",
    "command getkeys ping",
    "command getkeys bad",
    "command getkeysandflags set K V",
    "command getkeysandflags get K",
    "command getkeys get",
    "command bad",
    "command getkeysandflags copy K K",
    "command getkeys migrate h 1 empty 0 1 keys K K",
    "command info bad",
    "cluster keyslot K",
    "cluster countkeysinslot 100|9999|16384|bad",
    "cluster getkeysinslot 9999 100",
    "cluster getkeysinslot 9999 I",
    "cluster bad",
    "cluster",
    "cluster setslot 1 bad",
    "cluster addslots 1",
    "cluster delslots 16384",
    "cluster forget bad",
    "cluster replicate bad",
    "cluster failover",
    "cluster failover bad",
    "cluster meet bad bad",
    "cluster setslot 5 stable",
    "cluster setslot 5 node bad",
    "cluster count-failure-reports bad",
    "config get maxmemory",
    "config get bad",
    "config bad",
    "config set bad V",
    "config set",
    "config get",
    "config resetstat V",
    "config set maxmemory bad",
    "debug bad",
    "role",
    "debug sleep 0|nx|0x",
    "debug sleep-slot",
    "failover",
    "failover bad",
    "time",
    "lastsave",
    "object refcount K",
    "scan -0|+0|-1|-|a",
    "config get MaxMemory|max*y|maxmemory-policy maxmemory",
    "config set MaxMemory|DAEMONIZE bad|-1|0x",
    "config set BAD V",
    "expire K 10 V",
    "replconf Bad V",
    "replconf listening-port V",
    "cluster replicate V",
    "V",
    "V V V",
    "config V",
    "incrbyfloat K 0x.8p1|0x1p-70|0x|1e4931|1.2e4932|3.3621e-4932|infinity|-NAN",
    "command getkeys migrate h 1 K 0 1 copy|auth|keys K",
    "migrate 127.0.0.1 1 K 0 bad",
    "migrate 127.0.0.1 1 K 0 10 bad",
    "migrate 127.0.0.1 1 K 0 10 keys K",
    "latency bad",
    "slowlog len",
    "slowlog bad",
    "lastsave bad",
    "shutdown bad",
    "replconf bad",
    "psync",
    "info bad",
    "substr K 0 -1",
    "get X",
    "set X V",
    "mget K X",
    "mset K V X V",
    "del K X",
    "rename K X",
];

const KEYS: &[&str] = &["{t}a", "{t}b", "{t}c", "{t}d", "{t}", "{t}\r\n\u{1}"];
const INTEGERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "10",
    "100",
    "-10",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "-9223372036854775809",
    "2147483648",
    "4294967296",
    " 1",
    "1 ",
    "+1",
    "01",
    "-0",
    "",
    "abc",
    "1.5",
    "1e3",
    "0x10",
    "536870911",
];
const FLOATS: &[&str] = &[
    "0",
    "1",
    "-1",
    "0.1",
    "-0.1",
    "1.5",
    "3.0e3",
    "1e17",
    "1e400",
    "inf",
    "-inf",
    "nan",
    "abc",
    "",
    " 1",
    "1 ",
    "+1.5",
    "0x1p3",
    "17179869184.5",
    "1e-5",
    "123456789.123456789",
    "1e308",
    ".5",
    "5.",
    "10.50",
    "-0",
    "-0.0",
    "9007199254740993",
];
const TTLS: &[&str] = &[
    "100000",
    "200000",
    "3000000",
    "100000",
    "0",
    "-1",
    "-100000",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775",
    "9223372036854776",
    "abc",
    "",
    "1.5",
    "9223370000000000000",
];
const UNIX_S: &[&str] = &[
    "4000000000",
    "5000000000",
    "1",
    "0",
    "-1",
    "9223372036854775807",
    "9223372036854775",
    "9223372036854776",
    "abc",
];
const UNIX_MS: &[&str] = &["4000000000000", "5000000000000", "1", "0", "-1", "9223372036854775807", "abc"];
const PATTERNS: &[&str] = &[
    "*",
    "{t}*",
    "{t}[a-c]",
    "{t}?",
    "[^x]*",
    "\\{t}a",
    "{t}[",
    "{t}[b",
    "*{t}*a",
    "",
    "{t}[z-a]",
    "{t}\\",
    "{t}[\\a]",
    "{t}*****b",
];
/// DUMP payloads of redis-server 7.0.15: "hello", 12345, 100 times "a" (compressed); with a bad checksum; of a
/// later version; cut.
const PAYLOADS: &[&[u8]] = &[
    b"\x00\x05hello\n\x00cr\xdfve4 \n",
    b"\x00\xc190\n\x00\x9d\x94\xea'\x93\xfc\x08\xb9",
    b"\x00\xc3\t@X\x01aa\xe0K\x00\x01aa\n\x00\xedM\x8d\x13\xca\x11q\xc5",
    b"\x00\x05hello\n\x00cr\xdfve4 \x0b",
    b"\x00\x05hello\xff\x00cr\xdfve4 \n",
    b"\x00\x05he",
    b"",
];

/// What the state of a [`Generator`] grows by (SplitMix64).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's output function: numbers that differ in one bit come out unrelated.
fn scramble(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// SYNC and PSYNC make the connection that of a replica: what follows are no replies.
fn becomes_a_stream(args: &[Vec<u8>]) -> bool {
    let is = |name: &str| args[0].eq_ignore_ascii_case(name.as_bytes());
    (is("sync") && args.len() == 1) || (is("psync") && args.len() > 2)
}

/// The stream.
pub(crate) struct Generator {
    state: u64,
}

impl Generator {
    /// Seeds are scrambled first: [`Self::random`] walks in steps, and seeds that are steps apart would give the same
    /// stream, only shifted.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: scramble(seed.wrapping_add(STEP)) }
    }

    fn random(&mut self, below: usize) -> usize {
        self.state = self.state.wrapping_add(STEP);
        (scramble(self.state) % below as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.random(100) < percent
    }

    fn of(&mut self, texts: &[&str]) -> Vec<u8> {
        texts[self.random(texts.len())].as_bytes().to_vec()
    }

    /// The next command.
    pub(crate) fn next(&mut self) -> Step {
        let template = TEMPLATES[self.random(TEMPLATES.len())];
        let mut args = self.fill(template);
        // 7.0 keeps the name of a HELLO that fails at a later word; 7.2 does not.
        // SHUTDOWN without its bad word would be done, a DEBUG SLEEP with another one would last, and a maxmemory that
        // is reached would stay when the seed is over.
        let whole = ["setname", "shutdown", "debug sleep", "maxmemory bad", "MaxMemory|"];
        if self.chance(8) && !whole.iter().any(|word| template.contains(word)) {
            self.damage(&mut args);
        }
        for arg in &mut args {
            if self.chance(10) && arg.iter().all(u8::is_ascii_alphabetic) {
                arg.make_ascii_uppercase();
            }
        }
        if becomes_a_stream(&args) {
            args = vec![b"ping".to_vec()];
        }
        let inline = self.chance(5) && !args.is_empty();
        Step { connection: usize::from(self.chance(30)), args, inline }
    }

    fn fill(&mut self, template: &str) -> Vec<Vec<u8>> {
        let mut args = Vec::new();
        let mut skip = false;
        let mut optional = false;
        for word in template.split(' ') {
            if word.starts_with('[') {
                optional = true;
                skip = self.chance(50);
            }
            let ends = word.ends_with(']');
            let bare = word.trim_start_matches('[').trim_end_matches(']');
            if !skip {
                args.push(self.word(bare));
            }
            if optional && ends {
                (optional, skip) = (false, false);
            }
        }
        args
    }

    fn word(&mut self, word: &str) -> Vec<u8> {
        match word {
            "K" => self.of(KEYS),
            "X" => b"elsewhere".to_vec(),
            "I" => self.of(INTEGERS),
            "F" => self.of(FLOATS),
            "R" => self.of(TTLS),
            "U" => self.of(UNIX_S),
            "M" => self.of(UNIX_MS),
            "P" => self.of(PATTERNS),
            "D" => PAYLOADS[self.random(PAYLOADS.len())].to_vec(),
            "V" => self.value(),
            "empty" => Vec::new(),
            words => {
                let words: Vec<&str> = words.split('|').collect();
                self.of(&words)
            }
        }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random(8) {
            0 => self.of(INTEGERS),
            1 => self.of(FLOATS),
            2 => vec![b'a' + self.random(3) as u8; self.random(200)],
            3 => (0..self.random(60)).map(|_| self.random(256) as u8).collect(),
            4 => b"the same text the same text the same text, and another end".to_vec(),
            _ => {
                let text = [
                    "hello",
                    "world",
                    "v",
                    "",
                    "nx",
                    "PX",
                    "44 bytes are the border of an embedded string",
                    "ohmytext",
                    "mynewtext",
                ];
                self.of(&text)
            }
        }
    }

    /// One argument too many, too few, twice, or another one.
    fn damage(&mut self, args: &mut Vec<Vec<u8>>) {
        let at = self.random(args.len());
        match self.random(4) {
            0 if args.len() > 1 => drop(args.remove(at)),
            1 => args.push(self.value()),
            2 => args.push(args[at].clone()),
            _ if at > 0 => args[at] = self.value(),
            _ => args.push(b"extra".to_vec()),
        }
    }
}

//! Random writes from a seed: every command of strings and of keys that our node knows, on keys of all types.

/// Templates: capital letters stand for something random, `a|b` for one of several words. A template stands here as
/// often as it is wanted, relative to the others.
///
/// K key that is a string as a rule, C key that is a collection as a rule, V value, I integer, F float, S seconds from
/// now, T milliseconds from now, U Unix time in s, M Unix time in ms, D payload of a collection, B database.
const TEMPLATES: &[&str] = &[
    "set K V",
    "set K V",
    "set K V",
    "set K I",
    "set K F",
    "set K V nx|xx",
    "set K V get",
    "set K V ex S",
    "set K V px T",
    "set K V exat U",
    "set K V pxat M",
    "set K V keepttl",
    "getset K V",
    "getdel K",
    "getex K px T",
    "getex K ex S",
    "getex K exat U",
    "getex K pxat M",
    "getex K persist",
    "append K V",
    "append K V",
    "incr K",
    "decr K",
    "incrby K I",
    "decrby K I",
    "incrbyfloat K F",
    "setnx K V",
    "setex K S V",
    "psetex K T V",
    "mset K V K V K V",
    "msetnx K V K V",
    "setrange K 3|40|200 V",
    "del K",
    "del K K C",
    "unlink K C",
    "rename K K",
    "rename C C",
    "renamenx K K",
    "renamenx C C",
    "copy K K",
    "copy K K replace",
    "copy C C",
    "copy C C replace",
    "expire K S",
    "expire C S nx|xx|gt|lt",
    "pexpire K|C T",
    "pexpire K T nx|xx|gt|lt",
    "expireat K U",
    "expireat C U gt|lt",
    "pexpireat K M",
    "pexpireat C M nx|xx",
    "persist K",
    "persist C",
    "restore C 0 D",
    "restore C 0 D replace",
    "restore C 0 D replace",
    "restore C T D replace",
    "restore C M D absttl replace",
    "restore C 0 D replace idletime 10",
    "restore C 0 D replace freq 10",
    "restore-asking C 0 D replace",
    "touch K C",
    // Refused, and so never in the stream.
    "incr C",
    "append C V",
    "set K V ex 0",
    "restore C 0 V replace",
    "select B",
    "multi",
    "multi",
];
/// Of so many flushes one is within a transaction.
const FLUSH_QUEUED: usize = 3;
/// How many keys are strings as a rule, and collections.
const STRINGS: usize = 400;
const COLLECTIONS: usize = 80;
/// Databases outside of a cluster.
const DATABASES: &[&str] = &["0", "0", "0", "3", "9"];
/// The longest transaction.
const QUEUED_MAX: usize = 6;
const INTEGERS: &[&str] =
    &["0", "1", "-1", "7", "100", "-12345", "9223372036854775807", "-9223372036854775808"];
const FLOATS: &[&str] = &["0.1", "-2.5", "1e10", "3.0e-3", "123456789.125", "-0.0", "17179869184.5"];

/// What the state of a [`Generator`] grows by (SplitMix64).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

fn scramble(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One command.
pub type Command = Vec<Vec<u8>>;

/// The stream.
pub struct Generator {
    state: u64,
    /// Payloads that RESTORE gets.
    payloads: Vec<Vec<u8>>,
    /// Only one database, and keys in one slot.
    cluster: bool,
    /// Commands until EXEC.
    queued: Option<usize>,
}

impl Generator {
    pub fn new(seed: u64, payloads: Vec<Vec<u8>>, cluster: bool) -> Self {
        Self { state: scramble(seed.wrapping_add(STEP)), payloads, cluster, queued: None }
    }

    fn random(&mut self, below: usize) -> usize {
        self.state = self.state.wrapping_add(STEP);
        (scramble(self.state) % below as u64) as usize
    }

    fn of(&mut self, texts: &[&str]) -> Vec<u8> {
        texts[self.random(texts.len())].as_bytes().to_vec()
    }

    /// The connection's transaction has been ended.
    pub fn end_transaction(&mut self) {
        self.queued = None;
    }

    /// What RESTORE gets.
    pub fn payloads(&self) -> &[Vec<u8>] {
        &self.payloads
    }

    /// Commands that wipe everything, or a database. Never one of [`Generator::next`]: whoever compares has to do so
    /// before it, for what differed is gone behind it.
    pub fn flush(&mut self) -> Vec<Command> {
        let flush = vec![self.of(&["flushdb", "flushdb", "flushall"])];
        if self.random(FLUSH_QUEUED) > 0 {
            return vec![flush];
        }
        vec![
            vec![b"multi".to_vec()],
            self.next_of("set K V"),
            flush,
            self.next_of("set K V"),
            vec![b"exec".to_vec()],
        ]
    }

    /// The next command.
    pub fn next(&mut self) -> Command {
        if let Some(left) = self.queued {
            self.queued = left.checked_sub(1);
            if left == 0 {
                return vec![b"exec".to_vec()];
            }
        }
        let template = TEMPLATES[self.random(TEMPLATES.len())];
        match template {
            "multi" if self.queued.is_some() => return self.next_of("set K V"),
            "multi" => self.queued = Some(self.random(QUEUED_MAX)),
            "select B" if self.cluster => return self.next_of("incr K"),
            _ => {}
        }
        self.next_of(template)
    }

    fn next_of(&mut self, template: &str) -> Command {
        template.split(' ').map(|word| self.word(word)).collect()
    }

    fn word(&mut self, word: &str) -> Vec<u8> {
        match word {
            "K" => self.key('k', STRINGS),
            "C" => self.key('c', COLLECTIONS),
            "K|C" if self.random(2) == 0 => self.key('k', STRINGS),
            "K|C" => self.key('c', COLLECTIONS),
            "V" => self.value(),
            "I" => self.of(INTEGERS),
            "F" => self.of(FLOATS),
            // Either over before the end of the test, or long after it.
            "S" => self.of(&["1", "100000", "200000"]),
            "T" => self.of(&["20", "300", "100000000", "200000000"]),
            "U" => self.of(&["1", "4000000000", "5000000000"]),
            "M" => self.of(&["1", "4000000000000", "5000000000000"]),
            "D" => {
                let at = self.random(self.payloads.len());
                self.payloads[at].clone()
            }
            "B" => self.of(DATABASES),
            words => {
                let words: Vec<&str> = words.split('|').collect();
                self.of(&words)
            }
        }
    }

    fn key(&mut self, kind: char, count: usize) -> Vec<u8> {
        let number = self.random(count);
        format!("{{t}}{kind}{number}").into_bytes()
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random(6) {
            0 => self.of(INTEGERS),
            1 => vec![b'a' + self.random(3) as u8; self.random(300)],
            2 => (0..self.random(80)).map(|_| self.random(256) as u8).collect(),
            3 => b"44 bytes are the border of an embedded string".to_vec(),
            _ => self.of(&["hello", "world", "", "v"]),
        }
    }
}

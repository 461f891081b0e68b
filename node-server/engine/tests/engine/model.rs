//! Random commands against a simple model, with time passing; and the log of it applied on a second engine.

use crate::support::*;
use node_server_engine::Applier;
use node_server_protocol::Millis;
use node_server_protocol::resp::Reply;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Op {
    Set(u8, u16, Option<u16>),
    SetKeepTtl(u8, u16),
    SetNx(u8, u16),
    Get(u8),
    Del(u8, u8),
    Incr(u8),
    Append(u8, u8),
    Expire(u8, i16),
    Persist(u8),
    GetDel(u8),
    Rename(u8, u8),
    Flush,
    Pass(u16),
    Tick,
}

fn op() -> impl Strategy<Value = Op> {
    let key = || 0_u8..8;
    prop_oneof![
        6 => (key(), any::<u16>(), prop::option::of(1_u16..500)).prop_map(|(k, v, t)| Op::Set(k, v, t)),
        2 => (key(), any::<u16>()).prop_map(|(k, v)| Op::SetKeepTtl(k, v)),
        2 => (key(), any::<u16>()).prop_map(|(k, v)| Op::SetNx(k, v)),
        4 => key().prop_map(Op::Get),
        2 => (key(), key()).prop_map(|(a, b)| Op::Del(a, b)),
        3 => key().prop_map(Op::Incr),
        2 => (key(), any::<u8>()).prop_map(|(k, v)| Op::Append(k, v)),
        3 => (key(), -10_i16..500).prop_map(|(k, t)| Op::Expire(k, t)),
        1 => key().prop_map(Op::Persist),
        1 => key().prop_map(Op::GetDel),
        1 => (key(), key()).prop_map(|(a, b)| Op::Rename(a, b)),
        1 => Just(Op::Flush),
        4 => (1_u16..200).prop_map(Op::Pass),
        1 => Just(Op::Tick),
    ]
}

#[derive(Default)]
struct Model {
    now: u64,
    keys: BTreeMap<u8, (String, Option<u64>)>,
}

fn name(key: u8) -> String {
    // Two slots, so that keys meet and part.
    format!("{{{}}}{key}", key / 4)
}

fn null_or(value: Option<String>) -> Reply {
    value.map_or(Reply::Null, |v| bulk(&v))
}

fn ok() -> Reply {
    Reply::Simple("OK".into())
}

impl Model {
    fn live(&mut self, key: u8) -> Option<&mut (String, Option<u64>)> {
        let now = self.now;
        self.keys.retain(|_, (_, at)| at.is_none_or(|at| at > now));
        self.keys.get_mut(&key)
    }

    /// The line to send and the reply that is right.
    fn step(&mut self, op: &Op) -> (String, Reply) {
        let now = self.now;
        match *op {
            Op::Set(k, v, ttl) => {
                self.keys.insert(k, (v.to_string(), ttl.map(|t| now + u64::from(t))));
                let px = ttl.map_or(String::new(), |t| format!(" PX {t}"));
                (format!("SET {} {v}{px}", name(k)), ok())
            }
            Op::SetKeepTtl(k, v) => {
                let at = self.live(k).and_then(|e| e.1);
                self.keys.insert(k, (v.to_string(), at));
                (format!("SET {} {v} KEEPTTL", name(k)), ok())
            }
            Op::SetNx(k, v) => {
                let free = self.live(k).is_none();
                if free {
                    self.keys.insert(k, (v.to_string(), None));
                }
                (format!("SET {} {v} NX", name(k)), if free { ok() } else { Reply::Null })
            }
            Op::Get(k) => (format!("GET {}", name(k)), null_or(self.live(k).map(|e| e.0.clone()))),
            Op::Del(a, b) => {
                let b = a / 4 * 4 + b % 4;
                let mut gone = 0;
                for k in [a, b] {
                    gone += i64::from(self.live(k).is_some());
                    self.keys.remove(&k);
                }
                (format!("DEL {} {}", name(a), name(b)), int(gone))
            }
            Op::Incr(k) => self.incr(k),
            Op::Append(k, v) => {
                let entry = match self.live(k) {
                    Some(entry) => entry,
                    None => self.keys.entry(k).or_insert((String::new(), None)),
                };
                entry.0.push_str(&v.to_string());
                let len = entry.0.len() as i64;
                (format!("APPEND {} {v}", name(k)), int(len))
            }
            Op::Expire(k, t) => {
                let found = self.live(k).is_some();
                if found && t <= 0 {
                    self.keys.remove(&k);
                } else if let Some(entry) = self.live(k) {
                    entry.1 = Some(now + t as u64);
                }
                (format!("PEXPIRE {} {t}", name(k)), int(i64::from(found)))
            }
            Op::Persist(k) => {
                let had = self.live(k).and_then(|e| e.1.take()).is_some();
                (format!("PERSIST {}", name(k)), int(i64::from(had)))
            }
            Op::GetDel(k) => {
                let value = self.live(k).map(|e| e.0.clone());
                self.keys.remove(&k);
                (format!("GETDEL {}", name(k)), null_or(value))
            }
            Op::Rename(a, b) => self.rename(a, a / 4 * 4 + b % 4),
            Op::Flush => {
                self.keys.clear();
                ("FLUSHALL".into(), ok())
            }
            Op::Pass(_) | Op::Tick => ("PING".into(), Reply::Simple("PONG".into())),
        }
    }

    fn incr(&mut self, k: u8) -> (String, Reply) {
        let line = format!("INCR {}", name(k));
        let Some(entry) = self.live(k) else {
            self.keys.insert(k, ("1".into(), None));
            return (line, int(1));
        };
        let reply = match entry.0.parse::<i64>() {
            Ok(n) if n < i64::MAX && n.to_string() == entry.0 => {
                entry.0 = (n + 1).to_string();
                int(n + 1)
            }
            Ok(i64::MAX) => Reply::Error("ERR increment or decrement would overflow".into()),
            _ => Reply::Error("ERR value is not an integer or out of range".into()),
        };
        (line, reply)
    }

    fn rename(&mut self, a: u8, b: u8) -> (String, Reply) {
        let line = format!("RENAME {} {}", name(a), name(b));
        let Some(entry) = self.live(a).cloned() else {
            return (line, Reply::Error("ERR no such key".into()));
        };
        self.keys.remove(&a);
        self.keys.insert(b, entry);
        (line, ok())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn commands_do_what_the_model_does_and_the_log_says_the_same(ops in prop::collection::vec(op(), 1..80)) {
        let (master, replica) = (Node::master(), Node::replica());
        let mut client = master.client();
        let mut model = Model { now: NOW.0, ..Model::default() };
        let mut applier = Applier::default();
        for op in ops {
            match op {
                Op::Pass(ms) => model.now += u64::from(ms),
                Op::Tick => {
                    master.engine.tick(Millis(model.now), 3);
                }
                _ => {}
            }
            client.now = Millis(model.now);
            let (line, expected) = model.step(&op);
            prop_assert_eq!(client.line(&line), expected, "{}", line);
            let behind = master.log_from(replica.engine.log().end());
            // The replica's clock is wrong by an hour, which must not matter.
            let applied = replica.engine.apply(&mut applier, &behind, Millis(model.now + 3_600_000)).unwrap();
            prop_assert_eq!(applied.consumed, behind.len());
        }
        model.live(0);
        let now = Millis(model.now);
        let expected: BTreeMap<Vec<u8>, (Vec<u8>, i64)> = model
            .keys
            .iter()
            .map(|(k, (v, at))| (name(*k).into_bytes(), (v.clone().into_bytes(), at.map_or(-1, |at| at as i64))))
            .collect();
        prop_assert_eq!(&master.content(now), &expected);
        prop_assert_eq!(&replica.content(now), &expected);
        prop_assert_eq!(master.log_from(0), replica.log_from(0));
        // Once all expired keys are deleted, the counters agree too.
        master.engine.tick(now, usize::MAX);
        let behind = master.log_from(replica.engine.log().end());
        replica.engine.apply(&mut applier, &behind, now).unwrap();
        for node in [&master, &replica] {
            prop_assert_eq!(node.engine.keyspace().len() as usize, expected.len());
            prop_assert_eq!(node.engine.keyspace().volatile() as usize, expected.values().filter(|v| v.1 >= 0).count());
        }
    }
}

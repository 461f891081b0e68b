//! DEBUG DIGEST: one number for the whole data set, the same as a redis-server with the same data gives, so that
//! two servers can be compared. Facts: Redis 7.0 (debug.c); each type was tried against redis-server 7.0.15.

use crate::Engine;
use crate::command::CommandResult;
use crate::gate::node_is_busy;
use crate::keyspace::Entry;
use crate::keyspace::value::ValueRef;
use node_server_protocol::Slot;
use node_server_rdb as rdb;
use sha1::{Digest as _, Sha1};

/// A SHA-1, which tells data sets apart and protects nothing here.
type Digest = [u8; 20];

fn sha1(bytes: &[u8]) -> Digest {
    Sha1::digest(bytes).into()
}

/// Added for a key that expires, whenever that is.
const EXPIRES: &[u8] = b"!!expire!!";

/// Adds something whose order does not matter.
fn add(digest: &mut Digest, bytes: &[u8]) {
    digest.iter_mut().zip(sha1(bytes)).for_each(|(own, other)| *own ^= other);
}

/// Adds something whose order does.
fn mix(digest: &mut Digest, bytes: &[u8]) {
    add(digest, bytes);
    *digest = sha1(digest);
}

impl Engine {
    /// Of all keys, expired ones that are still there too. While writes are held back: only on worker threads.
    pub(crate) fn digest(&self) -> CommandResult<String> {
        let barrier = self.wait_for_barrier().ok_or_else(node_is_busy)?;
        let mut digest = Digest::default();
        let mut database = None;
        for slot in Slot::all().filter(|slot| self.keyspace.slot_len(*slot) > 0) {
            let number = if self.is_cluster() { 0 } else { slot.number() };
            if database != Some(number) {
                mix(&mut digest, &u32::from(number).to_be_bytes());
                database = Some(number);
            }
            let guard = self.keyspace.lock(slot);
            let entries = guard.table().into_iter().flat_map(|table| table.keys.iter());
            entries.for_each(|entry| add(&mut digest, &of_key(entry)));
        }
        drop(barrier);
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

fn of_key(entry: &Entry) -> Digest {
    let mut digest = Digest::default();
    mix(&mut digest, entry.key());
    match entry.value() {
        ValueRef::String(text) => {
            mix(&mut digest, &0_u32.to_be_bytes());
            text.with(|bytes| mix(&mut digest, bytes));
        }
        ValueRef::Collection(collection) => of_collection(&mut digest, collection.value()),
    }
    if entry.expire_at().is_some() {
        add(&mut digest, EXPIRES);
    }
    digest
}

/// The number of the type (Redis: OBJ_*), then what is in it.
fn of_collection(digest: &mut Digest, value: &rdb::Value) {
    let kind = |digest: &mut Digest, number: u32| mix(digest, &number.to_be_bytes());
    match value {
        rdb::Value::String(bytes) => {
            kind(digest, 0);
            mix(digest, bytes);
        }
        rdb::Value::List(items) => {
            kind(digest, 1);
            items.iter().for_each(|item| mix(digest, item));
        }
        rdb::Value::Set(members) => {
            kind(digest, 2);
            members.iter().for_each(|member| add(digest, member));
        }
        rdb::Value::SortedSet(members) => {
            kind(digest, 3);
            for scored in members {
                add(digest, &pair(&scored.member, shortest_17(scored.score).as_bytes()));
            }
        }
        rdb::Value::Hash(fields) => {
            kind(digest, 4);
            fields.iter().for_each(|field| add(digest, &pair(&field.name, &field.value)));
        }
        rdb::Value::Stream(stream) => {
            kind(digest, 6);
            for entry in &stream.entries {
                mix(digest, format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
                for (name, value) in &entry.fields {
                    mix(digest, name);
                    mix(digest, value);
                }
            }
        }
    }
}

fn pair(first: &[u8], second: &[u8]) -> Digest {
    let mut digest = Digest::default();
    mix(&mut digest, first);
    mix(&mut digest, second);
    digest
}

/// As C prints a double with `%.17g`.
fn shortest_17(number: f64) -> String {
    const DIGITS: i32 = 17;
    if !number.is_finite() {
        return if number.is_nan() { "nan".into() } else { if number > 0.0 { "inf" } else { "-inf" }.into() };
    }
    let scientific = format!("{number:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let stripped = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if (-4..DIGITS).contains(&exponent) {
        let decimals = usize::try_from(DIGITS - 1 - exponent).unwrap_or_default();
        return stripped(&format!("{number:.decimals$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", stripped(mantissa), exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What printf of C gives.
    #[test]
    fn doubles_are_printed_as_c_does() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (3.0, "3"),
            (0.1, "0.10000000000000001"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (-1.25e300, "-1.2500000000000001e+300"),
            (0.0001, "0.0001"),
            (0.000_01, "1.0000000000000001e-05"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(shortest_17(number), text);
        }
    }
}

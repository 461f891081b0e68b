//! Lists, sets, sorted sets, hashes and streams, as they were loaded.

use node_server_protocol::resp::request::parse_number;
use node_server_rdb::Value;

/// Most elements and the longest one of a set, sorted set or hash that Redis keeps packed (`*-max-listpack-entries`,
/// `*-max-listpack-value`).
const PACKED_MAX: (usize, usize) = (128, 64);
/// Most members of a set of integers (`set-max-intset-entries`).
const INTEGERS_MAX: usize = 512;
/// Most bytes of a list in one node (`list-max-listpack-size -2`).
const LIST_BYTES_MAX: usize = 8192;

/// A value that is not a string. It is never changed, so what is asked of it often is counted once.
#[derive(Clone, Debug, PartialEq)]
pub struct Collection {
    value: Value,
    heap_bytes: usize,
    has_field_expiry: bool,
}

impl Collection {
    /// Of a value that is not a string.
    #[must_use]
    pub fn new(value: Value) -> Self {
        let heap_bytes = size_of::<Self>() + value.heap_bytes();
        let has_field_expiry = value.has_field_expiry();
        Self { value, heap_bytes, has_field_expiry }
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Bytes on the heap, its own among them.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }

    /// Whether a field of it expires.
    #[must_use]
    pub fn has_field_expiry(&self) -> bool {
        self.has_field_expiry
    }

    /// The word of OBJECT ENCODING: how Redis 7.2 with its default limits would keep it.
    #[must_use]
    pub fn encoding(&self) -> &'static str {
        let packed = |count: usize, longest: Option<usize>| {
            count <= PACKED_MAX.0 && longest.unwrap_or(0) <= PACKED_MAX.1
        };
        match &self.value {
            Value::String(_) => "raw",
            Value::List(items) if items.iter().map(Vec::len).sum::<usize>() <= LIST_BYTES_MAX => "listpack",
            Value::List(_) => "quicklist",
            Value::Set(members) if is_integers(members) => "intset",
            Value::Set(members) if packed(members.len(), members.iter().map(Vec::len).max()) => "listpack",
            Value::Set(_) => "hashtable",
            Value::SortedSet(all) if packed(all.len(), all.iter().map(|m| m.member.len()).max()) => {
                "listpack"
            }
            Value::SortedSet(_) => "skiplist",
            Value::Hash(all) => {
                let longest = all.iter().map(|f| f.name.len().max(f.value.len())).max();
                if packed(all.len(), longest) { "listpack" } else { "hashtable" }
            }
            Value::Stream(_) => "stream",
        }
    }
}

fn is_integers(members: &[Vec<u8>]) -> bool {
    members.len() <= INTEGERS_MAX && members.iter().all(|member| parse_number(member).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use node_server_rdb::{Field, Scored};

    fn encoding(value: Value) -> &'static str {
        Collection::new(value).encoding()
    }

    fn texts(count: usize, len: usize) -> Vec<Vec<u8>> {
        (0..count).map(|n| format!("{n:x<len$}").into_bytes()).collect()
    }

    #[test]
    fn encodings_are_those_of_redis() {
        assert_eq!(encoding(Value::List(texts(3, 10))), "listpack");
        assert_eq!(encoding(Value::List(texts(3, 5000))), "quicklist");
        assert_eq!(encoding(Value::Set(vec![b"1".to_vec(), b"-7".to_vec()])), "intset");
        assert_eq!(encoding(Value::Set(texts(128, 64))), "listpack");
        assert_eq!(encoding(Value::Set(texts(129, 10))), "hashtable");
        let scored = |len| vec![Scored { member: vec![b'm'; len], score: 1.0 }];
        assert_eq!(encoding(Value::SortedSet(scored(64))), "listpack");
        assert_eq!(encoding(Value::SortedSet(scored(65))), "skiplist");
        let field = |len| vec![Field { name: b"f".to_vec(), value: vec![b'v'; len], expire_at: None }];
        assert_eq!(encoding(Value::Hash(field(64))), "listpack");
        assert_eq!(encoding(Value::Hash(field(65))), "hashtable");
    }
}

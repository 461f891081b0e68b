//! An RDB stream, piece by piece: whoever writes takes the bytes out as often as it likes, so no whole file is ever
//! in memory.

use crate::crc64::crc64;
use crate::encoding::{put_length, put_string};
use crate::{RDB_VERSION, Value, dump::TYPE_STRING};

pub(crate) const OP_AUX: u8 = 250;
pub(crate) const OP_EXPIRETIME_MS: u8 = 252;
pub(crate) const OP_SELECTDB: u8 = 254;
pub(crate) const OP_EOF: u8 = 255;

/// Appends to an inner buffer that [`Writer::take`] empties.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
    checksum: u64,
    summed: usize,
}

impl Writer {
    /// Begins with the magic and the version.
    #[must_use]
    pub fn new() -> Self {
        let mut writer = Self::default();
        writer.out.extend_from_slice(format!("REDIS{RDB_VERSION:04}").as_bytes());
        writer
    }

    /// An auxiliary field, such as `redis-ver` or `repl-id`.
    pub fn aux(&mut self, name: &str, value: &str) {
        self.out.push(OP_AUX);
        put_string(&mut self.out, name.as_bytes());
        put_string(&mut self.out, value.as_bytes());
    }

    /// What follows belongs to this database.
    pub fn select(&mut self, database: u64) {
        self.out.push(OP_SELECTDB);
        put_length(&mut self.out, database);
    }

    /// Keys that [`put_key`] has already written to a buffer of their own.
    pub fn keys(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// The end, with the checksum.
    pub fn finish(&mut self) {
        self.out.push(OP_EOF);
        self.sum();
        self.out.extend_from_slice(&self.checksum.to_le_bytes());
        self.summed = self.out.len();
    }

    /// The bytes since the last call.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        self.sum();
        self.summed = 0;
        std::mem::take(&mut self.out)
    }

    /// How many bytes wait to be taken.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.out.len()
    }

    fn sum(&mut self) {
        self.checksum = crc64(self.checksum, &self.out[self.summed..]);
        self.summed = self.out.len();
    }
}

/// Appends one key with its value; `expire_at` in Unix milliseconds.
pub fn put_key(out: &mut Vec<u8>, key: &[u8], value: &Value, expire_at: Option<u64>) {
    match value {
        Value::String(bytes) => put_string_key(out, key, bytes, expire_at),
    }
}

/// Appends one key with a string.
pub fn put_string_key(out: &mut Vec<u8>, key: &[u8], value: &[u8], expire_at: Option<u64>) {
    if let Some(at) = expire_at {
        out.push(OP_EXPIRETIME_MS);
        out.extend_from_slice(&at.to_le_bytes());
    }
    out.push(TYPE_STRING);
    put_string(out, key);
    put_string(out, value);
}

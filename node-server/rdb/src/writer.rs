//! An RDB stream, piece by piece: whoever writes takes the bytes out as often as it likes, so no whole file is ever
//! in memory.

use crate::crc64::crc64;
use crate::encode::put_value;
use crate::encoding::{put_length, put_millis, put_string, put_string_as};
use crate::error::shown;
use crate::types::{OP_AUX, OP_EOF, OP_EXPIRETIME_MS, OP_FUNCTION2, OP_SELECTDB, STRING};
use crate::{Dialect, Form, RdbError, Value};

/// Appends to an inner buffer that [`Writer::take`] empties.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    checksum: u64,
    summed: usize,
    /// None is made: what stands in its place at the end is 0.
    without_checksum: bool,
}

impl Writer {
    /// Begins with the magic and the version of `dialect`, for which the keys have to be written too.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        Self { out: dialect.header().to_vec(), checksum: 0, summed: 0, without_checksum: false }
    }

    /// `rdbchecksum no`: the stream ends with 0 where the checksum stands, and readers check nothing.
    #[must_use]
    pub fn without_checksum(mut self) -> Self {
        self.without_checksum = true;
        self
    }

    /// An auxiliary field, such as `redis-ver` or `repl-id`.
    pub fn aux(&mut self, name: &str, value: &str) {
        self.out.push(OP_AUX);
        put_string(&mut self.out, name.as_bytes());
        put_string(&mut self.out, value.as_bytes());
    }

    /// The text of a function library: behind the auxiliary fields and before the keys, as Redis 7.0 writes it.
    pub fn function(&mut self, text: &[u8]) {
        self.out.push(OP_FUNCTION2);
        put_string(&mut self.out, text);
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
        if self.without_checksum {
            return;
        }
        self.checksum = crc64(self.checksum, self.out.get(self.summed..).unwrap_or_default());
        self.summed = self.out.len();
    }
}

/// Appends one key with its value for a stream of this form; `expire_at` in Unix milliseconds.
///
/// # Errors
/// [`RdbError::Key`] with the key and, as its cause, [`RdbError::FieldExpiry`] for a hash whose fields expire in the
/// plain dialect, or [`RdbError::Unwritable`] for what [`crate::encode_dump`] refuses. `out` is then as before.
pub fn put_key(
    out: &mut Vec<u8>,
    key: &[u8],
    value: &Value,
    expire_at: Option<u64>,
    form: impl Into<Form>,
) -> Result<(), RdbError> {
    let (start, form) = (out.len(), form.into());
    put_expiry(out, expire_at);
    put_value(out, value, form, |out| put_string_as(out, key, form.compress)).map_err(|cause| {
        out.truncate(start);
        RdbError::Key { key: shown(key), cause: Box::new(cause) }
    })
}

/// Appends one key with a string.
pub fn put_string_key(out: &mut Vec<u8>, key: &[u8], value: &[u8], expire_at: Option<u64>, compress: bool) {
    put_expiry(out, expire_at);
    out.push(STRING);
    put_string_as(out, key, compress);
    put_string_as(out, value, compress);
}

fn put_expiry(out: &mut Vec<u8>, expire_at: Option<u64>) {
    if let Some(at) = expire_at {
        out.push(OP_EXPIRETIME_MS);
        put_millis(out, at);
    }
}

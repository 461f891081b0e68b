//! `check rdb`: reads an RDB file as the node would load it, says what is in it, or where and why it is not good.

use anyhow::Context;
use node_server_rdb::{Item, Reader, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// How much is read at once.
const PIECE: usize = 1 << 18;

/// Writes to `out` what the file holds: version, auxiliary fields, keys per type, how many expire, and `checksum OK`;
/// for a file that is not good, the offset of the piece that is wrong and what is wrong with it. Memory: the largest
/// value of the file. True when the file is good.
/// Lines that scripts look for are those of redis-check-rdb 7.0.15.
///
/// # Errors
/// The file cannot be read, or `out` not be written.
pub fn check_rdb(path: &Path, out: &mut impl Write) -> anyhow::Result<bool> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut reader = Reader::new();
    let mut contents = Contents::default();
    let mut piece = vec![0; PIECE];
    let result = loop {
        let len = file.read(&mut piece).with_context(|| format!("cannot read {}", path.display()))?;
        if len == 0 {
            break reader.end_of_input();
        }
        reader.feed(piece.get(..len).unwrap_or_default());
        match contents.take(&mut reader) {
            Ok(false) => {}
            Ok(true) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    match reader.version() {
        Some(version) => writeln!(out, "{}: RDB version {version}", path.display())?,
        None => writeln!(out, "{}: no RDB version", path.display())?,
    }
    contents.report(&reader, out)?;
    match result {
        Ok(()) if reader.is_checksummed() => writeln!(out, "checksum OK")?,
        Ok(()) => writeln!(out, "no checksum: the file was written without one")?,
        Err(ref error) => {
            writeln!(out, "--- RDB ERROR DETECTED ---")?;
            writeln!(out, "BAD at byte {}: {error}", reader.position())?;
        }
    }
    if result.is_ok() && contents.slot_imports > 0 {
        writeln!(
            out,
            "BAD: slots were being imported when it was written, and their keys may not count: it is not loaded"
        )?;
        return Ok(false);
    }
    if result.is_ok() {
        writeln!(out, "[offset {}] \\o/ RDB looks OK! \\o/", reader.position())?;
    }
    Ok(result.is_ok())
}

/// What has been read of a file.
#[derive(Debug, Default)]
struct Contents {
    aux: Vec<(Vec<u8>, Vec<u8>)>,
    functions: u64,
    slot_imports: u64,
    databases: BTreeMap<u64, u64>,
    database: u64,
    types: BTreeMap<&'static str, u64>,
    expiring: u64,
    expiring_fields: u64,
}

impl Contents {
    /// Counts the items that have arrived. True when the end was among them.
    fn take(&mut self, reader: &mut Reader) -> Result<bool, node_server_rdb::RdbError> {
        while let Some(item) = reader.next_item()? {
            match item {
                Item::Aux { name, value } => self.aux.push((name, value)),
                Item::Select(database) => self.database = database,
                Item::Function(_) => self.functions += 1,
                Item::SlotImport { .. } => self.slot_imports += 1,
                Item::Key { value, expire_at, .. } => self.count(&value, expire_at.is_some()),
                Item::End => return Ok(true),
            }
        }
        Ok(false)
    }

    fn count(&mut self, value: &Value, expires: bool) {
        *self.databases.entry(self.database).or_default() += 1;
        *self.types.entry(value.type_name()).or_default() += 1;
        self.expiring += u64::from(expires);
        if let Value::Hash(fields) = value {
            self.expiring_fields += fields.iter().filter(|field| field.expire_at.is_some()).count() as u64;
        }
    }

    fn report(&self, reader: &Reader, out: &mut impl Write) -> std::io::Result<()> {
        for (name, value) in &self.aux {
            let (name, value) = (name.escape_ascii(), value.escape_ascii());
            writeln!(out, "aux {name}: {value}")?;
        }
        let keys: u64 = self.types.values().sum();
        writeln!(out, "keys: {keys}, of which {} expire", self.expiring)?;
        for (name, count) in &self.types {
            writeln!(out, "  {name}: {count}")?;
        }
        for (database, count) in &self.databases {
            writeln!(out, "  in database {database}: {count}")?;
        }
        let others = [
            ("hash fields that expire", self.expiring_fields),
            ("function libraries", self.functions),
            ("slot imports under way", self.slot_imports),
            ("keys passed over because they are empty", reader.empty_keys()),
        ];
        for (what, count) in others.into_iter().filter(|(_, count)| *count > 0) {
            writeln!(out, "{what}: {count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use node_server_rdb::writer::put_key;
    use node_server_rdb::{Dialect, Field, Writer};

    fn file() -> Vec<u8> {
        let mut writer = Writer::new(Dialect::Valkey);
        writer.aux("valkey-ver", "9.1.2");
        writer.select(0);
        let fields = [Some(33_177_117_420_000), None].map(|expire_at| Field {
            name: vec![u8::from(expire_at.is_some())],
            value: Vec::new(),
            expire_at,
        });
        let values = [
            (Value::String(b"v".to_vec()), Some(33_177_117_420_000)),
            (Value::String(b"w".to_vec()), None),
            (Value::Hash(fields.to_vec()), None),
        ];
        for (n, (value, expire_at)) in values.into_iter().enumerate() {
            let mut key = Vec::new();
            put_key(&mut key, &[b'0' + n as u8], &value, expire_at, Dialect::Valkey).unwrap();
            writer.keys(&key);
        }
        writer.finish();
        writer.take()
    }

    fn check(bytes: &[u8]) -> (bool, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump.rdb");
        std::fs::write(&path, bytes).unwrap();
        let mut out = Vec::new();
        let is_good = check_rdb(&path, &mut out).unwrap();
        (is_good, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_good_file() {
        let (is_good, text) = check(&file());
        assert!(is_good, "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("dump.rdb: RDB version 80"), "{text}");
        let expected = [
            "aux valkey-ver: 9.1.2",
            "keys: 3, of which 1 expire",
            "  hash: 1",
            "  string: 2",
            "  in database 0: 3",
            "hash fields that expire: 1",
            "checksum OK",
            &format!("[offset {}] \\o/ RDB looks OK! \\o/", file().len()),
        ];
        assert_eq!(lines[1..], expected);
    }

    #[test]
    fn a_file_that_is_not_good() {
        let good = file();
        let cut = check(&good[..good.len() - 12]);
        assert!(!cut.0 && cut.1.contains("BAD at byte"), "{}", cut.1);
        assert!(cut.1.contains("the data ends in the middle of"), "{}", cut.1);
        let mut flipped = good.clone();
        flipped[24] ^= 1;
        let flipped = check(&flipped);
        assert!(!flipped.0 && flipped.1.contains("RDB CRC error"), "{}", flipped.1);
        let foreign = check(b"*1\r\n$4\r\nPING\r\n");
        assert!(!foreign.0 && foreign.1.contains("BAD at byte 0: not an RDB stream"), "{}", foreign.1);
        let empty = check(b"");
        assert!(!empty.0 && empty.1.contains("in the middle of the header"), "{}", empty.1);
    }

    #[test]
    fn a_file_that_was_written_during_an_import_is_not_loaded() {
        let mut writer = Writer::new(Dialect::Valkey);
        writer.keys(&[&[0xf3, 40][..], &[b'7'; 40], &[1, 5, 7], b"\xfe\x00\x00\x01k\x01v"].concat());
        writer.finish();
        let (is_good, text) = check(&writer.take());
        assert!(!is_good && text.contains("BAD: slots were being imported"), "{text}");
    }

    #[test]
    fn a_file_without_a_checksum() {
        let mut file = file();
        let len = file.len();
        file[len - 8..].fill(0);
        let (is_good, text) = check(&file);
        assert!(is_good && text.contains("no checksum"), "{text}");
    }

    #[test]
    fn a_file_that_is_not_there() {
        let error = check_rdb(Path::new("/no/such/file"), &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("/no/such/file"), "{error}");
    }
}

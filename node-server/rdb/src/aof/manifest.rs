//! The manifest: which files make up the data set, in which order. Lines are `file NAME seq N type b|h|i`.

use super::error::{ManifestCause, ManifestError, NameError};
use super::names::{BaseFormat, Names, is_file_name};
use super::words;

/// Longest line with its newline that redis-server 7.0.15 reads.
pub(super) const LINE_MAX: usize = 1024;
/// No server lives this many rewrites; so the next number always exists.
const SEQ_MAX: u64 = 1 << 53;

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The data set at some moment.
    Base,
    /// No longer needed; to be removed.
    History,
    /// What was written since.
    Incr,
}

impl Kind {
    fn letter(self) -> char {
        match self {
            Self::Base => 'b',
            Self::History => 'h',
            Self::Incr => 'i',
        }
    }
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// In the same directory as the manifest.
    pub name: String,
    /// Bases and increments are counted separately, from 1.
    pub seq: u64,
}

/// The content of a manifest. Comments and pairs that are not known are read over and not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Loaded first.
    pub base: Option<Entry>,
    /// To be removed.
    pub history: Vec<Entry>,
    /// Loaded behind the base, in this order.
    pub incrs: Vec<Entry>,
}

impl Manifest {
    /// Reads the text of a manifest.
    ///
    /// # Errors
    /// The first line that cannot be used. Stricter than Redis in four things that no server writes: `seq 1x`, `type incr`,
    /// numbers from 2^53 on, and names that quoting would make too long for a line are refused.
    pub fn parse(text: &[u8]) -> Result<Self, ManifestError> {
        let at = |line: usize| move |cause| ManifestError { line, cause };
        if text.is_empty() {
            return Err(at(1)(ManifestCause::Empty));
        }
        let mut manifest = Self::default();
        for (index, line) in text.split_inclusive(|b| *b == b'\n').enumerate() {
            manifest.add_line(line).map_err(at(index + 1))?;
        }
        Ok(manifest)
    }

    fn add_line(&mut self, line: &[u8]) -> Result<(), ManifestCause> {
        if line.len() > LINE_MAX {
            return Err(ManifestCause::TooLong);
        }
        let line = line.strip_suffix(b"\n").ok_or(ManifestCause::CutShort)?;
        if line.starts_with(b"#") {
            return Ok(());
        }
        let words = words::split(line).ok_or(ManifestCause::Quotes)?;
        let (entry, kind) = entry_of(&words)?;
        // It is written again, as it has to be quoted.
        if line_of(&entry, kind).len() > LINE_MAX {
            return Err(ManifestCause::TooLong);
        }
        match kind {
            Kind::Base if self.base.is_some() => return Err(ManifestCause::SecondBase),
            Kind::Base => self.base = Some(entry),
            Kind::History => self.history.push(entry),
            Kind::Incr => {
                let before = self.last_incr_seq();
                if entry.seq <= before {
                    return Err(ManifestCause::Order { seq: entry.seq, before });
                }
                self.incrs.push(entry);
            }
        }
        Ok(())
    }

    /// The text, in Redis's order: base, history, increments.
    #[must_use]
    pub fn format(&self) -> String {
        let base = self.base.iter().map(|e| (e, Kind::Base));
        let history = self.history.iter().map(|e| (e, Kind::History));
        let incrs = self.incrs.iter().map(|e| (e, Kind::Incr));
        base.chain(history).chain(incrs).map(|(entry, kind)| line_of(entry, kind)).collect()
    }

    /// The names of the files that make up the data set, in the order of loading.
    pub fn to_load(&self) -> impl Iterator<Item = &str> {
        self.base.iter().chain(&self.incrs).map(|entry| entry.name.as_str())
    }

    /// A manifest whose base is the single file of a server before Redis 7, under its old name, as Redis 7 does.
    #[must_use]
    pub fn upgraded(names: &Names) -> Self {
        let base = Some(Entry { name: names.single().into(), seq: 1 });
        Self { base, ..Self::default() }
    }

    /// With one more increment, which is its last.
    #[must_use]
    pub fn with_next_incr(&self, names: &Names) -> Self {
        let seq = self.last_incr_seq() + 1;
        let mut next = self.clone();
        next.incrs.push(Entry { name: names.incr(seq), seq });
        next
    }

    /// The base that a rewrite makes.
    #[must_use]
    pub fn next_base(&self, names: &Names, format: BaseFormat) -> Entry {
        let seq = self.base.as_ref().map_or(0, |base| base.seq) + 1;
        Entry { name: names.base(seq, format), seq }
    }

    /// After a rewrite: `base` contains everything before the increment `first`. The old base and the increments
    /// before that become history.
    #[must_use]
    pub fn with_rewritten(&self, base: Entry, first: u64) -> Self {
        let (old, incrs): (Vec<_>, Vec<_>) = self.incrs.iter().cloned().partition(|incr| incr.seq < first);
        // The newest first, as Redis has them.
        let mut history = old;
        history.extend(self.base.clone());
        history.extend(self.history.iter().cloned());
        Self { base: Some(base), history, incrs }
    }

    /// When the history files are removed.
    #[must_use]
    pub fn without_history(&self) -> Self {
        Self { history: Vec::new(), ..self.clone() }
    }

    /// The number of the last increment; 0 for none.
    #[must_use]
    pub fn last_incr_seq(&self) -> u64 {
        self.incrs.last().map_or(0, |incr| incr.seq)
    }
}

fn line_of(entry: &Entry, kind: Kind) -> String {
    format!("file {} seq {} type {}\n", words::quote(&entry.name), entry.seq, kind.letter())
}

/// The file of one line. As in Redis, names of pairs may be in any case and order, and the last one counts.
fn entry_of(words: &[Vec<u8>]) -> Result<(Entry, Kind), ManifestCause> {
    if words.is_empty() || !words.len().is_multiple_of(2) {
        return Err(ManifestCause::Pairs);
    }
    let (mut name, mut seq, mut kind) = (None, None, None);
    for pair in words.chunks_exact(2) {
        let [key, value] = pair else { return Err(ManifestCause::Pairs) };
        match key.to_ascii_lowercase().as_slice() {
            b"file" => name = Some(name_of(value)?),
            b"seq" => seq = Some(seq_of(value)?),
            b"type" => kind = Some(kind_of(value)?),
            _ => {}
        }
    }
    let name = name.ok_or(ManifestCause::Missing("file"))?;
    let seq = seq.ok_or(ManifestCause::Missing("seq"))?;
    Ok((Entry { name, seq }, kind.ok_or(ManifestCause::Missing("type"))?))
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

fn name_of(value: &[u8]) -> Result<String, ManifestCause> {
    let refused = |error| ManifestCause::Name { name: text(value), error };
    let name = std::str::from_utf8(value).map_err(|_| refused(NameError::NotText))?;
    is_file_name(name).map_err(refused)?;
    Ok(name.into())
}

fn seq_of(value: &[u8]) -> Result<u64, ManifestCause> {
    let digits = text(value);
    let seq = if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None };
    seq.filter(|seq| (1..SEQ_MAX).contains(seq)).ok_or(ManifestCause::Seq(digits))
}

fn kind_of(value: &[u8]) -> Result<Kind, ManifestCause> {
    match value {
        b"b" => Ok(Kind::Base),
        b"h" => Ok(Kind::History),
        b"i" => Ok(Kind::Incr),
        _ => Err(ManifestCause::Kind(text(value))),
    }
}

//! `check aof FILE [--fix]`: reads a whole file, keeps nothing of it, and says what is wrong with it.

use super::{AofError, Item, Later, Record, Scanner, Seal};
use crate::{Item as RdbItem, RdbError, Reader};

/// What RDB files begin with.
const MAGICS: [&[u8]; 2] = [b"REDIS", b"VALKEY"];

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Length of the file.
    pub len: u64,
    /// Everything before this is whole.
    pub whole_until: u64,
    /// Whole commands.
    pub commands: u64,
    /// Stretches that are proved.
    pub seals: u64,
    /// The last of their seals.
    pub last_seal: Option<Seal>,
    /// What is wrong.
    pub problem: Option<AofError>,
    /// The length to truncate the file to; only where that loses nothing that was promised to anybody.
    pub truncate_to: Option<u64>,
    /// With [`Check::until`]: where the first thing stands that is later.
    pub later: Option<Later>,
}

impl Report {
    /// Where a cut leaves what was written until the second that was asked for, and nothing that is damaged.
    #[must_use]
    pub fn later_behind_what_is_whole(&self) -> Option<Later> {
        self.later.filter(|later| later.at <= self.whole_until)
    }
}

#[derive(Debug)]
enum Stage {
    /// It is not known yet how the file begins.
    Head(Vec<u8>),
    Preamble(Box<Reader>),
    Commands(Box<Scanner>),
}

/// Give it the file in pieces with [`Check::feed`] and end with [`Check::finish`].
#[derive(Debug)]
pub struct Check {
    stage: Stage,
    until: Option<u64>,
    report: Report,
}

impl Default for Check {
    fn default() -> Self {
        Self { stage: Stage::Head(Vec::new()), until: None, report: Report::default() }
    }
}

impl Check {
    /// Before the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, and looks for the first thing that was written behind this Unix second.
    #[must_use]
    pub fn until(second: u64) -> Self {
        Self { until: Some(second), ..Self::default() }
    }

    /// More of the file. `false`: what follows changes nothing, only its length is not known.
    pub fn feed(&mut self, bytes: &[u8]) -> bool {
        self.report.len += bytes.len() as u64;
        if self.report.problem.is_none()
            && let Err(error) = self.read(bytes)
        {
            self.report.problem = Some(error);
        }
        self.report.problem.is_none()
    }

    /// The end of the file.
    #[must_use]
    pub fn finish(mut self) -> Report {
        if self.report.problem.is_none()
            && let Err(error) = self.end()
        {
            self.report.problem = Some(error);
        }
        if let Some(AofError::Torn { complete_until, .. }) = self.report.problem {
            self.report.truncate_to = Some(complete_until);
        }
        self.report
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), AofError> {
        match &mut self.stage {
            Stage::Head(head) => {
                head.extend_from_slice(bytes);
                let head = std::mem::take(head);
                let undecided = |magic: &&[u8]| head.len() < magic.len() && magic.starts_with(&head);
                if MAGICS.iter().any(undecided) {
                    self.stage = Stage::Head(head);
                    return Ok(());
                }
                self.begin(&head)
            }
            Stage::Preamble(reader) => {
                reader.feed(bytes);
                self.read_preamble()
            }
            Stage::Commands(scanner) => {
                scanner.feed(bytes);
                self.read_commands()
            }
        }
    }

    fn begin(&mut self, head: &[u8]) -> Result<(), AofError> {
        self.stage = if MAGICS.iter().any(|magic| head.starts_with(magic)) {
            Stage::Preamble(Box::default())
        } else {
            self.commands_from(0)
        };
        self.read(head)
    }

    fn commands_from(&self, offset: u64) -> Stage {
        let mut scanner = Box::new(Scanner::new(offset));
        if let Some(second) = self.until {
            scanner.look_for_later_than(second);
        }
        Stage::Commands(scanner)
    }

    fn read_preamble(&mut self) -> Result<(), AofError> {
        let Stage::Preamble(reader) = &mut self.stage else { return Ok(()) };
        while let Some(item) = reader.next_item()? {
            if item == RdbItem::End {
                let rest = std::mem::take(&mut **reader).into_rest();
                self.report.whole_until = self.report.len - rest.len() as u64;
                self.stage = self.commands_from(self.report.whole_until);
                return self.read(&rest);
            }
        }
        Ok(())
    }

    fn read_commands(&mut self) -> Result<(), AofError> {
        let Stage::Commands(scanner) = &mut self.stage else { return Ok(()) };
        let report = &mut self.report;
        loop {
            let next = scanner.next_item();
            report.later = scanner.later();
            let Some(item) = next? else { return Ok(()) };
            let records = match item {
                Item::Loose(records) => records,
                Item::Sealed { records, seal } => {
                    report.seals += 1;
                    report.last_seal = Some(seal);
                    records
                }
            };
            report.commands += commands(&records);
            report.whole_until = scanner.position();
        }
    }

    fn end(&mut self) -> Result<(), AofError> {
        match std::mem::replace(&mut self.stage, Stage::Head(Vec::new())) {
            Stage::Head(head) if head.is_empty() => Ok(()),
            // Shorter than a magic: the beginning of a preamble.
            Stage::Head(_) | Stage::Preamble(_) => {
                Err(AofError::Preamble(RdbError::Truncated("the preamble")))
            }
            Stage::Commands(scanner) => {
                let ending = scanner.finish()?;
                self.report.commands += commands(&ending.tail);
                self.report.whole_until = ending.resume.len;
                ending.torn.map_or(Ok(()), |torn| Err(torn.into()))
            }
        }
    }
}

fn commands(records: &[Record]) -> u64 {
    records.iter().filter(|record| matches!(record, Record::Command(_))).count() as u64
}

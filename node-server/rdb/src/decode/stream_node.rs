//! A node of a stream: an identifier and a listpack. The listpack begins with a master entry: how many entries live,
//! how many are marked deleted, the names of the first entry's fields, 0. Then per entry: flags, identifier less the
//! node's (both halves), its fields, and how many elements it took.
//! The layout is that of what redis-server 7.0.15 and Valkey 9.1.2 write (tests/golden) and take (tests/servers.rs).

use super::room;
use crate::RdbError;
use crate::container::Element;
use crate::container::listpack::Listpack;
use crate::encoding::Input;
use crate::value::{Entry, StreamId};

/// The entry is deleted.
const DELETED: i64 = 1;
/// Its names are those of the master entry, so that only values follow.
pub(crate) const SAME_FIELDS: i64 = 2;

/// Takes one node and appends its entries.
pub(crate) fn read_node(input: &mut Input<'_>, entries: &mut Vec<Entry>) -> Result<(), RdbError> {
    let what = "a node of a stream";
    let key = input.raw_string(what)?;
    let listpack = input.raw_string(what)?;
    let key: [u8; 16] =
        key.decode()?.try_into().map_err(|_| RdbError::Encoding("the key of a stream's node"))?;
    let bytes = listpack.decode()?;
    let mut node = Node { first: StreamId::from_bytes(key), elements: Listpack::new(&bytes)? };
    node.read(entries)
}

struct Node<'b> {
    first: StreamId,
    elements: Listpack<'b>,
}

impl<'b> Node<'b> {
    fn read(&mut self, entries: &mut Vec<Entry>) -> Result<(), RdbError> {
        let (live, deleted) = (self.count()?, self.count()?);
        let count = self.count()?;
        let mut names = room(count, self.elements.left(), 2);
        for _ in 0..count {
            names.push(self.element()?);
        }
        if self.number()? != 0 {
            return Err(self.elements.bad("the master entry of a stream's node does not end in 0"));
        }
        let (mut seen_live, mut seen_deleted) = (0, 0);
        while let Some(flags) = self.elements.next() {
            match self.entry(flags?, &names)? {
                Some(entry) => {
                    seen_live += 1;
                    entries.push(entry);
                }
                None => seen_deleted += 1,
            }
        }
        if (seen_live, seen_deleted) == (live, deleted) {
            Ok(())
        } else {
            Err(self.elements.bad("the master entry of a stream's node has other counts"))
        }
    }

    /// An entry; `None` when it is deleted.
    fn entry(&mut self, flags: Element<'b>, names: &[Element<'b>]) -> Result<Option<Entry>, RdbError> {
        let flags = flags.integer().filter(|flags| (0..=DELETED | SAME_FIELDS).contains(flags));
        let flags = flags.ok_or_else(|| self.elements.bad("an entry of a stream has unknown flags"))?;
        // The differences are written as signed numbers and may wrap.
        let ms = self.first.ms.wrapping_add(self.number()? as u64);
        let seq = self.first.seq.wrapping_add(self.number()? as u64);
        let id = StreamId { ms, seq };
        let is_live = flags & DELETED == 0;
        let (fields, taken) = match flags & SAME_FIELDS {
            0 => self.own_fields(is_live)?,
            _ => self.same_fields(names, is_live)?,
        };
        if self.count()? != taken {
            return Err(self.elements.bad("an entry of a stream has another length"));
        }
        Ok(is_live.then_some(Entry { id, fields }))
    }

    fn own_fields(&mut self, is_live: bool) -> Result<(Fields, usize), RdbError> {
        let count = self.count()?;
        let mut fields = Fields::new();
        for _ in 0..count {
            let (name, value) = (self.element()?, self.element()?);
            if is_live {
                fields.push((name.to_bytes(), value.to_bytes()));
            }
        }
        // Flags, two halves of the identifier, the count.
        Ok((fields, count.saturating_mul(2).saturating_add(4)))
    }

    fn same_fields(&mut self, names: &[Element<'b>], is_live: bool) -> Result<(Fields, usize), RdbError> {
        let mut fields = Fields::new();
        for name in names {
            let value = self.element()?;
            if is_live {
                fields.push((name.to_bytes(), value.to_bytes()));
            }
        }
        Ok((fields, names.len() + 3))
    }

    fn element(&mut self) -> Result<Element<'b>, RdbError> {
        let next = self.elements.next();
        next.unwrap_or_else(|| Err(self.elements.bad("a stream's node ends in the middle of an entry")))
    }

    fn number(&mut self) -> Result<i64, RdbError> {
        self.element()?
            .integer()
            .ok_or_else(|| self.elements.bad("a stream's node has text in a number's place"))
    }

    fn count(&mut self) -> Result<usize, RdbError> {
        let number = self.number()?;
        usize::try_from(number).map_err(|_| self.elements.bad("a count in a stream's node is negative"))
    }
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

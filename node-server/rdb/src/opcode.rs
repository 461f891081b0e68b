//! What stands between the values of a stream.

use crate::encoding::Input;
use crate::module::module_name;
use crate::{Dialect, Item, RdbError, types};

/// Number of slots of a cluster.
const SLOTS: usize = 16_384;

/// What an opcode, or a type with its key, says.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// Nothing that matters here.
    Nothing,
    /// When the key that comes next expires.
    ExpireAt(u64),
    /// Something to be told.
    Item(Item),
    /// A value of this type follows.
    Key { kind: u8, key: Vec<u8> },
    /// The end.
    End,
}

/// Reads one opcode with what belongs to it. Nothing is copied before all of it has arrived.
pub(crate) fn read_opcode(
    input: &mut Input<'_>,
    dialect: Dialect,
    has_checksum: bool,
) -> Result<Parsed, RdbError> {
    Ok(match input.byte("an opcode")? {
        types::OP_AUX => {
            let name = input.raw_string("an auxiliary field")?;
            let value = input.raw_string("an auxiliary field")?;
            Parsed::Item(Item::Aux { name: name.decode()?, value: value.decode()? })
        }
        types::OP_SELECTDB => Parsed::Item(Item::Select(input.number("a database number")?)),
        types::OP_FUNCTION2 => Parsed::Item(Item::Function(input.string("a function library")?)),
        types::OP_EXPIRETIME_MS => Parsed::ExpireAt(input.millis("an expiry")?),
        types::OP_EXPIRETIME => {
            let seconds = i32::from_le_bytes(input.array("an expiry")?);
            Parsed::ExpireAt(u64::try_from(seconds).unwrap_or(0) * 1000)
        }
        types::OP_IDLE => ignored(input, 1, "an idle time")?,
        types::OP_FREQ => {
            input.byte("a frequency")?;
            Parsed::Nothing
        }
        types::OP_RESIZEDB => ignored(input, 2, "the size of a database")?,
        types::OP_SLOT_INFO => ignored(input, 3, "the size of a slot")?,
        types::OP_SLOT_IMPORT if dialect == Dialect::Valkey => Parsed::Item(slot_import(input)?),
        types::OP_MODULE_AUX => {
            let (module, _) = module_name(input.number("the name of a module's type")?);
            return Err(RdbError::ModuleAux { module });
        }
        types::OP_EOF => {
            // Looked at without being taken: it is not part of the checksum.
            if has_checksum {
                input.clone().take(8, "the checksum")?;
            }
            Parsed::End
        }
        // What follows an opcode that is not known cannot be told: opcodes are given from 255 downwards, types from 0
        // upwards.
        code @ 128.. => return Err(RdbError::Opcode(code)),
        kind => Parsed::Key { kind, key: input.string("a key")? },
    })
}

/// Numbers that say how large something is.
fn ignored(input: &mut Input<'_>, count: usize, what: &'static str) -> Result<Parsed, RdbError> {
    for _ in 0..count {
        input.number(what)?;
    }
    Ok(Parsed::Nothing)
}

/// Valkey 9's atomic slot migration: the name of the import and its ranges of slots.
fn slot_import(input: &mut Input<'_>) -> Result<Item, RdbError> {
    let what = "a slot import";
    let job = input.string(what)?;
    let count = input.length(what)?;
    if count > SLOTS {
        return Err(RdbError::Encoding(what));
    }
    let mut slots = Vec::new();
    for _ in 0..count {
        let (first, last) = (input.length(what)?, input.length(what)?);
        if first > last || last >= SLOTS {
            return Err(RdbError::Encoding(what));
        }
        slots.push((first as u16, last as u16));
    }
    Ok(Item::SlotImport { job, slots })
}

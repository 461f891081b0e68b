//! What is found out about a request before it runs, while the memory that it needs is on its way to the processor: the
//! requests of a turn are prepared together, and each step waits for none of the misses of the step before.

use crate::Engine;
use crate::command::keys::only_key;
use crate::command::table::{Command, recognise};
use node_server_protocol::{Slot, key_slot};

/// What is known of a request before it runs. A default one is right for every request: nothing is known.
#[derive(Clone, Copy, Default)]
pub struct Prepared {
    pub(crate) command: Option<&'static Command>,
    pub(crate) place: Option<Place>,
}

/// Where the one key of a request is.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Which argument it is.
    pub at: usize,
    pub slot: Slot,
    pub hash: u64,
}

impl Engine {
    /// The first step: what a request needs, and its slot's cell. `args` have to be those that are executed.
    #[must_use]
    pub fn prepare(&self, args: &[&[u8]]) -> Prepared {
        let Some(command) = recognise(args) else { return Prepared::default() };
        let place = self.options.cluster.then(|| only_key(command.spec)).flatten().and_then(|at| {
            let key = *args.get(at)?;
            let (slot, hash) = (key_slot(key), self.keyspace.hash(key));
            self.keyspace.prefetch_cell(slot);
            Some(Place { at, slot, hash })
        });
        Prepared { command: Some(command), place }
    }

    /// The second step: the place in the slot's table.
    pub fn prefetch_position(&self, prepared: &Prepared) {
        if let Some(place) = &prepared.place {
            self.keyspace.prefetch_position(place.slot, place.hash);
        }
    }

    /// The third step: the key with its value.
    pub fn prefetch_entry(&self, prepared: &Prepared) {
        if let Some(place) = &prepared.place {
            self.keyspace.prefetch_entry(place.slot, place.hash);
        }
    }
}

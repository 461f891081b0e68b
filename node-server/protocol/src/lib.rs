//! Words that the node, the operator and the tests share: slots, ids, epochs, addresses, the routing table,
//! RESP and the cluster bus. Nothing here does I/O, reads a clock or is async.

pub mod address;
pub mod bus;
pub mod directive;
pub mod epoch;
pub mod key_slot;
pub mod node_id;
pub mod resp;
pub mod role;
pub mod routing;
pub mod slot;
pub mod slot_set;
pub mod time;
pub mod topology;

pub use address::{Address, Family};
pub use epoch::Epoch;
pub use key_slot::key_slot;
pub use node_id::NodeId;
pub use role::Role;
pub use slot::{SLOT_COUNT, Slot, SlotRange};
pub use slot_set::SlotSet;
pub use time::Millis;

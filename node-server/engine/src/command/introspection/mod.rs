//! COMMAND: what the table says, for clients.

mod categories;
mod docs;
mod handlers;
mod info;
mod list;
mod table;

#[cfg(test)]
mod tests;

pub use categories::categories;
pub use table::TABLE;

//! The Slotkeeper node.

fn main() {}

//! INFO.

pub mod system;
pub mod text;

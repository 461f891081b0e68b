//! Directives of redis.conf: which there are, what their values may be, and which go together. The node reads its
//! configuration by them, and the operator refuses by them what the node would refuse.

pub mod kind;
pub mod rules;
pub mod table;
pub mod values;

pub use values::Values;

use table::{INSTRUCTIONS, find};

impl Values {
    /// Applies one directive, given its words: the name, and what comes after it.
    ///
    /// # Errors
    /// Why it cannot be used, in Redis's words where it has some.
    pub fn apply_words(&mut self, words: &[String]) -> Result<(), String> {
        let (name, args) = words.split_first().map_or(("", &[][..]), |(name, args)| (name.as_str(), args));
        if INSTRUCTIONS.iter().any(|i| i.eq_ignore_ascii_case(name)) {
            return rules::instruction(name);
        }
        let Some((row, _)) = find(name) else {
            return Err("Bad directive or wrong number of arguments".into());
        };
        self.set(row, args)
    }
}

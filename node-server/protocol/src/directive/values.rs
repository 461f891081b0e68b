//! Every directive's present value, as canonical text.

use super::table::{DIRECTIVES, index};

/// One canonical text per row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    texts: Vec<String>,
    explicit: Vec<bool>,
}

impl Default for Values {
    fn default() -> Self {
        let texts = DIRECTIVES.iter().map(|d| d.default.to_string()).collect();
        Self { texts, explicit: vec![false; DIRECTIVES.len()] }
    }
}

impl Values {
    /// Sets one directive from the words after its name.
    ///
    /// # Errors
    /// Why the value is refused, in Redis's words.
    pub fn set(&mut self, row: usize, args: &[String]) -> Result<(), String> {
        let kind = &DIRECTIVES[row].kind;
        let split: Vec<String>;
        let args = match args {
            [one] if kind.is_multi() && !one.trim().is_empty() => {
                split = one.split_whitespace().map(String::from).collect();
                &split
            }
            _ => args,
        };
        // Lines of `save` add up, and the first one takes the place of the default (Redis: setConfigSaveOption).
        let nothing_said = DIRECTIVES[row].name == "save" && !self.explicit[row];
        let present = if nothing_said { "" } else { self.texts[row].as_str() };
        self.texts[row] = kind.canonical(args, present)?;
        self.explicit[row] = true;
        Ok(())
    }

    /// Sets one directive as CONFIG SET does: nothing of the old value remains, except classes that are not named.
    ///
    /// # Errors
    /// Why the value is refused, in Redis's words.
    pub fn replace(&mut self, row: usize, value: &str) -> Result<(), String> {
        if DIRECTIVES[row].name == "save" {
            self.texts[row].clear();
        }
        self.set(row, &[value.to_string()])
    }

    /// The canonical text of a row.
    #[must_use]
    pub fn text(&self, row: usize) -> &str {
        &self.texts[row]
    }

    /// Whether somebody said something about a row.
    #[must_use]
    pub fn is_explicit(&self, row: usize) -> bool {
        self.explicit[row]
    }

    /// The canonical text of a directive that exists.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.text(index(name))
    }

    /// Whether a `yes`/`no` directive says yes.
    #[must_use]
    pub fn is_yes(&self, name: &str) -> bool {
        self.get(name) == "yes"
    }

    /// A number. Its row's kind made sure that it is one.
    #[must_use]
    pub fn number(&self, name: &str) -> i64 {
        self.get(name).parse().expect("the directive's kind lets only numbers in")
    }

    /// A number that cannot be negative.
    #[must_use]
    pub fn unsigned(&self, name: &str) -> u64 {
        self.number(name).unsigned_abs()
    }

    /// A port.
    #[must_use]
    pub fn port(&self, name: &str) -> u16 {
        u16::try_from(self.number(name)).expect("the directive's kind lets only ports in")
    }
}

//! Short names for what COMMAND DOCS says about arguments, so that a row of the table stays readable.

use super::spec::Argument;

/// A key of the first key spec, named `key`.
pub const KEY: Argument = key("key", 0);
/// One or more keys of the first key spec.
pub const KEYS: Argument = KEY.multiple();

/// A key of key spec number `spec`.
#[must_use]
pub const fn key(name: &'static str, spec: usize) -> Argument {
    Argument { key_spec: Some(spec), ..typed(name, "key") }
}

/// Any bytes.
#[must_use]
pub const fn text(name: &'static str) -> Argument {
    typed(name, "string")
}

/// A whole number.
#[must_use]
pub const fn integer(name: &'static str) -> Argument {
    typed(name, "integer")
}

/// A moment of Unix time.
#[must_use]
pub const fn moment(name: &'static str) -> Argument {
    typed(name, "unix-time")
}

/// A glob pattern.
#[must_use]
pub const fn pattern(name: &'static str) -> Argument {
    typed(name, "pattern")
}

/// A word that stands for itself.
#[must_use]
pub const fn word(name: &'static str, token: &'static str) -> Argument {
    typed(name, "pure-token").after(token)
}

/// One of `parts`.
#[must_use]
pub const fn one_of(name: &'static str, parts: &'static [Argument]) -> Argument {
    Argument { parts, ..typed(name, "oneof") }
}

/// All of `parts`, in order.
#[must_use]
pub const fn block(name: &'static str, parts: &'static [Argument]) -> Argument {
    Argument { parts, ..typed(name, "block") }
}

/// An argument of any of COMMAND DOCS' kinds.
#[must_use]
pub const fn typed(name: &'static str, kind: &'static str) -> Argument {
    Argument { name, kind, ..Argument::BASE }
}

impl Argument {
    /// It may be left out.
    #[must_use]
    pub const fn optional(self) -> Self {
        Self { flags: &["optional"], ..self }
    }

    /// It may be repeated.
    #[must_use]
    pub const fn multiple(self) -> Self {
        Self { flags: &["multiple"], ..self }
    }

    /// It may be repeated or left out.
    #[must_use]
    pub const fn any_number(self) -> Self {
        Self { flags: &["optional", "multiple"], ..self }
    }

    /// It follows this word.
    #[must_use]
    pub const fn after(self, token: &'static str) -> Self {
        Self { token, ..self }
    }
}

//! INFO's text: `# Heading`, then `name:value` lines.

use std::fmt::{Display, Write as _};

/// Collects sections.
#[derive(Debug, Default)]
pub struct InfoText {
    text: String,
}

impl InfoText {
    /// Begins a section.
    pub fn heading(&mut self, name: &str) {
        if !self.text.is_empty() {
            self.text.push_str("\r\n");
        }
        // Writing to a String cannot fail; the same below.
        let _ = write!(self.text, "# {name}\r\n");
    }

    /// One line.
    pub fn field(&mut self, name: &str, value: impl Display) {
        let _ = write!(self.text, "{name}:{value}\r\n");
    }

    /// A number of bytes: as it is, and once more for people under `name_human`.
    pub fn bytes(&mut self, name: &str, bytes: u64) {
        self.field(name, bytes);
        self.field(&format!("{name}_human"), human(bytes));
    }

    /// The whole text.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }
}

/// `1.30M` as Redis writes sizes.
#[must_use]
pub fn human(bytes: u64) -> String {
    const UNITS: [(&str, u64); 5] =
        [("P", 1 << 50), ("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];
    match UNITS.iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => format!("{:.2}{unit}", bytes as f64 / *size as f64),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_separated_by_an_empty_line() {
        let mut text = InfoText::default();
        text.heading("Server");
        text.field("a", 1);
        text.heading("Memory");
        text.bytes("used", 1_360_768);
        assert_eq!(text.finish(), "# Server\r\na:1\r\n\r\n# Memory\r\nused:1360768\r\nused_human:1.30M\r\n");
        assert_eq!((human(200), human(65_536)), ("200B".into(), "64.00K".into()));
    }
}

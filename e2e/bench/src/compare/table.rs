//! What a section found, as Markdown.

use super::contender::Contender;
use super::statistics::{Spread, ratio};
use e2e::Binary;
use std::fmt::Write;

/// One line: a value of every round for every server.
#[derive(Debug)]
struct Row {
    what: String,
    /// Digits behind the point.
    digits: usize,
    values: Vec<Vec<f64>>,
}

/// A section's table; columns are the servers.
#[derive(Debug)]
pub(crate) struct Table {
    title: &'static str,
    how: String,
    columns: Vec<Binary>,
    rows: Vec<Row>,
}

impl Table {
    /// A table without rows yet; `how` says in a sentence or two what was done.
    pub(crate) fn new(title: &'static str, how: String, contenders: &[Contender]) -> Self {
        Self { title, how, columns: contenders.iter().map(|c| c.binary).collect(), rows: Vec::new() }
    }

    /// One round's value of one server. Rows stand in the order in which they first come.
    pub(crate) fn add(&mut self, what: &str, digits: usize, of: &Contender, value: f64) {
        let Some(column) = self.columns.iter().position(|binary| *binary == of.binary) else { return };
        let row = self.rows.iter().position(|row| row.what == what).unwrap_or_else(|| {
            let values = vec![Vec::new(); self.columns.len()];
            self.rows.push(Row { what: what.to_owned(), digits, values });
            self.rows.len() - 1
        });
        self.rows[row].values[column].push(value);
    }

    /// Every row with medians, spreads, and the median of the rounds' ratios of ours to each of the others.
    pub(crate) fn markdown(&self) -> String {
        let mut out = format!("### {}\n\n{}\n\n|", self.title, self.how);
        let others = || self.columns.iter().enumerate().filter(|(_, binary)| **binary != Binary::NodeServer);
        let ours = self.columns.iter().position(|binary| *binary == Binary::NodeServer);
        // Writing into a string cannot fail.
        for binary in &self.columns {
            let _ = write!(out, " | {}", Contender::name_of(*binary));
        }
        for (_, other) in others().filter(|_| ours.is_some()) {
            let _ = write!(out, " | ours / {}", Contender::short_name_of(*other));
        }
        let ratios = if ours.is_some() { others().count() } else { 0 };
        let _ = writeln!(out, " |\n|{}", "---|".repeat(1 + self.columns.len() + ratios));
        for row in &self.rows {
            let _ = write!(out, "| {}", row.what);
            for values in &row.values {
                let _ = write!(out, " | {}", cell(values, row.digits));
            }
            for (column, _) in others() {
                let Some(ours) = ours else { break };
                let found = ratio(&row.values[ours], &row.values[column]);
                let _ = write!(out, " | {}", found.map_or("–".into(), |r| format!("{r:.2}")));
            }
            let _ = writeln!(out, " |");
        }
        out
    }
}

/// Median (least–most).
fn cell(values: &[f64], digits: usize) -> String {
    match Spread::of(values) {
        None => "–".into(),
        Some(Spread { median, .. }) if values.len() == 1 => number(median, digits),
        Some(Spread { median, least, most }) => {
            let [median, least, most] = [median, least, most].map(|value| number(value, digits));
            format!("{median} ({least}–{most})")
        }
    }
}

/// With commas between thousands.
fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::new();
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) && !out.ends_with('-') {
            out.push(',');
        }
        out.push(c);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contender(binary: Binary) -> Contender {
        Contender { binary, version: String::new() }
    }

    #[test]
    fn numbers() {
        assert_eq!(number(1_234_567.4, 0), "1,234,567");
        assert_eq!(number(123.456, 2), "123.46");
        assert_eq!(number(-1234.0, 1), "-1,234.0");
        assert_eq!(number(-123.0, 0), "-123");
    }

    #[test]
    fn a_table_has_medians_spreads_and_ratios() {
        let contenders = [Binary::NodeServer, Binary::Redis, Binary::Valkey].map(contender);
        let mut table = Table::new("title", "How.".into(), &contenders);
        for round in [1.0, 2.0, 3.0] {
            table.add("first", 1, &contenders[0], round);
            table.add("first", 1, &contenders[1], 2.0 * round);
        }
        table.add("second", 0, &contenders[2], 7.0);
        let expected = "### title\n\nHow.\n\n\
            | | node-server | redis-server | valkey-server | ours / Redis | ours / Valkey |\n\
            |---|---|---|---|---|---|\n\
            | first | 2.0 (1.0–3.0) | 4.0 (2.0–6.0) | – | 0.50 | – |\n\
            | second | – | – | 7 | – | – |\n";
        assert_eq!(table.markdown(), expected);
    }

    #[test]
    fn a_table_of_ours_alone_has_no_ratios() {
        let contenders = [contender(Binary::NodeServer)];
        let mut table = Table::new("title", "How.".into(), &contenders);
        table.add("x", 0, &contenders[0], 1.0);
        assert!(table.markdown().ends_with("\n| | node-server |\n|---|---|\n| x | 1 |\n"));
    }
}

//! Median and spread.

use std::io::Write;

/// Prints a line.
#[allow(clippy::print_stdout, reason = "the measurement is the output")]
pub(crate) fn say(line: &str) {
    println!("{line}");
    // A closed pipe ends the program at the next line; nothing is lost by then.
    let _ = std::io::stdout().flush();
}

/// Prints median, least and most of some values.
#[cfg(feature = "operator")]
pub(crate) fn summarize(what: &str, unit: &str, values: &[f64]) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else { return };
    let median = sorted[sorted.len() / 2];
    say(&format!("{what}: median {median:.2} {unit} ({least:.2} to {most:.2}, {} rounds)", sorted.len()));
}

//! What make-golden.py took from the real servers.

const CORPUS: &str = include_str!("../golden/corpus.txt");

/// A key that a server made.
pub(crate) struct Case {
    /// Server and name.
    pub(crate) name: &'static str,
    /// Its DUMP payload.
    pub(crate) payload: Vec<u8>,
    /// What it holds, as text.
    pub(crate) held: &'static str,
}

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    let paragraphs = CORPUS.split("\n\n").filter(|paragraph| paragraph.contains("case "));
    let cases = paragraphs.map(|paragraph| {
        let line = |word: &str| {
            let found = paragraph.lines().find_map(|line| line.strip_prefix(word));
            found.unwrap_or_else(|| panic!("{word} is missing in {paragraph}"))
        };
        Case { name: line("case "), payload: unhex(line("dump ")), held: line("held ") }
    });
    cases.collect()
}

/// Bytes of hexadecimal.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("the corpus is hexadecimal");
    (0..text.len()).step_by(2).map(byte).collect()
}

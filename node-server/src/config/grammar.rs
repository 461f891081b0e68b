//! The grammar of redis.conf and of the command line: where each directive stands and what its words are.

use node_server_protocol::resp::request::split_quoted;
use std::path::{Path, PathBuf};

/// Deepest nesting of `include`.
pub const INCLUDE_DEPTH_MAX: usize = 16;

/// Where a line of configuration stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a file.
    File(PathBuf),
    /// Came through standard input.
    StandardInput,
    /// A `--directive`.
    CommandLine,
}

/// One directive as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where.
    pub origin: Origin,
    /// Line of the file, or the how manieth option of the command line; from 1.
    pub number: usize,
    /// The text without surrounding space.
    pub text: String,
    /// Its words with quotes undone; the first is the directive's name.
    pub words: Vec<String>,
}

impl Line {
    /// The text, without what is not for logs. Its words need not be there, where quotes are not closed.
    fn shown(&self) -> String {
        let name = self.text.split_whitespace().next().unwrap_or_default();
        match super::table::find(name) {
            Some((_, directive)) if directive.is_secret() => format!("{name} \"***\""),
            _ => self.text.clone(),
        }
    }
}

/// Why the configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A file that cannot be read. The text is Redis's.
    #[error("Fatal error, can't open config file '{file}': {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the system says.
        reason: String,
    },
    /// A line that cannot be used.
    #[error("{}", at_line(.line, .reason))]
    Line {
        /// The line.
        line: Box<Line>,
        /// What is wrong with it.
        reason: String,
    },
    /// Directives that contradict each other or what this server can do.
    #[error("{0}")]
    Rule(String),
}

fn at_line(line: &Line, reason: &str) -> String {
    let place = match &line.origin {
        Origin::File(file) => format!("In the file '{}'\n", file.display()),
        Origin::StandardInput => "In standard input\n".into(),
        Origin::CommandLine => "In the command line, counting options as lines\n".into(),
    };
    let (number, text) = (line.number, line.shown());
    format!("{place}Reading the configuration file, at line {number}\n>>> '{text}'\n{reason}")
}

/// What the command line asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// Whether `-` says to read standard input as well.
    pub standard_input: bool,
    /// The options in order.
    pub options: Vec<Line>,
}

impl CommandLine {
    /// Reads the arguments after the program's name, as redis-server does: a file first, `-` for standard input,
    /// `--directive value…` for the rest.
    ///
    /// # Errors
    /// A value that belongs to no directive.
    pub fn parse(args: &[String]) -> Result<Self, ConfigError> {
        let mut command_line = Self::default();
        let mut rest = args;
        if let [first, tail @ ..] = rest
            && !first.starts_with('-')
        {
            command_line.file = Some(PathBuf::from(first));
            rest = tail;
        }
        for arg in rest {
            match arg.strip_prefix("--") {
                _ if arg == "-" => command_line.standard_input = true,
                Some(name) if !name.is_empty() => command_line.begin_option(name),
                _ => command_line.add_value(arg)?,
            }
        }
        command_line.finish_option();
        Ok(command_line)
    }

    fn begin_option(&mut self, name: &str) {
        self.finish_option();
        let number = self.options.len() + 1;
        let origin = Origin::CommandLine;
        self.options.push(Line { origin, number, text: name.into(), words: vec![name.into()] });
    }

    /// `--save` without a value means `--save ''`, as in Redis 7.
    fn finish_option(&mut self) {
        if let Some(last) = self.options.last_mut()
            && last.words.len() == 1
            && last.words[0].eq_ignore_ascii_case("save")
        {
            last.words.push(String::new());
            last.text.push_str(" \"\"");
        }
    }

    fn add_value(&mut self, value: &str) -> Result<(), ConfigError> {
        let Some(option) = self.options.last_mut() else {
            let origin = Origin::CommandLine;
            let line = Line { origin, number: 1, text: value.into(), words: vec![value.into()] };
            let reason = "Bad directive or wrong number of arguments".into();
            return Err(ConfigError::Line { line: Box::new(line), reason });
        };
        option.words.push(value.into());
        option.text.push_str(&format!(" \"{value}\""));
        Ok(())
    }
}

/// Every directive of a file, included files in place.
///
/// # Errors
/// Files that cannot be read, quotes that do not close, includes deeper than [`INCLUDE_DEPTH_MAX`].
pub fn read_file(path: &Path, into: &mut Vec<Line>) -> Result<(), ConfigError> {
    read_nested(path, 0, into)
}

fn read_nested(path: &Path, depth: usize, into: &mut Vec<Line>) -> Result<(), ConfigError> {
    let unreadable = |reason: String| ConfigError::Unreadable { file: path.display().to_string(), reason };
    let bytes = std::fs::read(path).map_err(|error| unreadable(reason_of(&error)))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8 text".into()))?;
    read_text(&text, &Origin::File(path.to_path_buf()), depth, into)
}

/// Every directive of a text.
///
/// # Errors
/// As [`read_file`].
pub fn read_text(text: &str, origin: &Origin, depth: usize, into: &mut Vec<Line>) -> Result<(), ConfigError> {
    for (index, raw) in text.lines().enumerate() {
        let text = raw.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let mut line =
            Line { origin: origin.clone(), number: index + 1, text: text.into(), words: Vec::new() };
        let words = split_quoted(text.as_bytes());
        let words: Option<Vec<String>> =
            words.and_then(|w| w.into_iter().map(|w| String::from_utf8(w).ok()).collect());
        let Some(words) = words else {
            let reason = "Unbalanced quotes in configuration line".into();
            return Err(ConfigError::Line { line: Box::new(line), reason });
        };
        line.words = words;
        match line.words.as_slice() {
            [name, file] if name.eq_ignore_ascii_case("include") => {
                if depth >= INCLUDE_DEPTH_MAX {
                    let reason = format!(
                        "include goes deeper than {INCLUDE_DEPTH_MAX} files; does a file include itself?"
                    );
                    return Err(ConfigError::Line { line: Box::new(line), reason });
                }
                read_nested(&PathBuf::from(file), depth + 1, into)?;
            }
            _ => into.push(line),
        }
    }
    Ok(())
}

/// The system's words without Rust's `(os error 2)`.
fn reason_of(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_string()
}

//! What a directive's value may be, and its one canonical text: what CONFIG GET says and what is kept.

use crate::topology::{NAME_MAX, is_storable_name};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The kind of a directive's value. Error texts are Redis's.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `yes` or `no`.
    Bool,
    /// A whole number within bounds.
    Number(i64, i64),
    /// A number of bytes with an optional unit (`1k` = 1000, `1kb` = 1024, up to `gb`), within bounds.
    Memory(i64, i64),
    /// A number of bytes, or a percentage of `maxmemory`.
    MemoryOrPercent,
    /// File mode in octal.
    Octal,
    /// One of these words, whatever the case.
    Choice(&'static [&'static str]),
    /// Anything, one argument.
    Text,
    /// A host name: letters, digits, `-` and `.`.
    Hostname,
    /// A name that is told to other nodes and kept in their nodes.conf; what it is called when it is refused.
    Name(&'static str),
    /// An IPv4 address, or nothing.
    Ipv4,
    /// An IPv6 address, or nothing.
    Ipv6,
    /// A directory; whether it exists, who has the disk must say.
    Directory,
    /// Any number of words up to this one, kept in order.
    Words(usize),
    /// Exactly this many whole numbers.
    Numbers(usize),
    /// `seconds changes` pairs, or `""`; several lines add up.
    Save,
    /// `class hard soft seconds`, any number of times; each line changes its classes only.
    OutputLimits,
    /// Letters of keyspace events.
    Events,
}

/// Why a value is refused.
pub type Refusal = String;

const KEYSPACE_EVENT_LETTERS: &str = "Ag$lshzxeKEtmdn";
/// The classes of `client-output-buffer-limit`, as CONFIG GET names them.
pub const OUTPUT_CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];
const WRONG_COUNT: &str = "wrong number of arguments";

impl Kind {
    /// Whether several words make one value, so that CONFIG SET splits its one argument.
    #[must_use]
    pub const fn is_multi(&self) -> bool {
        matches!(self, Self::Words(_) | Self::Numbers(_) | Self::Save | Self::OutputLimits)
    }

    /// The canonical text of `args`, given the present one (which some kinds add to).
    ///
    /// # Errors
    /// Redis's words for what is wrong.
    pub fn canonical(&self, args: &[String], present: &str) -> Result<String, Refusal> {
        match self {
            Self::Words(max) if (1..=*max).contains(&args.len()) => Ok(args.join(" ").trim().to_string()),
            Self::Numbers(count) => numbers(args, *count),
            Self::Save => save(args, present),
            Self::OutputLimits => output_limits(args, present),
            Self::Words(_) => Err(WRONG_COUNT.into()),
            _ => match args {
                [one] => self.canonical_one(one),
                _ => Err(WRONG_COUNT.into()),
            },
        }
    }

    fn canonical_one(&self, text: &str) -> Result<String, Refusal> {
        match self {
            Self::Bool if text.eq_ignore_ascii_case("yes") => Ok("yes".into()),
            Self::Bool if text.eq_ignore_ascii_case("no") => Ok("no".into()),
            Self::Bool => Err("argument must be 'yes' or 'no'".into()),
            Self::Number(min, max) => {
                let number = text.parse().map_err(|_| "argument couldn't be parsed into an integer")?;
                within(number, *min, *max)
            }
            Self::Memory(min, max) => within(memory(text)?, *min, *max),
            Self::MemoryOrPercent => match text.strip_suffix('%').map(str::parse::<u8>) {
                Some(Ok(0..=100)) => Ok(text.into()),
                Some(_) => Err("argument must be a memory or percent value".into()),
                None => memory(text).map(|n| n.to_string()),
            },
            Self::Octal => match i64::from_str_radix(text, 8) {
                Ok(mode @ 0..=0o777) => Ok(format!("{mode:o}")),
                _ => Err("argument couldn't be parsed as an octal number".into()),
            },
            Self::Choice(words) => match words.iter().find(|w| w.eq_ignore_ascii_case(text)) {
                Some(word) => Ok((*word).into()),
                None => Err(format!("argument(s) must be one of the following: {}", words.join(", "))),
            },
            Self::Hostname => hostname(text),
            Self::Name(what) if text.len() > NAME_MAX => {
                Err(format!("{what} must be less than {} characters", NAME_MAX + 1))
            }
            Self::Name(what) if !is_storable_name(text) => Err(format!("{what} contained invalid character")),
            Self::Ipv4 if !text.is_empty() && text.parse::<Ipv4Addr>().is_err() => {
                Err("Invalid IPv4 address".into())
            }
            Self::Ipv6 if !text.is_empty() && text.parse::<Ipv6Addr>().is_err() => {
                Err("Invalid IPv6 address".into())
            }
            Self::Events => events(text),
            _ => Ok(text.into()),
        }
    }

    /// The canonical value as the lines that CONFIG REWRITE writes after the directive's name.
    #[must_use]
    pub fn lines(&self, value: &str) -> Vec<String> {
        let groups = |size: usize| -> Vec<String> {
            let words: Vec<&str> = value.split_whitespace().collect();
            words.chunks(size).map(|c| c.join(" ")).collect()
        };
        match self {
            Self::Save if value.is_empty() => vec!["\"\"".into()],
            Self::Save => groups(2),
            Self::OutputLimits => groups(4),
            Self::Words(_) | Self::Numbers(_) if !value.is_empty() => vec![value.into()],
            _ => vec![quoted(value)],
        }
    }
}

/// The word as it has to be written in redis.conf: in quotes where it would not be read back without.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\' | '#') || !c.is_ascii();
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    let mut out = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn within(number: i64, min: i64, max: i64) -> Result<String, Refusal> {
    if (min..=max).contains(&number) {
        Ok(number.to_string())
    } else {
        Err(format!("argument must be between {min} and {max} inclusive"))
    }
}

/// Bytes of a text such as `64mb`.
fn memory(text: &str) -> Result<i64, Refusal> {
    let refuse = || Refusal::from("argument must be a memory value");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: i64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return Err(refuse()),
    };
    // As in Redis, no digits are zero.
    let number = if number.is_empty() { "0" } else { number };
    number.parse::<i64>().ok().and_then(|n| n.checked_mul(unit)).ok_or_else(refuse)
}

fn numbers(args: &[String], count: usize) -> Result<String, Refusal> {
    if args.len() != count {
        return Err(WRONG_COUNT.into());
    }
    if args.iter().any(|a| a.parse::<i64>().is_err()) {
        return Err("Invalid arguments, all must be integers".into());
    }
    Ok(args.join(" "))
}

fn save(args: &[String], present: &str) -> Result<String, Refusal> {
    // Redis takes «save» without a value as well, in files too.
    if args.iter().all(String::is_empty) && args.len() <= 1 {
        return Ok(String::new());
    }
    let good = |pair: &[String]| {
        let seconds = pair[0].parse::<i64>().is_ok_and(|n| n >= 1);
        seconds && pair[1].parse::<i64>().is_ok_and(|n| n >= 0)
    };
    if !args.len().is_multiple_of(2) || !args.chunks(2).all(good) {
        return Err("Invalid save parameters".into());
    }
    let added = args.join(" ");
    Ok(if present.is_empty() { added } else { format!("{present} {added}") })
}

fn output_limits(args: &[String], present: &str) -> Result<String, Refusal> {
    if args.is_empty() || !args.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    let mut limits: Vec<String> = present.split_whitespace().map(String::from).collect();
    for group in args.chunks(4) {
        let class = match group[0].to_ascii_lowercase().as_str() {
            "replica" => "slave".to_string(),
            other => other.to_string(),
        };
        let Some(index) = OUTPUT_CLASSES.iter().position(|c| *c == class) else {
            return Err("Invalid client class specified in buffer limit configuration.".into());
        };
        let refuse =
            |_| Refusal::from("Error in hard, soft or soft_seconds setting in buffer limit configuration.");
        let hard = memory(&group[1]).map_err(refuse)?;
        let soft = memory(&group[2]).map_err(refuse)?;
        let seconds: u32 = group[3].parse().map_err(|_| refuse(String::new()))?;
        let texts = [hard.to_string(), soft.to_string(), seconds.to_string()];
        limits.splice(index * 4 + 1..index * 4 + 4, texts);
    }
    Ok(limits.join(" "))
}

fn hostname(text: &str) -> Result<String, Refusal> {
    if text.len() >= 256 {
        return Err("Hostnames must be less than 256 characters".into());
    }
    if text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')) {
        return Ok(text.into());
    }
    Err("Hostnames may only contain alphanumeric characters, hyphens or dots".into())
}

fn events(text: &str) -> Result<String, Refusal> {
    if text.chars().all(|c| KEYSPACE_EVENT_LETTERS.contains(c)) {
        return Ok(text.into());
    }
    Err(format!("Invalid event class character. Use '{KEYSPACE_EVENT_LETTERS}'."))
}

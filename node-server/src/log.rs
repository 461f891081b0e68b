//! Log lines as Redis writes them: `pid:role date level message`. Tools and test suites read them.
//!
//! tracing's levels stand for Redis's: ERROR and WARN are `#` (warning), INFO is `*` (notice), DEBUG is `-`
//! (verbose), TRACE is `.` (debug). Times are UTC.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

/// Longest line; the rest is cut.
const LINE_MAX: usize = 4096;

static THRESHOLD: AtomicU8 = AtomicU8::new(2);
static ROLE: AtomicU8 = AtomicU8::new(b'M');
static SINK: OnceLock<Arc<Sink>> = OnceLock::new();

/// Where lines go.
#[derive(Debug)]
enum Sink {
    StandardOutput,
    /// Opened anew for every line, as Redis does, so that it can be moved away and rotated.
    File(PathBuf),
}

/// Starts logging to `file`, or to standard output when it is `None`.
///
/// # Errors
/// The file cannot be opened.
pub fn start(file: Option<PathBuf>, level: &str) -> std::io::Result<()> {
    set_level(level);
    let sink = match file {
        None => Sink::StandardOutput,
        Some(path) => {
            OpenOptions::new().append(true).create(true).open(&path)?;
            Sink::File(path)
        }
    };
    SINK.get_or_init(|| Arc::new(sink));
    let subscriber = tracing_subscriber::registry().with(RedisLines);
    // Fails only when a subscriber was set before, as tests do that start twice in one process.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

/// Sets the threshold: `debug`, `verbose`, `notice` or `warning`.
pub fn set_level(level: &str) {
    let threshold = match level {
        "debug" => 0,
        "verbose" => 1,
        "warning" => 3,
        _ => 2,
    };
    THRESHOLD.store(threshold, Ordering::Relaxed);
}

/// Says whether this process is a master (`M`) or a replica (`S`) in the lines that follow.
pub fn set_replica(replica: bool) {
    ROLE.store(if replica { b'S' } else { b'M' }, Ordering::Relaxed);
}

struct RedisLines;

const fn rank(level: &Level) -> (u8, char) {
    match *level {
        Level::ERROR | Level::WARN => (3, '#'),
        Level::INFO => (2, '*'),
        Level::DEBUG => (1, '-'),
        Level::TRACE => (0, '.'),
    }
}

/// Our own crates only: libraries log for their own developers.
fn is_ours(target: &str) -> bool {
    target.starts_with("node_server")
}

impl<S: Subscriber> Layer<S> for RedisLines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        rank(metadata.level()).0 >= THRESHOLD.load(Ordering::Relaxed) && is_ours(metadata.target())
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        // Asked each time, since CONFIG SET loglevel changes the answer.
        if is_ours(metadata.target()) {
            tracing::subscriber::Interest::sometimes()
        } else {
            tracing::subscriber::Interest::never()
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let line = format_line(crate::node::now().0, rank(event.metadata().level()).1, &text);
        write_line(&line);
    }
}

/// A message and the fields after it.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value}"),
            name => write!(self.fields, " {name}={value}"),
        };
    }
}

fn format_line(now_ms: u64, mark: char, text: &Text) -> String {
    let role = char::from(ROLE.load(Ordering::Relaxed));
    let mut line =
        format!("{}:{role} {} {mark} {}{}", std::process::id(), date(now_ms), text.message, text.fields);
    if line.len() > LINE_MAX {
        let cut = (0..=LINE_MAX).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        line.truncate(cut);
    }
    line.push('\n');
    line
}

fn write_line(line: &str) {
    // A log that cannot be written must not stop the server, and there is nowhere to say so.
    let _ = match SINK.get().map(|s| &**s) {
        Some(Sink::File(path)) => OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .and_then(|mut file| file.write_all(line.as_bytes())),
        _ => std::io::stdout().lock().write_all(line.as_bytes()),
    };
}

/// `24 Nov 2026 03:34:06.226`, UTC, from milliseconds since 1970. Days to dates as in Howard Hinnant's
/// `civil_from_days` (howardhinnant.github.io/date_algorithms.html).
fn date(now_ms: u64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (seconds, millis) = (now_ms / 1000, now_ms % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12;
    let year = year_of_era + era * 400 + u64::from(month < 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let name = MONTHS[month as usize];
    format!("{day:02} {name} {year} {hour:02}:{minute:02}:{second:02}.{millis:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_civil() {
        assert_eq!(date(0), "01 Jan 1970 00:00:00.000");
        assert_eq!(date(951_782_399_999), "28 Feb 2000 23:59:59.999");
        assert_eq!(date(951_782_400_000), "29 Feb 2000 00:00:00.000");
        assert_eq!(date(1_795_491_246_226), "24 Nov 2026 03:34:06.226");
        assert_eq!(date(4_102_444_800_000), "01 Jan 2100 00:00:00.000");
    }

    #[test]
    fn lines_look_like_redis_lines_and_are_bounded() {
        let text = Text { message: "Server initialized".into(), fields: String::new() };
        let line = format_line(1_795_491_246_226, '*', &text);
        let expected = format!("{}:M 24 Nov 2026 03:34:06.226 * Server initialized\n", std::process::id());
        assert_eq!(line, expected);
        let text = Text { message: "ü".repeat(5000), fields: String::new() };
        assert!(format_line(0, '#', &text).len() <= LINE_MAX + 1);
    }
}

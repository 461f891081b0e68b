//! What is said about what is done: one line per change that a person would want to know of.

use operator_planner::{MemberId, MoveKind, Names, Step};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// For so long the same line is not said again.
const REPEAT: Duration = Duration::from_secs(10);
/// How often the progress of a reshard is said.
const PROGRESS: Duration = Duration::from_secs(2);
/// Most lines remembered as said.
const SAID_MAX: usize = 256;

/// Remembers what was said, and how far a reshard is.
#[derive(Default)]
pub struct Story {
    said: BTreeMap<String, Instant>,
    reshard: Option<Reshard>,
}

struct Reshard {
    begun: Instant,
    told: Instant,
    pairs: BTreeSet<(MemberId, MemberId)>,
    slots: usize,
    keys: u64,
}

impl Story {
    /// The line for a step that begins, if it is worth one.
    pub fn begins(&mut self, step: &Step, names: &Names<'_>, now: Instant) -> Option<String> {
        let line = match step {
            Step::SetConfigEpoch { .. } | Step::CloseSlots { .. } | Step::EnsureMember { .. } => return None,
            Step::Meet { .. } => "introduce the nodes to each other".to_owned(),
            Step::MigrateSlots { source, target, kind, .. } => {
                let reshard = self.reshard.get_or_insert_with(|| Reshard::new(now));
                if !reshard.pairs.insert((source.member, target.member)) || *kind != MoveKind::Handover {
                    return None;
                }
                return Some(names.step(step));
            }
            _ => names.step(step),
        };
        self.once(line, now)
    }

    /// Slots have moved, with so many keys.
    pub fn moved(&mut self, slots: usize, keys: u64) {
        if let Some(reshard) = &mut self.reshard {
            reshard.slots += slots;
            reshard.keys += keys;
        }
    }

    /// How far a reshard is, now and then, and what it came to when nothing moves any more.
    pub fn progress(&mut self, moving: bool, now: Instant) -> Option<String> {
        let reshard = self.reshard.as_mut()?;
        if !moving {
            let words = (reshard.slots > 0).then(|| format!("moved {}", reshard.words(now)));
            self.reshard = None;
            return words;
        }
        if now.duration_since(reshard.told) < PROGRESS {
            return None;
        }
        reshard.told = now;
        Some(format!("moving: {}", reshard.words(now)))
    }

    /// The line, unless it was said just now.
    pub fn once(&mut self, line: String, now: Instant) -> Option<String> {
        self.said.retain(|_, when| now.duration_since(*when) < REPEAT);
        if self.said.contains_key(&line) || self.said.len() >= SAID_MAX {
            return None;
        }
        self.said.insert(line.clone(), now);
        Some(line)
    }
}

impl Reshard {
    fn new(now: Instant) -> Self {
        Self { begun: now, told: now, pairs: BTreeSet::new(), slots: 0, keys: 0 }
    }

    fn words(&self, now: Instant) -> String {
        let seconds = now.duration_since(self.begun).as_secs_f64().max(0.001);
        let (slots, keys) = (self.slots as f64 / seconds, self.keys as f64 / seconds);
        format!(
            "{} slots with {} keys in {seconds:.2} s ({slots:.0} slots/s, {keys:.0} keys/s)",
            self.slots, self.keys
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_not_repeated_at_once() {
        let (mut story, now) = (Story::default(), Instant::now());
        assert!(story.once("a".into(), now).is_some());
        assert!(story.once("a".into(), now + REPEAT / 2).is_none());
        assert!(story.once("a".into(), now + REPEAT * 2).is_some());
    }

    #[test]
    fn a_reshard_is_summed_up_once() {
        let (mut story, now) = (Story::default(), Instant::now());
        assert_eq!(story.progress(false, now), None);
        story.reshard = Some(Reshard::new(now));
        story.moved(128, 1000);
        assert_eq!(story.progress(true, now), None);
        let end = now + Duration::from_secs(1);
        let words = "moved 128 slots with 1000 keys in 1.00 s (128 slots/s, 1000 keys/s)";
        assert_eq!(story.progress(false, end).as_deref(), Some(words));
        assert_eq!(story.progress(false, end), None);
    }
}

//! What was done in a run, so that an idle simulation shows.

use std::fmt;
use std::ops::AddAssign;

/// Counts of one run or of many.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Runs.
    pub seeds: u64,
    /// Events handled.
    pub events: u64,
    /// Frames delivered on the bus.
    pub frames: u64,
    /// Faults that struck.
    pub faults: u64,
    /// Elections begun (a candidate asked for votes in a new epoch).
    pub elections: u64,
    /// Replicas that became masters.
    pub promotions: u64,
    /// Partitions and one-way cuts.
    pub partitions: u64,
    /// Processes that stood still.
    pub pauses: u64,
    /// Processes that were killed and restarted.
    pub restarts: u64,
    /// Of those, ends of a machine's power, with what was not synced.
    pub power_losses: u64,
    /// Edits of the declaration.
    pub edits: u64,
    /// Slots that changed hands by the operator's moves.
    pub slots_moved: u64,
    /// Keys that crossed.
    pub keys_moved: u64,
    /// Full syncs.
    pub full_syncs: u64,
    /// Writes acknowledged.
    pub writes: u64,
    /// Reads answered.
    pub reads: u64,
    /// Acknowledged writes that were lost as asynchronous replication may lose them.
    pub lost: u64,
    /// Longest time from the end of the faults to agreement, in milliseconds.
    pub longest_heal_ms: u64,
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.events += other.events;
        self.frames += other.frames;
        self.faults += other.faults;
        self.elections += other.elections;
        self.promotions += other.promotions;
        self.partitions += other.partitions;
        self.pauses += other.pauses;
        self.restarts += other.restarts;
        self.power_losses += other.power_losses;
        self.edits += other.edits;
        self.slots_moved += other.slots_moved;
        self.keys_moved += other.keys_moved;
        self.full_syncs += other.full_syncs;
        self.writes += other.writes;
        self.reads += other.reads;
        self.lost += other.lost;
        self.longest_heal_ms = self.longest_heal_ms.max(other.longest_heal_ms);
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} seeds: {} faults, {} elections, {} promotions, {} partitions, {} pauses, {} restarts ({} by loss of power), {} edits, {} slots \
             and {} keys moved, {} full syncs, {} writes acknowledged, {} reads, {} lost as asynchronous replication may, {} frames, \
             longest healing {:.1} s",
            self.seeds,
            self.faults,
            self.elections,
            self.promotions,
            self.partitions,
            self.pauses,
            self.restarts,
            self.power_losses,
            self.edits,
            self.slots_moved,
            self.keys_moved,
            self.full_syncs,
            self.writes,
            self.reads,
            self.lost,
            self.frames,
            self.longest_heal_ms as f64 / 1000.0
        )
    }
}

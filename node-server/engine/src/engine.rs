//! The engine: keyspace, log and gates of one node.

use crate::acks::Acks;
use crate::functions::Functions;
use crate::gate::Gate;
use crate::keyspace::{Counters, Keyspace, SlotState, WaitFor};
use crate::log::Log;
use crate::options::Options;
use crate::password::Password;
use crate::{Durability, Host, HostCommand, Session};
use arc_swap::ArcSwap;
use node_server_protocol::resp::ReplyWriter;
use node_server_protocol::routing::{Routing, Serving};
use node_server_protocol::{Millis, NodeId, Role, SLOT_COUNT, Slot};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// A full sync is being loaded, and there is no data to serve meanwhile.
const LOADING_SYNC: u8 = 1;
/// The files of the start are being loaded.
const LOADING_FILES: u8 = 2;

/// One node's data and commands. Shared by all threads; every method takes `&self`.
pub struct Engine {
    pub(crate) options: Options,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) keyspace: Keyspace,
    pub(crate) log: Log,
    pub(crate) gate: Gate,
    pub(crate) acks: Acks,
    pub(crate) durability: Durability,
    pub(crate) functions: Functions,
    /// Effects so far, for save points.
    pub(crate) changes: AtomicU64,
    pub(crate) password: Password,
    routing: ArcSwap<Routing>,
    replica: AtomicBool,
    /// One word for both, since every request looks at it.
    loading: AtomicU8,
    refuse_stale: AtomicBool,
    lacks_replicas: AtomicBool,
    resync: AtomicBool,
    skip_dump_checksum: AtomicBool,
    rdb_compression: AtomicBool,
    rdb_checksum: AtomicBool,
    moves: AtomicU64,
    /// Keys on their way to other nodes.
    pub(crate) leaving: AtomicUsize,
    random: AtomicU64,
}

impl Engine {
    /// An empty engine. In cluster mode it serves nothing before the first [`Engine::publish_routing`].
    #[must_use]
    pub fn new(options: Options, host: Arc<dyn Host>) -> Self {
        let serving = Serving::Down { allow_reads: false };
        let routing = Routing::new(0, NodeId::from_bytes([0; 20]), Role::Master, serving, Vec::new());
        let engine = Self {
            keyspace: Keyspace::new(options.seed, Arc::clone(&host)),
            log: Log::new(options.replid.clone(), options.backlog_size),
            gate: Gate::default(),
            acks: Acks::default(),
            durability: Durability::default(),
            functions: Functions::default(),
            changes: AtomicU64::new(0),
            password: Password::default(),
            routing: ArcSwap::from_pointee(routing),
            replica: AtomicBool::new(false),
            loading: AtomicU8::new(0),
            refuse_stale: AtomicBool::new(false),
            lacks_replicas: AtomicBool::new(false),
            resync: AtomicBool::new(false),
            skip_dump_checksum: AtomicBool::new(false),
            rdb_compression: AtomicBool::new(false),
            rdb_checksum: AtomicBool::new(true),
            moves: AtomicU64::new(0),
            leaving: AtomicUsize::new(0),
            random: AtomicU64::new(options.seed),
            options,
            host,
        };
        let state = if engine.options.cluster { SlotState::DOWN } else { SlotState::OWNED };
        Slot::all().for_each(|slot| engine.keyspace.set_state(slot, state));
        engine
    }

    /// Publishes a new routing table: atomic stores only, so the bus thread may call it. Commands under way notice
    /// when they log their effects.
    ///
    /// Whoever is let in by the table, by the role or by a slot's state has to find that the log takes what it does: a
    /// slot that may be written from now on is marked before all else, one that may not is marked at the end.
    pub fn publish_routing(&self, routing: Arc<Routing>) {
        let is_master = routing.role.is_master();
        if is_master {
            self.acks.expect(routing.expects_replica);
            self.replica.store(false, Ordering::SeqCst);
            let gained = |slot: &Slot| state_of(&routing, *slot).writable();
            Slot::all()
                .filter(gained)
                .for_each(|slot| self.keyspace.set_state(slot, state_of(&routing, slot)));
        }
        self.routing.store(Arc::clone(&routing));
        if !is_master {
            self.replica.store(true, Ordering::SeqCst);
            self.acks.expect(false);
            self.disown_log();
        }
        Slot::all().for_each(|slot| self.keyspace.set_state(slot, state_of(&routing, slot)));
        self.look_at_gate_again();
    }

    /// Without cluster mode: this node is a replica from now on, or a master. Atomic stores only, in the order of
    /// [`Engine::publish_routing`]; commands under way notice when they log their effects.
    pub fn set_replica(&self, replica: bool) {
        if replica {
            self.replica.store(true, Ordering::SeqCst);
            self.disown_log();
        }
        let state = if replica { SlotState::REPLICA } else { SlotState::OWNED };
        Slot::all().for_each(|slot| self.keyspace.set_state(slot, state));
        self.replica.store(replica, Ordering::SeqCst);
        self.look_at_gate_again();
    }

    /// Writers that wait for the end of a pause may have to go elsewhere now, and need not wait for that.
    fn look_at_gate_again(&self) {
        if self.gate.is_closed() {
            self.keyspace.wake(WaitFor::Writes);
        }
    }

    /// The table published last.
    #[must_use]
    pub fn routing(&self) -> Arc<Routing> {
        self.routing.load_full()
    }

    pub(crate) fn with_routing<R>(&self, look: impl FnOnce(&Routing) -> R) -> R {
        look(&self.routing.load())
    }

    /// Whether cluster mode is on.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.options.cluster
    }

    /// The version that HELLO tells.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.options.version
    }

    /// How many databases there are.
    #[must_use]
    pub fn databases(&self) -> u16 {
        if self.options.cluster { 1 } else { self.options.databases.clamp(1, SLOT_COUNT) }
    }

    /// How many databases the configuration names, which in cluster mode shows in errors alone.
    pub(crate) fn databases_configured(&self) -> u16 {
        self.options.databases.clamp(1, SLOT_COUNT)
    }

    /// How many slots may have keys: all, or one for each database.
    pub(crate) fn slots(&self) -> u16 {
        if self.options.cluster { SLOT_COUNT } else { self.databases() }
    }

    /// Whether this node is a replica.
    #[must_use]
    pub fn is_replica(&self) -> bool {
        self.replica.load(Ordering::SeqCst)
    }

    /// The log of effects.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// How far replicas have acknowledged it.
    #[must_use]
    pub fn acks(&self) -> &Acks {
        &self.acks
    }

    /// How many effects commands have had so far.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// How far the log is on the disk.
    #[must_use]
    pub fn durability(&self) -> &Durability {
        &self.durability
    }

    /// 1 if the append-only file of this node has the log up to `offset` on the disk, else 0 (WAITAOF's first number).
    #[must_use]
    pub fn has_on_disk(&self, offset: u64) -> usize {
        usize::from(self.durability.on_disk().is_some_and(|on_disk| on_disk >= offset))
    }

    /// Numbers about the keys; none of them takes a lock.
    #[must_use]
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// Counters for INFO.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.keyspace.counters
    }

    /// Whether a data set is being loaded; see [`Engine::begin_load`] and [`Engine::set_loading_files`].
    #[must_use]
    pub fn is_loading(&self) -> bool {
        self.loading.load(Ordering::Acquire) != 0
    }

    /// Whether the files of the start are being loaded.
    #[must_use]
    pub fn is_loading_files(&self) -> bool {
        self.loading.load(Ordering::Acquire) & LOADING_FILES != 0
    }

    /// The files of the start are being loaded, or are loaded. Meanwhile commands are refused with LOADING as by Redis,
    /// nothing expires and nothing is logged: the log begins where the files end.
    pub fn set_loading_files(&self, loading: bool) {
        self.note_loading(LOADING_FILES, loading);
    }

    pub(crate) fn set_loading(&self, loading: bool) {
        self.note_loading(LOADING_SYNC, loading);
    }

    fn note_loading(&self, what: u8, loading: bool) {
        if loading {
            self.loading.fetch_or(what, Ordering::AcqRel);
        } else {
            self.loading.fetch_and(!what, Ordering::AcqRel);
        }
    }

    /// A replica without its master refuses to answer (`replica-serve-stale-data no` and the link is down).
    pub fn set_refuse_stale(&self, refuse: bool) {
        self.refuse_stale.store(refuse, Ordering::Release);
    }

    pub(crate) fn refuses_stale(&self) -> bool {
        self.is_replica() && self.refuse_stale.load(Ordering::Acquire)
    }

    /// A master with too few good replicas takes no writes (`min-replicas-to-write`).
    pub fn set_lacks_replicas(&self, lacks: bool) {
        self.lacks_replicas.store(lacks, Ordering::Release);
    }

    pub(crate) fn lacks_replicas(&self) -> bool {
        self.lacks_replicas.load(Ordering::Acquire) && !self.is_replica()
    }

    /// Whether something is in memory that could not be logged, because this node was demoted meanwhile: its data is
    /// no continuation of any log, so the next sync has to be a full one. Cleared by loading one. Of a replica the log
    /// has no name until then, nor has what it writes to files.
    #[must_use]
    pub fn needs_full_resync(&self) -> bool {
        self.resync.load(Ordering::SeqCst)
    }

    /// Under the lock of the slot in question, so that no snapshot comes between.
    pub(crate) fn set_needs_full_resync(&self) {
        self.resync.store(true, Ordering::SeqCst);
        self.disown_log();
    }

    /// The data is that of a log again.
    pub(crate) fn clear_full_resync(&self) {
        self.resync.store(false, Ordering::SeqCst);
    }

    /// Called when either has changed. A master that lost a slot has what was not logged in that slot alone, and drops
    /// it with records; a replica's data is what its history says, or has no name.
    fn disown_log(&self) {
        if self.is_replica() && self.needs_full_resync() {
            self.log.disown();
        }
    }

    /// This replica is a master from now on, and its log goes on under a new name. Where its data is no continuation of
    /// the log, a history begins that nobody has a part of, and files are written anew.
    pub fn promote(&self, replid: String) {
        if self.needs_full_resync() {
            self.restart_log(replid, self.log.end(), self.log.database());
            self.clear_full_resync();
        } else {
            self.log.promote(replid);
        }
    }

    /// DEBUG SET-SKIP-CHECKSUM-VALIDATION: RESTORE takes payloads whatever their checksum is.
    pub fn set_skip_dump_checksum(&self, skip: bool) {
        self.skip_dump_checksum.store(skip, Ordering::Relaxed);
    }

    pub(crate) fn skips_dump_checksum(&self) -> bool {
        self.skip_dump_checksum.load(Ordering::Relaxed)
    }

    /// `rdbcompression`: snapshots and payloads of DUMP and MIGRATE have long strings compressed.
    pub fn set_rdb_compression(&self, compress: bool) {
        self.rdb_compression.store(compress, Ordering::Relaxed);
    }

    pub(crate) fn compresses_rdb(&self) -> bool {
        self.rdb_compression.load(Ordering::Relaxed)
    }

    /// `rdbchecksum`: snapshots end with a checksum, and that of what is loaded is compared.
    pub fn set_rdb_checksum(&self, checksum: bool) {
        self.rdb_checksum.store(checksum, Ordering::Relaxed);
    }

    pub(crate) fn checks_rdb(&self) -> bool {
        self.rdb_checksum.load(Ordering::Relaxed)
    }

    pub(crate) fn next_move(&self) -> u64 {
        self.moves.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A number that nobody can foresee without the seed.
    pub(crate) fn random(&self) -> u64 {
        crate::keyspace::hash::scramble(self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed))
    }

    /// Answers a command of the shell's; also used for EXEC.
    pub(crate) fn host_command(
        &self,
        command: HostCommand,
        session: &mut Session,
        args: &[&[u8]],
        now: Millis,
        reply: &mut ReplyWriter<'_>,
    ) {
        self.host.command(command, session, args, now, reply);
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("options", &self.options)
            .field("keyspace", &self.keyspace)
            .finish_non_exhaustive()
    }
}

/// A slot's state by the routing table.
fn state_of(routing: &Routing, slot: Slot) -> SlotState {
    let mut state = match routing.role {
        Role::Master if routing.is_mine(slot) && routing.serving != Serving::ClosedEmpty => SlotState::OWNED,
        Role::Master if routing.importing_from(slot).is_some() => SlotState::IMPORTING,
        Role::Replica { of } if routing.owner(slot).is_some_and(|n| n.id == of) => SlotState::REPLICA,
        _ => SlotState::FOREIGN,
    };
    if state.has(SlotState::OWNED) && routing.migrating_to(slot).is_some() {
        state = state.with(SlotState::MIGRATING);
    }
    if routing.serving == Serving::Ok { state } else { state.with(SlotState::DOWN) }
}

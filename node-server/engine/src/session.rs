//! One connection as the engine sees it.

use crate::outcome::Hold;
use crate::transaction::{Multi, Watched};
use node_server_protocol::resp::Protocol;
use node_server_protocol::{Family, Millis};

/// A session's number: CLIENT ID's. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// State of one connection. Owned by whoever runs the connection and lent to the engine for every request.
#[derive(Debug)]
pub struct Session {
    /// Its number.
    pub id: SessionId,
    /// What HELLO chose.
    pub protocol: Protocol,
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub lib_version: Vec<u8>,
    /// It has said the password, or was not asked for one when it connected.
    pub(crate) authenticated: bool,
    /// ASKING was sent: the next command may use an importing slot.
    pub asking: bool,
    /// READONLY was sent: a replica may answer reads.
    pub readonly: bool,
    /// CLIENT NO-TOUCH: reads leave no trace in OBJECT IDLETIME.
    pub no_touch: bool,
    /// Which addresses the client can use: redirections name nodes by them.
    pub family: Family,
    /// SELECT; always 0 in cluster mode.
    pub db: u16,
    /// The gate for the reply just written; the shell takes it after every request.
    pub hold: Option<Hold>,
    /// Log offset just behind this session's last write, for WAIT.
    pub last_write: u64,
    /// The name of the last command, for CLIENT LIST.
    pub last_command: &'static str,
    pub(crate) multi: Option<Multi>,
    pub(crate) watched: Vec<Watched>,
    /// Buffer of effects, kept for its capacity.
    pub(crate) effects: Vec<u8>,
    pub(crate) origin: Origin,
    /// When the connection was made.
    pub since: Millis,
}

/// On whose behalf commands run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client's.
    Client,
    /// The master's, on a replica: no routing, no gate, no expiry by this node's clock, no effects.
    Master,
}

impl Session {
    /// A connection just made, which has to say the password if there is one; see [`crate::Engine::new_session`].
    #[must_use]
    pub fn new(id: SessionId, now: Millis) -> Self {
        Self {
            id,
            protocol: Protocol::Resp2,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_version: Vec::new(),
            authenticated: false,
            asking: false,
            readonly: false,
            no_touch: false,
            family: Family::V4,
            db: 0,
            hold: None,
            last_write: 0,
            last_command: "NULL",
            multi: None,
            watched: Vec::new(),
            effects: Vec::new(),
            origin: Origin::Client,
            since: now,
        }
    }

    /// The applier's.
    pub(crate) fn master() -> Self {
        let mut session = Self::new(SessionId(0), Millis(0));
        session.origin = Origin::Master;
        session
    }

    /// Whether MULTI is open.
    #[must_use]
    pub fn in_multi(&self) -> bool {
        self.multi.is_some()
    }

    /// Commands queued since MULTI, for CLIENT LIST; `None` outside.
    #[must_use]
    pub fn queued(&self) -> Option<usize> {
        self.multi.as_ref().map(|m| m.queue.len())
    }

    /// How many keys are watched.
    #[must_use]
    pub fn watching(&self) -> usize {
        self.watched.len()
    }

    /// RESET: as just connected, but for number and library.
    pub(crate) fn reset(&mut self) {
        self.protocol = Protocol::Resp2;
        self.name.clear();
        self.asking = false;
        self.readonly = false;
        self.no_touch = false;
        self.db = 0;
        self.multi = None;
        self.watched.clear();
    }
}

//! The link to the master: connect, introduce ourselves, sync, apply; and again when it breaks.

mod connection;
mod handshake;
mod load;
mod stream;

use super::failover::Verdict;
use super::hub::Hub;
use crate::clients::Client;
use connection::Connection;
use node_server_engine::{ApplyError, LoadError, MasterAddress};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The first rest after a link that broke; doubled up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(50);
/// The longest rest.
const RETRY_MAX: Duration = Duration::from_secs(1);
/// The rest after the master sent what this node cannot keep. A full sync may bring the effect of a command that is not
/// known here, and the next one is not far; each full sync costs the master a snapshot.
const REFUSED_REST: Duration = Duration::from_secs(60);

/// Whom to follow.
pub(super) struct Target {
    /// Client address.
    pub(super) address: MasterAddress,
    /// Our log may be the beginning of its.
    pub(super) partial: bool,
    /// It has to take over first (FAILOVER).
    pub(super) takes_over: bool,
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    /// The socket.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Nothing came for `repl-timeout`.
    #[error("the master was silent for {0} s (repl-timeout)")]
    Silent(u64),
    /// What the master said makes no sense here.
    #[error("the master answered {what} with {reply:?}")]
    Answer {
        /// What was asked.
        what: &'static str,
        /// Its answer.
        reply: String,
    },
    /// It refuses our password.
    #[error("Unable to AUTH to MASTER: {0} (check masterauth and masteruser)")]
    Auth(String),
    /// It asks for a password, and we have none.
    #[error(
        "the master asks for a password. Set masterauth (and masteruser, where it is not the default user's)"
    )]
    NoAuth,
    /// It cannot sync us now.
    #[error("the master cannot sync us yet: {0}")]
    NotYet(String),
    /// The snapshot.
    #[error("{0}")]
    Load(#[from] LoadError),
    /// The stream.
    #[error("{0}")]
    Apply(#[from] ApplyError),
    /// A transaction or value that never ends.
    #[error("a command of the master is longer than {0} bytes")]
    TooLong(usize),
    /// The link has to begin anew with a full sync.
    #[error(
        "what this node wrote while it was demoted is in no log: its data is no part of the master's history"
    )]
    Unlogged,
    /// CLIENT KILL.
    #[error("CLIENT KILL")]
    Killed,
    /// This node is to follow somebody else, or nobody.
    #[error("no longer wanted")]
    Stopped,
}

/// Ends the link when the other end of `stop` says so, between two commands of the stream.
pub(super) struct Link {
    hub: Arc<Hub>,
    stop: watch::Receiver<bool>,
    /// Its entry in CLIENT LIST, while there is a connection.
    client: Option<Arc<Client>>,
}

/// Keeps a link to the master up until `stop` becomes true.
pub(super) async fn follow(hub: Arc<Hub>, mut target: Target, stop: watch::Receiver<bool>) {
    let mut link = Link { hub, stop, client: None };
    // What comes from the master goes behind what is in the files.
    let hub = Arc::clone(&link.hub);
    let loaded = async {
        hub.node.loading.over().await;
        Ok(())
    };
    if link.unless_stopped(loaded).await.is_err() {
        return;
    }
    let mut rest = RETRY_MIN;
    let mut said = String::new();
    loop {
        let mut was_up = false;
        let ended = link.run(&mut target, &mut was_up).await;
        link.forget_client();
        let error = match ended {
            Err(LinkError::Stopped) => return,
            Err(error) => error,
            Ok(()) => LinkError::Io(std::io::ErrorKind::ConnectionReset.into()),
        };
        // Applying again would meet the same again.
        if matches!(error, LinkError::Apply(_) | LinkError::TooLong(_)) {
            target.partial = false;
        }
        let text = error.to_string();
        if was_up || rest == RETRY_MIN || (error.is_lasting() && text != said) {
            report(&target, &error);
        } else {
            tracing::debug!("no sync with master {}: {error}", target.address);
        }
        said = text;
        rest = match error.is_refusal() {
            true => REFUSED_REST,
            false if was_up || rest == REFUSED_REST => RETRY_MIN,
            false => (rest * 2).min(RETRY_MAX),
        };
        link.hub.link_state("connect");
        let wait = async {
            tokio::time::sleep(rest).await;
            Ok(())
        };
        if link.unless_stopped(wait).await.is_err() {
            return;
        }
    }
}

impl LinkError {
    /// Whether the master itself said no.
    fn is_answer(&self) -> bool {
        matches!(self, Self::Answer { .. } | Self::NotYet(_) | Self::Auth(_) | Self::NoAuth)
    }

    /// Whether somebody has to change something before it goes away.
    fn is_lasting(&self) -> bool {
        matches!(self, Self::Auth(_) | Self::NoAuth) || self.is_refusal()
    }

    /// Whether the master sent something that this node does not know, or has no place for.
    fn is_refusal(&self) -> bool {
        match self {
            Self::Apply(error) => matches!(error, ApplyError::Unknown(_) | ApplyError::Failed { .. }),
            Self::Load(error) => matches!(error, LoadError::Rdb(_) | LoadError::Database(..)),
            _ => false,
        }
    }
}

fn report(target: &Target, error: &LinkError) {
    let address = &target.address;
    if error.is_refusal() {
        let rest_s = REFUSED_REST.as_secs();
        tracing::error!("Link with master {address} stopped: {error}. A full sync is tried in {rest_s} s");
    } else if error.is_lasting() {
        tracing::error!("No sync with master {address}: {error}");
    } else {
        tracing::warn!("Connection with master {address} lost: {error}");
    }
}

impl Link {
    /// Does `work`, which may be given up at any await, unless this link is to end.
    async fn unless_stopped<T>(
        &mut self,
        work: impl Future<Output = Result<T, LinkError>>,
    ) -> Result<T, LinkError> {
        let killed = async {
            match &self.client {
                Some(client) => client.end.notified().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => Err(LinkError::Stopped),
            () = killed => Err(LinkError::Killed),
            done = work => done,
        }
    }

    /// From now on CLIENT LIST shows the connection.
    fn introduce_client(&mut self, connection: &Connection) {
        if let Some((peer, local)) = connection.addresses() {
            self.client = Some(self.hub.node.clients.add_master(peer, local, crate::node::now()));
        }
    }

    fn forget_client(&mut self) {
        if let Some(client) = self.client.take() {
            self.hub.node.clients.remove(client.id);
        }
    }

    /// One connection, from its beginning to its end.
    async fn run(&mut self, target: &mut Target, was_up: &mut bool) -> Result<(), LinkError> {
        let hub = Arc::clone(&self.hub);
        let timeout = Duration::from_secs(hub.node.config.settings().repl_timeout_s.max(1));
        hub.link_state("connecting");
        let connect = Connection::open(&target.address, timeout);
        let mut connection = self.unless_stopped(connect).await?;
        self.introduce_client(&connection);
        hub.link_state("handshake");
        let partial = target.partial && !hub.node.engine.needs_full_resync();
        let how = handshake::How { partial, failover: target.takes_over };
        let answer = self.unless_stopped(handshake::sync(&hub, &mut connection, how)).await;
        if target.takes_over {
            match &answer {
                Ok(_) => {
                    target.takes_over = false;
                    hub.failover_answered(Verdict::Accepted);
                }
                Err(error) if error.is_answer() => hub.failover_answered(Verdict::Rejected),
                // It could not be asked: again.
                Err(_) => {}
            }
        }
        let answer = answer?;
        match answer {
            handshake::Answer::Continue { replid } => {
                let log = hub.node.engine.log();
                tracing::info!("MASTER <-> REPLICA sync: Master accepted a Partial Resynchronization.");
                if let Some(replid) = replid
                    && replid != log.history().replid
                {
                    tracing::info!("Master replication ID changed to {replid}");
                    log.continue_as(&replid);
                    hub.cut_replicas();
                }
            }
            handshake::Answer::Full { replid, offset } => {
                hub.link_state("sync");
                self.load(&mut connection, &replid, offset).await?;
            }
        }
        target.partial = true;
        *was_up = true;
        let now = crate::node::now();
        hub.update_master(|master| master.last_io = Some(now));
        hub.link_state("connected");
        self.stream(&mut connection).await
    }
}

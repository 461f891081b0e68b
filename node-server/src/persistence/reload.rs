//! DEBUG RELOAD and DEBUG LOADAOF: the files are read back and take the place of the data, as a restart would do it.
//! Tests see by it that what is on the disk is what is in memory. The log goes on: for replicas nothing has changed.

use super::keeper::Keeper;
use super::load;
use super::rdb_file::{self, SaveError};
use super::rewrite::{SOON, write_chunks};
use crate::config::Settings;
use crate::mailbox::ReplyTo;
use crate::node::now;
use anyhow::{Context as _, bail};
use node_server_engine::{
    Barrier, Engine, Host, HostCommand, MasterAddress, Options, Reload, Session, SessionId,
};
use node_server_protocol::Millis;
use node_server_protocol::resp::ReplyWriter;
use node_server_rdb::Dialect;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How often a barrier is tried for, [`SOON`] apart.
const BARRIER_TRIES: usize = 10_000;
/// How often the data is saved before it is given up to find no write behind it.
const SAVE_TRIES: usize = 10;

impl Keeper {
    pub(super) fn reload(&mut self, reply_to: ReplyTo, what: Reload) {
        let text = match self.read_back(what) {
            Ok(()) => "+OK\r\n".to_owned(),
            Err(error) => {
                tracing::warn!("DEBUG: the files were not read back: {error:#}");
                format!("-ERR {error:#}\r\n")
            }
        };
        self.node.mailboxes.reply(reply_to, text.into_bytes());
    }

    fn read_back(&mut self, what: Reload) -> anyhow::Result<()> {
        if self.is_closed_empty() {
            return Err(SaveError::NoData.into());
        }
        match what {
            Reload::Rdb { save } => self.read_rdb_back(save),
            Reload::AppendOnly => self.read_append_only_back(),
        }
    }

    fn read_rdb_back(&mut self, save: bool) -> anyhow::Result<()> {
        let engine = Arc::clone(&self.node.engine);
        let barrier = if save { self.save_behind_barrier(&engine)? } else { barrier(&engine)? };
        if !load::rdb_file(&self.node, &self.settings)? {
            bail!("{}: there is no such file", self.settings.dbfilename);
        }
        drop(barrier);
        tracing::info!("DB reloaded by DEBUG RELOAD");
        Ok(())
    }

    /// Saves the data until nothing was written meanwhile, which would be lost otherwise.
    fn save_behind_barrier<'e>(&mut self, engine: &'e Engine) -> anyhow::Result<Barrier<'e>> {
        for _ in 0..SAVE_TRIES {
            // Not the log's end: it stands still where nobody reads it.
            let changes = engine.changes();
            rdb_file::save(&self.node, &self.settings.dbfilename)?;
            let barrier = barrier(engine)?;
            if engine.changes() == changes {
                self.node.persistence.status.update(|s| {
                    (s.last_save, s.saved_changes, s.last_save_failed) = (now(), changes, false);
                });
                self.refuse_or_not();
                return Ok(barrier);
            }
        }
        bail!("clients go on writing: stop them before DEBUG RELOAD")
    }

    fn read_append_only_back(&mut self) -> anyhow::Result<()> {
        if self.open.is_none() {
            bail!("appendonly is off: there is no append only file to load");
        }
        self.complete_base().map_err(anyhow::Error::msg)?;
        let engine = Arc::clone(&self.node.engine);
        let barrier = barrier(&engine)?;
        self.sync_everything()?;
        let Some(open) = self.open.as_mut().filter(|open| open.is_good()) else {
            bail!("the append only file does not continue the data yet");
        };
        let paths = open.files().paths();
        // Commands are replayed where nobody else looks; clients are served from the old data until the end.
        let aside = Arc::new(Engine::new(options_aside(&self.settings), Arc::new(Nobody)));
        aside.set_rdb_checksum(self.settings.rdb.checksum);
        load::append_only(&self.node, &aside, &self.settings, &paths)?;
        put_in_place(&aside, &engine)?;
        drop(barrier);
        tracing::info!("Append Only File loaded by DEBUG LOADAOF");
        Ok(())
    }
}

fn barrier(engine: &Engine) -> anyhow::Result<Barrier<'_>> {
    for _ in 0..BARRIER_TRIES {
        if let Some(barrier) = engine.try_barrier() {
            return Ok(barrier);
        }
        std::thread::sleep(SOON);
    }
    bail!("BUSY a command has been holding its slot for too long; try again later")
}

/// Of an engine that reads files and ends: its seed guards against nobody.
fn options_aside(settings: &Settings) -> Options {
    Options {
        cluster: settings.cluster_enabled,
        databases: u16::try_from(settings.databases).unwrap_or(u16::MAX),
        ..Options::default()
    }
}

fn put_in_place(aside: &Arc<Engine>, engine: &Arc<Engine>) -> anyhow::Result<()> {
    let mut snapshot = aside.begin_snapshot(now(), Dialect::Valkey)?;
    let mut loader = engine.begin_load(now());
    let feed = |bytes: &[u8]| loader.feed(bytes).map(drop).map_err(|error| error.to_string());
    write_chunks(&mut snapshot, &AtomicBool::new(false), feed).map_err(anyhow::Error::msg)?;
    loader.commit_file().context("the data that was read")?;
    Ok(())
}

/// Whoever is around an engine that only reads files.
pub(super) struct Nobody;

impl Host for Nobody {
    fn wake(&self, _: SessionId) {}

    fn log_grew(&self) {}

    fn command(&self, _: HostCommand, _: &mut Session, _: &[&[u8]], _: Millis, reply: &mut ReplyWriter<'_>) {
        reply.error("ERR files are being read");
    }

    fn follow(&self, _: Option<MasterAddress>, _: &mut Session, reply: &mut ReplyWriter<'_>) {
        reply.error("ERR files are being read");
    }

    fn pause(&self, ms: u64) {
        std::thread::sleep(std::time::Duration::from_millis(ms));
    }

    fn now(&self) -> Millis {
        now()
    }
}

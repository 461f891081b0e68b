//! The thread that writes nodes.conf, so that a slow disk never delays the bus.

use super::{NodesFile, StorageError};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Most texts that wait to be written. The core has at most one under way.
const QUEUE_MAX: usize = 8;

/// Called on the storage thread after each write with its number.
pub type Done = Box<dyn FnMut(u64, Result<(), StorageError>) + Send>;

/// The way to the storage thread. Dropping it ends the thread when everything is written.
#[derive(Debug)]
pub struct Writer {
    sender: Option<SyncSender<(u64, String)>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread; it keeps the file locked until the process ends.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn start(mut file: NodesFile, mut done: Done) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel::<(u64, String)>(QUEUE_MAX);
        let thread = std::thread::Builder::new().name("storage".into()).spawn(move || {
            while let Ok((seq, text)) = receiver.recv() {
                done(seq, file.replace(&text));
            }
        })?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// Queues a text. `false`: the thread has ended, or [`QUEUE_MAX`] texts wait, which the core never does.
    #[must_use]
    pub fn write(&self, seq: u64, text: String) -> bool {
        self.sender.as_ref().is_some_and(|sender| sender.try_send((seq, text)).is_ok())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the storage thread panicked; nodes.conf may be old");
        }
    }
}

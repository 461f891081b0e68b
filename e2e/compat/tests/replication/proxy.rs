//! A link that can be cut: what connects here is passed on to another port, but not between [`Proxy::cut`] and
//! [`Proxy::mend`].

use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Bytes that are passed on at a time.
const PART: usize = 64 * 1024;

#[derive(Default)]
struct State {
    /// Both ends of every connection so far; most have gone.
    ends: Vec<TcpStream>,
    is_cut: bool,
}

type Shared = Arc<Mutex<State>>;

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// It ends when this is dropped.
pub struct Proxy {
    port: u16,
    shared: Shared,
    stopped: Arc<AtomicBool>,
}

impl Proxy {
    /// Passes on to `to`, on a port of the system's choice.
    pub fn start(to: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("no port for the proxy")?;
        let port = listener.local_addr()?.port();
        let (shared, stopped) = (Shared::default(), Arc::new(AtomicBool::new(false)));
        let (kept, stop) = (Arc::clone(&shared), Arc::clone(&stopped));
        thread::spawn(move || {
            for from in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                // A server that does not listen now is as a link that is cut at once.
                if let (Ok(from), Ok(to)) = (from, TcpStream::connect(("127.0.0.1", to))) {
                    join(from, to, &kept);
                }
            }
        });
        Ok(Self { port, shared, stopped })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends every connection, and new ones at once.
    pub fn cut(&self) {
        let mut state = lock(&self.shared);
        state.is_cut = true;
        for end in state.ends.drain(..) {
            // One that has ended already is cut as well.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    /// New connections are passed on again.
    pub fn mend(&self) {
        lock(&self.shared).is_cut = false;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the thread; if nobody listens it has ended.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn join(from: TcpStream, to: TcpStream, shared: &Shared) {
    let (Ok(from_again), Ok(to_again)) = (from.try_clone(), to.try_clone()) else { return };
    let (Ok(kept_from), Ok(kept_to)) = (from.try_clone(), to.try_clone()) else { return };
    let mut state = lock(shared);
    if state.is_cut {
        return;
    }
    state.ends.extend([kept_from, kept_to]);
    drop(state);
    thread::spawn(move || pass_on(from, to));
    thread::spawn(move || pass_on(to_again, from_again));
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    let mut part = vec![0; PART];
    while let Ok(len) = from.read(&mut part) {
        if len == 0 || to.write_all(&part[..len]).is_err() {
            break;
        }
    }
    // The other direction ends with this one.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

//! Ports for servers, so that tests of one or several processes do not collide.

use anyhow::{Context, Result, ensure};
use rustix::fs::{FlockOperation, flock};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, socket_with, sockopt};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

/// Client ports are given from here; with the bus ports (+10000) all stay below Linux's ephemeral ports (32768).
const FIRST: u16 = 12_000;
/// Ports in a block.
const BLOCK_LEN: u16 = 20;
/// How many blocks there are: client ports up to 19999, bus ports 22000 to 29999.
const BLOCKS: u16 = 400;
/// Client port to bus port.
const BUS_OFFSET: u16 = 10_000;
/// Where the locks are.
const LOCKS: &str = "/tmp/slotkeeper-e2e-ports";

/// Some ports whose bus ports are free as well. Nobody else is given them as long as this lives, not even another
/// process: a file lock says so.
#[derive(Debug)]
pub struct PortBlock {
    first: u16,
    len: u16,
    _lock: File,
}

impl PortBlock {
    /// Takes `len` ports (at most 20) that are free now.
    ///
    /// # Errors
    /// All blocks are taken, or the lock files cannot be made.
    pub fn reserve(len: u16) -> Result<Self> {
        ensure!((1..=BLOCK_LEN).contains(&len), "a block has 1 to {BLOCK_LEN} ports, not {len}");
        std::fs::create_dir_all(LOCKS).with_context(|| format!("could not make {LOCKS}"))?;
        let start = (std::process::id() % u32::from(BLOCKS)) as u16;
        for i in 0..BLOCKS {
            let block = (start + i) % BLOCKS;
            if let Some(taken) = Self::try_block(block, len)? {
                return Ok(taken);
            }
        }
        anyhow::bail!("all {BLOCKS} blocks of ports are taken: is something left over from other tests?")
    }

    fn try_block(block: u16, len: u16) -> Result<Option<Self>> {
        let path = Path::new(LOCKS).join(block.to_string());
        let lock = File::create(&path).with_context(|| format!("could not make {}", path.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(None);
        }
        let first = FIRST + block * BLOCK_LEN;
        let free = (first..first + len).all(|port| is_free(port) && is_free(port + BUS_OFFSET));
        Ok(free.then_some(Self { first, len, _lock: lock }))
    }

    /// The `i`-th port, from 0.
    ///
    /// # Panics
    /// The block has fewer.
    #[must_use]
    pub fn port(&self, i: u16) -> u16 {
        assert!(i < self.len, "the block has {} ports", self.len);
        self.first + i
    }
}

/// Whether nobody listens on a port of this machine. Nobody does for the probe either: a listener that a process which is
/// just being started has inherited would take, and let go, connections that are meant for the port's next owner.
#[must_use]
pub fn is_free(port: u16) -> bool {
    let bound = || {
        let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(ipproto::TCP))?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    };
    bound().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn who_listens_is_seen_and_the_probe_takes_no_connection() {
        let ports = PortBlock::reserve(1).unwrap();
        let port = ports.port(0);
        std::thread::scope(|scope| {
            let probes = scope.spawn(|| (0..1000).filter(|_| is_free(port)).count());
            while !probes.is_finished() {
                assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
            }
            assert_eq!(probes.join().unwrap(), 1000);
        });
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(!is_free(port));
    }

    #[test]
    fn blocks_do_not_overlap() {
        let (a, b) = (PortBlock::reserve(20).unwrap(), PortBlock::reserve(20).unwrap());
        assert!(a.port(0).abs_diff(b.port(0)) >= 20);
    }
}

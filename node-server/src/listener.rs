//! Listening sockets, for clients and for the bus.

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, listen, socket_with, sockopt};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _};

/// Nothing listens on the port.
#[derive(Debug, thiserror::Error)]
#[error("Failed listening on port {port} (TCP), aborting.")]
pub struct ListenError {
    /// The port.
    pub port: u16,
}

/// Listens on every address of `bind` (Redis's forms: an address, `*`, `::*`; with a leading `-` it may be missing).
/// The sockets are non-blocking.
///
/// # Errors
/// An address that has to be there cannot be used, or none can; the reason is in the log, in Redis's words.
pub fn listen_all(addresses: &[String], port: u16, backlog: i32) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners = Vec::new();
    for entry in addresses {
        let (optional, host) = match entry.strip_prefix('-') {
            Some(host) => (true, host),
            None => (false, entry.as_str()),
        };
        match listen_host(host, port, backlog) {
            Ok(opened) => listeners.extend(opened),
            Err(error) if optional && is_absence(&error) => {}
            Err(error) => {
                let reason = reason(&error);
                tracing::warn!(
                    "Warning: Could not create server TCP listening socket {host}:{port}: bind: {reason}"
                );
                // A machine without IPv6 may still be told to listen everywhere.
                if !(host == "::*" && is_absence(&error)) {
                    return Err(ListenError { port });
                }
            }
        }
    }
    if listeners.is_empty() { Err(ListenError { port }) } else { Ok(listeners) }
}

/// The machine does not have this address or address family: what a leading `-` forgives.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).into()
}

fn listen_host(host: &str, port: u16, backlog: i32) -> io::Result<Vec<TcpListener>> {
    let addresses: Vec<SocketAddr> = match host {
        "*" => vec![(Ipv4Addr::UNSPECIFIED, port).into()],
        "::*" => vec![(Ipv6Addr::UNSPECIFIED, port).into()],
        name => (name, port).to_socket_addrs()?.collect(),
    };
    addresses.into_iter().map(|address| open(address, backlog)).collect()
}

fn open(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &address)?;
    listen(&socket, backlog)?;
    Ok(TcpListener::from(socket))
}

/// How often a dead peer is probed before the connection is given up.
const KEEPALIVE_PROBES: u32 = 3;

/// Sets what every client's socket has: no delay, and probes after `keepalive_s` silent seconds (0: none).
///
/// # Errors
/// The system's; the connection has gone then.
pub fn prepare(socket: &impl std::os::fd::AsFd, keepalive_s: u64) -> io::Result<()> {
    use std::time::Duration;
    sockopt::set_tcp_nodelay(socket, true)?;
    if keepalive_s > 0 {
        sockopt::set_socket_keepalive(socket, true)?;
        sockopt::set_tcp_keepidle(socket, Duration::from_secs(keepalive_s))?;
        let interval = Duration::from_secs((keepalive_s / 3).max(1));
        sockopt::set_tcp_keepintvl(socket, interval)?;
        sockopt::set_tcp_keepcnt(socket, KEEPALIVE_PROBES)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_string()).collect()
    }

    #[test]
    fn a_free_port_is_listened_on_and_a_busy_one_refused() {
        let listeners = listen_all(&names(&["127.0.0.1"]), 0, 16).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        prepare(&client, 300).unwrap();
        let error = listen_all(&names(&["127.0.0.1"]), address.port(), 16).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("Failed listening on port {} (TCP), aborting.", address.port())
        );
    }

    #[test]
    fn a_missing_address_is_forgiven_with_a_dash_only() {
        // 192.0.2.0/24 is reserved for documentation: no machine has it.
        assert!(listen_all(&names(&["192.0.2.1"]), 0, 16).is_err());
        assert_eq!(listen_all(&names(&["127.0.0.1", "-192.0.2.1"]), 0, 16).unwrap().len(), 1);
        assert!(listen_all(&names(&["-192.0.2.1"]), 0, 16).is_err(), "nothing listens");
    }
}

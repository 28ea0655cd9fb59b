//! A claimed TCP port, and sockets that share it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket,
    sockopt,
};

use super::congestion::do_not_pace;
use super::listener::Listener;

/// A TCP port of this process that does not listen yet.
///
/// Ports are claimed first thing at start, so that one that is taken is told at once, and listen
/// last, when every partition can be served. A claim is exclusive: another process that asks for
/// the same port fails, although the cores of this one share it.
#[derive(Debug)]
pub struct Port {
    socket: OwnedFd,
    address: SocketAddr,
}

impl Port {
    /// Claims `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`, `PermissionDenied` and the like, from the kernel.
    pub fn claim(address: SocketAddr) -> io::Result<Self> {
        let socket = make_socket(address)?;
        // For the connections of an earlier process that linger; not for its listener.
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
        bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
        // Only now: asked for before `bind`, it would let a second server join the first.
        setsockopt(&socket, sockopt::ReusePort, &true)?;
        Self::of(socket)
    }

    /// Claims `address`, and if it is taken, or not there yet, asks again for a while: io_uring gives the
    /// sockets of a process that was killed back a moment after its end, and whoever restarts it does not
    /// wait; an address of IPv6 is asked for in its network before it may be used.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub fn claim_within(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let begun = Instant::now();
        loop {
            let claimed = Self::claim(address);
            let may_pass = claimed.as_ref().is_err_and(|error| {
                matches!(
                    error.kind(),
                    io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable
                )
            });
            if !may_pass || begun.elapsed() >= patience {
                return claimed;
            }
            thread::sleep(CLAIM_PAUSE);
        }
    }

    /// A second socket on the same port; the kernel spreads connections over those that listen.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn join(&self) -> io::Result<Self> {
        let socket = make_socket(self.address)?;
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
        setsockopt(&socket, sockopt::ReusePort, &true)?;
        bind(socket.as_raw_fd(), &SockaddrStorage::from(self.address))?;
        Self::of(socket)
    }

    /// The address, with the port's number.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to listen, on the core that calls.
    ///
    /// # Errors
    /// As the kernel says.
    ///
    /// # Panics
    /// If the calling thread is not a core.
    pub fn listen(self) -> io::Result<Listener> {
        // Connections begin with what their listener has.
        if self.address.ip().is_loopback() {
            do_not_pace(&self.socket);
        }
        listen(&self.socket, Backlog::new(BACKLOG)?)?;
        Listener::new(self.socket, self.address)
    }

    fn of(socket: OwnedFd) -> io::Result<Self> {
        // The standard library's listener knows how to ask a socket for its address.
        let socket = TcpListener::from(socket);
        let address = socket.local_addr()?;
        Ok(Self {
            socket: socket.into(),
            address,
        })
    }
}

fn make_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    Ok(socket(
        family,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?)
}

/// Between two claims of a port that is taken.
const CLAIM_PAUSE: Duration = Duration::from_millis(5);

/// Connections that wait to be accepted: a burst of reconnecting clients.
const BACKLOG: i32 = 1024;

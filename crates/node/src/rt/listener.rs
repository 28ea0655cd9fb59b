//! Accepting connections.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::socket::{Shutdown, shutdown};

use super::clock::{now, sleep};
use super::conn::Conn;
use super::executor::io_error;
use super::slice::yield_if_needed;
use crate::sys::fd;

/// A listening socket of this core. Made by [`Port::listen`](super::Port::listen).
pub struct Listener {
    socket: glommio::net::TcpListener,
    /// The same socket, to stop it by.
    handle: OwnedFd,
    address: SocketAddr,
    is_stopped: Cell<bool>,
    logged: Cell<Option<Instant>>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Listener {
    pub(super) fn new(socket: OwnedFd, address: SocketAddr) -> io::Result<Self> {
        let handle = socket.try_clone()?;
        Ok(Self {
            socket: fd::adopt(socket),
            handle,
            address,
            is_stopped: Cell::new(false),
            logged: Cell::new(None),
        })
    }

    /// The address that is listened on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection, with Nagle's delay off and keepalive on; `None` after
    /// [`stop`](Listener::stop).
    ///
    /// Errors are logged at most once in ten seconds. One of accepting, such as a table of
    /// descriptors that is full, repeats at once, and is told after a pause of 10 ms; a connection that
    /// is gone before it was taken is passed over.
    ///
    /// # Errors
    /// As the kernel says; the next call tries again.
    ///
    /// Never drop this future but at the end of the process: a connection that is accepted just
    /// then would stay open, unowned. [`stop`](Listener::stop) ends it.
    pub async fn accept(&self) -> Option<io::Result<Conn>> {
        loop {
            if self.is_stopped.get() {
                return None;
            }
            match self.socket.accept().await.map_err(io_error) {
                Ok(socket) => match Conn::accepted(socket) {
                    Ok(conn) => return Some(Ok(conn)),
                    // Its client is gone already; the next one need not wait for that, nor others for all of a crowd.
                    Err(error) => {
                        self.log(&error);
                        yield_if_needed().await;
                    }
                },
                Err(_) if self.is_stopped.get() => return None,
                Err(error) => {
                    self.log(&error);
                    sleep(ERROR_PAUSE).await;
                    return Some(Err(error));
                }
            }
        }
    }

    /// Stops listening: new connections are refused and [`accept`](Listener::accept) ends.
    pub fn stop(&self) {
        self.is_stopped.set(true);
        // Fails only if the socket does not listen any more, which is what is wanted.
        let _ = shutdown(self.handle.as_raw_fd(), Shutdown::Both);
    }

    fn log(&self, error: &io::Error) {
        let now = now();
        if self
            .logged
            .get()
            .is_none_or(|last| now.duration_since(last) > LOG_PAUSE)
        {
            self.logged.set(Some(now));
            tracing::warn!(address = %self.address, %error, "cannot accept a connection");
        }
    }
}

/// Long enough not to burn the core on an error that repeats, short enough not to be noticed.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Between two log lines about connections that cannot be accepted.
const LOG_PAUSE: Duration = Duration::from_secs(10);

//! A connection and its two halves.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use glommio::timer::Timer;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{self, Shutdown, setsockopt, sockopt};

use super::congestion::do_not_pace;
use super::executor::{RING_DEPTH, io_error};
use super::semaphore::Semaphore;
use super::slice::{Slice, next_turn};
use crate::sys::fd;

/// A TCP connection of this core.
#[derive(Debug)]
pub struct Conn {
    reader: ReadHalf,
    writer: WriteHalf,
    peer: SocketAddr,
}

impl Conn {
    /// Connects to `address`.
    ///
    /// # Errors
    /// As the kernel says; `TimedOut` after `timeout`.
    pub async fn connect(address: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(address, timeout)
            .await
            .map_err(io_error)?;
        Self::accepted(stream)
    }

    pub(super) fn accepted(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true).map_err(io_error)?;
        let peer = stream.peer_addr().map_err(io_error)?;
        keep_alive(&stream)?;
        if stream.local_addr().map_err(io_error)?.ip() == peer.ip() {
            do_not_pace(&fd::borrow(&stream));
        }
        let stream = Rc::new(RefCell::new(stream));
        let reader = ReadHalf {
            stream: Rc::clone(&stream),
            timeout: None,
        };
        Ok(Self {
            reader,
            writer: WriteHalf {
                stream,
                timeout: None,
                written: Written::default(),
            },
            peer,
        })
    }

    /// The other side's address.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// A way to the socket for those who send what no half can.
    #[must_use]
    pub fn socket(&self) -> Socket {
        Socket {
            stream: Rc::downgrade(&self.reader.stream),
        }
    }

    /// The two halves, for two tasks. The connection closes when both are dropped.
    #[must_use]
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        (self.reader, self.writer)
    }
}

/// A way to a connection's socket. It does not keep the connection open.
pub struct Socket {
    stream: Weak<RefCell<TcpStream>>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

impl Socket {
    /// Another descriptor of the socket, for a thread that may wait. Whoever has it writes alone, and
    /// the connection stays open as long as it does.
    ///
    /// # Errors
    /// `NotConnected` if both halves are gone, or as the kernel says.
    pub fn lend(&self) -> io::Result<OwnedFd> {
        let stream = self.stream.upgrade();
        let stream = stream.ok_or(io::ErrorKind::NotConnected)?;
        let stream = stream.borrow();
        fd::borrow(&*stream).try_clone_to_owned()
    }

    /// Whether the other side has reset the connection, or both have closed it. Nobody need read for that, and what was
    /// not read does not hide it.
    pub fn is_gone(&self) -> bool {
        let Some(stream) = self.stream.upgrade() else {
            return true;
        };
        let stream = stream.borrow();
        // POLLERR and POLLHUP are told unasked (poll(2)).
        let mut asked = [PollFd::new(fd::borrow(&*stream), PollFlags::empty())];
        poll(&mut asked, PollTimeout::ZERO).is_ok_and(|told| told > 0)
    }
}

/// The half of a connection that reads.
pub struct ReadHalf {
    stream: Rc<RefCell<TcpStream>>,
    timeout: Option<Duration>,
}

impl fmt::Debug for ReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadHalf")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl ReadHalf {
    /// Each later read fails with `TimedOut` if nothing arrives for that long.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Reads what is there, or waits for something, into `into`; gives the number of bytes. Zero
    /// means that the other side will send no more (or that `into` is empty).
    ///
    /// May be dropped at any time without losing a byte.
    ///
    /// # Errors
    /// `TimedOut`, or as the kernel says.
    pub async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut deadline = Deadline::after(self.timeout);
        let mut waited = None;
        let read = poll_fn(|cx| {
            let polled = Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, into);
            if polled.is_pending() {
                waited = Some(Slice::current());
            }
            polled.or_timed_out(&mut deadline, cx)
        })
        .await;
        // Only a look at what came ends such a wait.
        if let Some(slice) = waited {
            slice.end();
        }
        read
    }

    /// Reads at most `bytes_max` and appends them to `into`; gives their number, zero at the end. So many bytes are made
    /// zeros first, however few come.
    ///
    /// May be dropped at any time without losing a byte.
    ///
    /// # Errors
    /// As [`read`](ReadHalf::read).
    pub async fn read_onto(&mut self, into: &mut Vec<u8>, bytes_max: usize) -> io::Result<usize> {
        let start = into.len();
        into.resize(start + bytes_max, 0);
        // Cuts off what was not read, also if this future is dropped.
        let mut tail = Tail { into, len: start };
        let bytes = self.read(&mut tail.into[start..]).await?;
        tail.len += bytes;
        Ok(bytes)
    }

    /// Closes both directions now; the other half's task wakes.
    pub fn shutdown(&self) {
        shutdown(&self.stream, Shutdown::Both);
    }

    /// Closes the connection, of which this is the last half; few at once.
    ///
    /// What a dropped connection waits for the runtime cancels, by a number that is another operation's as soon as the
    /// one that is meant has ended. It tells the kernel of as many as a ring takes before it begins anything, and of the
    /// rest behind: of a crowd that was dropped at once, they cancelled syncs of the disk.
    pub async fn close(self) {
        debug_assert_eq!(Rc::strong_count(&self.stream), 1, "the other half is there");
        let turn = CLOSING.with(|closing| closing.acquire(1)).await;
        drop(self);
        // By then the kernel was told.
        next_turn().await;
        drop(turn);
    }
}

/// The half of a connection that writes.
pub struct WriteHalf {
    stream: Rc<RefCell<TcpStream>>,
    timeout: Option<Duration>,
    written: Written,
}

/// How much the other side, and what lies between, has taken.
#[derive(Debug, Clone, Default)]
pub struct Written(Rc<Cell<u64>>);

impl Written {
    /// Bytes since the connection began.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.get()
    }
}

impl fmt::Debug for WriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteHalf")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl WriteHalf {
    /// Each later write fails with `TimedOut` if the other side takes nothing for that long.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Writes all of `bytes`.
    ///
    /// Do not drop this half-way and go on writing: the other side would see half a frame.
    ///
    /// # Errors
    /// `TimedOut`, `WriteZero`, or as the kernel says; how much went out is unknown then.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut deadline = Deadline::after(self.timeout);
            let written = poll_fn(|cx| {
                let polled = Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, bytes);
                polled.or_timed_out(&mut deadline, cx)
            })
            .await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            let before = self.written.bytes();
            self.written.0.set(before + written as u64);
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// How much was written; it goes on counting.
    #[must_use]
    pub fn written(&self) -> Written {
        self.written.clone()
    }

    /// Says that no more will be sent; the other side reads to the end of what was.
    pub fn finish(&self) {
        shutdown(&self.stream, Shutdown::Write);
    }

    /// Closes both directions now; the other half's task wakes.
    pub fn shutdown(&self) {
        shutdown(&self.stream, Shutdown::Both);
    }
}

/// Waits for a time only once there is something to wait for.
struct Deadline {
    after: Option<Duration>,
    timer: Option<Timer>,
}

impl Deadline {
    fn after(after: Option<Duration>) -> Self {
        Self { after, timer: None }
    }
}

trait OrTimedOut {
    fn or_timed_out(self, deadline: &mut Deadline, cx: &mut Context<'_>) -> Self;
}

impl<T> OrTimedOut for Poll<io::Result<T>> {
    fn or_timed_out(self, deadline: &mut Deadline, cx: &mut Context<'_>) -> Self {
        let (Self::Pending, Some(after)) = (&self, deadline.after) else {
            return self;
        };
        let timer = deadline.timer.get_or_insert_with(|| Timer::new(after));
        Pin::new(timer)
            .poll(cx)
            .map(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

struct Tail<'a> {
    into: &'a mut Vec<u8>,
    len: usize,
}

impl Drop for Tail<'_> {
    fn drop(&mut self) {
        self.into.truncate(self.len);
    }
}

fn shutdown(stream: &RefCell<TcpStream>, how: Shutdown) {
    // Fails only if the connection is gone already.
    let _ = socket::shutdown(stream.borrow().as_raw_fd(), how);
}

/// Notices a peer whose machine vanished within about two minutes.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    let socket = fd::borrow(stream);
    setsockopt(&socket, sockopt::KeepAlive, &true)?;
    setsockopt(&socket, sockopt::TcpKeepIdle, &60)?;
    setsockopt(&socket, sockopt::TcpKeepInterval, &15)?;
    setsockopt(&socket, sockopt::TcpKeepCount, &4)?;
    Ok(())
}

thread_local! {
    /// Turns to close a connection of this core.
    static CLOSING: Semaphore = Semaphore::new(CLOSING_MAX);
}

/// A connection may wait for two things; a ring takes twice as many as those are, so that others may cancel as well.
const CLOSING_MAX: u64 = (RING_DEPTH / 4) as u64;

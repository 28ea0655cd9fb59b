//! One connection to one address: frames, pipelining, limits, timeouts.
//!
//! Lives here: the socket, the two tasks that read and write it, the table that pairs requests
//! and answers, the pool that keeps one connection per address and user and spaces attempts.
//! Never here: what a request means, which core owns a partition, whether to try again.
//!
//! The law: **every request has exactly one ending, and the ending says whether the request may
//! have been taken.** Requests leave in the order they were entered; answers may come in
//! any. What is in flight stays below what the server announced, by waiting.

mod alarm;
mod backoff;
mod entry;
mod pool;
mod reader;
mod room;
mod socket;
mod table;
mod tasks;
mod ticket;
mod writer;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use corelog_protocol::frame::{self, CorrelationId};
use corelog_protocol::kind::Kind;
use corelog_protocol::message::{Call, hello};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::debug;

pub(crate) use alarm::{Alarm, in_time};
pub use backoff::Backoff;
pub(crate) use pool::{Key, Options, Pool, User};
pub(crate) use table::Permits;
pub(crate) use ticket::Ticket;

use self::socket::Sink;
use self::table::{Ending, Table};
use self::writer::Outbox;
use crate::Error;
use crate::error::Fault;

/// A live (or just ended) connection; clones share it, the last one closes it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    inner: Arc<Inner>,
}

/// What a request holds until it is answered, also where nobody waits any more: who gave it away sees by it that the
/// server may still have the request.
pub(crate) type Claim = Arc<()>;

/// An answer with its body, a slice of the receive buffer.
#[derive(Debug)]
pub(crate) struct Reply<T> {
    pub(crate) head: T,
    pub(crate) body: Bytes,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    outbox: Outbox,
    hello: hello::Answer,
}

/// What the tasks hold too.
#[derive(Debug)]
struct Shared {
    address: Arc<str>,
    table: Table,
    slots: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    bytes_max: AtomicU32,
    /// The writing task's, and gone with it.
    socket: Weak<Sink>,
    /// They read and write, and end with the connection.
    tasks: OnceLock<[AbortHandle; 2]>,
}

impl Connection {
    /// Connects and says Hello, all within `timeout`; `patience` is for how long its requests will be waited for.
    ///
    /// # Errors
    /// [`Error::Connect`] with the reason, [`Error::Version`].
    pub(crate) async fn open(
        address: Arc<str>,
        client: &str,
        timeout: Duration,
        patience: Duration,
    ) -> Result<Self, Error> {
        let deadline = Instant::now() + timeout;
        let failed = |fault: Fault| Error::Connect {
            address: Arc::clone(&address),
            source: Arc::new(fault),
        };
        let socket = match socket::connect(&address, deadline).await {
            Some(Ok(socket)) => socket,
            Some(Err(source)) => return Err(failed(Fault::Io { source })),
            None => return Err(failed(Fault::ConnectTimedOut { after: timeout })),
        };
        socket::set_up(&socket, patience).map_err(|source| failed(Fault::Io { source }))?;

        let (shared, outbox) = tasks::start(socket, Arc::clone(&address));
        let hello = hello::Request {
            versions: vec![frame::VERSION],
            client: client.to_owned(),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let greeted = async {
            let room = room::take(&shared, 0, left, hello::Request::KIND).await?;
            let ticket = entry::enter(&shared, &outbox, room, &hello, &Bytes::new(), left)?;
            ticket.answer::<hello::Request>().await
        };
        let hello = match greeted.await {
            Ok(reply) => reply.head,
            Err(error) => {
                let told = shared.table.fault();
                shared.close(Fault::Dropped);
                return Err(match (error, told) {
                    (Error::Lost { source, .. }, _) | (Error::TimedOut { .. }, Some(source)) => {
                        Error::Connect { address, source }
                    }
                    (Error::TimedOut { .. }, None) => {
                        failed(Fault::ConnectTimedOut { after: timeout })
                    }
                    (Error::Refused { body }, _) => failed(Fault::Refused { body }),
                    (Error::Answer { source, .. }, _) => failed(Fault::Frame { source }),
                    (other, _) => other,
                });
            }
        };
        if hello.version != frame::VERSION {
            shared.close(Fault::Dropped);
            let (found, supported) = (hello.version, frame::VERSION);
            return Err(Error::Version {
                address,
                found,
                supported,
            });
        }
        let limits = &hello.limits;
        shared
            .slots
            .add_permits((limits.in_flight_requests_max as usize).saturating_sub(1));
        let bytes_max = limits.in_flight_bytes_max.max(HELLO_BYTES_MAX);
        shared.bytes_max.store(bytes_max, Ordering::Relaxed);
        shared
            .bytes
            .add_permits((bytes_max - HELLO_BYTES_MAX) as usize);
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                outbox,
                hello,
            }),
        })
    }

    /// Waits until there is room for a request with so many bytes behind its head.
    ///
    /// # Errors
    /// [`Error::TimedOut`], or [`Error::Lost`] if the connection ended.
    pub(crate) async fn room<R: Call>(
        &self,
        body: usize,
        time: Duration,
    ) -> Result<Permits, Error> {
        room::take(&self.inner.shared, body, time, R::KIND).await
    }

    /// The same, if there is room now.
    pub(crate) fn room_now(&self, body: usize) -> Option<Permits> {
        room::now(&self.inner.shared, body)
    }

    /// If it goes on, and what nobody waits for any more keeps half of its room. With less, there is room for any request once
    /// the others are answered: none takes more than half of what a server announces.
    pub(crate) fn is_clogged(&self) -> bool {
        let Inner { shared, hello, .. } = &*self.inner;
        let (count, bytes) = shared.table.given_up();
        let count_max = hello.limits.in_flight_requests_max.max(1) as usize;
        let bytes_max = shared.bytes_max.load(Ordering::Relaxed) as usize;
        count_max <= 2 * count || bytes_max <= 2 * bytes
    }

    /// When anything came from the server last.
    pub(crate) fn last_heard(&self) -> Instant {
        self.inner.shared.table.last_heard()
    }

    /// Enters a request that there is room for; requests leave in the order of these calls.
    ///
    /// # Errors
    /// [`Error::Request`], or [`Error::Lost`] if the connection ended; nothing was sent then.
    pub(crate) fn enter<R: Call>(
        &self,
        request: &R,
        body: &Bytes,
        room: Permits,
        timeout: Duration,
    ) -> Result<Ticket, Error> {
        let Inner { shared, outbox, .. } = &*self.inner;
        entry::enter(shared, outbox, room, request, body, timeout)
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// Any of a request's endings; [`Error::outcome`] tells them apart.
    pub(crate) async fn call<R: Call>(
        &self,
        request: &R,
        timeout: Duration,
    ) -> Result<Reply<R::Answer>, Error> {
        let room = self.room::<R>(0, timeout).await?;
        let ticket = self.enter(request, &Bytes::new(), room, timeout)?;
        ticket.answer::<R>().await
    }

    /// What the server said when the connection began.
    pub(crate) fn hello(&self) -> &hello::Answer {
        &self.inner.hello
    }

    pub(crate) fn address(&self) -> &Arc<str> {
        &self.inner.shared.address
    }

    /// True if no clone of it is left.
    pub(crate) fn is_last(&self) -> bool {
        Arc::strong_count(&self.inner) == 1
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inner.shared.table.is_closed()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.close(Fault::Dropped);
    }
}

impl Shared {
    /// Ends the connection; what was sent still arrives.
    fn close(&self, fault: Fault) {
        if self.table.close(fault) {
            self.end();
        }
    }

    /// Ends the connection, and takes back from the system what has not arrived: whoever asked is told that the outcome is
    /// unknown, and goes on elsewhere. Where nothing was asked it ends in order.
    fn break_off(&self, fault: Fault) {
        let is_asked = !self.table.is_empty();
        if self.table.close(fault) {
            if let Some(socket) = self.socket.upgrade().filter(|_| is_asked) {
                socket.discard();
            }
            self.end();
        }
    }

    fn end(&self) {
        if let Some(why) = self.table.fault() {
            debug!(address = %self.address, %why, "connection ended");
        }
        self.slots.close();
        self.bytes.close();
        self.end_tasks();
    }

    /// Takes no more requests, while those that were sent, up to the one that the server took last if it says which, may be
    /// answered yet, until the time that is returned.
    fn refuse(&self, fault: Fault, taken: Option<CorrelationId>) -> Option<Instant> {
        let last = self.table.refuse(fault, taken);
        self.slots.close();
        self.bytes.close();
        last
    }

    fn end_tasks(&self) {
        for task in self.tasks.get().into_iter().flatten() {
            task.abort();
        }
    }

    /// Ends the connection if nothing at all was heard for long although something was asked at `since`: the other
    /// side is dead, and whoever else waits should not have to find out one by one. A request that had little time
    /// alone says nothing of those who have more.
    fn give_up_on_silence(&self, since: Instant) {
        let silence = self.table.silence(since);
        if let Some(after) = silence.filter(|silence| *silence >= SILENCE_MIN) {
            self.break_off(Fault::Silent { after });
        }
    }

    fn timed_out(&self, kind: Kind, after: Duration, is_sent: bool) -> Error {
        let address = Arc::clone(&self.address);
        Error::TimedOut {
            address,
            kind,
            after,
            is_sent,
            refused: None,
        }
    }

    fn lost(&self, ending: Ending) -> Error {
        let address = Arc::clone(&self.address);
        Error::Lost {
            address,
            may_be_taken: ending.may_be_taken,
            source: ending.fault,
        }
    }

    /// The error of a request that was never entered.
    fn not_entered(&self) -> Error {
        let fault = self
            .table
            .fault()
            .unwrap_or_else(|| Arc::new(Fault::Dropped));
        self.lost(Ending {
            may_be_taken: false,
            fault,
        })
    }
}

/// A server that is silent for less may only be slow.
const SILENCE_MIN: Duration = Duration::from_secs(1);

/// Room for a Hello before the server said how much there is.
const HELLO_BYTES_MAX: u32 = 4 << 10;

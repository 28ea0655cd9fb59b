//! The stream of a connection, which notes until when that keeps its place whoever waits for one.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long a connection that has asked keeps its place at most: longer than a core has to answer, and less than probes wait.
pub(super) const PLACE_MIN: Duration = Duration::from_secs(3);
/// How long one does whose client has not asked: its request comes right behind it, or a little later through a tunnel. More
/// than a hundred of them pass in a second.
pub(super) const SILENCE_MIN: Duration = Duration::from_millis(100);
/// How long one does that could be given no more of its answer. The system tells of room only when a good part of what it
/// holds has arrived: with a reader that is far away, or slow, not at once.
const TAKEN_WITHIN: Duration = Duration::from_millis(500);

/// Until when a connection keeps its place.
pub(super) struct Term {
    since: Instant,
    until: Mutex<Instant>,
}

/// A stream whose client may take its time, within its term.
pub(super) struct Stream {
    inner: TokioIo<TcpStream>,
    term: Arc<Term>,
}

impl Term {
    /// Of a connection that came now.
    pub(super) fn from(now: Instant) -> Self {
        Self {
            since: now,
            until: Mutex::new(now + SILENCE_MIN),
        }
    }

    pub(super) fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its client has asked: now it waits for us.
    pub(super) fn asked(&self) {
        self.set(self.since + PLACE_MIN);
    }

    /// Its client takes the answer: it could be given more of it.
    fn took(&self, now: Instant) {
        self.set((now + TAKEN_WITHIN).min(self.since + PLACE_MIN));
    }

    fn set(&self, until: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

impl Stream {
    pub(super) fn new(stream: TcpStream, term: Arc<Term>) -> Self {
        let inner = TokioIo::new(stream);
        Self { inner, term }
    }

    fn noted(&self, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if wrote.is_ready() {
            self.term.took(Instant::now());
        }
        wrote
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.noted(wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.noted(wrote)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_waited_for_and_then_as_long_as_it_takes_something_of_the_answer() {
        let begun = Instant::now();
        let term = Term::from(begun);
        assert_eq!(term.until(), begun + SILENCE_MIN);
        term.asked();
        assert_eq!(term.until(), begun + PLACE_MIN);
        for took in [begun, begun + PLACE_MIN / 2] {
            term.took(took);
            assert_eq!(term.until(), took + TAKEN_WITHIN);
        }
        term.took(begun + PLACE_MIN);
        assert_eq!(term.until(), begun + PLACE_MIN, "by and by is no way out");
    }
}

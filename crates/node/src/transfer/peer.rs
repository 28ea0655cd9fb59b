//! A connection to another node that carries bulk bytes, of a thread that may wait.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::pin::pin;
use std::time::{Duration, Instant};

use corelog_protocol::error::ErrorBody;
use corelog_protocol::frame::{
    self, CorrelationId, Decoder, Frame, FrameError, PREFIX_BYTES, Peek,
};
use corelog_protocol::message::{Call, copy_segments, hello};
use corelog_protocol::{answer, limits, request};
use futures_lite::future::{block_on, poll_once, yield_now};

use super::send::PLACE_WAIT_MAX;
use super::stop::Stop;
use crate::names::{self, REACH_TIMEOUT};
use crate::rt;

/// A connection on which Hello was said. One request at a time.
#[derive(Debug)]
pub(crate) struct Peer<'a> {
    stream: TcpStream,
    stop: &'a Stop,
    /// How long the other node may send nothing of what it was asked for.
    patience: Duration,
    last: u32,
    /// The frame that comes in, up to the end of its head.
    head: Vec<u8>,
}

/// Until when something has to be there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    at: Instant,
    /// How long that is from the start.
    patience: Duration,
}

/// Why another node does not answer as it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PeerError {
    /// There is no way to it.
    #[error("it cannot be reached")]
    Unreachable {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The connection ended in the middle.
    #[error("the connection was cut")]
    Cut {
        /// What ended it.
        #[source]
        source: io::Error,
    },
    /// Nothing, or next to nothing, came for as long as it may take.
    #[error("nothing came for {} ms", patience.as_millis())]
    Stalled {
        /// How long that was.
        patience: Duration,
    },
    /// What came is no answer.
    #[error("what it sent is no answer")]
    Frame(#[from] FrameError),
    /// It speaks another version.
    #[error("it speaks version {found}")]
    Version {
        /// Which.
        found: u8,
    },
    /// It refused.
    #[error("it refused: {0}")]
    Refused(Box<ErrorBody>),
    /// It sent bytes that nobody asked for.
    #[error("it sent other bytes than those asked for")]
    Astray,
    /// This node does not want any more.
    #[error("it is not asked any more")]
    Stopped,
}

impl<'a> Peer<'a> {
    /// Connects to `address`, `host:port`, and says Hello as `client`. The name is looked up each time: where it is
    /// may have changed.
    ///
    /// # Errors
    /// [`PeerError`].
    pub(crate) fn connect(
        address: &str,
        client: &str,
        patience: Duration,
        stop: &'a Stop,
    ) -> Result<Self, PeerError> {
        let deadline = rt::now() + REACH_TIMEOUT;
        let stream = reach(address, deadline, stop)?;
        let left = deadline.saturating_duration_since(rt::now());
        let mut peer = Self {
            stream,
            stop,
            patience: patience.min(left),
            last: 0,
            head: Vec::new(),
        };
        let greeting = hello::Request {
            versions: vec![frame::VERSION],
            client: client.to_owned(),
        };
        let found = peer.ask(&greeting)?.version;
        peer.patience = patience;
        match found == frame::VERSION {
            true => Ok(peer),
            false => Err(PeerError::Version { found }),
        }
    }

    /// Asks, and waits for the answer, which has no body.
    ///
    /// # Errors
    /// [`PeerError`].
    pub(crate) fn ask<R: Call>(&mut self, request: &R) -> Result<R::Answer, PeerError> {
        self.send(request)?;
        self.answer::<R>()
    }

    /// Sends a request without a body.
    ///
    /// # Errors
    /// [`PeerError::Cut`].
    pub(crate) fn send<R: Call>(&mut self, request: &R) -> Result<(), PeerError> {
        self.last = self.last.wrapping_add(1);
        let mut frame = Vec::new();
        request::encode(CorrelationId::new(self.last), request, 0, &mut frame)?;
        let sent = self.stream.write_all(&frame);
        sent.map_err(|source| PeerError::Cut { source })
    }

    /// The next piece of segments that were asked for; its bytes are to be read behind it. Before each of them the
    /// other node may wait for its turn to send it, as long as this one `goes_on`.
    ///
    /// # Errors
    /// [`PeerError`].
    pub(crate) fn piece(
        &mut self,
        goes_on: impl Fn() -> bool,
    ) -> Result<copy_segments::Answer, PeerError> {
        let patience = self.patience + PLACE_WAIT_MAX;
        let (answer, body_bytes) = self.head::<copy_segments::Request>(patience, &goes_on)?;
        match answer.bytes as usize == body_bytes {
            true => Ok(answer),
            false => Err(PeerError::Astray),
        }
    }

    /// When a piece of so many bytes has to be there.
    pub(crate) fn deadline(&self, bytes: u64) -> Deadline {
        Deadline::of(self.patience + Duration::from_secs(bytes / RATE_MIN))
    }

    /// Reads some of the bytes that come, at least one.
    ///
    /// # Errors
    /// [`PeerError::Cut`], [`PeerError::Stalled`] at the deadline, [`PeerError::Stopped`] once it does not go on.
    pub(crate) fn read(
        &mut self,
        into: &mut [u8],
        deadline: Deadline,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<usize, PeerError> {
        loop {
            // Before each read: who sends a byte now and then is not waited for longer than who sends none.
            if !goes_on() {
                return Err(PeerError::Stopped);
            }
            if deadline.at <= rt::now() {
                let patience = deadline.patience;
                return Err(PeerError::Stalled { patience });
            }
            match self.stream.read(into) {
                Ok(0) => {
                    let source = ErrorKind::UnexpectedEof.into();
                    return Err(PeerError::Cut { source });
                }
                Ok(bytes) => return Ok(bytes),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_waiting(&error) => {}
                Err(source) => return Err(PeerError::Cut { source }),
            }
        }
    }

    fn answer<R: Call>(&mut self) -> Result<R::Answer, PeerError> {
        let stop = self.stop;
        match self.head::<R>(self.patience, &|| !stop.is_set())? {
            (answer, 0) => Ok(answer),
            _ => Err(PeerError::Astray),
        }
    }

    /// The head of the next frame, and how many bytes come behind it.
    fn head<R: Call>(
        &mut self,
        patience: Duration,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<(R::Answer, usize), PeerError> {
        let deadline = Deadline::of(patience);
        let decoder = Decoder::answers(limits::FRAME_BYTES_MAX);
        self.head.clear();
        let mut needed = PREFIX_BYTES;
        loop {
            self.read_up_to(needed, deadline, goes_on)?;
            match decoder.peek_head(&self.head)? {
                Peek::Need(bytes) => needed = bytes,
                Peek::Frame(frame) => return self.taken::<R>(&frame),
            }
        }
    }

    fn taken<R: Call>(&self, frame: &Frame<'_>) -> Result<(R::Answer, usize), PeerError> {
        let told = answer::decode::<R>(frame)?;
        let answer = told.map_err(|body| PeerError::Refused(Box::new(body)))?;
        match frame.header.correlation.get() == self.last {
            true => Ok((answer, frame.header.body_bytes())),
            false => Err(PeerError::Astray),
        }
    }

    /// Reads until the head has so many bytes: never more, what is behind belongs elsewhere.
    fn read_up_to(
        &mut self,
        bytes: usize,
        deadline: Deadline,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<(), PeerError> {
        let mut head = std::mem::take(&mut self.head);
        let mut there = head.len();
        head.resize(bytes, 0);
        while there < bytes {
            there += self.read(&mut head[there..], deadline, goes_on)?;
        }
        self.head = head;
        Ok(())
    }
}

impl Deadline {
    fn of(patience: Duration) -> Self {
        Self {
            at: rt::now() + patience,
            patience,
        }
    }

    /// What took so long was no delay of the other node's.
    pub(crate) fn extend(&mut self, delay: Duration) {
        self.at += delay;
    }
}

/// Connects to `address` unless that takes too long, or nobody wants it any more.
fn reach(address: &str, deadline: Instant, stop: &Stop) -> Result<TcpStream, PeerError> {
    let connect = async |at, timeout| match stop.is_set() {
        true => Err(ErrorKind::Interrupted.into()),
        false => TcpStream::connect_timeout(&at, timeout),
    };
    let mut reached = pin!(names::reach(address, deadline, |_| yield_now(), connect));
    let reached = loop {
        if let Some(reached) = block_on(poll_once(&mut reached)) {
            break reached;
        }
        if stop.is_set() || deadline <= rt::now() {
            break Err(ErrorKind::TimedOut.into());
        }
        stop.pause(names::PAUSE);
    };
    if stop.is_set() {
        return Err(PeerError::Stopped);
    }
    let prepared = reached.and_then(|stream| {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK_EVERY))?;
        stream.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(stream)
    });
    prepared.map_err(|source| PeerError::Unreachable { source })
}

fn is_waiting(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// How long sending a request may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// How often who waits for bytes looks if anybody still wants them.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Who sends fewer bytes in a second than this is stalling: no piece of a node that shares its rate
/// with others takes as long.
pub(crate) const RATE_MIN: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::names::tests::unanswered;

    /// A thread that received segments was half a minute in a lookup, of a name that nobody answers for any more, and
    /// went on with it when its order was not wanted any longer.
    #[test]
    fn a_name_that_nobody_answers_for_is_waited_for_until_the_deadline_or_the_stop() {
        let _held = unanswered("gone.test");
        let stop = Stop::default();
        let reached = reach("gone.test:1", rt::now() + LOOK_EVERY, &stop);
        let Err(PeerError::Unreachable { source }) = reached else {
            panic!("{reached:?}");
        };
        assert_eq!(source.kind(), ErrorKind::TimedOut);
        let begun = rt::now();
        thread::scope(|scope| {
            let connecting = || Peer::connect("gone.test:1", "a test", REACH_TIMEOUT, &stop);
            let connecting = scope.spawn(connecting);
            stop.set();
            let connected = connecting.join().unwrap();
            assert!(
                matches!(connected, Err(PeerError::Stopped)),
                "{connected:?}"
            );
            assert!(rt::now() < begun + REACH_TIMEOUT, "it was not waited for");
        });
    }
}

//! One turn of a transfer: pieces of a file, each behind the head of its answer.

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use corelog_protocol::answer;
use corelog_protocol::frame::{CorrelationId, FrameError};
use corelog_protocol::message::copy_segments::{Answer, Request};
use corelog_record::{Offset, Position};

use super::budget::Budget;
use super::cache::Footprint;
use super::places::Places;
use crate::rt;
use crate::sys::{bulk, pages};

/// What is sent, and to whom.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) socket: OwnedFd,
    pub(super) correlation: CorrelationId,
    pub(super) segment: Offset,
    pub(super) generation: u32,
    pub(super) file: OwnedFd,
    /// The part of it that is still to be sent.
    pub(super) bytes: Range<u64>,
    pub(super) piece_bytes_max: u32,
    /// How long the peer may take nothing.
    pub(super) patience: Duration,
    /// Bytes of the file that are sent, as they are, whatever comes of the rest.
    pub(super) sent: Arc<AtomicU64>,
}

/// What came of a turn.
#[derive(Debug)]
pub(super) enum Over {
    /// All is sent below this position, which is the end of a piece.
    Sent(u64),
    /// The file could not be read from this position on; all before it is sent. `is_midway`: in the middle of an answer.
    Unread {
        position: u64,
        source: io::Error,
        is_midway: bool,
    },
    /// The stream broke in the middle of an answer.
    Cut(io::Error),
}

/// A turn that is taken.
struct Sending<'a, F> {
    socket: OwnedFd,
    footprint: Footprint,
    budget: &'a Budget,
    places: &'a Places,
    /// Bytes that may be sent at once.
    allowed: u64,
    patience: Duration,
    sent: Arc<AtomicU64>,
    pace: Pace,
    is_over: F,
}

/// How the peer takes a piece.
#[derive(Debug, Default)]
struct Pace {
    /// Bytes of the piece.
    bytes: u64,
    /// How long it has been taking it.
    spent: Duration,
    /// How long it has taken nothing.
    idle: Duration,
}

/// What is asked of a peer.
#[derive(Debug, Clone, Copy)]
struct Manners {
    /// How long it may take nothing, and how much longer for a piece than its bytes need.
    patience: Duration,
    bytes_per_second: u64,
}

impl Turn {
    /// Sends pieces until all is sent, the turn is over, or nobody waits for it any more. Gives what
    /// the page cache is to be rid of.
    pub(super) fn take(
        self,
        budget: &Budget,
        places: &Places,
        is_over: impl Fn() -> bool,
    ) -> (Over, Footprint) {
        let begun = rt::now();
        let mut head = Vec::new();
        let mut position = self.bytes.start;
        let piece_bytes_max = budget.piece(u64::from(self.piece_bytes_max));
        let mut sending = Sending {
            footprint: Footprint::new(self.file, &self.bytes),
            socket: self.socket,
            budget,
            places,
            allowed: 0,
            patience: self.patience,
            sent: self.sent,
            pace: Pace::default(),
            is_over,
        };
        if let Err(error) = bulk::wait_at_most(&sending.socket, LOOK_EVERY) {
            return (Over::Cut(error), sending.footprint);
        }
        loop {
            let end = self
                .bytes
                .end
                .min(position + piece(places, piece_bytes_max));
            sending.footprint.advance(position);
            if let Err(source) = pages::are_readable(sending.footprint.file(), &(position..end)) {
                let unread = Over::Unread {
                    position,
                    source,
                    is_midway: false,
                };
                return (unread, sending.footprint);
            }
            let is_final = end == self.bytes.end;
            let answer = Answer {
                segment: self.segment,
                generation: self.generation,
                position: Position::new(position).unwrap_or(Position::MAX),
                bytes: u32::try_from(end - position).unwrap_or(u32::MAX),
                is_final,
            };
            head.clear();
            let encoded = encode(self.correlation, &answer, &mut head);
            sending.pace.begin_piece(end - position);
            let sent = encoded.and_then(|()| sending.send(&head, &mut position, end));
            if let Err(error) = sent {
                return (sending.why(error, position..end), sending.footprint);
            }
            if is_final || begun.elapsed() >= TURN {
                return (Over::Sent(position), sending.footprint);
            }
        }
    }
}

impl<F: Fn() -> bool> Sending<'_, F> {
    /// Sends a piece, from `position` to `end`, behind its head; `position` moves with what is sent.
    fn send(&mut self, mut head: &[u8], position: &mut u64, end: u64) -> io::Result<()> {
        while !head.is_empty() {
            let begun = rt::now();
            let sent = bulk::send_ahead(&self.socket, head, end - *position);
            let sent = self.waited(begun, sent)?;
            head = head.get(sent..).unwrap_or_default();
        }
        while *position < end {
            self.footprint.advance(*position);
            let wanted = self.allowance(end - *position)?;
            let begun = rt::now();
            let sent = bulk::send_file(&self.socket, self.footprint.file(), *position, wanted);
            let is_blocked = sent.as_ref().is_err_and(is_waiting);
            let bytes = sent.as_ref().map_or(0, |bytes| *bytes as u64);
            self.sent.fetch_add(bytes, Ordering::Relaxed);
            let sent = self.waited(begun, sent)? as u64;
            if sent == 0 && !is_blocked {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.allowed -= sent.min(self.allowed);
            *position += sent;
        }
        Ok(())
    }

    /// Why so much of a piece was not sent: sendfile(2) tells of the file as of the socket.
    fn why(&self, error: io::Error, left: Range<u64>) -> Over {
        match pages::are_readable(self.footprint.file(), &left) {
            Ok(()) => Over::Cut(error),
            Err(source) => Over::Unread {
                position: left.start,
                source,
                is_midway: true,
            },
        }
    }

    /// How many of so many bytes may be sent now; waits until it is some.
    fn allowance(&mut self, wanted: u64) -> io::Result<u64> {
        if self.allowed == 0 {
            let portion = self.budget.portion().min(wanted);
            if !self.budget.wait(portion, &self.is_over) {
                return Err(nobody_waits());
            }
            self.allowed = portion;
        }
        Ok(self.allowed.min(wanted))
    }

    /// What a call sent, which may be nothing as long as the patience with the peer lasts.
    fn waited(&mut self, begun: Instant, sent: io::Result<usize>) -> io::Result<usize> {
        let elapsed = begun.elapsed();
        let sent = match sent {
            Err(error) if is_waiting(&error) => 0,
            other => other?,
        };
        if (self.is_over)() {
            return Err(nobody_waits());
        }
        self.pace.took(sent, elapsed);
        let manners = Manners::asked(self.places, self.patience);
        match self.pace.is_too_slow(manners) {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(sent),
        }
    }
}

impl Manners {
    /// Better ones, where others wait for a turn.
    fn asked(places: &Places, patience: Duration) -> Self {
        match places.is_anybody_waiting() {
            true => Self {
                patience: patience.min(SHORT_PATIENCE),
                bytes_per_second: SHORT_BYTES_PER_SECOND,
            },
            false => Self {
                patience,
                bytes_per_second: SLOWEST_BYTES_PER_SECOND,
            },
        }
    }
}

impl Pace {
    fn begin_piece(&mut self, bytes: u64) {
        (self.bytes, self.spent) = (bytes, Duration::ZERO);
    }

    /// So many bytes were taken in that time.
    fn took(&mut self, bytes: usize, elapsed: Duration) {
        self.spent += elapsed;
        self.idle = match bytes {
            0 => self.idle + elapsed,
            _ => Duration::ZERO,
        };
    }

    /// If the peer takes nothing, or so little now and then that it is not reading either.
    fn is_too_slow(&self, manners: Manners) -> bool {
        let Manners {
            patience,
            bytes_per_second,
        } = manners;
        let slack = Duration::from_secs(self.bytes / bytes_per_second);
        self.idle > patience || self.spent > patience + slack
    }
}

/// How long the next piece is: a turn ends with one, so a short one while others wait.
fn piece(places: &Places, bytes_max: u64) -> u64 {
    match places.is_anybody_waiting() {
        true => bytes_max.min(SHORT_PIECE_BYTES),
        false => bytes_max,
    }
}

/// If a call took nothing only because the peer did not, or for a signal.
fn is_waiting(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

fn nobody_waits() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "nobody waits for it")
}

fn encode(correlation: CorrelationId, answer: &Answer, head: &mut Vec<u8>) -> io::Result<()> {
    let encoded = answer::encode_ok::<Request>(correlation, answer, answer.bytes as usize, head);
    encoded.map_err(|error: FrameError| io::Error::other(error))
}

/// A turn ends with the first piece after this.
const TURN: Duration = Duration::from_secs(2);
/// How often a blocked sender looks if anybody still wants the bytes.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A peer takes at least this much.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 << 10;
/// And this much while others wait for a turn.
const SHORT_BYTES_PER_SECOND: u64 = 512 << 10;
/// Bytes of a piece then: a peer that takes just enough of them is done with one in six seconds.
const SHORT_PIECE_BYTES: u64 = 512 << 10;
/// How long a peer may take nothing then.
const SHORT_PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use corelog_protocol::frame::{Decoder, Peek};
    use corelog_protocol::limits;
    use futures_lite::future::{block_on, poll_once};

    use super::super::send::PLACE_WAIT_MAX;
    use super::*;

    const PIECE: u64 = 4 << 20;

    /// A turn that sends a file of one piece, the file, and who receives it.
    fn turn() -> (Turn, File, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let file = tempfile::tempfile().unwrap();
        file.set_len(PIECE).unwrap();
        let turn = Turn {
            socket: socket.into(),
            correlation: CorrelationId::new(1),
            segment: Offset::ZERO,
            generation: 0,
            file: file.try_clone().unwrap().into(),
            bytes: 0..PIECE,
            piece_bytes_max: u32::MAX,
            patience: Duration::from_secs(60),
            sent: Arc::default(),
        };
        (turn, file, peer)
    }

    /// The bytes of the file in each answer that is sent.
    fn pieces(places: &Places) -> Vec<u64> {
        let (turn, _file, mut peer) = turn();
        let reading = thread::spawn(move || {
            let mut bytes = Vec::new();
            peer.read_to_end(&mut bytes).map(|_| bytes)
        });
        drop(turn.take(&Budget::new(0), places, || false));
        let bytes = reading.join().unwrap().unwrap();
        let decoder = Decoder::answers(limits::FRAME_BYTES_MAX);
        let (mut at, mut pieces) = (0, Vec::new());
        while let Peek::Frame(frame) = decoder.peek(&bytes[at..]).unwrap() {
            pieces.push(frame.body.len() as u64);
            at += frame.header.total_bytes();
        }
        pieces
    }

    /// For how many seconds a peer may take so much in each of a piece that was begun before anybody waited.
    fn lasts(places: &Places, bytes_per_second: usize) -> usize {
        let mut pace = Pace::default();
        pace.begin_piece(PIECE);
        let mut is_too_slow = || {
            pace.took(bytes_per_second, Duration::from_secs(1));
            pace.is_too_slow(Manners::asked(places, Duration::from_secs(30)))
        };
        (0..1_000).take_while(|_| !is_too_slow()).count()
    }

    /// The peer was taken to have gone, and nobody looked at the file.
    #[test]
    fn a_file_that_ends_in_the_middle_of_an_answer_is_what_cannot_be_read() {
        let (turn, file, mut peer) = turn();
        let reading = thread::spawn(move || io::copy(&mut peer, &mut io::sink()));
        // It is asked after each call: the first one sends the head.
        let is_over = || {
            file.set_len(4096).unwrap();
            false
        };
        let (over, footprint) = turn.take(&Budget::new(0), &Places::new(1), is_over);
        match over {
            Over::Unread {
                position,
                is_midway: true,
                ..
            } => assert!(position < PIECE),
            other => panic!("{other:?}"),
        }
        drop(footprint);
        assert!(reading.join().unwrap().unwrap() < PIECE);
    }

    /// By the metrics it was sent nothing in that turn, nor one that nobody waits for any more.
    #[test]
    fn what_was_sent_to_a_peer_before_it_is_cut_counts() {
        let (mut turn, file, _peer) = turn();
        let bytes = 64 << 20;
        file.set_len(bytes).unwrap();
        (turn.bytes, turn.patience) = (0..bytes, Duration::ZERO);
        turn.piece_bytes_max = u32::try_from(PIECE).unwrap();
        let sent = Arc::clone(&turn.sent);
        let (over, _) = turn.take(&Budget::new(0), &Places::new(1), || false);
        assert!(matches!(over, Over::Cut(_)), "{over:?}");
        let sent = sent.load(Ordering::Relaxed);
        assert!((1..bytes).contains(&sent), "{sent}");
    }

    /// A piece of 4 MiB kept a place for 13 s, and 24 peers kept all others waiting for longer than those wait.
    #[test]
    fn pieces_are_short_while_others_wait_for_a_turn() {
        let places = Places::new(0);
        assert_eq!(pieces(&places), [PIECE]);
        let mut waiter = Box::pin(places.next());
        assert!(block_on(poll_once(&mut waiter)).is_none());
        assert_eq!(pieces(&places), [SHORT_PIECE_BYTES; 8]);
        drop(waiter);
        let lasts = SHORT_PIECE_BYTES / SHORT_BYTES_PER_SECOND;
        let lasts = TURN + SHORT_PATIENCE + Duration::from_secs(lasts);
        assert!(24 / 8 * lasts < PLACE_WAIT_MAX, "{lasts:?}");
    }

    /// Eight peers that did not read, or hardly, kept all others waiting until those gave up.
    #[test]
    fn a_peer_that_does_not_read_is_cut_sooner_while_others_wait_for_its_turn() {
        let places = Places::new(0);
        assert_eq!((lasts(&places, 0), lasts(&places, 1)), (30, 30 + 64));
        let mut waiter = Box::pin(places.next());
        assert!(block_on(poll_once(&mut waiter)).is_none());
        assert_eq!((lasts(&places, 0), lasts(&places, 1)), (5, 5 + 8));
        drop(waiter);
        assert_eq!(lasts(&places, 0), 30);
    }
}

//! Very many connections, each of which does one thing again and again. One thread looks after all of
//! them, never waits for any, and connects again where the server has closed.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use corelog_protocol::frame::CorrelationId;
use corelog_protocol::message::{Call, hello, metadata, ping};
use corelog_protocol::request;
use corelog_record::Offset;
use corelog_record::batch::Codec;
use nix::sys::socket::{setsockopt, sockopt};

use crate::support::wire::{Target, Wire, batch};

/// How the connections behave.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    Benign,
    Hostile,
}

/// What one connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// Asks how the server is.
    Ask,
    /// Sends a request a byte at a time.
    Slowloris,
    /// Asks for much and reads nothing of it.
    NeverRead,
    /// Sends what is no frame.
    Garbage,
    /// Says that a frame of the largest size comes, or a larger one, and sends a little of it.
    Oversize,
    /// Connects, perhaps says hello, and is silent.
    HalfOpen,
    /// Connects and leaves, with or without a word.
    Churn,
}

const HOSTILE: [Deed; 6] = [
    Deed::Slowloris,
    Deed::NeverRead,
    Deed::Garbage,
    Deed::Oversize,
    Deed::HalfOpen,
    Deed::Churn,
];

/// One place in the crowd.
struct Place {
    deed: Deed,
    stream: Option<TcpStream>,
    has_connected: bool,
    /// What is still to be sent of what it was about to.
    to_send: Vec<u8>,
    turns: u64,
}

/// A crowd that is at it.
pub(crate) struct Crowd {
    is_over: Arc<AtomicBool>,
    tally: Arc<Tally>,
    count: usize,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Tally {
    /// How many places have ever been connected.
    places: AtomicUsize,
    open: AtomicUsize,
    connects: AtomicU64,
    closed: AtomicU64,
    sent: AtomicU64,
}

/// What a crowd did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Did {
    pub(crate) connects: u64,
    /// How many were open at the end.
    pub(crate) open: usize,
    /// How often the server closed one, or took none.
    pub(crate) closed: u64,
    pub(crate) sent: u64,
}

/// Gives those who never read something to ask for.
pub(crate) fn fill(wire: &mut Wire) {
    let topic = wire.topic(BAIT, 1, 16 << 20);
    let values = [vec![b'x'; 500_000], vec![b'y'; 500_000]];
    for _ in 0..8 {
        let body = batch(Codec::None, &values);
        wire.call(&topic.produce(0), &body).unwrap().unwrap();
    }
}

const BAIT: &str = "bait";
/// How often each connection has its turn.
const TURN: Duration = Duration::from_secs(1);

impl Crowd {
    /// Begins one of so many connections.
    pub(crate) fn begin(server: SocketAddr, manners: Manners, count: usize) -> Self {
        let (is_over, tally) = (Arc::<AtomicBool>::default(), Arc::<Tally>::default());
        let mut wire = Wire::open(server).unwrap();
        let bait = wire.topic(BAIT, 1, 16 << 20);
        let place = |number| Place {
            deed: match manners {
                Manners::Benign => Deed::Ask,
                Manners::Hostile => HOSTILE[number % HOSTILE.len()],
            },
            stream: None,
            has_connected: false,
            to_send: Vec::new(),
            turns: number as u64,
        };
        let places: Vec<_> = (0..count).map(place).collect();
        let (over, told) = (Arc::clone(&is_over), Arc::clone(&tally));
        let thread = thread::spawn(move || live(server, &bait, places, &over, &told));
        Self {
            is_over,
            tally,
            count,
            thread,
        }
    }

    /// If each of it has been connected.
    pub(crate) fn is_complete(&self) -> bool {
        self.tally.places.load(Ordering::Relaxed) == self.count
    }

    /// Ends it; what it did.
    pub(crate) fn end(self) -> Did {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        let tally = &self.tally;
        let [connects, closed, sent] =
            [&tally.connects, &tally.closed, &tally.sent].map(|n| n.load(Ordering::Relaxed));
        Did {
            connects,
            open: tally.open.load(Ordering::Relaxed),
            closed,
            sent,
        }
    }
}

impl fmt::Display for Did {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connects,
            open,
            closed,
            sent,
        } = self;
        write!(
            out,
            "{connects} connects, {open} open at the end, {closed} closed by the server, {sent} bytes sent"
        )
    }
}

fn live(
    server: SocketAddr,
    bait: &Target,
    mut places: Vec<Place>,
    is_over: &AtomicBool,
    tally: &Tally,
) {
    let mut random = fastrand::Rng::with_seed(7);
    while !is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        for place in &mut places {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            if place.turn(server, bait, &mut random, tally).is_err() {
                place.stream = None;
                place.to_send.clear();
                tally.closed.fetch_add(1, Ordering::Relaxed);
            }
        }
        let open = places.iter().filter(|place| place.stream.is_some());
        tally.open.store(open.count(), Ordering::Relaxed);
        thread::park_timeout(TURN.saturating_sub(begun.elapsed()));
    }
}

impl Place {
    /// Does a little of what it does.
    fn turn(
        &mut self,
        server: SocketAddr,
        bait: &Target,
        random: &mut fastrand::Rng,
        tally: &Tally,
    ) -> io::Result<()> {
        self.turns += 1;
        if self.stream.is_none() {
            let stream = TcpStream::connect_timeout(&server, Duration::from_secs(1))?;
            stream.set_nonblocking(true)?;
            tally.connects.fetch_add(1, Ordering::Relaxed);
            if !std::mem::replace(&mut self.has_connected, true) {
                tally.places.fetch_add(1, Ordering::Relaxed);
            }
            self.to_send = first(self.deed, bait, self.turns, random);
            self.stream = Some(stream);
        }
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        if self.deed == Deed::Ask {
            self.to_send.extend(frame(&ping::Request {}, &[]));
        }
        let most = match self.deed {
            Deed::Slowloris => 1,
            _ => self.to_send.len(),
        };
        if self.to_send.is_empty() && self.deed == Deed::Slowloris {
            self.to_send = frame(&ping::Request {}, &[]);
        }
        let wanted = &self.to_send[..most.min(self.to_send.len())];
        match stream.write(wanted) {
            Ok(sent) => {
                self.to_send.drain(..sent);
                tally.sent.fetch_add(sent as u64, Ordering::Relaxed);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        match self.deed {
            Deed::NeverRead => is_closed(stream),
            Deed::Churn => {
                // Every other one leaves without a goodbye, what it was sent unread.
                if self.turns.is_multiple_of(2) {
                    let now = nix::libc::linger {
                        l_onoff: 1,
                        l_linger: 0,
                    };
                    setsockopt(stream, sockopt::Linger, &now).map_err(io::Error::from)?;
                }
                self.stream = None;
                self.to_send.clear();
                Ok(())
            }
            _ => read_away(stream),
        }
    }
}

/// What a connection is to send first.
fn first(deed: Deed, bait: &Target, turns: u64, random: &mut fastrand::Rng) -> Vec<u8> {
    let hello = frame(
        &hello::Request {
            versions: vec![1],
            client: "crowd".to_owned(),
        },
        &[],
    );
    match deed {
        Deed::Ask | Deed::Slowloris => hello,
        Deed::Churn | Deed::HalfOpen if turns.is_multiple_of(3) => Vec::new(),
        Deed::HalfOpen if turns % 3 == 1 => hello[..hello.len() / 2].to_vec(),
        Deed::Churn | Deed::HalfOpen => hello,
        Deed::NeverRead => {
            let mut bytes = hello;
            for _ in 0..4 {
                let mut fetch = bait.fetch(0, Offset::ZERO);
                fetch.max_bytes = 8 << 20;
                bytes.extend(frame(&fetch, &[]));
                bytes.extend(frame(&metadata::Request { topics: None }, &[]));
            }
            bytes
        }
        Deed::Garbage => {
            let mut bytes = if random.bool() { hello } else { Vec::new() };
            bytes.extend((0..random.usize(1..2_000)).map(|_| random.u8(..)));
            bytes
        }
        Deed::Oversize => {
            // A body of 15 MiB would follow, for which there is to be room; or far more than any may have,
            // which the head's own checksum gives the lie.
            let mut large = head(&bait.produce(0), 15 << 20);
            if random.bool() {
                large[..4].copy_from_slice(&u32::MAX.to_le_bytes());
            }
            [hello, large, vec![0; 20_000]].concat()
        }
    }
}

fn frame<R: Call>(request: &R, body: &[u8]) -> Vec<u8> {
    let mut bytes = head(request, body.len());
    bytes.extend_from_slice(body);
    bytes
}

/// All of a frame but its body, which is to have so many bytes.
fn head<R: Call>(request: &R, body_bytes: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    request::encode(CorrelationId::new(1), request, body_bytes, &mut bytes).unwrap();
    bytes
}

/// Reads what there is and throws it away; an error if the server has closed.
fn read_away(stream: &mut TcpStream) -> io::Result<()> {
    let mut scrap = [0; 4 << 10];
    loop {
        match stream.read(&mut scrap) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// An error if the server has closed and said nothing before.
fn is_closed(stream: &TcpStream) -> io::Result<()> {
    match stream.take_error()? {
        Some(error) => Err(error),
        None => match stream.peek(&mut [0]) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        },
    }
}

//! The client of everything but ourselves: it costs as little as a client can, so that what is measured
//! is the server.
//!
//! Requests are encoded once, before the clock starts, and copied into the socket again and again, as every client does:
//! sent by `sendfile` they are cheaper for the client and dearer for whoever receives them, a page at a time. Answers are
//! decoded as they arrive. Connections that move large batches have a thread each, those that move single records share one; a
//! thread waits in epoll alone.
//!
//! It is a closed loop: each connection keeps a window of batches in flight, and a latency is the time
//! from handing a batch's first byte to the kernel to its last acknowledgement; what a stall keeps from being
//! sent has none. With a rate it is an open loop ([`pace`](crate::pace)): batches are sent when they are due, whatever
//! is in flight, and a latency counts from then. The first tenth warms up.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use mio::{Events, Interest, Poll, Token};
use rustix::net::sockopt::set_tcp_congestion;

use crate::contender::{Consume, Figures, Produce};
use crate::pace::{Alarm, Schedule};
use crate::sending::{Requests, Sending};
use crate::tally::{Tally, WarmUp};

/// What a protocol says on one connection, without any I/O.
pub trait Wire: Send {
    /// Takes what arrived, and gives how many bytes of it are done with; what has to be said to that
    /// goes to `out`.
    fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize>;

    /// Records that were acknowledged or read so far.
    fn records(&self) -> u64;
}

/// A connection that greetings were exchanged on.
pub struct Connection {
    pub stream: TcpStream,
    pub wire: Box<dyn Wire>,
}

/// A new connection: whoever says nothing on it is given up.
pub fn connect(address: impl ToSocketAddrs) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    Ok(stream)
}

/// Sends batches over the connections, `requests` by turns on each.
pub fn produce(connections: Vec<(Connection, Arc<Requests>)>, load: &Produce) -> Result<Figures> {
    let (count, begin) = (connections.len(), Instant::now());
    let batches = load.batches.div_ceil(count as u64);
    let links = connections.into_iter().zip(0..);
    let links = links.map(|((connection, requests), number)| {
        let schedule = load
            .rate
            .map(|rate| Schedule::new(begin, rate, (number, count)));
        let sending = Sending::new(requests, load, batches, schedule);
        Link::new(connection, Vec::new(), Some(sending))
    });
    let links = links.collect::<Result<Vec<_>>>()?;
    let threads = match load.batch_bytes() < SHARED_BATCH_BYTES_MAX {
        true => 1,
        false => links.len(),
    };
    let all: u64 = links.iter().map(Link::batches).sum();
    let time = Duration::from_secs_f64(load.seconds_max);
    let until = Until {
        warm_up: WarmUp::new(all / 10, time / 10),
        deadline: Instant::now() + time,
        records: u64::MAX,
        seen: AtomicU64::new(0),
    };
    let tally = run(links, threads, &until)?;
    Ok(Figures {
        how: "the client of bench/compare".into(),
        ..tally.figures(load.record_bytes, &until.warm_up)
    })
}

/// Reads over the connections until all records have arrived; each says first what stands beside it.
pub fn consume(connections: Vec<(Connection, Vec<u8>)>, load: &Consume) -> Result<Figures> {
    let links = connections
        .into_iter()
        .map(|(connection, out)| Link::new(connection, out, None));
    let links = links.collect::<Result<Vec<_>>>()?;
    let threads = links.len();
    let until = Until {
        warm_up: WarmUp::new(0, Duration::ZERO),
        deadline: Instant::now(),
        records: load.records,
        seen: AtomicU64::new(0),
    };
    let tally = run(links, threads, &until)?;
    Ok(tally.figures(load.produced.record_bytes, &until.warm_up))
}

/// When to begin to count, and when to end.
struct Until {
    warm_up: WarmUp,
    deadline: Instant,
    records: u64,
    seen: AtomicU64,
}

fn run(links: Vec<Link>, threads: usize, until: &Until) -> Result<Tally> {
    let each = links.len().div_ceil(threads);
    let mut links = links.into_iter();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                let links: Vec<Link> = links.by_ref().take(each).collect();
                scope.spawn(move || drive(links, until))
            })
            .collect();
        let mut all = Tally::new()?;
        for thread in threads {
            all.add(&thread.join().expect("a client does not panic")?)?;
        }
        Ok(all)
    })
}

fn drive(mut links: Vec<Link>, until: &Until) -> Result<Tally> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let both = Interest::READABLE | Interest::WRITABLE;
    for (number, link) in links.iter_mut().enumerate() {
        let registry = poll.registry();
        registry.register(&mut link.stream, Token(number), both)?;
    }
    let is_paced = links.iter().any(|link| link.next_due().is_some());
    let alarm = is_paced.then(|| Alarm::new(poll.registry(), Token(links.len())));
    let alarm = alarm.transpose()?;
    let mut tally = Tally::new()?;
    let mut moved_at = Instant::now();
    while links.iter().any(Link::is_open) && until.seen.load(Ordering::Relaxed) < until.records {
        if let Some(alarm) = &alarm {
            send_due(&mut links, alarm)?;
        }
        poll.poll(&mut events, Some(Duration::from_millis(20)))
            .or_else(|error| match error.kind() {
                ErrorKind::Interrupted => Ok(()),
                _ => Err(error),
            })?;
        for event in &events {
            // The alarm is none of them.
            let Some(link) = links.get_mut(event.token().0) else {
                continue;
            };
            until
                .seen
                .fetch_add(link.progress(until, &mut tally)?, Ordering::Relaxed);
            moved_at = Instant::now();
        }
        if moved_at.elapsed() > SILENCE_MAX {
            bail!("the server says nothing any more");
        }
        if Instant::now() > until.deadline {
            for link in &mut links {
                link.end();
            }
        }
    }
    Ok(tally)
}

/// Sends what is due on a schedule, and sets the alarm for what is next.
fn send_due(links: &mut [Link], alarm: &Alarm) -> Result<()> {
    for link in &mut *links {
        link.send()?;
    }
    let next = links.iter().filter_map(Link::next_due).min();
    next.map_or(Ok(()), |due| alarm.set(due))
}

/// A connection and what is under way on it.
struct Link {
    stream: mio::net::TcpStream,
    wire: Box<dyn Wire>,
    inbox: Vec<u8>,
    /// What of the inbox has arrived and is not done with.
    arrived: Range<usize>,
    outbox: Vec<u8>,
    sending: Option<Sending>,
    records: u64,
}

impl Link {
    fn new(connection: Connection, outbox: Vec<u8>, sending: Option<Sending>) -> Result<Self> {
        connection.stream.set_nodelay(true)?;
        // As the node's own client: nothing paces what stays on this machine.
        set_tcp_congestion(&connection.stream, "reno")?;
        connection.stream.set_nonblocking(true)?;
        Ok(Self {
            stream: mio::net::TcpStream::from_std(connection.stream),
            wire: connection.wire,
            inbox: vec![0; RECEIVE_BYTES],
            arrived: 0..0,
            outbox,
            sending,
            records: 0,
        })
    }

    fn batches(&self) -> u64 {
        self.sending.as_ref().map_or(0, Sending::batches)
    }

    /// Whether anything is still to come.
    fn is_open(&self) -> bool {
        self.sending.as_ref().is_none_or(Sending::is_open)
    }

    /// When its next batch is due on a schedule.
    fn next_due(&self) -> Option<Instant> {
        self.sending.as_ref()?.next_due()
    }

    /// Begins no more batches.
    fn end(&mut self) {
        if let Some(sending) = &mut self.sending {
            sending.end();
        }
    }

    /// Receives and sends all that can be; gives how many records came.
    fn progress(&mut self, until: &Until, tally: &mut Tally) -> Result<u64> {
        let before = self.records;
        loop {
            let is_drained = self.receive()?;
            self.count(&until.warm_up, tally);
            if Instant::now() > until.deadline {
                self.end();
            }
            self.send()?;
            if is_drained {
                return Ok(self.records - before);
            }
        }
    }

    /// Receives once; true if nothing more is there.
    fn receive(&mut self) -> Result<bool> {
        if self.arrived.is_empty() {
            self.arrived = 0..0;
        } else if self.arrived.start > self.inbox.len() / 2 || self.arrived.end == self.inbox.len()
        {
            self.inbox.copy_within(self.arrived.clone(), 0);
            self.arrived = 0..self.arrived.len();
        }
        if self.arrived.end == self.inbox.len() {
            self.inbox.resize(self.inbox.len() * 2, 0);
        }
        let room = &mut self.inbox[self.arrived.end..];
        let bytes = match self.stream.read(room) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error).context("cannot receive"),
        };
        let is_drained = bytes < room.len();
        self.arrived.end += bytes;
        let arrived = &self.inbox[self.arrived.clone()];
        self.arrived.start += self.wire.receive(arrived, &mut self.outbox)?;
        Ok(is_drained)
    }

    /// Sends what may be, as much as the kernel takes now.
    fn send(&mut self) -> Result<()> {
        match self.try_send() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn try_send(&mut self) -> std::io::Result<()> {
        while !self.outbox.is_empty() {
            let sent = self.stream.write(&self.outbox)?;
            self.outbox.drain(..sent);
        }
        match &mut self.sending {
            Some(sending) => sending.send(&self.stream),
            None => Ok(()),
        }
    }

    fn count(&mut self, warm_up: &WarmUp, tally: &mut Tally) {
        let new = self.wire.records() - self.records;
        self.records += new;
        if new == 0 {
            return;
        }
        let now = Instant::now();
        let Some(sending) = &mut self.sending else {
            tally.read(new, now);
            return;
        };
        while let Some(begun) = sending.acked(self.records) {
            tally.acked(sending.batch_records, (begun, now), warm_up);
        }
    }
}

/// Connections with batches below this share a thread.
const SHARED_BATCH_BYTES_MAX: u64 = 64 << 10;
const RECEIVE_BYTES: usize = 512 << 10;
/// So long a server may say nothing before it is given up.
const SILENCE_MAX: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });

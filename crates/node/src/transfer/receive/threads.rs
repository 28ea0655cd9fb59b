//! The threads on which segments are received: what waits there for a socket or a disk is no core.

use std::io;
use std::sync::Arc;
use std::thread;

use flume::{Receiver, Selector, Sender};

use super::claims::Claims;
use super::{Met, Order, Progress, ReceiveError, Received, job};
use crate::sys::priority;

/// Threads for receiving, and who waits for them. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Receivers {
    fast: Sender<Ordered>,
    slow: Sender<Ordered>,
    claims: Arc<Claims>,
}

/// An order, and who waits for it.
#[derive(Debug)]
struct Ordered {
    order: Order,
    /// It keeps a rate, or has had a turn in which no segment came: it mostly sleeps, for as long as that asks.
    is_slow: bool,
    /// What went wrong in the turns that it has had.
    before: Vec<Met>,
    progress: Arc<Progress>,
    done: Sender<Received>,
}

/// The orders that wait for a thread.
#[derive(Debug, Clone)]
struct Queues {
    fast: Receiver<Ordered>,
    slow: Receiver<Ordered>,
}

/// Which orders a thread takes first; the others only while none of those wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    Fast,
    /// And it has each of them until it ends.
    Slow,
}

/// Says that nobody wants an order any more.
struct Stops(Arc<Progress>);

impl Receivers {
    /// Starts the threads for the segments that are missing, and those for the ones that are damaged: a repair is one
    /// segment, which readers wait for, and copies of whole logs may take days. Called by a thread that is not pinned:
    /// threads inherit that.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn start() -> io::Result<(Self, Self)> {
        let claims = Arc::default();
        let copies = Self::threads("receive-copy", COPIES_MAX, &claims)?;
        let repairs = Self::threads("receive-repair", REPAIRS_MAX, &claims)?;
        Ok((copies, repairs))
    }

    fn threads(name: &str, count: usize, claims: &Arc<Claims>) -> io::Result<Self> {
        let (fast, fast_queue) = flume::bounded(WAITING_MAX);
        let (slow, slow_queue) = flume::bounded(WAITING_MAX);
        let queues = Queues {
            fast: fast_queue,
            slow: slow_queue,
        };
        for index in 0..count {
            let (queues, claims) = (queues.clone(), Arc::clone(claims));
            let first = match index < count / 2 {
                true => First::Slow,
                false => First::Fast,
            };
            let thread = thread::Builder::new().name(format!("{name}-{index}"));
            thread.spawn(move || run(first, &queues, &claims))?;
        }
        Ok(Self {
            fast,
            slow,
            claims: Arc::clone(claims),
        })
    }

    /// Which files are being written, by these threads and by those for the rest.
    pub(crate) fn claims(&self) -> &Arc<Claims> {
        &self.claims
    }

    /// Receives all of `order`, or what comes of it in its turn, behind others if there are many. One that is slow waits for
    /// those that are not on half of the threads, and goes on where it was. Dropped, it stops.
    pub(crate) async fn receive(&self, order: Order, progress: Arc<Progress>) -> Received {
        let _stops = Stops(Arc::clone(&progress));
        let (mut is_slow, mut before) = (order.rate != 0, Vec::new());
        loop {
            let (done, received) = flume::bounded(1);
            let ordered = Ordered {
                order: order.clone(),
                is_slow,
                before,
                progress: Arc::clone(&progress),
                done,
            };
            let queue = if is_slow { &self.slow } else { &self.fast };
            // It fails only if the threads have ended, and then nobody answers either.
            let _ = queue.send_async(ordered).await;
            let received = received.recv_async().await;
            let received = received.unwrap_or_else(|_gone| ReceiveError::Stopped.into());
            match received.error {
                Some(ReceiveError::MadeWay) if received.ready.is_empty() => {}
                Some(ReceiveError::MadeWay) => {
                    return Received {
                        error: None,
                        ..received
                    };
                }
                _ => return received,
            }
            (is_slow, before) = (true, received.faults);
        }
    }
}

impl Drop for Stops {
    fn drop(&mut self) {
        self.0.stop.set();
    }
}

impl Queues {
    /// Waits for an order; `None` once nobody gives any more.
    fn next(&self, first: First) -> Option<Ordered> {
        let preferred = match first {
            First::Fast => &self.fast,
            First::Slow => &self.slow,
        };
        let any = || {
            let any = Selector::new().recv(&self.fast, Result::ok);
            any.recv(&self.slow, Result::ok).wait()
        };
        preferred.try_recv().ok().or_else(any)
    }

    /// Whether others come before an order that has had its turn.
    fn come_before(&self, is_slow: bool, first: First) -> bool {
        match (is_slow, first) {
            (true, First::Slow) => false,
            (true, First::Fast) => !self.fast.is_empty(),
            (false, _) => !self.fast.is_empty() || !self.slow.is_empty(),
        }
    }
}

fn run(first: First, queues: &Queues, claims: &Arc<Claims>) {
    if let Err(error) = priority::step_back() {
        tracing::debug!(%error, "segments are received with the priority of a core");
    }
    while let Some(ordered) = queues.next(first) {
        let Ordered {
            order,
            is_slow,
            before,
            progress,
            done,
        } = ordered;
        let makes_way = || queues.come_before(is_slow, first);
        let received = job::run(&order, before, &progress, claims, &makes_way);
        // Whoever waited may have gone; what came in stays in its files.
        let _ = done.send(received);
    }
}

/// Segments that come in at once over the whole node, each over a connection and into a file.
pub(crate) const RECEIVERS: usize = (COPIES_MAX + REPAIRS_MAX) * job::WORKERS_MAX;

/// So many orders of a node are received at once for copies, …
const COPIES_MAX: usize = 4;

/// … and so many for repairs, …
const REPAIRS_MAX: usize = 2;

/// … so many wait in each queue of either, and all others before it.
const WAITING_MAX: usize = 16;

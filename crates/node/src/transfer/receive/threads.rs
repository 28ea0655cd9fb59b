//! The threads on which segments are received: what waits there for a socket or a disk is no core.

use std::io;
use std::sync::Arc;
use std::thread;

use super::claims::Claims;
use super::job::Outcome;
use super::queues::{Kind, Ordered, Queues};
use super::sources::Sources;
use super::{Order, Progress, ReceiveError, Received, job};
use crate::sys::priority;

/// Threads for receiving, and who waits for them. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Receivers {
    queues: Arc<Queues>,
    claims: Arc<Claims>,
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
        let copies = Self::threads("receive-copy", &COPIES, &claims)?;
        let repairs = Self::threads("receive-repair", &REPAIRS, &claims)?;
        Ok((copies, repairs))
    }

    fn threads(name: &str, firsts: &[Kind], claims: &Arc<Claims>) -> io::Result<Self> {
        let receivers = Self {
            queues: Arc::default(),
            claims: Arc::clone(claims),
        };
        for (index, first) in firsts.iter().copied().enumerate() {
            let (queues, claims) = (Arc::clone(&receivers.queues), Arc::clone(claims));
            let thread = thread::Builder::new().name(format!("{name}-{index}"));
            thread.spawn(move || run(first, &queues, &claims))?;
        }
        Ok(receivers)
    }

    /// Which files are being written, by these threads and by those for the rest.
    pub(crate) fn claims(&self) -> &Arc<Claims> {
        &self.claims
    }

    /// Receives all of `order`, or what comes of it in its turn, behind others if there are many. One of which no segment came in
    /// a turn makes way to others, and goes on where it was. Dropped, it stops.
    pub(crate) async fn receive(&self, order: Order, progress: Arc<Progress>) -> Received {
        let _stops = Stops(Arc::clone(&progress));
        let (mut has_made_way, sources) = (false, Arc::new(Sources::new(&order)));
        loop {
            let (done, outcome) = flume::bounded(1);
            let ordered = Ordered {
                order: order.clone(),
                has_made_way,
                sources: Arc::clone(&sources),
                progress: Arc::clone(&progress),
                done,
            };
            self.queues.put(ordered);
            let outcome = outcome.recv_async().await;
            let Outcome { ready, error } =
                outcome.unwrap_or_else(|_gone| ReceiveError::Stopped.into());
            has_made_way = matches!(error, Some(ReceiveError::MadeWay));
            if has_made_way && ready.is_empty() {
                continue;
            }
            return Received {
                ready,
                faults: sources.take_faults(),
                error: error.filter(|_| !has_made_way),
            };
        }
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        self.queues.end();
    }
}

impl Drop for Stops {
    fn drop(&mut self) {
        self.0.stop.set();
    }
}

fn run(first: Kind, queues: &Queues, claims: &Arc<Claims>) {
    if let Err(error) = priority::step_back() {
        tracing::debug!(%error, "segments are received with the priority of a core");
    }
    while let Some(ordered) = queues.next(first) {
        let makes_way = queues.who_makes_way(first, &ordered);
        let (order, sources) = (&ordered.order, &ordered.sources);
        let outcome = job::run(order, sources, &ordered.progress, claims, &makes_way);
        // Whoever waited may have gone; what came in stays in its files.
        let _ = ordered.done.send(outcome);
    }
}

/// Segments that come in at once over the whole node, each over a connection and into a file.
pub(crate) const RECEIVERS: usize = (COPIES.len() + REPAIRS.len()) * job::WORKERS_MAX;

/// What each of the threads takes first by which a node receives for copies, an order at a time, …
const COPIES: [Kind; 4] = [Kind::Rated, Kind::Slow, Kind::Fast, Kind::Fast];

/// … and for repairs, none of which keeps a rate.
const REPAIRS: [Kind; 2] = [Kind::Slow, Kind::Fast];

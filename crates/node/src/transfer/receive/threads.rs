//! The threads on which segments are received: what waits there for a socket or a disk is no core.

use std::io;
use std::sync::Arc;
use std::thread;

use flume::{Receiver, Sender};

use super::claims::Claims;
use super::{Order, Progress, ReceiveError, Received, job};
use crate::sys::priority;
use crate::transfer::places::{Place, Places};

/// Threads for receiving, and who waits for them. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Receivers {
    orders: Sender<Ordered>,
    /// For orders that keep a rate: each holds its thread for as long as that asks, and mostly sleeps.
    slow: Arc<Places>,
}

/// An order, and who waits for it.
#[derive(Debug)]
struct Ordered {
    order: Order,
    progress: Arc<Progress>,
    /// Held until it has ended, if it keeps a rate.
    place: Option<Place>,
    done: Sender<Received>,
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
        let (orders, queue) = flume::bounded::<Ordered>(WAITING_MAX);
        for index in 0..count {
            let (queue, claims) = (queue.clone(), Arc::clone(claims));
            let thread = thread::Builder::new().name(format!("{name}-{index}"));
            thread.spawn(move || run(&queue, &claims))?;
        }
        Ok(Self {
            orders,
            slow: Places::new(count / 2),
        })
    }

    /// Receives all of `order`, behind others if there are many. Those that keep a rate hold half of the threads at
    /// most: what comes as fast as it can does not wait for them. Dropped, it stops.
    pub(crate) async fn receive(&self, order: Order, progress: Arc<Progress>) -> Received {
        let (done, received) = flume::bounded(1);
        let _stops = Stops(Arc::clone(&progress));
        let place = match order.rate {
            0 => None,
            _ => Some(self.slow.next().await),
        };
        let ordered = Ordered {
            order,
            progress,
            place,
            done,
        };
        let stopped = || Received {
            error: Some(ReceiveError::Stopped),
            ..Received::default()
        };
        match self.orders.send_async(ordered).await {
            Ok(()) => received
                .recv_async()
                .await
                .unwrap_or_else(|_gone| stopped()),
            Err(_gone) => stopped(),
        }
    }
}

impl Drop for Stops {
    fn drop(&mut self) {
        self.0.stop.set();
    }
}

fn run(queue: &Receiver<Ordered>, claims: &Arc<Claims>) {
    if let Err(error) = priority::step_back() {
        tracing::debug!(%error, "segments are received with the priority of a core");
    }
    while let Ok(Ordered {
        order,
        progress,
        place,
        done,
    }) = queue.recv()
    {
        let received = job::run(&order, &progress, claims);
        drop(place);
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

/// … so many wait in the queue of either, and all others before it.
const WAITING_MAX: usize = 16;

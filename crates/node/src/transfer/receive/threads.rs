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
    /// For orders that keep a rate, or whose sources do: each holds its thread for as long as that asks, and mostly sleeps.
    slow: Arc<Places>,
    claims: Arc<Claims>,
}

/// An order, and who waits for it.
#[derive(Debug)]
struct Ordered {
    order: Order,
    progress: Arc<Progress>,
    /// Held until it has ended, if it is slow. One that has none makes way for others.
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
            claims: Arc::clone(claims),
        })
    }

    /// Which files are being written, by these threads and by those for the rest.
    pub(crate) fn claims(&self) -> &Arc<Claims> {
        &self.claims
    }

    /// Receives all of `order`, or what comes of it in its turn, behind others if there are many. Those that keep a rate hold
    /// half of the threads at most, and so do those that got no segment in a turn while others waited: what comes fast
    /// does not wait for them. Dropped, it stops.
    pub(crate) async fn receive(&self, order: Order, progress: Arc<Progress>) -> Received {
        let _stops = Stops(Arc::clone(&progress));
        let mut before = Vec::new();
        if order.rate == 0 {
            let received = self.take(order.clone(), &progress, None).await;
            let has_made_way = matches!(received.error, Some(ReceiveError::MadeWay));
            if !has_made_way {
                return received;
            }
            if !received.ready.is_empty() {
                return Received {
                    error: None,
                    ..received
                };
            }
            before = received.faults;
        }
        let place = self.slow.next().await;
        let mut received = self.take(order, &progress, Some(place)).await;
        received.faults.splice(0..0, before);
        received
    }

    /// Has a thread receive it.
    async fn take(&self, order: Order, progress: &Arc<Progress>, place: Option<Place>) -> Received {
        let (done, received) = flume::bounded(1);
        let progress = Arc::clone(progress);
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
        let makes_way = || place.is_none() && !queue.is_empty();
        let received = job::run(&order, &progress, claims, &makes_way);
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

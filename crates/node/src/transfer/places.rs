//! Places for those who take turns, in the order in which they came.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flume::Sender;

/// So many places; whoever waits longest gets the one that comes free, and nobody who comes later.
#[derive(Debug)]
pub(super) struct Places {
    line: Mutex<Line>,
}

#[derive(Debug)]
struct Line {
    free: usize,
    /// Who waits, the longest first; some may have gone.
    waiting: VecDeque<Sender<Place>>,
}

/// The right to take a turn; given to the next one when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    /// `None` if there was nobody to give it to.
    places: Option<Arc<Places>>,
}

impl Places {
    pub(super) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            line: Mutex::new(Line {
                free: count,
                waiting: VecDeque::new(),
            }),
        })
    }

    /// Waits for a place, if none is free. Who goes meanwhile gives on what he was given.
    pub(super) async fn next(self: &Arc<Self>) -> Place {
        let (given, place) = flume::bounded(1);
        {
            let mut line = self.line();
            if line.take() {
                return self.place();
            }
            line.waiting.retain(|waiting| !waiting.is_disconnected());
            line.waiting.push_back(given);
        }
        // It fails only if the line is gone, which this holds.
        match place.recv_async().await {
            Ok(place) => place,
            Err(_gone) => self.place(),
        }
    }

    /// Whether somebody waits.
    pub(super) fn is_anybody_waiting(&self) -> bool {
        let line = self.line();
        line.waiting
            .iter()
            .any(|waiting| !waiting.is_disconnected())
    }

    /// Gives a place to who waits longest.
    fn give(self: Arc<Self>) {
        let mut place = self.place();
        loop {
            let next = {
                let mut line = self.line();
                let next = line.waiting.pop_front();
                line.free += usize::from(next.is_none());
                next
            };
            let Some(next) = next else {
                place.places = None;
                return;
            };
            match next.try_send(place) {
                Ok(()) => return,
                // He has gone.
                Err(refused) => place = refused.into_inner(),
            }
        }
    }

    fn place(self: &Arc<Self>) -> Place {
        Place {
            places: Some(Arc::clone(self)),
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Takes a free place, if there is one.
    fn take(&mut self) -> bool {
        let is_free = self.free > 0;
        self.free -= usize::from(is_free);
        is_free
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(places) = self.places.take() {
            places.give();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_lite::future::{block_on, poll_once};

    use super::*;

    /// A place, if one is free.
    fn free(places: &Arc<Places>) -> Option<Place> {
        block_on(poll_once(places.next()))
    }

    /// Who had one took it again before whoever waited was awake: all the others waited until he had done.
    #[test]
    fn who_waits_longest_gets_the_next_place() {
        let places = Places::new(2);
        let (one, _two) = (free(&places).unwrap(), free(&places).unwrap());
        let mut first = pin!(places.next());
        assert!(block_on(poll_once(&mut first)).is_none());
        drop(one);
        assert!(free(&places).is_none());
        let mut second = pin!(places.next());
        assert!(block_on(poll_once(&mut second)).is_none());
        let place = block_on(poll_once(&mut first)).expect("it is his");
        assert!(block_on(poll_once(&mut second)).is_none());
        drop(place);
        assert!(block_on(poll_once(&mut second)).is_some());
    }

    #[test]
    fn who_goes_while_he_waits_keeps_no_place() {
        let places = Places::new(1);
        let one = free(&places).unwrap();
        let [mut before, mut given] = [0, 1].map(|_| Box::pin(places.next()));
        assert!(block_on(poll_once(&mut before)).is_none());
        assert!(block_on(poll_once(&mut given)).is_none());
        drop(before);
        drop(one);
        assert!(free(&places).is_none());
        drop(given);
        assert!(free(&places).is_some());
    }
}

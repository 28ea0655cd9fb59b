//! One who behaves, beside those who do not: is it served all the time?

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use corelog_record::Offset;
use corelog_record::batch::{Codec, View};

use crate::support::wire::{Wire, batch};

/// A thread that pings, produces durably and reads back what it produced, until it is asked what
/// it saw.
pub(crate) struct Witness {
    is_over: Arc<AtomicBool>,
    turns: Arc<AtomicUsize>,
    thread: JoinHandle<Seen>,
}

/// What a witness saw.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) turns: usize,
    median: Duration,
    most: Duration,
}

impl Witness {
    pub(crate) fn begin(address: SocketAddr) -> Self {
        let (is_over, turns) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let thread = thread::spawn({
            let (is_over, turns) = (Arc::clone(&is_over), Arc::clone(&turns));
            move || watch(address, &is_over, &turns)
        });
        Self {
            is_over,
            turns,
            thread,
        }
    }

    /// How often it was served all it asked for, until now.
    pub(crate) fn turns(&self) -> usize {
        self.turns.load(Ordering::Relaxed)
    }

    /// Ends it; fails if it was ever not served, or not served right.
    pub(crate) fn end(self) -> Seen {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            turns,
            median,
            most,
        } = self;
        write!(f, "{turns} turns, median {median:?}, most {most:?}")
    }
}

fn watch(address: SocketAddr, is_over: &AtomicBool, served: &AtomicUsize) -> Seen {
    let mut wire = Wire::open(address).unwrap();
    let topic = wire.topic("witness", 2, 64 << 20);
    let mut next = [Offset::ZERO; 2];
    let mut turns = Vec::new();
    while turns.is_empty() || !is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let number = turns.len();
        let partition = number % 2;
        let value = format!("witnessed {number}");
        wire.ping().unwrap();
        let request = topic.produce(u32::try_from(partition).unwrap());
        let (answer, _) = wire
            .call(&request, &batch(Codec::None, [&value]))
            .unwrap()
            .unwrap();
        assert_eq!(answer.base, next[partition]);
        next[partition] = answer.end;
        let request = topic.fetch(u32::try_from(partition).unwrap(), answer.base);
        let (_, body) = wire.call(&request, &[]).unwrap().unwrap();
        let records = View::verify(&body).unwrap().records().unwrap();
        let found: Vec<_> = records.map(|record| record.unwrap().to_record()).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].value.as_deref(), Some(value.as_bytes()));
        turns.push(begun.elapsed());
        served.store(turns.len(), Ordering::Relaxed);
    }
    turns.sort();
    Seen {
        turns: turns.len(),
        median: turns[turns.len() / 2],
        most: turns[turns.len() - 1],
    }
}

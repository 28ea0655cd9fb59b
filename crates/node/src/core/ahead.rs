//! What readers of old records take next, read while they are sent what they took last.
//!
//! Who reads on where it left off twice in a row is taken for one that will again. What was read ahead is
//! told only if a plan made when it is asked for would read the same; else it is read again.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelog_record::Offset;
use corelog_storage::log::{Fetched, Origin, ReadError, ReadPlan};

use super::Disk;
use super::files::Turn;
use super::slots::PartitionKey;
use super::state::Core;
use super::tickets::Tickets;
use crate::metrics::add;
use crate::partition::{Answer, Appetite, Input};
use crate::rt::{self, Task};

type Read = Result<Fetched<Disk>, ReadError>;

/// Where the readers of a core left off, and what is read ahead for them.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    places: RefCell<HashMap<(PartitionKey, Offset), Place>>,
}

/// Where a reader left off.
#[derive(Debug)]
struct Place {
    since: Instant,
    /// What comes there, once the reader has gone on twice.
    reading: Option<Reading>,
}

/// A read that nobody has asked for yet.
#[derive(Debug)]
struct Reading {
    /// The most that it may take of memory; once it is done, what it takes.
    bytes: Rc<Cell<usize>>,
    origin: Origin<Disk>,
    task: Task<Read>,
}

impl Core {
    /// Reads what `plan`, from `from` on, has to read from the disk, and begins with what follows if the
    /// reader goes on where it left off.
    ///
    /// # Errors
    /// Those of the plan.
    pub(super) async fn read_disk(
        self: &Rc<Self>,
        (key, from): (PartitionKey, Offset),
        plan: ReadPlan<Disk>,
        appetite: Appetite,
    ) -> Read {
        let place = self.ahead.places.borrow_mut().remove(&(key, from));
        let is_going_on = place.is_some();
        let read = match place.and_then(|place| place.reading) {
            Some(reading) => self.read_before(reading, plan).await,
            None => self.read_now(plan).await,
        }?;
        if read.bytes > 0 {
            let bytes_before = is_going_on.then_some(read.bytes);
            let is_begun = self.go_on((key, read.next), appetite, bytes_before);
            if is_begun {
                // So that the disk may have it before what was read is sent, which keeps the core for a while.
                rt::next_turn().await;
            }
        }
        Ok(read)
    }

    /// What was read ahead, if it still is what `plan` would read.
    async fn read_before(self: &Rc<Self>, reading: Reading, plan: ReadPlan<Disk>) -> Read {
        let read = reading.task.await.ok();
        // What is of no use is let go before more is read.
        match read.filter(|read| plan.is_met_by(&reading.origin, read)) {
            Some(read) => {
                add(&self.counters.reads_ahead_total, 1);
                Ok(read)
            }
            None => self.read_now(plan).await,
        }
    }

    /// What lies on the disk is read, and its checksums taken, at a lower share; in strides if flushes would
    /// have to wait for more.
    async fn read_now(self: &Rc<Self>, plan: ReadPlan<Disk>) -> Read {
        let _turn = self.files.turn(Turn::Read).await;
        if !self.files.is_flushing() {
            return rt::spawn_background(plan.run()).await;
        }
        let core = Rc::clone(self);
        rt::spawn_background(plan.run_by_turns(self.files.stride_bytes(), async move || {
            core.files.stride().await
        }))
        .await
    }

    /// Notes where a reader left off, and reads what comes there if it is going on: then it was given
    /// `bytes_before`. Whether a read was begun.
    fn go_on(
        self: &Rc<Self>,
        place: (PartitionKey, Offset),
        appetite: Appetite,
        bytes_before: Option<usize>,
    ) -> bool {
        let now = rt::now();
        let reading = bytes_before.and_then(|bytes| {
            let bytes_max = ReadPlan::<Disk>::held_max(appetite.bytes_max.max(bytes));
            let has_room = self.ahead.has_room(bytes_max, now);
            has_room.then(|| self.begin(place, appetite, bytes_max))?
        });
        let mut places = self.ahead.places.borrow_mut();
        let is_kept = places.len() < PLACES_MAX || places.contains_key(&place);
        let is_begun = is_kept && reading.is_some();
        if is_kept {
            let since = now;
            places.insert(place, Place { since, reading });
        }
        is_begun
    }

    /// Begins to read from `from` on, if that lies on the disk; no more than `bytes_max`, also where one
    /// batch is more.
    fn begin(
        self: &Rc<Self>,
        (key, from): (PartitionKey, Offset),
        appetite: Appetite,
        bytes_max: usize,
    ) -> Option<Reading> {
        // While the disk was waited for, its slot may have become another partition's.
        let slot = self.slots.borrow().find(key)?;
        let token = Tickets::NOW;
        let appetite = Appetite {
            last_epoch: None,
            may_park: false,
            ..appetite
        };
        let told = self.step(
            slot,
            Input::Fetch {
                token,
                from,
                appetite,
            },
        );
        let Some(Ok(Answer::Read { plan, .. })) = told else {
            return None;
        };
        let origin = plan.origin()?;
        let plan = plan.within(bytes_max);
        let bytes = Rc::new(Cell::new(bytes_max));
        let (core, taken) = (Rc::clone(self), Rc::clone(&bytes));
        let task = rt::spawn(async move {
            let read = core.read_now(plan).await;
            taken.set(read.as_ref().map_or(0, Fetched::held_bytes));
            read
        });
        Some(Reading {
            bytes,
            origin,
            task,
        })
    }
}

impl Ahead {
    /// Whether so many bytes more may be read ahead. Who wants them takes the place of readers that
    /// seem to have gone.
    fn has_room(&self, bytes: usize, now: Instant) -> bool {
        if BYTES_MAX < self.bytes() + bytes {
            self.forget_older(GONE_AFTER, now);
        }
        self.bytes() + bytes <= BYTES_MAX
    }

    /// Lets go of what nobody has asked for in a while.
    pub(super) fn sweep(&self, now: Instant) {
        self.forget_older(KEPT_FOR, now);
    }

    /// Lets go of what was read of a partition that is closed.
    pub(super) fn forget(&self, key: PartitionKey) {
        self.places.borrow_mut().retain(|(of, _), _| *of != key);
    }

    fn forget_older(&self, age: Duration, now: Instant) {
        let mut places = self.places.borrow_mut();
        places.retain(|_, place| now.saturating_duration_since(place.since) < age);
    }

    /// The most memory that everything read ahead takes.
    fn bytes(&self) -> usize {
        let places = self.places.borrow();
        let reading = places.values().filter_map(|place| place.reading.as_ref());
        reading.map(|reading| reading.bytes.get()).sum()
    }
}

/// What a core reads ahead for all readers: enough for eight that take 4 MiB, as much as a client asks for,
/// with what is read around it.
const BYTES_MAX: usize = 35 << 20;

/// Readers beyond are read for when they ask.
const PLACES_MAX: usize = 1024;

/// A reader that did not go on for so long makes room for another.
const GONE_AFTER: Duration = Duration::from_secs(1);

/// What nobody wants is kept no longer.
const KEPT_FOR: Duration = Duration::from_secs(5);

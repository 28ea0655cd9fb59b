//! What readers of old records take next, read while they are sent what they took last.
//!
//! Who reads on where it left off twice in a row is taken for one that will again. What was read ahead is
//! told only if a plan made when it is asked for would read the same; else it is read again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelog_record::Offset;
use corelog_storage::log::{Fetched, Origin, ReadError, ReadPlan};

use super::Disk;
use super::files::Turn;
use super::slots::{PartitionKey, SlotId};
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
    /// The most that it takes of memory.
    bytes_max: usize,
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
        slot: SlotId,
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
            self.go_on(slot, (key, read.next), appetite, is_going_on);
        }
        Ok(read)
    }

    /// What was read ahead, if it still is what `plan` would read.
    async fn read_before(self: &Rc<Self>, reading: Reading, plan: ReadPlan<Disk>) -> Read {
        match reading.task.await {
            Ok(read) if plan.is_met_by(&reading.origin, &read) => {
                add(&self.counters.reads_ahead_total, 1);
                Ok(read)
            }
            Ok(_) | Err(_) => self.read_now(plan).await,
        }
    }

    /// What lies on the disk is read, and its checksums taken, at a lower share.
    async fn read_now(self: &Rc<Self>, plan: ReadPlan<Disk>) -> Read {
        let _turn = self.files.turn(Turn::Read).await;
        rt::spawn_background(plan.run()).await
    }

    /// Notes where a reader left off, and reads what comes there if it `is_going_on`.
    fn go_on(
        self: &Rc<Self>,
        slot: SlotId,
        place: (PartitionKey, Offset),
        appetite: Appetite,
        is_going_on: bool,
    ) {
        let now = rt::now();
        let has_room = self.ahead.has_room(appetite.bytes_max, now);
        let reading = (is_going_on && has_room)
            .then(|| self.begin(slot, place.1, appetite))
            .flatten();
        let mut places = self.ahead.places.borrow_mut();
        if places.len() < PLACES_MAX || places.contains_key(&place) {
            let since = now;
            places.insert(place, Place { since, reading });
        }
    }

    /// Begins to read from `from` on, if that lies on the disk.
    fn begin(self: &Rc<Self>, slot: SlotId, from: Offset, appetite: Appetite) -> Option<Reading> {
        let token = Tickets::NOW;
        let appetite = Appetite {
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
        let core = Rc::clone(self);
        let task = rt::spawn(async move { core.read_now(plan).await });
        Some(Reading {
            bytes_max: appetite.bytes_max,
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
        reading.map(|reading| reading.bytes_max).sum()
    }
}

/// What a core reads ahead for all readers: enough for eight that take as much as a client asks for.
const BYTES_MAX: usize = 32 << 20;

/// Readers beyond are read for when they ask.
const PLACES_MAX: usize = 1024;

/// A reader that did not go on for so long makes room for another.
const GONE_AFTER: Duration = Duration::from_secs(1);

/// What nobody wants is kept no longer.
const KEPT_FOR: Duration = Duration::from_secs(5);

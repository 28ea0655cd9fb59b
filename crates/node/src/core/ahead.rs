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
use super::slots::PartitionKey;
use super::state::Core;
use super::tickets::Tickets;
use crate::metrics::add;
use crate::partition::{Answer, Appetite, Input};
use crate::rt::{self, Permit, Semaphore, Task};

/// What was read, and what was held for it.
type Read<H> = Result<(H, Fetched<Disk>), ReadError>;

/// Where the readers of a core left off, and what is read ahead for them.
#[derive(Debug)]
pub(super) struct Ahead {
    places: RefCell<HashMap<(PartitionKey, Offset), Place>>,
    /// Bytes of memory that may be read ahead.
    room: Semaphore,
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
    origin: Origin<Disk>,
    /// Its room is the most that it may take of memory; once it is done, what it takes.
    task: Task<Read<Permit>>,
}

impl Core {
    /// Reads what `plan`, from `from` on, has to read from the disk, and begins with what follows if the
    /// reader goes on where it left off. `held` is kept as long as the disk is at it.
    ///
    /// # Errors
    /// Those of the plan.
    pub(super) async fn read_disk<H: 'static>(
        self: &Rc<Self>,
        (key, from): (PartitionKey, Offset),
        plan: ReadPlan<Disk>,
        appetite: Appetite,
        held: H,
    ) -> Read<H> {
        let place = self.ahead.places.borrow_mut().remove(&(key, from));
        let is_going_on = place.is_some();
        let (held, read) = match place.and_then(|place| place.reading) {
            Some(reading) => self.read_before(reading, plan, held).await,
            None => self.read_now(plan, held).await,
        }?;
        if read.bytes > 0 {
            let bytes_before = is_going_on.then_some(read.bytes);
            let is_begun = self.go_on((key, read.next), appetite, bytes_before);
            if is_begun {
                // So that the disk may have it before what was read is sent, which keeps the core for a while.
                rt::next_turn().await;
            }
        }
        Ok((held, read))
    }

    /// What was read ahead, if it still is what `plan` would read.
    async fn read_before<H: 'static>(
        self: &Rc<Self>,
        reading: Reading,
        plan: ReadPlan<Disk>,
        held: H,
    ) -> Read<H> {
        let read = reading.task.await.ok();
        // What is of no use is let go before more is read.
        match read.filter(|(_, read)| plan.is_met_by(&reading.origin, read)) {
            Some((_, read)) => {
                add(&self.counters.reads_ahead_total, 1);
                Ok((held, read))
            }
            None => self.read_now(plan, held).await,
        }
    }

    /// What lies on the disk is read, and its checksums taken, at a lower share; in strides if flushes would
    /// have to wait for more. What the disk was asked for it gives, whether anybody waits or not, and the memory that
    /// it fills is in use until then; it is asked for no stride that nobody waits for. What is read ahead somebody
    /// waits for as long as its task is kept.
    async fn read_now<H: 'static>(self: &Rc<Self>, plan: ReadPlan<Disk>, held: H) -> Read<H> {
        let turn = self.files.turn(Turn::Read).await;
        let core = Rc::clone(self);
        // Gone with this future, and so with whoever waits for it. Nobody else is told what a read gave that ended early.
        let waiting = Rc::new(());
        let waits = Rc::downgrade(&waiting);
        let read = rt::run_on(async move {
            let _turn = turn;
            let read = match core.files.is_flushing() {
                false => rt::spawn_background(plan.run()),
                true => {
                    let bytes = core.files.stride_bytes();
                    let stride = async move || {
                        let stride = core.files.stride().await;
                        (waits.strong_count() > 0).then_some(stride)
                    };
                    rt::spawn_background(plan.run_by_turns(bytes, stride))
                }
            };
            Ok((held, read.await?))
        });
        let read = read.await;
        drop(waiting);
        read
    }

    /// Notes where a reader left off, and reads what comes there if it is going on: then it was given
    /// `bytes_before`. Whether a read was begun. What another is having read there stays: it would be read twice.
    fn go_on(
        self: &Rc<Self>,
        place: (PartitionKey, Offset),
        appetite: Appetite,
        bytes_before: Option<usize>,
    ) -> bool {
        let now = rt::now();
        let is_kept = {
            let mut places = self.ahead.places.borrow_mut();
            let known = places.get_mut(&place);
            if let Some(known) = known.filter(|known| known.reading.is_some()) {
                known.since = now;
                return false;
            }
            places.len() < PLACES_MAX || places.contains_key(&place)
        };
        let reading = bytes_before.filter(|_| is_kept).and_then(|bytes| {
            let bytes_max = ReadPlan::<Disk>::held_max(appetite.bytes_max.max(bytes));
            let room = self.ahead.room_for(bytes_max, now)?;
            self.begin(place, appetite, room)
        });
        let is_begun = reading.is_some();
        if is_kept {
            let since = now;
            let mut places = self.ahead.places.borrow_mut();
            places.insert(place, Place { since, reading });
        }
        is_begun
    }

    /// Begins to read from `from` on, if that lies on the disk; no more than there is `room` for, also where one
    /// batch is more.
    fn begin(
        self: &Rc<Self>,
        (key, from): (PartitionKey, Offset),
        appetite: Appetite,
        room: Permit,
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
        let plan = plan.within(usize::try_from(room.units()).unwrap_or(usize::MAX));
        let core = Rc::clone(self);
        let task = rt::spawn(async move {
            let (mut room, read) = core.read_now(plan, room).await?;
            room.shrink_to(room.units().min(read.held_bytes() as u64));
            Ok((room, read))
        });
        Some(Reading { origin, task })
    }
}

impl Ahead {
    /// Nothing is read ahead.
    pub(super) fn new() -> Self {
        Self {
            places: RefCell::default(),
            room: Semaphore::new(BYTES_MAX),
        }
    }

    /// Room to read so many bytes more ahead, if there is some. Who wants it takes the place of readers that
    /// seem to have gone.
    fn room_for(&self, bytes: usize, now: Instant) -> Option<Permit> {
        let room = || self.room.try_acquire(bytes as u64);
        room().or_else(|| {
            self.forget_older(GONE_AFTER, now);
            room()
        })
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
}

/// What a core reads ahead for all readers: enough for eight that take 4 MiB, as much as a client asks for,
/// with what is read around it.
const BYTES_MAX: u64 = 35 << 20;

/// Readers beyond are read for when they ask.
const PLACES_MAX: usize = 1024;

/// A reader that did not go on for so long makes room for another.
const GONE_AFTER: Duration = Duration::from_secs(1);

/// What nobody wants is kept no longer.
const KEPT_FOR: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use futures_lite::future::poll_once;

    use super::super::fetch::Fetched;
    use super::super::tests::{
        PATIENCE, cold, cold_batches, hold_strides, let_stride_go, stride_wanted, until, with_core,
    };
    use super::*;

    const APPETITE: Appetite = Appetite {
        bytes_max: 1 << 20,
        ..Appetite::ONE
    };

    const LARGE: Appetite = Appetite {
        bytes_max: 8 << 20,
        ..APPETITE
    };

    /// Each threw away what the one before had begun, which was read to its end all the same.
    #[test]
    fn readers_that_go_on_at_one_place_have_it_read_ahead_once() {
        with_core(|core| async move {
            let (_topic, key) = cold(&core).await;
            let place = (key, Offset::ZERO);
            let _held = hold_strides(&core).await;
            assert!(core.go_on(place, APPETITE, Some(2 << 20)));
            let left = core.ahead.room.available();
            let is_read = || {
                let places = core.ahead.places.borrow();
                places[&place].reading.is_some()
            };
            for bytes_before in [Some(2 << 20), None] {
                assert!(!core.go_on(place, APPETITE, bytes_before));
                assert_eq!(core.ahead.room.available(), left);
                assert!(is_read(), "it was thrown away");
            }
        });
    }

    #[test]
    fn what_is_read_ahead_counts_until_it_has_its_turn_also_if_it_is_let_go() {
        with_core(|core| async move {
            let (_topic, key) = cold(&core).await;
            let held = hold_strides(&core).await;
            assert!(core.go_on((key, Offset::ZERO), APPETITE, Some(2 << 20)));
            core.ahead.forget(key);
            // What is let go has gone by then.
            rt::next_turn().await;
            let left = || core.ahead.room.available();
            assert!(left() < BYTES_MAX);
            drop(held);
            until("it comes back", || left() == BYTES_MAX).await;
        });
    }

    /// It was read to its end: who asked and hung up, again and again, kept the disk from those who waited.
    #[test]
    fn a_read_asks_the_disk_for_no_stride_that_nobody_waits_for() {
        with_core(|core| async move {
            let (_topic, key) = cold_batches(&core, 4).await;
            let (memory, reads) = (Semaphore::new(1), core.reads_left());
            for strides in 0..4 {
                let [_flushing, mut held] = hold_strides(&core).await;
                let room = memory.try_acquire(1).unwrap();
                let mut fetched = Box::pin(core.fetch((key, Offset::ZERO), LARGE, room));
                for _ in 0..strides {
                    assert!(poll_once(fetched.as_mut()).await.is_none());
                    held = let_stride_go(&core, held).await;
                }
                assert!(poll_once(fetched.as_mut()).await.is_none());
                stride_wanted(&core).await;
                drop(fetched);
                // It has one more turn, and would wait for another.
                let _held = let_stride_go(&core, held).await;
                let left = || (memory.available(), core.reads_left());
                until("it ends", || left() == (1, reads)).await;
            }
        });
    }

    #[test]
    fn what_nobody_asked_for_yet_is_read_ahead_to_its_end() {
        with_core(|core| async move {
            let (_topic, key) = cold_batches(&core, 4).await;
            let reads = core.reads_left();
            let [_flushing, mut held] = hold_strides(&core).await;
            let place = (key, Offset::ZERO);
            assert!(core.go_on(place, LARGE, Some(4 << 20)));
            for _ in 0..4 {
                held = let_stride_go(&core, held).await;
            }
            until("it is read", || core.reads_left() == reads).await;
            // Who comes by has all of it, and no stride goes to the disk.
            let fetched = rt::timeout(PATIENCE, core.fetch(place, LARGE, ())).await;
            let (_, fetched) = fetched.expect("it is there").unwrap();
            let Fetched::Batches { answer, .. } = fetched else {
                panic!("it has batches");
            };
            assert_eq!(answer.next, Offset::ZERO.plus(4));
            assert_eq!(core.counters.reads_ahead_total.load(Ordering::Relaxed), 1);
            drop(held);
        });
    }
}

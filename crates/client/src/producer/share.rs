//! What partitions in trouble hold of the producer's memory: a share of it together, and the rest is for the others.
//!
//! A partition is in trouble from a failure on, or once its server is silent, until something of it is acknowledged. What it holds by then it keeps, and
//! takes no more while all in trouble hold more than the share: whoever sends to it waits, first come, first served. One
//! that holds nothing takes what comes first as long as all of them hold no more than half as much again, or hold nothing either: how
//! else would it be found that it is well again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::futures::Notified;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

use super::pressure::Pressure;

/// What all partitions in trouble hold together.
#[derive(Debug)]
pub(super) struct Share {
    bytes_max: i64,
    /// Counted behind what each of them holds, and so below zero for a moment now and then.
    bytes: AtomicI64,
    /// Told whenever somebody who waits may find room.
    room: Notify,
    /// Whether anybody waits for room: those who wait for no more than their turn do not.
    pressure: Pressure,
}

/// What one partition holds. It is counted for each record: an addition, unless the partition is in trouble.
#[derive(Debug)]
pub(super) struct Held {
    share: Arc<Share>,
    /// Bytes of its batches that are not settled, and [`IN_TROUBLE`].
    state: AtomicU64,
    /// Who waits to send to it, or has the turn.
    waiting_count: AtomicUsize,
    turn: Arc<Mutex<()>>,
}

/// The turn of one of those who wait to send to a partition; the next one's, once it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _turn: OwnedMutexGuard<()>,
    _waiting: Waiting,
}

#[derive(Debug)]
struct Waiting(Arc<Held>);

impl Share {
    /// Half of a producer's memory.
    pub(super) fn of(memory_bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_max: (memory_bytes_max as u64 / 2).cast_signed(),
            bytes: AtomicI64::new(0),
            room: Notify::new(),
            pressure: Pressure::default(),
        })
    }

    /// Resolves once somebody may find room who does not find any behind this call.
    pub(super) fn told(&self) -> Notified<'_> {
        self.room.notified()
    }

    fn give(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes.cast_signed(), Ordering::Relaxed);
        // Last: whoever looks before it is told then.
        self.room.notify_waiters();
    }

    fn take(&self, bytes: u64) {
        self.bytes.fetch_add(bytes.cast_signed(), Ordering::Relaxed);
    }
}

impl Held {
    pub(super) fn new(share: &Arc<Share>) -> Arc<Self> {
        Arc::new(Self {
            share: Arc::clone(share),
            state: AtomicU64::new(0),
            waiting_count: AtomicUsize::new(0),
            turn: Arc::default(),
        })
    }

    /// Counts bytes that the partition holds now.
    pub(super) fn take(&self, bytes: usize) {
        let before = self.state.fetch_add(bytes as u64, Ordering::Relaxed);
        if before & IN_TROUBLE != 0 {
            self.share.take(bytes as u64);
        }
    }

    /// Counts bytes that it holds no more.
    pub(super) fn give(&self, bytes: usize) {
        let before = self.state.fetch_sub(bytes as u64, Ordering::Relaxed);
        if before & IN_TROUBLE != 0 {
            self.share.give(bytes as u64);
        }
    }

    /// Notes that the partition is in trouble.
    pub(super) fn begin_trouble(&self) {
        let before = self.state.fetch_or(IN_TROUBLE, Ordering::Relaxed);
        if before & IN_TROUBLE == 0 {
            self.share.take(before);
        }
    }

    /// Notes that it is well.
    pub(super) fn end_trouble(&self) {
        if self.state.load(Ordering::Relaxed) & IN_TROUBLE == 0 {
            return;
        }
        let before = self.state.fetch_and(!IN_TROUBLE, Ordering::Relaxed);
        if before & IN_TROUBLE != 0 {
            self.share.give(before & !IN_TROUBLE);
        }
    }

    /// Whether as much may be added by someone who comes now: nobody waits for that.
    pub(super) fn is_open(&self, bytes: usize) -> bool {
        !self.is_waited_for() && self.has_room(bytes)
    }

    /// Whether as much may be added.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        let is_well = state & IN_TROUBLE == 0;
        let holds_nothing = state & !IN_TROUBLE == 0;
        is_well || self.share_has_room(bytes, holds_nothing)
    }

    fn share_has_room(&self, bytes: usize, is_first: bool) -> bool {
        let bytes_more = (bytes as u64).cast_signed();
        let Share {
            bytes_max, bytes, ..
        } = &*self.share;
        let bytes = bytes.load(Ordering::Relaxed);
        match is_first {
            // Larger than all that it may be, it has to be alone.
            true => bytes <= 0 || bytes + bytes_more <= bytes_max + bytes_max / 2,
            false => bytes + bytes_more <= *bytes_max,
        }
    }

    /// Whether anybody waits to send to the partition.
    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting_count.load(Ordering::Relaxed) > 0
    }

    /// Whether anybody waits for what the partition holds, to send to it or to another one.
    pub(super) fn is_short(&self) -> bool {
        let is_in_trouble = self.state.load(Ordering::Relaxed) & IN_TROUBLE != 0;
        is_in_trouble && self.share.pressure.is_felt()
    }

    /// Waits for a turn to send to the partition, from the first poll on in front of all who come later.
    pub(super) async fn turn(self: Arc<Self>) -> Turn {
        self.waiting_count.fetch_add(1, Ordering::Relaxed);
        let turn = Arc::clone(&self.turn);
        let waiting = Waiting(self);
        Turn {
            _turn: turn.lock_owned().await,
            _waiting: waiting,
        }
    }

    /// Waits until as much may be added; the first of those who wait has the lanes told, whose batches linger.
    pub(super) async fn room(&self, bytes: usize, tell: impl Fn()) {
        let mut pressing = None;
        loop {
            // Before the look: what changes behind it is told.
            let told = self.share.told();
            if self.has_room(bytes) {
                return;
            }
            if pressing.is_none() {
                let (guard, is_first) = self.share.pressure.press();
                pressing = Some(guard);
                if is_first {
                    tell();
                }
            }
            told.await;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.0.waiting_count.fetch_sub(1, Ordering::Relaxed) == 1 {
            // Whoever need not wait for this partition in particular may go on here.
            self.0.share.room.notify_waiters();
        }
    }
}

/// Above all that memory can count.
const IN_TROUBLE: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_partition_that_is_well_may_hold_all() {
        let held = Held::new(&Share::of(100));
        held.take(90);
        assert!(held.has_room(10));
    }

    #[test]
    fn partitions_in_trouble_hold_half_together_and_one_that_recovers_leaves_room() {
        let share = Share::of(100);
        let [one, other, well] = [(); 3].map(|()| Held::new(&share));
        one.take(20);
        one.begin_trouble();
        one.begin_trouble();
        other.begin_trouble();
        other.take(20);
        well.take(50);
        for held in [&one, &other] {
            assert!(held.has_room(10));
            assert!(!held.has_room(11));
        }
        assert!(well.has_room(50));
        one.end_trouble();
        one.end_trouble();
        assert!(one.has_room(80));
        assert!(other.has_room(30));
        assert!(!other.has_room(31));
        one.give(20);
        other.give(20);
        assert_eq!(share.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_a_partition_held_before_its_trouble_counts() {
        let share = Share::of(100);
        let held = Held::new(&share);
        held.take(80);
        held.begin_trouble();
        assert!(!held.has_room(1));
        held.give(40);
        assert!(held.has_room(10));
    }

    #[test]
    fn one_in_trouble_that_holds_nothing_takes_what_comes_first() {
        let share = Share::of(100);
        let [one, other] = [(); 2].map(|()| Held::new(&share));
        one.take(50);
        one.begin_trouble();
        other.begin_trouble();
        assert!(other.has_room(25));
        other.take(25);
        assert!(!other.has_room(1));
    }

    /// Each took its first, however many there were: with a few large batches all of the memory.
    #[test]
    fn what_those_in_trouble_take_first_has_a_bound() {
        let share = Share::of(100);
        let all: Vec<_> = (0..100).map(|_| Held::new(&share)).collect();
        for held in &all {
            held.begin_trouble();
            if held.has_room(10) {
                held.take(10);
            }
        }
        assert_eq!(share.bytes.load(Ordering::Relaxed), 70);
    }

    #[test]
    fn one_in_trouble_takes_what_is_larger_than_the_share_once_no_other_holds_anything() {
        let share = Share::of(100);
        let [one, other] = [(); 2].map(|()| Held::new(&share));
        one.begin_trouble();
        other.begin_trouble();
        other.take(1);
        assert!(!one.has_room(100));
        other.give(1);
        assert!(one.has_room(100));
    }

    #[test]
    fn who_waits_for_room_is_told_of_it_whoever_left_it() {
        let share = Share::of(100);
        let [one, other] = [(); 2].map(|()| Held::new(&share));
        for held in [&one, &other] {
            held.take(25);
            held.begin_trouble();
        }
        let told = Cell::new(0);
        let mut waiting = [(); 2].map(|()| Box::pin(one.room(1, || told.set(told.get() + 1))));
        assert!(!other.is_short());
        for one in &mut waiting {
            assert!(poll(one.as_mut()).is_pending());
        }
        assert_eq!(told.get(), 1, "by the first of them");
        assert!(other.is_short(), "it may hold what is waited for");
        other.end_trouble();
        for mut one in waiting {
            assert!(poll(one.as_mut()).is_ready());
        }
        assert!(!one.is_short());
    }

    #[test]
    fn turns_are_taken_in_order_and_one_who_goes_away_leaves_its_own() {
        let held = Held::new(&Share::of(100));
        let mut third = pin!(Arc::clone(&held).turn());
        {
            let first = poll(pin!(Arc::clone(&held).turn()));
            let mut second = pin!(Arc::clone(&held).turn());
            assert!(first.is_ready());
            assert!(poll(second.as_mut()).is_pending());
            assert!(poll(third.as_mut()).is_pending());
        }
        let third = poll(third);
        assert!(third.is_ready());
        assert!(held.is_waited_for());
        drop(third);
        assert!(!held.is_waited_for());
    }
}

//! What runs on a core beside its requests: the committer, the timers, flushes and chores.

use std::rc::Rc;
use std::time::{Duration, Instant};

use corelog_storage::Error;
use corelog_storage::log::{ChorePlan, FlushPlan};

use super::Disk;
use super::files::Turn;
use super::refusal::{error_of, with_causes};
use super::serve::unopened;
use super::slots::{PartitionKey, Slot, SlotId, SlotState};
use super::slowest::Flushing;
use super::state::Core;
use crate::failure::Failure;
use crate::metrics::add;
use crate::partition::{Input, Pace, Tick, refusal_of};
use crate::rt;

/// How often a partition that found no room is tried again: soon enough for whoever made some, seldom
/// enough for a log that is told each time.
const OPEN_AGAIN_EVERY: Duration = Duration::from_secs(5);
/// The longest that one waits which the disk did not give; each try doubles it. So often it is tried for ever: a path may
/// come back, a volume get space.
const OPEN_AGAIN_MAX: Duration = Duration::from_secs(60);
/// How often that one is tried before its owner opens it with what the disk gives, and the log tells no more of it: for
/// some five minutes, in which a cable is back in its place and a controller out of its reset.
const OPEN_AGAIN_TRIES: u32 = 8;

/// How many times as long as a try took the next one waits.
const OPEN_AGAIN_RESTS: u32 = 4;

/// When a partition that the disk did not give is tried again by itself.
#[derive(Debug, Default)]
pub(super) struct Again {
    at: Option<Instant>,
    tries: u32,
}

impl Again {
    /// Whether the disk had its time before the next try.
    pub(super) fn has_waited(&self) -> bool {
        OPEN_AGAIN_TRIES <= self.tries
    }

    /// Whether so many tries behind each other have failed that no more are told.
    fn is_told(&self) -> bool {
        OPEN_AGAIN_TRIES < self.tries
    }

    /// Notes that it could not be opened.
    fn failed(&mut self, is_unread: bool, now: Instant) {
        if !is_unread {
            *self = Self::default();
            return;
        }
        // Who asks in between, however often, has not waited.
        if self.at.is_some_and(|at| now < at) {
            return;
        }
        let wait = OPEN_AGAIN_EVERY * 2_u32.saturating_pow(self.tries.min(8));
        self.at = Some(now + wait.min(OPEN_AGAIN_MAX));
        self.tries = self.tries.saturating_add(1);
    }

    /// Puts the next try off behind one that took long: a disk that answers late is asked for a part of the time only.
    fn rest(&mut self, began: Instant, now: Instant) {
        if let Some(at) = &mut self.at {
            *at = (*at).max(now + (now - began) * OPEN_AGAIN_RESTS);
        }
    }
}

impl Core {
    /// Starts the core's own tasks; they run until the core ends.
    pub(crate) fn start_keepers(self: &Rc<Self>) {
        rt::spawn(Rc::clone(self).keep_committing()).detach();
        rt::spawn(Rc::clone(self).keep_committing_soon()).detach();
        for tick in [Tick::Soon, Tick::Later] {
            rt::spawn(Rc::clone(self).keep_ticking(tick)).detach();
        }
        rt::spawn(Rc::clone(self).keep_sweeping()).detach();
        rt::spawn(Rc::clone(self).keep_scrubbing()).detach();
        rt::spawn(Rc::clone(self).keep_opening()).detach();
        rt::spawn(Rc::clone(self).keep_opening_unread()).detach();
        rt::spawn(Rc::clone(self).keep_healing()).detach();
    }

    /// Tries again to open the partitions that found no room: one at a time, and the others only once
    /// there is some.
    async fn keep_opening(self: Rc<Self>) {
        let mut last = SlotId::LAST;
        loop {
            rt::sleep(OPEN_AGAIN_EVERY).await;
            while !self.is_stopping.get()
                && let Some((slot, key)) = self.next_unopened(last)
            {
                last = slot;
                if !self.opens_again(key).await && self.is_unopened(slot) {
                    break;
                }
            }
        }
    }

    /// Tries again to open those that the disk did not give, also one at a time. One that waits for such a disk is nobody
    /// else's delay.
    async fn keep_opening_unread(self: Rc<Self>) {
        loop {
            rt::sleep(OPEN_AGAIN_EVERY).await;
            while !self.is_stopping.get()
                && let Some((slot, key)) = self.next_unread(rt::now())
            {
                let began = rt::now();
                // Where the disk gives one, others come as well; where it does not, they wait for their own time.
                if !self.opens_again(key).await {
                    self.rest(slot, began);
                    break;
                }
            }
        }
    }

    /// Has one that could not be opened wait several times as long as the try took that `began` then.
    fn rest(&self, slot: SlotId, began: Instant) {
        if let Some(found) = self.slots.borrow_mut().get_mut(slot) {
            found.again.rest(began, rt::now());
        }
    }

    /// Whether a partition that could not be opened now can be.
    async fn opens_again(self: &Rc<Self>, key: PartitionKey) -> bool {
        let is_open = self.reopen_partition(key).await.is_ok();
        if is_open {
            tracing::info!(partition = %key, "open again");
        }
        is_open
    }

    /// Notes why a partition could not be opened, and tells it.
    pub(super) fn set_unopened(&self, slot: SlotId, error: Error) -> Failure {
        let reason = with_causes(&error);
        if !error.is_shortage() {
            return self.set_closed(slot, &reason, error.may_pass());
        }
        self.tell_unopened(slot, &reason);
        if matches!(error, Error::StorageFull { .. }) {
            self.make_room();
        }
        let refusal = refusal_of(error);
        let failure = error_of(&refusal);
        if let Some(found) = self.slots.borrow_mut().get_mut(slot) {
            found.state = SlotState::Unopened(refusal);
        }
        failure
    }

    /// Notes that a partition that was here has no files any more, nor has its topic.
    pub(super) fn set_away(&self, slot: SlotId) -> Failure {
        let reason = "its files are not there, nor is that of its topic: is the volume mounted?";
        self.set_closed(slot, reason, true)
    }

    /// Notes that a partition stays closed, and tells why unless that was told often enough.
    fn set_closed(&self, slot: SlotId, reason: &str, is_unread: bool) -> Failure {
        if !is_unread || !self.is_told_unread(slot) {
            self.tell_unopened(slot, reason);
        }
        self.set_failed(slot, is_unread);
        unopened(reason)
    }

    fn tell_unopened(&self, slot: SlotId, reason: &str) {
        if let Some(found) = self.slots.borrow().get(slot) {
            tracing::error!(
                topic = %found.topic.name,
                partition = found.key.partition.get(),
                error = %reason,
                "cannot open the partition"
            );
        }
    }

    /// Notes that a partition could not be opened: if the disk did not give something of it, it may the next time.
    fn set_failed(&self, slot: SlotId, is_unread: bool) {
        if let Some(found) = self.slots.borrow_mut().get_mut(slot) {
            found.state = SlotState::Failed;
            found.again.failed(is_unread, rt::now());
        }
    }

    /// Whether a partition that the disk does not give is to be opened with what it gives: it was waited for, and is no copy.
    /// With its source's next batch that would give up all of its last segment.
    pub(super) fn ends_before_unread(&self, slot: SlotId) -> bool {
        let slots = self.slots.borrow();
        let found = slots.get(slot);
        found.is_some_and(|it| it.again.has_waited() && it.topic.is_owned(it.key.partition))
    }

    /// Whether the log has told often enough that the disk does not give a partition.
    fn is_told_unread(&self, slot: SlotId) -> bool {
        let slots = self.slots.borrow();
        slots.get(slot).is_some_and(|it| it.again.is_told())
    }

    /// The partition that the disk did not give and that has waited longest for another try: first of those whose disk
    /// has its time still, for what that never gives is tried for ever.
    fn next_unread(&self, now: Instant) -> Option<(SlotId, PartitionKey)> {
        let slots = self.slots.borrow();
        let failed = slots
            .iter()
            .filter(|(_, slot)| matches!(slot.state, SlotState::Failed));
        let is_due = |slot: &Slot| slot.again.at.is_some_and(|at| at <= now);
        let due = failed.filter(|(_, slot)| is_due(slot));
        let first = due.min_by_key(|(_, slot)| (slot.again.has_waited(), slot.again.at));
        first.map(|(id, slot)| (id, slot.key))
    }

    /// The first behind `last` that found no room to be opened in.
    fn next_unopened(&self, last: SlotId) -> Option<(SlotId, PartitionKey)> {
        let slots = self.slots.borrow();
        let found = slots.iter_after(last).find(|(_, slot)| slot.is_unopened());
        found.map(|(id, slot)| (id, slot.key))
    }

    fn is_unopened(&self, slot: SlotId) -> bool {
        self.slots.borrow().get(slot).is_some_and(Slot::is_unopened)
    }

    /// A partition's group is to start.
    pub(super) fn want_group(&self, slot: SlotId, pace: Pace) {
        let is_worth_a_look = self.wanted.borrow_mut().want(slot, pace, rt::now);
        if is_worth_a_look {
            self.wanted_changed.notify();
        }
    }

    /// Starts groups: whatever was appended since the wish was uttered joins them.
    async fn keep_committing(self: Rc<Self>) {
        loop {
            let changed = self.wanted_changed.notified();
            let slot = self.wanted.borrow_mut().next(rt::now);
            if let Some(slot) = slot {
                self.step(slot, Input::Commit);
                rt::yield_if_needed().await;
                continue;
            }
            let wait = self.wanted.borrow().wait(rt::now);
            match wait {
                // Over is as good as changed: it looks again.
                Some(wait) => drop(rt::timeout(wait, changed).await),
                None => changed.await,
            }
        }
    }

    async fn keep_committing_soon(self: Rc<Self>) {
        loop {
            let slot = self.commit_soon.next().await;
            self.step(slot, Input::Commit);
            rt::yield_if_needed().await;
        }
    }

    async fn keep_ticking(self: Rc<Self>, tick: Tick) {
        loop {
            let slot = self.ticks(tick).next().await;
            self.step(slot, Input::Ticked);
            rt::yield_if_needed().await;
        }
    }

    /// Runs a flush to its end; its task is never dropped.
    pub(super) fn run_flush(
        self: &Rc<Self>,
        slot: SlotId,
        pace: Pace,
        is_slight: bool,
        generation: u32,
        plan: Box<FlushPlan<Disk>>,
    ) {
        let core = Rc::clone(self);
        let turn = match plan.makes_files() {
            true => Turn::Birth,
            false => Turn::Flush,
        };
        // What makes files takes long, and no other partition is to wait for that.
        let is_waited_for = pace == Pace::InRounds && turn == Turn::Flush;
        let flush = async move {
            let turn = core.files.turn(turn).await;
            if is_waited_for {
                core.wanted.borrow_mut().began();
            }
            let started = rt::now();
            if is_slight {
                core.shared.slight.note(started);
            }
            let done = Box::new(plan.run().await);
            drop(turn);
            let ended = rt::now();
            if is_waited_for {
                let is_worth_a_look = core.wanted.borrow_mut().landed();
                if is_worth_a_look {
                    core.wanted_changed.notify();
                }
            }
            let took_us = u64::try_from((ended - started).as_micros()).unwrap_or(u64::MAX);
            core.counters.sync_us.observe(took_us);
            if let Some(board) = core.slots.borrow().board(slot) {
                board.landed(Flushing {
                    began: started,
                    ended,
                });
            }
            core.step(slot, Input::Flushed { generation, done });
            core.weigh(slot);
            core.flushed.notify();
            core.quieter.notify();
        };
        rt::spawn(flush).detach();
    }

    /// Runs a chore to its end: one that holds flushes up as they run, others behind whatever clients wait for.
    pub(super) fn run_chore(
        self: &Rc<Self>,
        slot: SlotId,
        generation: u32,
        plan: Box<ChorePlan<Disk>>,
    ) {
        let core = Rc::clone(self);
        let is_waited_for = plan.holds_flushes();
        let turn = match is_waited_for {
            true => Turn::Flush,
            false => Turn::Chore,
        };
        let chore = async move {
            let turn = core.files.turn(turn).await;
            let done = Box::new(plan.run().await);
            drop(turn);
            add(&core.counters.chores_total, 1);
            core.step(slot, Input::Chored { generation, done });
            // Appends may have waited for segments to be sealed.
            core.flushed.notify();
            core.quieter.notify();
        };
        match is_waited_for {
            true => rt::spawn(chore).detach(),
            false => rt::spawn_background(chore).detach(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use corelog_protocol::error::ErrorCode;
    use corelog_storage::format::replica::{Replica, Role};

    use super::super::tests::{batches, first_store, flush, produce, topic, with_core};
    use super::*;
    use crate::partition::Refusal;

    #[test]
    fn partitions_that_found_no_room_are_tried_in_turn() {
        with_core(|core| async move {
            let slots = [1, 2, 3].map(|number| {
                let (topic, key) = topic(number);
                core.slots.borrow_mut().add(key, topic).unwrap()
            });
            let next = |last| core.next_unopened(last).map(|(slot, _)| slot);
            assert_eq!(next(SlotId::LAST), None);
            for slot in [slots[0], slots[2]] {
                let mut all = core.slots.borrow_mut();
                all.get_mut(slot).unwrap().state = SlotState::Unopened(Refusal::Busy);
            }
            assert_eq!(next(SlotId::LAST), Some(slots[0]));
            assert_eq!(next(slots[0]), Some(slots[2]));
            assert_eq!(next(slots[2]), Some(slots[0]));
        });
    }

    /// A read that failed once closed a partition until somebody came by; later those of five minutes did, and a copy whose
    /// disk came back after six stayed closed.
    #[test]
    fn partitions_that_the_disk_did_not_give_are_tried_again_for_ever_and_told_a_few_times() {
        with_core(|core| async move {
            let [unread, rotten] = [1, 2].map(|number| {
                let (topic, key) = topic(number);
                let slot = core.slots.borrow_mut().add(key, topic).unwrap();
                (slot, key)
            });
            core.set_failed(rotten.0, false);
            core.set_failed(unread.0, true);
            let begun = rt::now();
            let mut now = begun;
            for tries in 0..10 * OPEN_AGAIN_TRIES {
                let has_waited = OPEN_AGAIN_TRIES <= tries;
                assert_eq!(core.is_told_unread(unread.0), has_waited);
                let at = core.slots.borrow().get(unread.0).unwrap().again.at.unwrap();
                assert_eq!(core.next_unread(at - Duration::from_millis(1)), None);
                assert_eq!(core.next_unread(at), Some(unread));
                assert!(at - now <= OPEN_AGAIN_MAX, "{tries}");
                if has_waited {
                    assert_eq!(at - now, OPEN_AGAIN_MAX);
                    assert!(Duration::from_secs(300) < now - begun, "{tries}");
                }
                now = at;
                fail_at(&core, unread.0, now);
            }
            core.set_failed(unread.0, false);
            assert!(!core.is_told_unread(unread.0), "it is another trouble");
        });
    }

    /// Notes that a partition could not be read at some time.
    fn fail_at(core: &Core, slot: SlotId, now: Instant) {
        let mut slots = core.slots.borrow_mut();
        slots.get_mut(slot).unwrap().again.failed(true, now);
    }

    /// Has a partition that the disk does not give wait for as long as it is waited for.
    fn wait_in_vain(core: &Core, slot: SlotId) {
        core.set_failed(slot, true);
        while !core.ends_before_unread(slot) {
            let at = core.slots.borrow().get(slot).unwrap().again.at;
            fail_at(core, slot, at.unwrap());
        }
    }

    /// Who reopened it eight times within a minute, or had it refused for what no disk says, had it end before what a
    /// loose cable kept back.
    #[test]
    fn the_last_try_of_a_partition_comes_after_five_minutes_however_often_it_is_reopened() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            let slot = core.slots.borrow_mut().add(key, topic).unwrap();
            for is_unread in [false, true] {
                for _ in 0..OPEN_AGAIN_TRIES {
                    core.set_failed(slot, is_unread);
                }
                assert!(!core.ends_before_unread(slot), "{is_unread}");
            }
            wait_in_vain(&core, slot);
            core.set_failed(slot, false);
            assert!(!core.ends_before_unread(slot), "what is refused was given");
        });
    }

    /// The source's next batch had it give up all of its last segment for the sector, and where the source was lost that
    /// was lost with it.
    #[test]
    fn a_copy_is_not_opened_before_what_the_disk_does_not_give_of_it() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            let owned = Arc::clone(&topic);
            let slot = core.slots.borrow_mut().add(key, owned).unwrap();
            wait_in_vain(&core, slot);
            let mut copy = Arc::unwrap_or_clone(topic);
            let replica = Replica {
                role: Role::Follower,
                ..Replica::owner(key.partition)
            };
            copy.replicas.insert(key.partition, replica);
            core.slots.borrow_mut().get_mut(slot).unwrap().topic = Arc::new(copy);
            assert!(!core.ends_before_unread(slot));
        });
    }

    /// A partition that has something on disk.
    async fn kept(core: &Rc<Core>) -> (SlotId, PartitionKey) {
        let (topic, key) = topic(1);
        assert!(core.open_partition(&topic, key).await);
        produce(core, key, &batches(10_000)).await;
        flush(core, key).await;
        (core.slot_of(key).unwrap(), key)
    }

    /// A bad sector at the end kept all that precedes it from readers until somebody copied the disk.
    #[test]
    fn the_last_try_of_a_partition_takes_what_the_disk_gives_of_it() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            assert!(core.open_partition(&topic, key).await);
            let slot = core.slot_of(key).unwrap();
            produce(&core, key, &batches(10_000)).await;
            core.reopen_partition(key).await.unwrap();
            wait_in_vain(&core, slot);
            // What the last one finds is not waited for again by who reopens it.
            let store = first_store(&core, 1);
            let store = std::fs::OpenOptions::new().write(true).open(store);
            store.unwrap().set_len(5_000).unwrap();
            for _ in 0..2 {
                core.reopen_partition(key).await.unwrap();
                let read_only = core.check_not_read_only(key).unwrap_err();
                assert!(read_only.is(ErrorCode::ReadOnly));
                assert!(core.ends_before_unread(slot));
            }
        });
    }

    /// The tries that never end came upon the bare mount point of a volume that somebody repaired, took the partition for
    /// a new one, and gave its offsets a second time.
    #[test]
    fn a_partition_whose_volume_is_not_mounted_is_not_opened_as_a_new_one() {
        with_core(|core| async move {
            let (slot, key) = kept(&core).await;
            let end = core.place(key).unwrap().log_end;
            core.take_log(slot).await.unwrap();
            core.set_failed(slot, true);
            let here = core.shared.data_dir.clone();
            let away = here.with_extension("away");
            std::fs::rename(&here, &away).unwrap();
            for _ in 0..2 {
                assert!(!core.opens_again(key).await);
                let due = rt::now() + OPEN_AGAIN_MAX;
                assert_eq!(core.next_unread(due), Some((slot, key)), "it may come back");
                assert!(!here.exists(), "nothing is made where a volume is missing");
            }
            std::fs::rename(&away, &here).unwrap();
            assert!(core.opens_again(key).await);
            assert_eq!(core.place(key).unwrap().log_end, end);
        });
    }

    /// Two hundred that never opened had one that failed a moment ago wait for a quarter of an hour.
    #[test]
    fn a_partition_that_failed_a_moment_ago_is_tried_before_those_that_fail_for_ever() {
        with_core(|core| async move {
            let add = |number| {
                let (topic, key) = topic(number);
                let slot = core.slots.borrow_mut().add(key, topic).unwrap();
                (slot, key)
            };
            for number in 1..=50 {
                wait_in_vain(&core, add(number).0);
            }
            let late = rt::now() + Duration::from_secs(3_600);
            let latest = add(51);
            core.set_failed(latest.0, false);
            fail_at(&core, latest.0, late - Duration::from_secs(60));
            assert_eq!(core.next_unread(late), Some(latest));
            core.set_failed(latest.0, false);
            assert!(core.next_unread(late).is_some());
        });
    }

    #[test]
    fn a_partition_whose_try_took_long_rests_for_several_times_as_long() {
        let (mut again, now) = (Again::default(), rt::now());
        again.rest(now, now);
        assert!(again.at.is_none(), "it is not to be tried");
        let took = Duration::from_secs(60);
        again.failed(true, now + took);
        again.rest(now, now + took);
        assert_eq!(again.at, Some(now + took + took * OPEN_AGAIN_RESTS));
    }

    #[test]
    fn a_partition_that_opens_begins_to_count_anew() {
        with_core(|core| async move {
            let (slot, key) = kept(&core).await;
            core.set_failed(slot, true);
            let due = rt::now() + OPEN_AGAIN_EVERY;
            assert_eq!(core.next_unread(due), Some((slot, key)));
            core.reopen_partition(key).await.unwrap();
            assert_eq!(core.next_unread(due), None);
            assert_eq!(core.slots.borrow().get(slot).unwrap().again.tries, 0);
        });
    }
}

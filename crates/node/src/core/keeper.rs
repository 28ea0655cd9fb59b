//! What runs on a core beside its requests: the committer, the timers, flushes and chores.

use std::rc::Rc;

use corelog_storage::log::{ChorePlan, FlushPlan};

use super::Disk;
use super::files::Turn;
use super::slots::SlotId;
use super::slowest::Flushing;
use super::state::Core;
use crate::metrics::add;
use crate::partition::{Input, Pace, Tick};
use crate::rt;

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
        let turn = match plan.makes_files() {
            true => Turn::Birth,
            false => Turn::Flush,
        };
        // What makes files takes long, and no other partition is to wait for that.
        let is_waited_for = pace == Pace::InRounds && turn == Turn::Flush;
        let flush = Rc::clone(self).flush(slot, (turn, is_waited_for), is_slight, generation, plan);
        rt::spawn(flush).detach();
    }

    async fn flush(
        self: Rc<Self>,
        slot: SlotId,
        (turn, is_waited_for): (Turn, bool),
        is_slight: bool,
        generation: u32,
        plan: Box<FlushPlan<Disk>>,
    ) {
        let turn = self.files.turn(turn).await;
        if is_waited_for {
            self.wanted.borrow_mut().began();
        }
        let started = rt::now();
        if is_slight {
            self.shared.slight.note(started);
        }
        // As many may wait for their turns as partitions are born at once: who waits has no room for what is done then.
        let done = Box::new(Box::pin(plan.run()).await);
        drop(turn);
        let ended = rt::now();
        if is_waited_for {
            let is_worth_a_look = self.wanted.borrow_mut().landed();
            if is_worth_a_look {
                self.wanted_changed.notify();
            }
        }
        self.counters.sync_us.observe(rt::micros(ended - started));
        if let Some(board) = self.slots.borrow().board(slot) {
            board.landed(Flushing {
                began: started,
                ended,
            });
        }
        self.step(slot, Input::Flushed { generation, done });
        self.weigh(slot);
        self.flushed.notify();
        self.quieter.notify();
    }

    /// Runs a chore to its end: one that holds flushes up as they run, others behind whatever clients wait for.
    pub(super) fn run_chore(
        self: &Rc<Self>,
        slot: SlotId,
        generation: u32,
        plan: Box<ChorePlan<Disk>>,
    ) {
        let is_waited_for = plan.holds_flushes();
        let turn = match is_waited_for {
            true => Turn::Flush,
            false => Turn::Chore,
        };
        let chore = Rc::clone(self).chore(slot, generation, plan, turn);
        match is_waited_for {
            true => rt::spawn(chore).detach(),
            false => rt::spawn_background(chore).detach(),
        }
    }

    async fn chore(
        self: Rc<Self>,
        slot: SlotId,
        generation: u32,
        plan: Box<ChorePlan<Disk>>,
        turn: Turn,
    ) {
        let turn = self.files.turn(turn).await;
        // A thousand may wait for their turns, and few run: who waits has no room for what is done then.
        let done = Box::new(Box::pin(plan.run()).await);
        drop(turn);
        add(&self.counters.chores_total, 1);
        self.step(slot, Input::Chored { generation, done });
        // Appends may have waited for segments to be sealed.
        self.flushed.notify();
        self.quieter.notify();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each had 3.6 KiB: of a thousand partitions that were written to once, nearly all write their marks at one time.
    #[test]
    fn who_waits_for_a_turn_has_no_room_for_what_is_done_then() {
        fn bytes<F>(_: impl Fn(Rc<Core>, SlotId, u32, Box<ChorePlan<Disk>>, Turn) -> F) -> usize {
            size_of::<F>()
        }
        type Plan = Box<FlushPlan<Disk>>;
        fn flush<F>(_: impl Fn(Rc<Core>, SlotId, (Turn, bool), bool, u32, Plan) -> F) -> usize {
            size_of::<F>()
        }
        let (chore, flush) = (bytes(Core::chore), flush(Core::flush));
        assert!(chore <= 512, "{chore}");
        assert!(flush <= 512, "{flush}");
    }
}

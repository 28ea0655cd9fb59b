//! When partitions are looked at for what only time makes due. Those that have something to do are
//! looked at every second; one that rests costs nothing until its time has come.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use corelog_record::Timestamp;

use super::slots::{Slot, SlotId};
use super::state::{Core, SWEEP_EVERY};
use crate::metrics::set;
use crate::partition::{Input, Partition, Rest};
use crate::rt;

/// Partitions by when they are looked at next.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// Those with something to do, each once.
    awake: RefCell<Vec<SlotId>>,
    /// The others, by when there will be.
    due: RefCell<BTreeMap<Timestamp, Vec<SlotId>>>,
}

/// How one partition is looked at.
#[derive(Debug, Default)]
pub(super) struct Swept {
    is_awake: bool,
    /// The earliest time in the table of what is due.
    due: Option<Timestamp>,
}

impl Sweep {
    /// Something happened to a partition: it is looked at within a second.
    pub(super) fn wake(&self, id: SlotId, slot: &mut Slot) {
        if !std::mem::replace(&mut slot.swept.is_awake, true) {
            self.awake.borrow_mut().push(id);
        }
    }

    /// Puts a partition that was looked at where it belongs.
    fn put(&self, id: SlotId, slot: &mut Slot, rest: Rest) {
        match rest {
            Rest::Busy => self.wake(id, slot),
            Rest::Until(time) if slot.swept.due.is_none_or(|due| time < due) => {
                slot.swept.due = Some(time);
                self.due.borrow_mut().entry(time).or_default().push(id);
            }
            Rest::Until(_) | Rest::Idle => {}
        }
    }

    /// Those to look at now; some may be named twice.
    fn take(&self, now: Timestamp) -> Vec<SlotId> {
        let mut due = self.due.borrow_mut();
        let later = due.split_off(&now.saturating_add_millis(1));
        let due = std::mem::replace(&mut *due, later);
        let mut ids = std::mem::take(&mut *self.awake.borrow_mut());
        ids.extend(due.into_values().flatten());
        ids
    }
}

impl Core {
    /// Rolls and expires by age, also where nothing else happens.
    pub(super) async fn keep_sweeping(self: Rc<Self>) {
        loop {
            rt::sleep(SWEEP_EVERY).await;
            self.ahead.sweep(rt::now());
            let now = rt::wall_clock();
            let doubt = rt::clock_doubt().as_secs();
            set(&self.counters.clock_ahead_seconds, doubt);
            for id in self.sweep.take(now) {
                self.sweep_one(id, now);
                rt::yield_if_needed().await;
            }
        }
    }

    fn sweep_one(self: &Rc<Self>, id: SlotId, now: Timestamp) {
        if let Some(slot) = self.slots.borrow_mut().get_mut(id) {
            slot.swept.is_awake = false;
            slot.swept.due = slot.swept.due.filter(|due| now < *due);
        }
        self.step(id, Input::Tick);
        if let Some(slot) = self.slots.borrow_mut().get_mut(id) {
            let rest = slot.partition().map_or(Rest::Idle, Partition::rest);
            self.sweep.put(id, slot, rest);
        }
    }
}

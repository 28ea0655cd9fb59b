//! When partitions are looked at for what only time makes due. Those that have something to do are
//! looked at every second; one that rests costs nothing until its time has come.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use corelog_record::Timestamp;

use super::slots::SlotId;
use super::state::Core;
use crate::metrics::set;
use crate::partition::{Input, Partition, Rest};
use crate::rt;

/// How often those with something to do are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Partitions by when they are looked at next.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// Those with something to do, each once.
    awake: RefCell<Vec<SlotId>>,
    /// The others, by when there will be, each once.
    due: RefCell<BTreeSet<(Timestamp, SlotId)>>,
}

/// How one partition is looked at.
#[derive(Debug, Default)]
pub(super) struct Swept {
    is_awake: bool,
    /// Its time in the table of what is due.
    due: Option<Timestamp>,
}

impl Sweep {
    /// Something happened to a partition: it is looked at within a second.
    pub(super) fn wake(&self, id: SlotId, swept: &mut Swept) {
        if !std::mem::replace(&mut swept.is_awake, true) {
            self.awake.borrow_mut().push(id);
        }
    }

    /// A partition goes away; its slot may become another's long before its time.
    pub(super) fn forget(&self, id: SlotId, swept: &Swept) {
        if let Some(due) = swept.due {
            self.due.borrow_mut().remove(&(due, id));
        }
    }

    /// Puts a partition that was looked at where it belongs.
    fn put(&self, id: SlotId, swept: &mut Swept, rest: Rest) {
        match rest {
            Rest::Busy => self.wake(id, swept),
            Rest::Until(time) if swept.due.is_none_or(|due| time < due) => {
                self.forget(id, swept);
                swept.due = Some(time);
                self.due.borrow_mut().insert((time, id));
            }
            Rest::Until(_) | Rest::Idle => {}
        }
    }

    /// Those to look at now; some may be named twice.
    fn take(&self, now: Timestamp) -> Vec<SlotId> {
        let mut due = self.due.borrow_mut();
        let later = due.split_off(&(now.saturating_add_millis(1), SlotId(0)));
        let due = std::mem::replace(&mut *due, later);
        let mut ids = std::mem::take(&mut *self.awake.borrow_mut());
        ids.extend(due.into_iter().map(|(_, id)| id));
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
            self.sweep.put(id, &mut slot.swept, rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A topic with an age, created and deleted again, left its time behind for as long as that age: years of
    /// them add up, and slots that became another's were looked at for nothing.
    #[test]
    fn a_partition_that_goes_away_or_is_due_earlier_leaves_no_time_behind() {
        let (sweep, id) = (Sweep::default(), SlotId(7));
        let mut swept = Swept::default();
        let at = Timestamp::from_millis;
        for time in [9_000, 9_500, 5_000] {
            sweep.put(id, &mut swept, Rest::Until(at(time)));
        }
        assert_eq!(sweep.due.borrow().len(), 1);
        assert_eq!(sweep.take(at(4_999)), []);
        assert_eq!(sweep.take(at(5_000)), [id]);
        let mut swept = Swept::default();
        sweep.put(id, &mut swept, Rest::Until(at(9_000)));
        sweep.forget(id, &swept);
        assert_eq!(sweep.take(at(10_000)), []);
    }
}

//! Opening all partitions at a start, and how long others wait for those that take long.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::claim::Claim;
use super::files::Turn;
use super::slots::SlotState;
use super::state::Core;
use crate::catalog::Topic;
use crate::rt;

/// For so long a start waits for its partitions. Whoever takes longer has much to recover, or a disk that gives each block
/// only after seconds, which may be hours: the others are served meanwhile.
const OPENING_FOR: Duration = Duration::from_secs(60);

/// What a core has opened by the time that it serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Opened {
    /// All partitions.
    pub(crate) partitions: usize,
    /// Those of them that could not be opened.
    pub(crate) failed: usize,
    /// Those that are still to be opened, or being opened.
    pub(crate) opening: usize,
}

impl Core {
    /// Opens the partitions of these topics that are this core's, as many at once as its files allow. Those that take too long
    /// are opened on behind this.
    pub(crate) async fn open_all(self: &Rc<Self>, topics: Vec<Arc<Topic>>) -> Opened {
        self.open_within(OPENING_FOR, topics).await
    }

    async fn open_within(self: &Rc<Self>, within: Duration, topics: Vec<Arc<Topic>>) -> Opened {
        // All of them are there from the beginning: who asks for one is told that it is being opened.
        let mut added = Vec::new();
        for topic in topics {
            for key in topic.keys_on(self.id) {
                let claim = self.add_partition(&topic, key);
                added.extend(claim.map(|claim| (claim, Arc::clone(&topic))));
                rt::yield_if_needed().await;
            }
        }
        let mut opening = rt::spawn(Rc::clone(self).open_each(added));
        let in_time = rt::timeout(within, &mut opening).await;
        let opened = self.opened();
        if in_time.is_none() {
            opening.detach();
            tracing::warn!(
                core = self.id.get(),
                partitions = opened.partitions,
                opening = opened.opening,
                "serves while partitions are still being opened: they have much to recover, or their disk answers late"
            );
        }
        opened
    }

    async fn open_each(self: Rc<Self>, added: Vec<(Claim, Arc<Topic>)>) {
        let opened = rt::at_once(self.at_once(), added, |(claim, topic)| {
            let core = Rc::clone(&self);
            async move {
                let call_off = core.call_off_of(claim.slot());
                // Not beside as many more that are opened again.
                let turn = core.files.turn(Turn::Open);
                if let Ok(_turn) = core.unless_called_off(&call_off, turn).await {
                    core.open_added(claim, &topic).await;
                }
            }
        });
        opened.await;
        self.trim_quarantine();
    }

    fn opened(&self) -> Opened {
        let mut opened = Opened::default();
        for (_, slot) in self.slots.borrow().iter() {
            opened.partitions += 1;
            match slot.state {
                SlotState::Opening => opened.opening += 1,
                SlotState::Unopened(_) | SlotState::Failed => opened.failed += 1,
                SlotState::Open(_) => {}
            }
        }
        opened
    }
}

#[cfg(test)]
mod tests {
    use corelog_protocol::error::ErrorCode;

    use super::super::tests::{topic, until, with_core};
    use super::*;

    /// A start whose partitions take longer than it waits: each of them has its files' turns taken.
    async fn started(core: &Rc<Core>) -> (Vec<rt::Permit>, Opened) {
        let mut turns = Vec::new();
        for _ in 0..core.at_once() {
            turns.push(core.files.turn(Turn::Open).await);
        }
        let topics = vec![topic(1).0, topic(2).0];
        (turns, core.open_within(Duration::ZERO, topics).await)
    }

    /// One on a drive that fails kept all of the node from serving, for hours.
    #[test]
    fn a_start_goes_on_without_partitions_that_take_long_and_they_are_served_once_they_are_open() {
        with_core(|core| async move {
            let (turns, opened) = started(&core).await;
            let still = Opened {
                partitions: 2,
                failed: 0,
                opening: 2,
            };
            assert_eq!(opened, still);
            for number in [1, 2] {
                let refused = core.slot_of(topic(number).1).unwrap_err();
                assert!(refused.is(ErrorCode::Busy), "{refused}");
            }
            drop(turns);
            until("they are open", || core.opened().opening == 0).await;
            assert_eq!(core.opened().failed, 0);
            for number in [1, 2] {
                core.slot_of(topic(number).1).unwrap();
            }
        });
    }

    #[test]
    fn a_stop_calls_off_partitions_that_a_start_has_not_opened_yet() {
        with_core(|core| async move {
            let (_turns, opened) = started(&core).await;
            assert_eq!(opened.opening, 2);
            core.begin_stop();
            for slot in core.partition_slots() {
                let closing = Box::pin(core.close_partition(slot));
                let closed = rt::timeout(Duration::from_secs(60), closing).await;
                assert_eq!(closed, Some(true));
            }
        });
    }

    #[test]
    fn a_start_waits_for_partitions_that_are_opened_in_time() {
        with_core(|core| async move {
            let opened = core.open_all(vec![topic(1).0, topic(2).0]).await;
            let all = Opened {
                partitions: 2,
                ..Opened::default()
            };
            assert_eq!(opened, all);
        });
    }
}

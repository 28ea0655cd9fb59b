//! Opening all partitions at a start, and how long others wait for those that take long; opening those of a topic that comes.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::files::Turn;
use super::slots::{PartitionKey, SlotState};
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

    /// Opens all partitions of a topic that are this core's, and not there yet: of one that was restored each has files.
    pub(crate) async fn open_topic(self: &Rc<Self>, topic: &Arc<Topic>) {
        let is_new = |key: &PartitionKey| self.slots.borrow().find(*key).is_none();
        let new: Vec<_> = topic.keys_on(self.id).filter(is_new).collect();
        let opened = rt::at_once(self.at_once(), new, |key| {
            let (core, topic) = (Rc::clone(self), Arc::clone(topic));
            async move { core.open_partition(&topic, key).await }
        });
        opened.await;
    }

    async fn open_within(self: &Rc<Self>, within: Duration, topics: Vec<Arc<Topic>>) -> Opened {
        // All of them are there from the beginning: who asks for one is told that it is being opened.
        let mut added = Vec::new();
        for topic in topics {
            for key in topic.keys_on(self.id) {
                if self.add_partition(&topic, key) {
                    added.push((key, Arc::clone(&topic)));
                }
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

    async fn open_each(self: Rc<Self>, added: Vec<(PartitionKey, Arc<Topic>)>) {
        // One that is opened again has a turn, however long all of these take.
        let at_once = (self.at_once() - 1).max(1);
        let opened = rt::at_once(at_once, added, |(key, topic)| {
            let core = Rc::clone(&self);
            async move { core.open_in_turn(key, &topic).await }
        });
        opened.await;
        self.trim_quarantine();
    }

    /// Opens a partition whose turn has come, unless it was opened, closed or deleted before that.
    async fn open_in_turn(self: &Rc<Self>, key: PartitionKey, topic: &Topic) {
        if self.is_stopping.get() {
            return;
        }
        let Some(claim) = self.claim_added(key) else {
            return;
        };
        let call_off = self.call_off_of(claim.slot());
        let turn = self.files.turn(Turn::Open);
        if let Ok(_turn) = self.unless_called_off(&call_off, turn).await {
            self.open_added(claim, key, topic).await;
        }
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
    use std::pin::pin;

    use corelog_protocol::error::ErrorCode;
    use futures_lite::future::poll_once;

    use super::super::tests::{hold_openings, topic, until, with_core};
    use super::*;

    /// A start whose partitions take longer than it waits: other openings have all turns. It has two more than are opened at once.
    async fn started(core: &Rc<Core>) -> (Vec<rt::Permit>, Vec<PartitionKey>) {
        let turns = hold_openings(core).await;
        let count = u8::try_from(core.at_once()).unwrap() + 1;
        let (topics, keys): (Vec<_>, Vec<_>) = (1..=count).map(topic).unzip();
        let opened = core.open_within(Duration::ZERO, topics).await;
        let still = Opened {
            partitions: keys.len(),
            failed: 0,
            opening: keys.len(),
        };
        assert_eq!(opened, still);
        (turns, keys)
    }

    /// One on a drive that fails kept all of the node from serving, for hours.
    #[test]
    fn a_start_goes_on_without_partitions_that_take_long_and_they_are_served_once_they_are_open() {
        with_core(|core| async move {
            let (turns, keys) = started(&core).await;
            for key in &keys {
                let refused = core.slot_of(*key).unwrap_err();
                assert!(refused.is(ErrorCode::Busy), "{refused}");
            }
            drop(turns);
            until("they are open", || core.opened().opening == 0).await;
            assert_eq!(core.opened().failed, 0);
            for key in keys {
                core.slot_of(key).unwrap();
            }
        });
    }

    #[test]
    fn partitions_that_a_start_has_not_opened_yet_are_closed_and_deleted_at_once() {
        with_core(|core| async move {
            let (_turns, keys) = started(&core).await;
            for key in [keys[0], keys[keys.len() - 1]] {
                let dropping = rt::timeout(Duration::from_secs(60), core.drop_partition(key));
                assert_eq!(dropping.await, Some(0));
            }
            core.begin_stop();
            for slot in core.partition_slots() {
                let closing = Box::pin(core.close_partition(slot));
                let closed = rt::timeout(Duration::from_secs(60), closing).await;
                assert_eq!(closed, Some(true));
            }
        });
    }

    /// What was fenced, or had found no space, waited for all of them.
    #[test]
    fn a_start_leaves_a_turn_to_what_is_opened_again() {
        with_core(|core| async move {
            let count = u8::try_from(core.at_once()).unwrap() + 1;
            let topics = (1..=count).map(|number| topic(number).0).collect();
            let mut opening = pin!(core.open_all(topics));
            // On a machine that is busy all of them may be open by the first look.
            let mut opened = None;
            while opened.is_none() && core.partition_slots().len() < usize::from(count) {
                opened = poll_once(opening.as_mut()).await;
            }
            assert!(poll_once(core.files.turn(Turn::Open)).await.is_some());
            if opened.is_none() {
                opening.await;
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

    /// One waited for the other, of thousands that were restored, while no topic could change its owner.
    #[test]
    fn partitions_of_a_topic_that_comes_are_opened_side_by_side() {
        with_core(|core| async move {
            let mut topic = Arc::unwrap_or_clone(topic(1).0);
            topic.owners.extend([core.id; 7]);
            let topic = Arc::new(topic);
            let keys: Vec<_> = topic.keys_on(core.id).collect();
            let mut opening = pin!(core.open_topic(&topic));
            assert!(poll_once(&mut opening).await.is_none());
            let are_opening = || {
                keys.iter()
                    .all(|key| core.slots.borrow().find(*key).is_some())
            };
            until("all of them are being opened", are_opening).await;
            let opened = keys.iter().filter(|key| core.slot_of(**key).is_ok());
            assert!(opened.count() < keys.len() - 1);
            opening.await;
            assert!(keys.iter().all(|key| core.slot_of(*key).is_ok()));
        });
    }
}

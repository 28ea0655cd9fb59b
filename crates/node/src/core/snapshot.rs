//! A core's part of a snapshot: its partitions, a few at a time, each rolled and linked; and where the
//! last snapshots of them end.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use corelog_protocol::error::ErrorCode;
use corelog_record::TopicName;
use corelog_storage::snapshot::{self, Name};

use super::asked::PATIENCE;
use super::serve::not_told;
use super::slots::{PartitionKey, SlotId};
use super::state::Core;
use crate::catalog::{self, LastSnapshots, Topic};
use crate::failure::Failure;
use crate::partition::{Answer, Input};
use crate::rt;

/// Partitions of one core that are sealed and linked at the same time: enough to keep the disk
/// busy.
const AT_ONCE: usize = 16;

/// One partition in a snapshot.
pub(crate) type Taken = (PartitionKey, snapshot::Partition);

impl Core {
    /// Takes those partitions of `topics` that are this core's into the snapshot `name`.
    ///
    /// # Errors
    /// Why the first of them that did not could not take part; the others may have.
    pub(crate) async fn take_snapshot(
        self: &Rc<Self>,
        name: &Name,
        topics: &[Arc<Topic>],
    ) -> Result<Vec<Taken>, Failure> {
        let home = catalog::snapshot_dir(&self.root, name);
        let has_failed = Rc::<Cell<bool>>::default();
        let mine = topics.iter().flat_map(|topic| {
            let keys = topic.keys_on(self.id);
            keys.map(move |key| (Arc::clone(topic), key))
        });
        // Those that were begun are waited for as well: nothing is linked behind an error.
        let until_failed = mine.take_while(|_| !has_failed.get());
        let taken = rt::at_once(AT_ONCE, until_failed, |(topic, key)| {
            let (core, has_failed) = (Rc::clone(self), Rc::clone(&has_failed));
            let target = snapshot::partition_dir(&home, &topic.name, key.partition);
            async move {
                let taken = core.take_partition(key, target, PATIENCE).await;
                taken.map_err(|mut error| {
                    has_failed.set(true);
                    error.message = told(&topic.name, key.partition.get(), &error);
                    error
                })
            }
        });
        taken.await.into_iter().collect()
    }

    async fn take_partition(
        self: &Rc<Self>,
        key: PartitionKey,
        target: super::Disk,
        patience: Duration,
    ) -> Result<Taken, Failure> {
        let asked = self.ask(key, |token| Input::TakeSnapshot { token, target })?;
        let call_off = |token| Input::AbandonSnapshot { token };
        let told = match self.told_within(&asked, patience, call_off).await {
            Some(told) => told,
            // Linking takes as long as it takes.
            None => asked.ticket.told().await,
        };
        match told {
            Ok(Answer::Snapshotted {
                log_start,
                end,
                chain,
                segments,
                bytes,
            }) => {
                let partition = snapshot::Partition {
                    partition: key.partition,
                    log_start,
                    end,
                    chain: Some(chain),
                    bytes,
                    segments: segments as u64,
                };
                Ok((key, partition))
            }
            other => Err(not_told(Some(other))),
        }
    }

    /// Takes note of where the last snapshots of the partitions end.
    pub(crate) async fn keep_snapshots(self: &Rc<Self>, last: Arc<LastSnapshots>) {
        *self.last_snapshots.borrow_mut() = last;
        for slot in self.partition_slots() {
            self.tell_snapshotted(slot);
            rt::yield_if_needed().await;
        }
    }

    /// Where the last snapshots of the partitions end, as far as this core was told.
    pub(crate) fn last_snapshots(&self) -> Arc<LastSnapshots> {
        Arc::clone(&self.last_snapshots.borrow())
    }

    /// Tells a partition where its last snapshot ends.
    pub(super) fn tell_snapshotted(self: &Rc<Self>, slot: SlotId) {
        let Some(key) = self.slots.borrow().get(slot).map(|found| found.key) else {
            return;
        };
        let last = self.last_snapshots.borrow().place_of(key);
        self.step(slot, Input::Snapshotted { last });
    }
}

/// Which partition cannot take part, and what can be done: its copy would lack what it may still be
/// asked for, so it is not left out without a word.
fn told(topic: &TopicName, partition: u32, error: &Failure) -> String {
    let advice = match error.known_code() {
        Some(ErrorCode::Fenced) => "; reopen it first, or name the other topics",
        Some(ErrorCode::ReadOnly | ErrorCode::Damaged | ErrorCode::Internal) => {
            "; name the other topics to leave it out"
        }
        _ => "",
    };
    format!("{topic}/{partition}: {}{advice}", error.message)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_lite::future::poll_once;

    use super::super::tests::{batches, flush, produce, topic as numbered, with_core};
    use super::*;
    use crate::failure::failure;

    /// Who waits for it would wait for as long as the disk takes nothing.
    #[test]
    fn a_snapshot_of_a_partition_that_is_not_sealed_in_time_is_given_up_and_keeps_no_other_from_being_taken()
     {
        with_core(|core| async move {
            let (topic, key) = numbered(1);
            assert!(core.open_partition(&topic, key).await);
            produce(&core, key, &batches(100)).await;
            let taken = async |name, patience| {
                let name = Name::new(name).unwrap();
                let home = catalog::snapshot_dir(&core.root, &name);
                let target = snapshot::partition_dir(&home, &topic.name, key.partition);
                core.take_partition(key, target, patience).await
            };
            let late = taken("late", Duration::ZERO).await.unwrap_err();
            assert!(late.is(ErrorCode::Busy), "{late}");
            let mut whole = pin!(taken("whole", PATIENCE));
            assert!(poll_once(&mut whole).await.is_none(), "it waits");
            flush(&core, key).await;
            let (_, whole) = whole.await.unwrap();
            assert_eq!(whole.end, corelog_record::Offset::ZERO.plus(1));
        });
    }

    #[test]
    fn a_refusal_names_the_partition_and_what_to_do() {
        let topic = TopicName::new("t").expect("a name");
        let said = |code| told(&topic, 3, &failure(code, "why"));
        let expected = "t/3: why; name the other topics to leave it out";
        assert_eq!(said(ErrorCode::ReadOnly), expected);
        assert!(said(ErrorCode::Fenced).contains("reopen it first"));
        assert_eq!(said(ErrorCode::StorageFull), "t/3: why");
    }
}

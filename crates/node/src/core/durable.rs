//! Waiting until what a log of this core has in memory is on disk.

use std::rc::Rc;
use std::time::Duration;

use corelog_protocol::error::ErrorCode;
use corelog_record::Offset;

use super::board::{Board, Outcome, Seen, Void};
use super::calls::Calls;
use super::serve::not_told;
use super::slots::PartitionKey;
use super::state::Core;
use crate::failure::{Failure, failure};
use crate::partition::{Partition, Status};
use crate::rt;

/// How long a log may take to have on disk what is in memory.
const DURABLE_WAIT_MAX: Duration = Duration::from_secs(30);

impl Core {
    /// Waits until all below an offset of a log of this core is durable.
    ///
    /// # Errors
    /// `OutcomeUnknown` if the log is fenced, or is closed or cut before; `StorageFull` if there is no room for that yet;
    /// `TimedOut`.
    pub(crate) async fn durable(&self, key: PartitionKey, upto: Offset) -> Result<(), Failure> {
        let slot = self.slot_of(key)?;
        let board = self.slots.borrow().board(slot).cloned();
        let board = board.ok_or_else(|| not_told(None))?;
        let seen = board.seen();
        let status = self.look(key, Partition::status)?;
        // Whoever begins to wait after the one or the other was told would hear of nothing any more.
        if board.outcome(upto, seen).is_none() {
            not_held_up(&status)?;
        }
        match rt::timeout(DURABLE_WAIT_MAX, outcome_of(&board, upto, seen)).await {
            Some(Outcome::Durable) => Ok(()),
            Some(Outcome::Unknown(Void::Full)) => Err(no_room()),
            Some(Outcome::Unknown(Void::Fenced | Void::Closed)) => Err(not_durable()),
            None => Err(timed_out()),
        }
    }
}

/// That what is in memory is on its way to the disk.
fn not_held_up(status: &Status) -> Result<(), Failure> {
    match status {
        Status {
            is_fenced: true, ..
        } => Err(not_durable()),
        Status { is_full: true, .. } => Err(no_room()),
        _ => Ok(()),
    }
}

/// Waits for what comes of waiting, begun at `seen`, for all below an offset to be durable.
async fn outcome_of(board: &Rc<Board>, upto: Offset, seen: Seen) -> Outcome {
    let (changed, mut watched) = (rt::Notify::new(), None);
    let calls = Calls::new(changed.clone());
    let outcome = || board.outcome_or_watch(calls.at(0), (upto, seen), &mut watched);
    changed.some(outcome).await
}

fn no_room() -> Failure {
    // Unlike a producer's records, what waits for this does not go on by itself.
    let message = "no space or no descriptor is left for what is in memory: give the server space, as by `corelog topic \
                   delete` of another topic, then ask again";
    failure(ErrorCode::StorageFull, message)
}

fn not_durable() -> Failure {
    let message = "the log was fenced, closed or cut before all of it was durable";
    failure(ErrorCode::OutcomeUnknown, message)
}

fn timed_out() -> Failure {
    let message = "the disk does not take what is in memory";
    failure(ErrorCode::TimedOut, message)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_lite::future::poll_once;

    use super::super::tests::{batches, flush, produce, topic, with_core};
    use super::*;

    /// It was told as if the log had been fenced, which sends a person to reopen it.
    #[test]
    fn who_waits_for_a_full_disk_is_told_that_it_is_full() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            assert!(core.open_partition(&topic, key).await);
            produce(&core, key, &batches(100)).await;
            let slot = core.slot_of(key).unwrap();
            for (void, expected) in [
                (Void::Full, ErrorCode::StorageFull),
                (Void::Fenced, ErrorCode::OutcomeUnknown),
            ] {
                let mut waiting = pin!(core.durable(key, Offset::ZERO.plus(1)));
                assert!(poll_once(&mut waiting).await.is_none());
                core.void(slot, void);
                let told = waiting.await.unwrap_err();
                assert!(told.is(expected), "{told:?}");
            }
        });
    }

    /// Their outcome was unknown, though the sync had returned.
    #[test]
    fn records_that_a_close_has_written_are_durable_also_if_it_fails_behind_that() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            assert!(core.open_partition(&topic, key).await);
            let slot = core.slot_of(key).unwrap();
            produce(&core, key, &batches(10_000)).await;
            flush(&core, key).await;
            produce(&core, key, &batches(10_000)).await;
            let mut durable = pin!(core.durable(key, Offset::ZERO.plus(2)));
            assert!(poll_once(&mut durable).await.is_none(), "it is in memory");
            // Where the index of the last segment is to be.
            let index = format!("topics/{}/0/{:020}.index", topic.name, 0);
            std::fs::create_dir(core.shared.data_dir.join(index)).unwrap();
            assert!(!core.close_partition(slot).await, "it failed");
            durable.await.unwrap();
        });
    }

    /// It was told before, and is not told again.
    #[test]
    fn who_begins_to_wait_where_the_disk_is_full_is_told_at_once_and_what_to_do() {
        let full = Status {
            is_full: true,
            ..Status::default()
        };
        let told = not_held_up(&full).unwrap_err();
        assert!(told.is(ErrorCode::StorageFull), "{told:?}");
        assert!(told.message.contains("then ask again"), "{told:?}");
        let fenced = Status {
            is_fenced: true,
            ..full
        };
        let told = not_held_up(&fenced).unwrap_err();
        assert!(told.is(ErrorCode::OutcomeUnknown), "{told:?}");
        assert!(not_held_up(&Status::default()).is_ok());
    }
}

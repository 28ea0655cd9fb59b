//! Its partitions as a core shows them to who copies them: segments, chains, and the files that it lends.

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::copy_segments::Part;
use corelog_protocol::message::{chain_at, segments};
use corelog_record::{HistoryId, Offset};

use super::refusal::{error_of, with_causes};
use super::serve::not_told;
use super::slots::PartitionKey;
use super::state::Core;
use crate::catalog;
use crate::failure::{Amount, Failure, failure};
use crate::follow;
use crate::partition::{NotLent, Partition, Refusal};

/// A range of a sealed segment's store, open. The descriptor is what keeps the bytes: the segment may
/// expire or be replaced meanwhile, and closing it gives them back.
#[derive(Debug)]
pub(crate) struct Lent {
    pub(crate) file: OwnedFd,
    /// The bytes that were asked for.
    pub(crate) bytes: Range<u64>,
    /// The offsets of the whole segment.
    pub(crate) offsets: Range<Offset>,
}

impl Core {
    /// A partition of this core as files.
    ///
    /// # Errors
    /// What the client is told.
    pub(crate) fn segments(
        &self,
        key: PartitionKey,
        from: Offset,
    ) -> Result<segments::Answer, Failure> {
        let epochs = follow::told(&self.epochs(key)?);
        self.look(key, |partition| partition.segments(from, epochs))
    }

    /// The batch boundary at or below an offset of a partition of this core, and the chain there.
    ///
    /// # Errors
    /// What the client is told.
    pub(crate) async fn tell_chain(
        &self,
        key: PartitionKey,
        at: Offset,
    ) -> Result<chain_at::Answer, Failure> {
        let status = self.look(key, Partition::status)?;
        let valid = status.log_start..status.high_watermark;
        if at < valid.start || valid.end < at {
            return Err(error_of(&Refusal::OutOfRange { valid }));
        }
        // Before the disk is waited for: what is let go of meanwhile takes its epochs along.
        let epochs = self.epochs(key)?;
        let found = self.chain_at(key, at).await?;
        let began = corelog_storage::epochs::ruling(&epochs, found.offset);
        Ok(chain_at::Answer {
            offset: found.offset,
            ordinal: found.ordinal,
            chain: found.chain,
            epoch: began.map(|began| began.epoch),
        })
    }

    /// Opens a part of a sealed segment of a partition of this core.
    ///
    /// # Errors
    /// What the client is told, the segment in its detail.
    pub(crate) async fn lend(
        &self,
        key: PartitionKey,
        history: HistoryId,
        part: &Part,
    ) -> Result<Lent, Failure> {
        let (pinned, dir) = {
            let slot = self.slot_of(key).map_err(|error| of_segment(error, part))?;
            let slots = self.slots.borrow();
            let found = slots.get(slot);
            let found = found.and_then(|found| Some((found.partition()?, &found.topic.name)));
            let (partition, topic) = found.ok_or_else(|| of_segment(not_told(None), part))?;
            let lent = partition.lend(history, (part.segment, part.generation));
            let pinned = lent.map_err(|why| of_segment(not_lent(why), part))?;
            let dir = catalog::partition_dir(&self.root, topic, key.partition);
            (pinned, dir)
        };
        let digest = &pinned.seal().digest;
        let (bytes, offsets) = (range(part, digest.bytes)?, digest.base..digest.end);
        // Its name means this very file until `pinned` is dropped.
        match dir.open_cached(pinned.name()).await {
            Ok(file) => Ok(Lent {
                file,
                bytes,
                offsets,
            }),
            Err(error) => Err(self.not_opened(key, (history, part), &offsets, &error)),
        }
    }

    /// A sender met damage in a file that this core lent: the partition is scrubbed.
    pub(crate) fn met_damage_lent(&self, key: PartitionKey, offsets: &Range<Offset>) {
        if let Ok(slot) = self.slot_of(key) {
            self.met_damage(slot, offsets.start, offsets.end);
        }
    }

    fn not_opened(
        &self,
        key: PartitionKey,
        (history, part): (HistoryId, &Part),
        offsets: &Range<Offset>,
        error: &io::Error,
    ) -> Failure {
        if error.kind() == io::ErrorKind::NotFound {
            if let Some(why) = self.moved_away(key, history, part) {
                return of_segment(why, part);
            }
            self.met_damage_lent(key, offsets);
            return damaged(part, offsets);
        }
        if corelog_storage::disk::is_out_of_files(error) {
            return of_segment(error_of(&Refusal::Busy), part);
        }
        of_segment(failure(ErrorCode::Internal, with_causes(error)), part)
    }

    /// Why a file that was lent is not there any more, unless it should be: a cut or a repair of the log
    /// moves files away, whoever is about to open them, and the partition may be opened anew or gone.
    fn moved_away(&self, key: PartitionKey, history: HistoryId, part: &Part) -> Option<Failure> {
        let looked = self.look(key, |partition| {
            match partition.lend(history, (part.segment, part.generation)) {
                Err(why) => Some(not_lent(why)),
                Ok(_) if partition.is_changing() => Some(error_of(&Refusal::Busy)),
                Ok(_) => None,
            }
        });
        looked.unwrap_or_else(Some)
    }
}

/// That bytes of a segment cannot be trusted.
pub(crate) fn damaged(part: &Part, offsets: &Range<Offset>) -> Failure {
    let refusal = Refusal::Damaged {
        damaged: offsets.clone(),
        segment: part.segment,
    };
    error_of(&refusal)
}

/// The failure, naming the segment that it is about.
pub(crate) fn of_segment(mut failure: Failure, part: &Part) -> Failure {
    failure.detail.segment = Some(part.segment);
    failure
}

fn not_lent(why: NotLent) -> Failure {
    match why {
        NotLent::OtherHistory { found } => {
            let message = format!("the partition's log is {found}, another one");
            failure(ErrorCode::Gone, message)
        }
        NotLent::Gone => {
            let message = "there is no such sealed segment in this generation, or no more";
            failure(ErrorCode::Gone, message)
        }
        NotLent::Damaged(damage) => error_of(&Refusal::Damaged {
            damaged: damage.from..damage.to,
            segment: damage.segment,
        }),
        NotLent::Closing => error_of(&Refusal::Closing),
    }
}

/// The bytes that a part asks for, of a file of so many.
fn range(part: &Part, file_bytes: u64) -> Result<Range<u64>, Failure> {
    let start = part.position.get();
    let end = match part.bytes {
        Some(bytes) => start.saturating_add(bytes),
        None => file_bytes.max(start),
    };
    let asked = Amount {
        found: end,
        limit: file_bytes,
    };
    let checked = asked.check("parts", "bytes of the segment's file");
    checked.map_err(|error| of_segment(error, part))?;
    Ok(start..end)
}

#[cfg(test)]
mod tests {
    use corelog_record::Position;
    use corelog_storage::log::Begin;
    use futures_lite::future::poll_once;

    use super::super::slots::SlotState;
    use super::super::tests::{
        batches, cold_batches, flush, hold_reads, produce, terms, topic, with_core,
    };
    use super::*;
    use crate::partition::Change;
    use crate::router::{Ask, told};
    use crate::rt;

    /// A client that searched and hung up, again and again, had the disk search for any number of clients that were gone.
    #[test]
    fn a_search_has_its_place_until_it_is_done_whether_anybody_waits_or_not() {
        with_core(|core| async move {
            let (_, key) = cold_batches(&core, 2).await;
            let search = || {
                let (at, frame) = (core.id, Some(terms().frame));
                let offset = Offset::ZERO.plus(1);
                let ask = Ask::ChainAt { key, offset };
                told::<chain_at::Answer>(&core, at, ask, frame)
            };
            let turns = hold_reads(&core).await;
            let mut given_up = 0;
            let refused = loop {
                match poll_once(Box::pin(search())).await {
                    None => given_up += 1,
                    Some(told) => break told.unwrap_err(),
                }
                assert!(given_up < 1_000, "nothing bounds them");
            };
            assert!(refused.is(ErrorCode::Busy), "{refused}");
            drop(turns);
            while Box::pin(search()).await.is_err() {
                rt::next_turn().await;
            }
        });
    }

    #[test]
    fn a_chain_is_told_with_the_epoch_of_the_batch_that_begins_there() {
        with_core(|core| async move {
            let (_, key) = cold_batches(&core, 2).await;
            let taken_over = Change::Epoch(Begin::Promoted);
            core.change(key, taken_over).await.unwrap();
            produce(&core, key, &batches(100)).await;
            flush(&core, key).await;
            let epochs = core.epochs(key).unwrap();
            let [first, second] = [0, 1].map(|number: usize| Some(epochs[number].epoch));
            let at = |at| Offset::ZERO.plus(at);
            for (offset, epoch) in [(0, first), (1, first), (2, second), (3, second)] {
                let told = core.tell_chain(key, at(offset)).await.unwrap();
                assert_eq!((told.offset, told.epoch), (at(offset), epoch));
            }
        });
    }

    #[test]
    fn a_part_beyond_its_file_is_named_with_what_was_found_and_the_limit() {
        let part = |position, bytes| Part {
            segment: Offset::ZERO.plus(7),
            generation: 0,
            position: Position::new(position).unwrap(),
            bytes,
        };
        assert_eq!(range(&part(40, None), 100).unwrap(), 40..100);
        assert_eq!(range(&part(40, Some(60)), 100).unwrap(), 40..100);
        for (position, bytes, found) in [
            (40, Some(61), 101),
            (101, None, 101),
            (1, Some(u64::MAX), u64::MAX),
        ] {
            let refused = range(&part(position, bytes), 100).unwrap_err();
            assert!(refused.is(ErrorCode::InvalidRequest), "{refused}");
            let detail = refused.detail;
            assert_eq!(detail.field.as_deref(), Some("parts"));
            assert_eq!((detail.found, detail.limit), (Some(found), Some(100)));
            assert_eq!(detail.segment, Some(part(0, None).segment));
        }
    }

    /// It was told as damage, which ends readers and brings operators.
    #[test]
    fn a_file_that_went_away_with_its_partition_or_while_that_is_opened_anew_is_no_damage() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            let code = || {
                let part = Part {
                    segment: Offset::ZERO,
                    generation: 0,
                    position: Position::ZERO,
                    bytes: None,
                };
                let missing = io::ErrorKind::NotFound.into();
                let asked = (HistoryId::from_bytes([1; 16]), &part);
                let offsets = Offset::ZERO..Offset::ZERO.plus(1);
                core.not_opened(key, asked, &offsets, &missing).known_code()
            };
            assert_eq!(code(), Some(ErrorCode::UnknownTopic));
            let slot = core.slots.borrow_mut().add(key, topic).unwrap();
            assert_eq!(code(), Some(ErrorCode::Busy));
            let set = |state| core.slots.borrow_mut().get_mut(slot).unwrap().state = state;
            set(SlotState::Unopened(Refusal::StorageFull));
            assert_eq!(code(), Some(ErrorCode::StorageFull));
            set(SlotState::Failed);
            assert_eq!(code(), Some(ErrorCode::Damaged));
        });
    }
}

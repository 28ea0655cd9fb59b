//! What a core answers to requests for its own partitions, whichever way they came.

use std::rc::Rc;
use std::time::Duration;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::ack::Level;
use corelog_protocol::message::{list_offsets, produce, truncate};
use corelog_record::batch::Rules;
use corelog_record::{LeaderEpoch, Offset};
use corelog_storage::log::Checked;

use super::Disk;
use super::acks::Due;
use super::asked::PATIENCE;
use super::files::Turn;
use super::queue::Stand;
use super::refusal::{RETRY_MS, error_of};
use super::slots::{PartitionKey, SlotId, SlotState};
use super::slowest::Timed;
use super::state::Core;
use super::terms::Terms;
use super::tickets::{Tickets, Told};
use crate::failure::{Failure, busy, deleted, failure};
use crate::metrics::add;
use crate::partition::{Answer, Incoming, Input, Partition, Refusal, Seek};
use crate::rt;

/// Why a Produce was not appended.
pub(crate) enum NotAppended {
    /// Too much waits for the disk, until a flush of this core ends, or others wait for that before it.
    TailFull(Failure),
    /// It will not be, as it is.
    Refused(Failure),
}

impl Core {
    /// What a step would tell if so many bytes were appended for which there is no room, or others wait for it: who would
    /// be refused anyway is not to wait.
    fn why_not_in(&self, slot: SlotId, bytes: usize) -> Option<Told> {
        let slots = self.slots.borrow();
        let admitted = slots.get(slot)?.partition()?.admit(bytes);
        Some(Err(admitted.err().unwrap_or(Refusal::TailFull)))
    }

    /// Checks what is large before it is appended, by pieces: others have the core in between. What is to be refused anyway
    /// is not looked at.
    ///
    /// # Errors
    /// What the client is told of batches that are not valid.
    pub(crate) async fn checked<'a>(
        &self,
        key: PartitionKey,
        batches: &'a [u8],
    ) -> Result<Incoming<'a>, Failure> {
        let rules = match batches.len() <= Checked::PIECE_BYTES {
            true => None,
            false => self.rules_for(key, batches.len()),
        };
        let Some(rules) = rules else {
            return Ok(Incoming::Unchecked(batches));
        };
        let checked = Checked::by_pieces(batches, &rules, async || rt::yield_if_needed().await);
        let checked = checked.await.map_err(Refusal::from);
        checked
            .map(Incoming::Checked)
            .map_err(|refusal| error_of(&refusal))
    }

    /// What is asked of so many bytes of batches, unless they are to be refused, whatever they are.
    fn rules_for(&self, key: PartitionKey, bytes: usize) -> Option<Rules> {
        let rules = |partition: &Partition<Disk>| match partition.admit(bytes) {
            Ok(()) | Err(Refusal::TailFull) => Some(*partition.rules()),
            Err(_) => None,
        };
        self.look(key, rules).ok().flatten()
    }

    /// Appends batches to a partition of this core.
    ///
    /// # Errors
    /// `NotAppended`; nothing was applied.
    pub(crate) fn produce(
        self: &Rc<Self>,
        key: PartitionKey,
        batches: Incoming<'_>,
        Terms {
            frame,
            level,
            taken,
        }: Terms,
        stand: Stand,
    ) -> Result<Due, NotAppended> {
        let slot = self.slot_of(key);
        let now = rt::clocks();
        let slot = slot.and_then(|slot| self.check_asked_at(key, now).map(|()| slot));
        let slot = slot.map_err(|refused| self.not_taken(key, refused))?;
        let told = match self.lets_in(key, batches.bytes(), stand) {
            true => {
                self.bound_groups(slot, taken);
                let token = Tickets::NOW;
                let input = Input::Produce {
                    token,
                    batches,
                    level,
                };
                self.step_at(slot, input, now)
            }
            false => self.why_not_in(slot, batches.bytes()),
        };
        let (base, end, epoch, level) = match told {
            Some(Ok(Answer::Appended {
                base,
                end,
                epoch,
                level,
                batches,
                bytes,
            })) => {
                add(&self.counters.appended_batches_total, batches as u64);
                add(&self.counters.appended_records_total, end.since(base));
                add(&self.counters.appended_bytes_total, bytes as u64);
                frame.passes(
                    self.id,
                    format_args!("is appended to {key} from {base} to {end}"),
                );
                (base, end, epoch, level)
            }
            Some(Err(refusal @ Refusal::TailFull)) => {
                return Err(NotAppended::TailFull(error_of(&refusal)));
            }
            Some(Err(Refusal::NotOwner)) => {
                return Err(NotAppended::Refused(self.elsewhere(key, slot)));
            }
            other => return Err(self.not_taken(key, not_told(other))),
        };
        self.weigh(slot);
        let answer = produce::Answer {
            base,
            end,
            epoch,
            level,
        };
        let Some(board) = self.slots.borrow().board(slot).cloned() else {
            unreachable!("what was appended to has a board");
        };
        let seen = board.seen();
        Ok(match level {
            Level::Durable | Level::Unknown => Due::Flushed {
                board,
                seen,
                answer,
                timed: Timed {
                    slowest: Rc::clone(&self.slowest),
                    key,
                    taken,
                    appended: rt::now(),
                },
            },
            Level::Accepted => Due::Accepted {
                board,
                seen,
                answer,
            },
        })
    }

    /// Why nothing is taken: that another node owns the partition, or that it is being handed over, counts before all that is
    /// in its way here, and is known also while its log is not open.
    fn not_taken(&self, key: PartitionKey, refused: Failure) -> NotAppended {
        let elsewhere = self.check_owner(key).err();
        NotAppended::Refused(elsewhere.unwrap_or(refused))
    }

    /// Finds an offset in a partition of this core.
    ///
    /// # Errors
    /// What the client is told.
    pub(crate) async fn find(
        self: &Rc<Self>,
        key: PartitionKey,
        seek: Seek,
    ) -> Result<list_offsets::Answer, Failure> {
        let slot = self.readable(key)?;
        match self.step(
            slot,
            Input::Find {
                token: Tickets::NOW,
                seek,
            },
        ) {
            Some(Ok(Answer::Found {
                offset,
                log_start,
                high_watermark,
            })) => Ok(list_offsets::Answer {
                offset,
                timestamp: None,
                log_start,
                high_watermark,
                epoch: self.epoch_below(key, offset),
            }),
            Some(Ok(Answer::Search {
                plan,
                log_start,
                high_watermark,
            })) => {
                let turn = self.files.turn(Turn::Read).await;
                let search = async move { (plan.run().await, plan) };
                let (found, plan) = rt::spawn_background(search).await;
                drop(turn);
                let found = found.map_err(|error| {
                    let origin = plan.origin_of(&error);
                    self.not_read(key, origin.as_ref(), error)
                })?;
                let (offset, timestamp) = match found {
                    Some((offset, timestamp)) => (offset.max(log_start), Some(timestamp)),
                    None => (high_watermark, None),
                };
                Ok(list_offsets::Answer {
                    offset,
                    timestamp,
                    log_start,
                    high_watermark,
                    // While the disk was waited for, another log may have taken the place of this one.
                    epoch: None,
                })
            }
            other => Err(not_told(other)),
        }
    }

    /// The epoch of the record below an offset, as far as it is remembered.
    fn epoch_below(&self, key: PartitionKey, offset: Offset) -> Option<LeaderEpoch> {
        let told = self.look(key, |partition| partition.epoch_below(offset));
        told.ok().flatten()
    }

    /// Moves the log start of a partition of this core up.
    ///
    /// # Errors
    /// What the client is told.
    pub(crate) async fn truncate(
        self: &Rc<Self>,
        key: PartitionKey,
        lowest: Offset,
    ) -> Result<truncate::Answer, Failure> {
        self.truncate_within(key, lowest, PATIENCE).await
    }

    async fn truncate_within(
        self: &Rc<Self>,
        key: PartitionKey,
        lowest: Offset,
        patience: Duration,
    ) -> Result<truncate::Answer, Failure> {
        let asked = self.ask(key, |token| Input::Truncate { token, lowest })?;
        let call_off = |token| Input::AbandonTruncation { token };
        match self.told_within(&asked, patience, call_off).await {
            Some(Ok(Answer::Truncated { log_start })) => Ok(truncate::Answer { log_start }),
            Some(Err(Refusal::NotOwner)) => Err(self.elsewhere(key, asked.slot)),
            None => Err(failure(
                ErrorCode::TimedOut,
                "the disk does not take the truncation",
            )),
            other => Err(not_told(other)),
        }
    }

    /// Where a partition of this core lives.
    ///
    /// # Errors
    /// `UnknownTopic` if it was deleted meanwhile, `Busy` while it is opened; `StorageFull` or `Busy` if it found no space,
    /// or no descriptor, for that, and is tried again.
    pub(crate) fn slot_of(&self, key: PartitionKey) -> Result<SlotId, Failure> {
        let slots = self.slots.borrow();
        let id = slots.find(key).ok_or_else(deleted)?;
        match slots.get(id).map(|slot| &slot.state) {
            Some(SlotState::Open(_)) => Ok(id),
            Some(SlotState::Opening) => Err(busy("the partition is being opened", RETRY_MS)),
            Some(SlotState::Unopened(refusal)) => Err(error_of(refusal)),
            Some(SlotState::Failed) | None => Ok(id),
        }
    }
}

/// The error of a request whose step told anything but what was asked for.
pub(super) fn not_told(told: Option<Told>) -> Failure {
    match told {
        Some(Err(refusal)) => error_of(&refusal),
        None => unopened("the server's log says why"),
        Some(Ok(_)) => failure(ErrorCode::Internal, "the partition told something else"),
    }
}

/// The error of a request that needs a log which cannot be opened: nothing was done to it, and no server mends its files.
pub(super) fn unopened(why: &str) -> Failure {
    let message = format!(
        "the partition could not be opened: {why}; what its disk does not give is asked for again by itself, and by \
         `corelog partition reopen` at once; a manifest that is damaged or gone `corelog repair --dir` makes anew with the \
         server stopped"
    );
    failure(ErrorCode::Damaged, message)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{batches, flush, hold_chores, produce, topic, until, with_core};
    use super::*;
    use crate::rt::tests::ways_given;

    /// A core did nothing else for up to 100 ms.
    #[test]
    fn others_have_the_core_while_many_small_batches_are_checked() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            assert!(core.open_partition(&topic, key).await);
            let one = batches(0);
            let piece = Checked::PIECE_BYTES.div_ceil(one.len());
            let many = one.repeat(3 * piece + 1);
            assert_eq!(ways_given(core.checked(key, &many)).await, 3);
            let checked = core.checked(key, &many).await.unwrap();
            assert!(matches!(checked, Incoming::Checked(all) if all.bytes() == many));
            let bad = [&many[..many.len() - 1], b"?"].concat();
            let refused = core.checked(key, &bad).await.unwrap_err();
            assert!(refused.is(ErrorCode::InvalidBatch), "{refused}");
        });
    }

    /// It waited for as long as a disk hung, and others behind it.
    #[test]
    fn a_truncation_that_has_not_begun_in_time_does_not_begin_and_one_that_has_ends_by_itself() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            assert!(core.open_partition(&topic, key).await);
            for _ in 0..2 {
                produce(&core, key, &batches(100)).await;
            }
            flush(&core, key).await;
            let is_quiet = || !core.look(key, Partition::has_outstanding).unwrap();
            until("it is quiet", is_quiet).await;
            let turns = hold_chores(&core).await;
            let lowest = [1, 2].map(|lowest| Offset::ZERO.plus(lowest));
            let mut told = Vec::new();
            for lowest in lowest {
                let truncated = core.truncate_within(key, lowest, Duration::ZERO).await;
                told.push(truncated.unwrap_err().known_code());
            }
            assert_eq!(told, [ErrorCode::TimedOut, ErrorCode::Busy].map(Some));
            drop(turns);
            let log_start = || core.place(key).unwrap().log_start;
            until("it ends", || log_start() == lowest[0]).await;
            core.truncate(key, lowest[0]).await.unwrap();
            assert_eq!(log_start(), lowest[0]);
        });
    }
}

//! What a core gives to readers of its own partitions.

use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::fetch;
use corelog_record::Offset;
use corelog_storage::log::{self as storage, Origin, ReadError, ReadPlan};

use super::Disk;
use super::budget::SMALL_BYTES;
use super::refusal::error_of;
use super::serve::not_told;
use super::slots::{PartitionKey, SlotId};
use super::state::Core;
use super::tickets::{Ticket, Tickets};
use crate::failure::Failure;
use crate::metrics::{add, sub};
use crate::partition::{Answer, Appetite, Input, Refusal};

/// What a Fetch found.
pub(crate) enum Fetched {
    /// Batches, and what lies around them.
    Batches {
        answer: fetch::Answer,
        read: storage::Fetched<Disk>,
    },
    /// Nothing, and the place where it is parked if it is.
    Nothing {
        answer: fetch::Answer,
        parked: Option<Parked>,
    },
}

/// A Fetch that is parked; it no longer is when this is dropped.
pub(crate) struct Parked {
    core: Rc<Core>,
    slot: SlotId,
    ticket: Ticket,
}

/// What is to be done for a Fetch.
enum Planned {
    Read(ReadPlan<Disk>, fetch::Answer),
    Nothing(Fetched),
}

impl Core {
    /// After a Fetch that failed: whoever met damage, or what the disk does not give, waits a little if it may heal. Ok if
    /// it did, and it is worth to fetch again.
    ///
    /// # Errors
    /// What the client is told.
    pub(crate) async fn healed_for_reader(
        self: &Rc<Self>,
        key: PartitionKey,
        mut error: Failure,
    ) -> Result<(), Failure> {
        if !may_heal(&error) {
            return Err(error);
        }
        self.heal(key, error.detail.segment);
        if self.healed(key).await {
            return Ok(());
        }
        error.detail.retry_ms = self.repairs.retry_ms(key);
        Err(error)
    }

    /// As [`fetch`](Core::fetch), but only what lies in memory and is at most [`SMALL_BYTES`]; `None` if it
    /// is more, or on the disk, or damaged, which may heal for who has time.
    ///
    /// # Errors
    /// What the client is told.
    pub(crate) fn fetch_small(
        self: &Rc<Self>,
        key: PartitionKey,
        from: Offset,
        appetite: Appetite,
    ) -> Result<Option<Fetched>, Failure> {
        let appetite = Appetite {
            bytes_max: appetite.bytes_max.min(SMALL_BYTES),
            ..appetite
        };
        match self.plan_fetch(key, from, appetite) {
            Ok(Planned::Read(plan, answer)) => {
                let small = plan.into_ready().filter(|read| read.bytes <= SMALL_BYTES);
                Ok(small.map(|read| self.batches(read, answer)))
            }
            Ok(Planned::Nothing(nothing)) => Ok(Some(nothing)),
            Err(error) if error.is(ErrorCode::Damaged) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads from a partition of this core, or parks the request. `held`, which is given back, is kept as long as
    /// the disk is at it, whether anybody waits or not.
    ///
    /// # Errors
    /// What the client is told, unless [`healed_for_reader`](Core::healed_for_reader) says otherwise.
    pub(crate) async fn fetch<H: 'static>(
        self: &Rc<Self>,
        (key, from): (PartitionKey, Offset),
        appetite: Appetite,
        held: H,
    ) -> Result<(H, Fetched), Failure> {
        let (plan, answer) = match self.plan_fetch(key, from, appetite)? {
            Planned::Read(plan, answer) => (plan, answer),
            Planned::Nothing(nothing) => return Ok((held, nothing)),
        };
        let Some(origin) = plan.origin() else {
            return match plan.into_ready() {
                Some(read) => Ok((held, self.batches(read, answer))),
                None => unreachable!("what is of no file is in memory"),
            };
        };
        // Who waits for records has no room for a read of the disk.
        let read = Box::pin(self.read_disk((key, from), plan, appetite, held)).await;
        let (held, read) = read.map_err(|error| self.not_read(key, Some(&origin), error))?;
        Ok((held, self.batches(read, answer)))
    }

    /// What whoever read in vain is told.
    pub(super) fn not_read(
        &self,
        key: PartitionKey,
        origin: Option<&Origin<Disk>>,
        error: ReadError,
    ) -> Failure {
        // While the disk was waited for, its slot may have become another partition's.
        let slot = self.slots.borrow().find(key);
        let Some(slot) = slot else {
            return error_of(&Refusal::from(error));
        };
        let error = self.by_now(slot, origin, error);
        if let ReadError::Damaged { from, to, .. } = &error {
            self.met_damage(slot, *from, *to);
        }
        error_of(&Refusal::from(error))
    }

    /// What is to be read, if there is something; else the request is parked if it may be.
    fn plan_fetch(
        self: &Rc<Self>,
        key: PartitionKey,
        from: Offset,
        appetite: Appetite,
    ) -> Result<Planned, Failure> {
        let slot = match appetite.is_replica {
            true => self.slot_of(key)?,
            false => self.readable(key)?,
        };
        // Who is sent elsewhere from its end does not wait here, and has all that is here before.
        let has_ended = self.has_ended(key, appetite);
        let parked = self.counters.parked_fetches.load(Ordering::Relaxed);
        let may_park = !has_ended && parked < self.shared.limits.parked_fetches_max as u64;
        let appetite = Appetite {
            may_park: appetite.may_park && may_park,
            ..appetite
        };
        let ticket = self.tickets.issue();
        let token = if appetite.may_park {
            ticket.token()
        } else {
            Tickets::NOW
        };
        let mut told = self.step(
            slot,
            Input::Fetch {
                token,
                from,
                appetite,
            },
        );
        if appetite.may_park {
            told = ticket.take_told();
        }
        let answer = |log_start, high_watermark, segment_base| fetch::Answer {
            log_start,
            high_watermark,
            segment_base,
            next: from,
            epochs: vec![],
            lag_bytes: 0,
        };
        match told {
            Some(Ok(Answer::Read {
                plan,
                log_start,
                high_watermark,
            })) => {
                let answer = answer(log_start, high_watermark, from);
                Ok(Planned::Read(plan, answer))
            }
            Some(Ok(Answer::Nothing {
                log_start,
                high_watermark,
                segment_base,
                is_parked,
            })) => {
                if has_ended {
                    return Err(self.elsewhere(key, slot));
                }
                let answer = answer(log_start, high_watermark, segment_base);
                let parked = is_parked.then(|| {
                    add(&self.counters.parked_fetches, 1);
                    Parked {
                        core: Rc::clone(self),
                        slot,
                        ticket,
                    }
                });
                Ok(Planned::Nothing(Fetched::Nothing { answer, parked }))
            }
            other => Err(not_told(other)),
        }
    }

    fn batches(&self, read: storage::Fetched<Disk>, answer: fetch::Answer) -> Fetched {
        add(&self.counters.fetched_bytes_total, read.bytes as u64);
        let answer = fetch::Answer {
            segment_base: read.segment_base,
            next: read.next,
            ..answer
        };
        Fetched::Batches { answer, read }
    }

    /// What a read of `origin` failed with, by what the log has now: what is wrong with a store that it no more has says
    /// nothing of the one in its place, which is read instead, and a file that is gone although the log still has its
    /// segment in it was not moved away.
    fn by_now(&self, slot: SlotId, origin: Option<&Origin<Disk>>, error: ReadError) -> ReadError {
        let slots = self.slots.borrow();
        let partition = slots.get(slot).and_then(|found| found.partition());
        let (Some(partition), Some(origin)) = (partition, origin) else {
            return error;
        };
        match error {
            ReadError::Damaged { segment, .. } | ReadError::Disk { segment, .. }
                if !partition.is_read_from(segment, origin) =>
            {
                ReadError::Removed { segment }
            }
            ReadError::Removed { segment } => match partition.missing(segment, origin) {
                Some(Range { start, end }) => ReadError::Damaged {
                    from: start,
                    to: end,
                    segment,
                },
                None => error,
            },
            error => error,
        }
    }
}

/// Whether what a read failed with may heal: damage, or what the disk does not give of a segment.
pub(crate) fn may_heal(error: &Failure) -> bool {
    let is_unread = error.is(ErrorCode::Internal) && error.detail.segment.is_some();
    is_unread || error.is(ErrorCode::Damaged)
}

impl Parked {
    /// Waits until it is worth to fetch again.
    pub(crate) async fn woken(&self) {
        self.ticket.woken().await;
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        sub(&self.core.counters.parked_fetches, 1);
        self.core.step(
            self.slot,
            Input::Unpark {
                token: self.ticket.token(),
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use corelog_protocol::message::replica_status::State;
    use corelog_record::Timestamp;

    use super::super::tests::{
        batches, first_store, flush, produce, seal, small_topic, topic, with_core,
    };
    use super::*;
    use crate::partition::Seek;

    /// A partition of three small batches, which is a copy that was made once, and where it ends.
    async fn copied_once(core: &Rc<Core>) -> (PartitionKey, Offset) {
        let (topic, key) = topic(1);
        assert!(core.open_partition(&topic, key).await);
        for _ in 0..3 {
            produce(core, key, &batches(100)).await;
        }
        flush(core, key).await;
        core.copy_is(key, &topic.name, State::Done);
        (key, Offset::ZERO.plus(3))
    }

    /// A consumer that would wait for so many bytes.
    fn waiting_for(bytes_min: u64) -> Appetite {
        Appetite {
            bytes_max: 1 << 20,
            bytes_min,
            may_park: true,
            ..Appetite::ONE
        }
    }

    /// Each one took a place that nobody gave back: once all were taken nobody waited at that partition any more.
    #[test]
    fn who_is_sent_elsewhere_from_the_end_of_a_copy_does_not_wait_there() {
        with_core(|core| async move {
            let (key, end) = copied_once(&core).await;
            for _ in 0..2 {
                let refused = core.fetch((key, end), waiting_for(1), ()).await.err();
                assert!(refused.is_some_and(|error| error.is(ErrorCode::NotOwner)));
            }
            let parked = core.look(key, |partition| partition.status().parked_count);
            assert_eq!(parked.unwrap(), 0);
        });
    }

    /// It was sent elsewhere instead, where the source may be gone.
    #[test]
    fn the_end_of_a_copy_is_read_also_by_who_would_wait_for_more_than_that() {
        with_core(|core| async move {
            let (key, end) = copied_once(&core).await;
            let place = (key, Offset::ZERO);
            match core.fetch(place, waiting_for(1 << 20), ()).await {
                Ok(((), Fetched::Batches { answer, .. })) => assert_eq!(answer.next, end),
                Ok(((), Fetched::Nothing { .. })) => panic!("it has three batches"),
                Err(error) => panic!("{error}"),
            }
        });
    }

    /// Whoever sought a time, or held its chain against this one, was to come again, for ever.
    #[test]
    fn a_store_that_is_gone_is_damage_also_to_who_seeks_a_time_or_a_chain() {
        with_core(|core| async move {
            let (topic, key) = small_topic(1);
            assert!(core.open_partition(&topic, key).await);
            seal(&core, key).await;
            // Nothing is open of it.
            core.reopen_partition(key).await.unwrap();
            std::fs::remove_file(first_store(&core, 1)).unwrap();
            let time = Timestamp::from_millis(1);
            let found = core.find(key, Seek::Time(time)).await.unwrap_err();
            assert!(found.is(ErrorCode::Damaged), "{found:?}");
            let between = Offset::ZERO.plus(1);
            let chain = core.chain_at(key, between).await.unwrap_err();
            assert!(chain.is(ErrorCode::Damaged), "{chain:?}");
            let met = core.counters.damage_met_total.load(Ordering::Relaxed);
            assert_eq!(met, 1);
        });
    }
}

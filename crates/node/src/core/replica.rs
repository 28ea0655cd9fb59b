//! What a core does to the logs of its partitions for replicas: copies appended, logs changed as a
//! whole, places and chains told.

use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_record::{LeaderEpoch, Offset};
use corelog_storage::format::edit::{Epoch, Point};
use corelog_storage::log::lineage::Common;
use corelog_storage::log::{ChainPlan, Chore, CopyError, HEARD_EPOCH_MAX, ReadError};

use super::Disk;
use super::board::{Board, Void};
use super::files::Turn;
use super::queue::Stand;
use super::refusal::error_of;
use super::serve::not_told;
use super::slots::{PartitionKey, Slot, SlotId};
use super::state::Core;
use super::tickets::Tickets;
use crate::failure::{Failure, failure, failure_with};
use crate::metrics::add;
use crate::partition::{Answer, Change, Input, Partition, Place, Refusal};
use crate::rt::{self, Permit};
use crate::transfer::Wanted;

/// How long a change of a log may take, with the others that it waits for.
const CHANGE_WAIT_MAX: Duration = Duration::from_secs(30);
/// Who waits for room looks for it so often at least: those in front of it may go without a word.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// The longest pause between two looks.
const CHANGE_PAUSE: Duration = Duration::from_millis(100);

impl Core {
    /// Where a log of this core is.
    ///
    /// # Errors
    /// What a client is told of a partition that is not open.
    pub(crate) fn place(&self, key: PartitionKey) -> Result<Place, Failure> {
        self.look(key, Partition::place)
    }

    /// If the start of a log of this core is being moved, as a client asked or by retention.
    ///
    /// # Errors
    /// As [`Core::place`].
    pub(crate) fn is_start_moving(&self, key: PartitionKey) -> Result<bool, Failure> {
        self.look(key, Partition::is_start_moving)
    }

    /// Checks that a log of this core could take in segments now, and is not taking any in. What nobody waits for any more
    /// is none.
    ///
    /// # Errors
    /// `Busy` while a change of it has begun, or waits; `Fenced`, also where a change failed that an opening may finish;
    /// as [`Core::place`].
    pub(crate) fn check_takes_in(self: &Rc<Self>, key: PartitionKey) -> Result<(), Failure> {
        self.abandon_left(key);
        let checked = self.look(key, Partition::check_takes_in)?;
        checked.map_err(|refusal| error_of(&refusal))
    }

    /// Checks that a log of this core ends where it is known to: else it is neither cut there nor given to who ends there.
    ///
    /// # Errors
    /// `ReadOnly`; as [`Core::place`].
    pub(crate) fn check_not_read_only(&self, key: PartitionKey) -> Result<(), Failure> {
        match self.look(key, Partition::read_only_from)? {
            Some(from) => Err(error_of(&Refusal::ReadOnly { from })),
            None => Ok(()),
        }
    }

    /// Waits until no change of a log of this core is under way, or waits.
    ///
    /// # Errors
    /// As [`Core::check_takes_in`]: `Busy` if that takes too long.
    pub(crate) async fn unchanging(self: &Rc<Self>, key: PartitionKey) -> Result<(), Failure> {
        let deadline = rt::now() + CHANGE_WAIT_MAX;
        loop {
            let quieter = self.quieter.notified();
            match self.check_takes_in(key) {
                Err(error) if error.is(ErrorCode::Busy) && rt::now() < deadline => {
                    rt::timeout(CHANGE_PAUSE, quieter).await;
                }
                checked => return checked,
            }
        }
    }

    /// A change that waits for its turn does not begin any more if whoever asked for it has left: it would keep others
    /// from theirs for as long as a disk hangs.
    fn abandon_left(self: &Rc<Self>, key: PartitionKey) {
        let waiting = self.look(key, Partition::waiting_change);
        let left = waiting.ok().flatten();
        let left = left.filter(|token| !self.tickets.is_waiting(*token));
        if let (Some(token), Ok(slot)) = (left, self.slot_of(key)) {
            self.step(slot, Input::AbandonChange { token });
        }
    }

    /// The epochs of a log of this core, oldest first.
    ///
    /// # Errors
    /// As [`Core::place`].
    pub(crate) fn epochs(&self, key: PartitionKey) -> Result<Vec<Epoch>, Failure> {
        self.look(key, |partition| partition.epochs().to_vec())
    }

    /// The epoch in force in a log of this core.
    ///
    /// # Errors
    /// As [`Core::place`].
    pub(crate) fn epoch(&self, key: PartitionKey) -> Result<Option<LeaderEpoch>, Failure> {
        self.look(key, Partition::epoch)
    }

    /// About how many bytes lie between an offset and the high watermark; 0 if that is not known.
    pub(crate) fn bytes_behind(&self, key: PartitionKey, from: Offset) -> u64 {
        let bytes = self.look(key, |partition| partition.bytes_behind(from));
        bytes.unwrap_or_default()
    }

    /// The batch boundary at or below an offset of a log of this core, and the chain there.
    ///
    /// # Errors
    /// What a client is told of an offset that cannot be read.
    pub(crate) async fn chain_at(&self, key: PartitionKey, at: Offset) -> Result<Point, Failure> {
        let plan = self.look(key, |partition| partition.plan_chain_at(at))?;
        let plan = plan.map_err(|error| error_of(&Refusal::from(error)))?;
        let origin = plan.origin();
        let found = match origin {
            None => plan.run().await,
            Some(_) => {
                let turn = self.files.turn(Turn::Read).await;
                rt::run_on(found_on_disk(plan, turn)).await
            }
        };
        found.map_err(|error| self.not_read(key, origin.as_ref(), error))
    }

    /// The sealed segments of a log of this core that are damaged, and those that hold the offsets
    /// `met`, each with the generation that is to replace it.
    ///
    /// # Errors
    /// As [`Core::place`].
    pub(crate) fn damaged_segments(
        &self,
        key: PartitionKey,
        met: &BTreeSet<Offset>,
    ) -> Result<Vec<Wanted>, Failure> {
        self.look(key, |partition| {
            let damaged = partition.damage().iter().map(|damage| damage.segment);
            let damaged: BTreeSet<_> = damaged.chain(met.iter().copied()).collect();
            let sealed = partition
                .sealed()
                .filter(|(_, seal)| damaged.contains(&seal.digest.base));
            let wanted = sealed.map(|(_, seal)| Wanted {
                generation: partition.generation_next(seal.digest.base),
                seal,
            });
            wanted.collect()
        })
    }

    /// Where the damaged segments of a log of this core begin and end that have ended and are not sealed.
    ///
    /// # Errors
    /// As [`Core::place`].
    pub(crate) fn damaged_unsealed(&self, key: PartitionKey) -> Result<Vec<Range<Point>>, Failure> {
        self.look(key, |partition| partition.damaged_unsealed().collect())
    }

    /// The generation that files of a segment are to have that comes into a log of this core.
    ///
    /// # Errors
    /// As [`Core::place`].
    pub(crate) fn generation_next(&self, key: PartitionKey, base: Offset) -> Result<u32, Failure> {
        self.look(key, |partition| partition.generation_next(base))
    }

    /// The partitions of this core that have known damage.
    pub(crate) fn damaged(&self) -> Vec<PartitionKey> {
        let slots = self.slots.borrow();
        let is_damaged = |slot: &Slot| slot.partition().is_some_and(|p| !p.damage().is_empty());
        let damaged = slots.iter().filter(|(_, slot)| is_damaged(slot));
        damaged.map(|(_, slot)| slot.key).collect()
    }

    /// How many ranges of a log of this core are damaged.
    ///
    /// # Errors
    /// As [`Core::place`].
    pub(crate) fn damage_count(&self, key: PartitionKey) -> Result<u32, Failure> {
        let count = self.look(key, |partition| partition.damage().len())?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Appends what a source sent to a log of this core; waits while there is no room. Gives the log
    /// end; what was appended is durable with the next group.
    ///
    /// # Errors
    /// Why it does not follow, or cannot be written.
    pub(crate) async fn copy(
        self: &Rc<Self>,
        key: PartitionKey,
        batches: &[u8],
        segment_base: Offset,
    ) -> Result<Offset, Failure> {
        loop {
            let flushed = self.flushed.notified();
            let slot = self.slot_of(key)?;
            let lets_in = self.lets_in(key, batches.len(), Stand::Passer);
            let told = lets_in.then(|| {
                self.bound_groups(slot, rt::now());
                let token = Tickets::NOW;
                let input = Input::Copy {
                    token,
                    batches,
                    segment_base,
                };
                self.step(slot, input)
            });
            match told {
                Some(Some(Ok(Answer::Appended { base, end, .. }))) => {
                    self.weigh(slot);
                    add(&self.counters.copied_records_total, end.since(base));
                    add(&self.counters.copied_bytes_total, batches.len() as u64);
                    return Ok(end);
                }
                Some(Some(Err(Refusal::TailFull))) | None => {
                    rt::timeout(LOOK_AGAIN, flushed).await;
                }
                // It was cut, or an owner's, before it followed.
                Some(Some(Err(Refusal::NotNext {
                    source: CopyError::Rolled { segment },
                }))) => match self.unrolled(key).await {
                    // Or it has changed meanwhile, as the next look tells.
                    Ok(_) => {}
                    // It is sealed, and was not known to be damaged, or the disk does not give it.
                    Err(error) if error.is(ErrorCode::Damaged) || error.is(ErrorCode::Internal) => {
                        let (topic, partition) = (self.told_name(key), key.partition.get());
                        tracing::warn!(
                            %topic, partition, segment = segment.get(), error = error.message,
                            "given up and copied anew: the source goes on in what cannot be read here"
                        );
                        return self.give_up_from(key, segment).await;
                    }
                    Err(error) => return Err(error),
                },
                Some(Some(Err(Refusal::NotNext {
                    source: CopyError::Damaged { segment },
                }))) => return self.give_up_from(key, segment).await,
                Some(other) => return Err(not_told(other)),
            }
        }
    }

    /// Has the last segment go on; tried twice, where the disk fails.
    async fn unrolled(self: &Rc<Self>, key: PartitionKey) -> Result<Chore, Failure> {
        match self.change(key, Change::Unroll).await {
            Err(error) if error.is(ErrorCode::Internal) => self.change(key, Change::Unroll).await,
            unrolled => unrolled,
        }
    }

    /// Has a log begin again where its last segment with records does: nothing goes on behind damage. That goes to
    /// quarantine, and comes from the source anew.
    async fn give_up_from(
        self: &Rc<Self>,
        key: PartitionKey,
        segment: Offset,
    ) -> Result<Offset, Failure> {
        let epoch = self.epoch(key)?;
        let offset = segment;
        let rest = Change::Rejoin(Common { offset, epoch });
        self.change(key, rest).await?;
        Err(not_whole(segment))
    }

    /// Changes a log of this core as a whole, durably.
    ///
    /// # Errors
    /// Why it cannot be; it is as it was then, or fenced. `TimedOut` if it takes too long: once it has begun it may be
    /// changed yet.
    pub(crate) async fn change(
        self: &Rc<Self>,
        key: PartitionKey,
        change: Change,
    ) -> Result<Chore, Failure> {
        self.change_until(key, change, rt::now() + CHANGE_WAIT_MAX)
            .await
    }

    /// The same, which begins before `deadline`, if it does.
    async fn change_until(
        self: &Rc<Self>,
        key: PartitionKey,
        change: Change,
        deadline: Instant,
    ) -> Result<Chore, Failure> {
        loop {
            let quieter = self.quieter.notified();
            self.abandon_left(key);
            let change = Box::new(change.clone());
            // While it waited the log may have gone, and another one have come in its place.
            let asked = self.ask(key, |token| Input::Change { token, change })?;
            let left = deadline.saturating_duration_since(rt::now());
            let call_off = |token| Input::AbandonChange { token };
            match self.told_within(&asked, left, call_off).await {
                Some(Ok(Answer::Changed(chore))) => return Ok(chore),
                // Another change is on its way, which whoever asked for it may have left alone.
                Some(Err(Refusal::Busy)) if !left.is_zero() => {
                    rt::timeout(CHANGE_PAUSE, quieter).await;
                }
                None => {
                    let message = "the change of the log takes too long";
                    return Err(failure(ErrorCode::TimedOut, message));
                }
                told => return Err(not_told(told)),
            }
        }
    }

    /// Another copy of a log of this core has this epoch: none that begins here is as low, whether it is open now or not. Who
    /// told need not be there to tell again.
    pub(crate) fn hear_epoch(self: &Rc<Self>, key: PartitionKey, epoch: LeaderEpoch) {
        let slot = self.slots.borrow().find(key);
        let Some(slot) = slot.filter(|_| epoch.get() <= HEARD_EPOCH_MAX) else {
            return;
        };
        if let Some(found) = self.slots.borrow_mut().get_mut(slot) {
            found.heard = found.heard.max(Some(epoch));
        }
        self.tell_heard(slot);
    }

    /// Has a log hear what was told of before it was opened, and what one that was fenced had not marked.
    pub(super) fn tell_heard(self: &Rc<Self>, slot: SlotId) {
        let heard = self.slots.borrow().get(slot).and_then(|it| it.heard);
        if let Some(epoch) = heard {
            self.step(slot, Input::Heard { epoch });
        }
    }

    /// The end of a log of this core was cut: who waits for what was there waits in vain, and what followers
    /// were heard to have may be no more what this log has.
    pub(super) fn was_cut(&self, slot: SlotId, durable: Offset) {
        self.void(slot, Void::Closed);
        if let Some(found) = self.slots.borrow_mut().get_mut(slot) {
            found.board = Board::at(durable);
            self.followers.forget(found.key);
        }
        self.weigh(slot);
    }

    pub(super) fn look<T>(
        &self,
        key: PartitionKey,
        look: impl FnOnce(&Partition<Disk>) -> T,
    ) -> Result<T, Failure> {
        let slot = self.slot_of(key)?;
        let slots = self.slots.borrow();
        let partition = slots.get(slot).and_then(|found| found.partition());
        partition.map(look).ok_or_else(|| not_told(None))
    }
}

/// The disk is at it until it has answered, whether anybody waits or not, and so long it has its turn.
async fn found_on_disk(plan: ChainPlan<Disk>, _turn: Permit) -> Result<Point, ReadError> {
    rt::spawn_background(plan.run()).await
}

/// Why a segment that had ended does not go on.
fn not_whole(segment: Offset) -> Failure {
    let message = format!("segment {segment} has to go on, and is damaged");
    let detail = Detail {
        segment: Some(segment),
        ..Detail::default()
    };
    failure_with(ErrorCode::Damaged, message, detail)
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use corelog_storage::log::{Begin, PROMOTION_STEP};
    use futures_lite::future::poll_once;

    use super::super::tests::{
        batches, cold_batches, created, fence, flush, hold_reads, produce, topic, until, with_core,
    };
    use super::*;

    const EPOCH: Change = Change::Epoch(Begin::Promoted);

    type Changing = Pin<Box<dyn Future<Output = Result<Chore, Failure>>>>;

    fn begin(core: &Rc<Core>, key: PartitionKey) -> Changing {
        let core = Rc::clone(core);
        Box::pin(async move { core.change(key, EPOCH).await })
    }

    /// A change of a log that found another one under way, and was not looked at since; the log is gone.
    async fn left_behind(core: &Rc<Core>, key: PartitionKey) -> Changing {
        let (mut first, mut second) = (begin(core, key), begin(core, key));
        assert!(poll_once(&mut first).await.is_none(), "it is on its way");
        assert!(poll_once(&mut second).await.is_none(), "it waits for that");
        first.await.unwrap();
        core.drop_partition(key).await;
        second
    }

    async fn assert_unknown(change: &mut Changing) {
        let told = poll_once(change).await.expect("it is told at once");
        assert!(told.unwrap_err().is(ErrorCode::UnknownTopic));
    }

    /// Who asked and hung up, again and again, had the disk do so without end: each gave back its turn at once.
    #[test]
    fn a_chain_that_nobody_waits_for_any_more_keeps_its_turn_until_the_disk_has_answered() {
        with_core(|core| async move {
            let (_, key) = cold_batches(&core, 2).await;
            let all = core.reads_left();
            let asked = core.chain_at(key, Offset::ZERO.plus(1));
            assert!(poll_once(Box::pin(asked)).await.is_none());
            assert_eq!(core.reads_left(), all - 1);
            until("the disk answers", || core.reads_left() == all).await;
        });
    }

    /// A follower at the end of a log waited behind all that read old records.
    #[test]
    fn a_chain_that_is_in_memory_waits_for_no_turn() {
        with_core(|core| async move {
            let (_, key) = cold_batches(&core, 2).await;
            let _turns = hold_reads(&core).await;
            let end = core.place(key).unwrap().durable;
            let told = poll_once(Box::pin(core.chain_at(key, end.offset))).await;
            assert_eq!(told.expect("it waits").unwrap(), end);
        });
    }

    /// It waited for half a minute, and was told then that it might take effect yet.
    #[test]
    fn a_change_of_a_log_that_goes_while_it_waits_is_told_so_at_once() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            assert!(core.open_partition(&topic, key).await);
            let mut change = left_behind(&core, key).await;
            assert_unknown(&mut change).await;
        });
    }

    /// A promotion was told that it took too long, its partition followed on, and once the disk came back an epoch of its own
    /// began in a log that follows.
    #[test]
    fn a_change_that_has_not_begun_in_time_does_not_begin_any_more() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            assert!(core.open_partition(&topic, key).await);
            // It waits for what is to be written before it.
            produce(&core, key, &batches(100)).await;
            let told = core.change_until(key, EPOCH, rt::now()).await;
            assert!(told.unwrap_err().is(ErrorCode::TimedOut));
            flush(&core, key).await;
            let looked = core.look(key, |p| (p.is_changing(), p.waiting_change()));
            assert_eq!(looked.unwrap(), (false, None));
        });
    }

    #[test]
    fn a_change_that_waited_is_none_of_the_log_that_came_in_its_place() {
        with_core(|core| async move {
            let (before, key) = topic(1);
            assert!(core.open_partition(&before, key).await);
            let slot = core.slot_of(key).unwrap();
            let mut change = left_behind(&core, key).await;
            let (after, other) = topic(2);
            assert!(core.open_partition(&after, other).await);
            assert_eq!(core.slot_of(other).unwrap(), slot, "it is used again");
            assert_unknown(&mut change).await;
            let slots = core.slots.borrow();
            let partition = slots.get(slot).and_then(Slot::partition).unwrap();
            assert!(!partition.has_outstanding());
            assert!(partition.epochs().is_empty());
        });
    }

    /// It marks nothing any more: opened again it began an epoch that another copy had.
    #[test]
    fn an_epoch_that_a_fenced_log_has_heard_of_is_known_once_it_is_opened_again() {
        with_core(|core| async move {
            let (_, key) = created(&core).await;
            let dir = fence(&core, key).await;
            core.hear_epoch(key, LeaderEpoch::new(7).unwrap());
            std::fs::remove_file(dir).unwrap();
            core.reopen_partition(key).await.unwrap();
            begin(&core, key).await.unwrap();
            let above = LeaderEpoch::new(7 + PROMOTION_STEP);
            assert_eq!(core.epoch(key).unwrap(), above);
        });
    }
}

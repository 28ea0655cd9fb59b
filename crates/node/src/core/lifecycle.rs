//! Opening and closing partitions.

use std::rc::Rc;
use std::sync::Arc;

use corelog_protocol::message::settings::RetentionHold;
use corelog_record::{ByteSize, PartitionId};
use corelog_storage::Error;
use corelog_storage::log::{Begun, Identity, Log, OpenReport, Options, Ownership};

use super::board::{Board, Void};
use super::claim::Claim;
use super::slots::{PartitionKey, SlotId, SlotState};
use super::state::Core;
use crate::catalog::{self, Topic};
use crate::failure::Failure;
use crate::metrics::{add, sub};
use crate::partition::{Accepted, Held, Input, Partition, Policy, Replication};
use crate::rt;

/// So many records of a partition that were accepted, and are not on its disk.
pub(crate) type Lost = (PartitionId, u64);

impl Core {
    /// Opens a partition of a topic, if it is not there yet. True if it serves.
    pub(crate) async fn open_partition(
        self: &Rc<Self>,
        topic: &Arc<Topic>,
        key: PartitionKey,
    ) -> bool {
        if !self.add_partition(topic, key) {
            return true;
        }
        match self.claim_added(key) {
            Some(claim) => self.open_added(claim, key, topic).await,
            None => false,
        }
    }

    /// Adds a partition of a topic that is to be opened; false if it is there already.
    pub(super) fn add_partition(&self, topic: &Arc<Topic>, key: PartitionKey) -> bool {
        let added = self.slots.borrow_mut().add(key, Arc::clone(topic));
        add(&self.counters.partitions, added.is_some().into());
        added.is_some()
    }

    /// Opens a partition that was added. True if it serves.
    pub(super) async fn open_added(
        self: &Rc<Self>,
        claim: Claim,
        key: PartitionKey,
        topic: &Topic,
    ) -> bool {
        let opened = self.open_log(claim.slot(), key, topic).await;
        drop(claim);
        let is_unclean = opened.as_ref().is_ok_and(OpenReport::is_unclean);
        add(&self.counters.unclean_total, is_unclean.into());
        opened.is_ok()
    }

    /// Lets go of all partitions of a topic that is being deleted; tells what is lost of them if it stays.
    pub(crate) async fn drop_topic(self: &Rc<Self>, topic: &Topic) -> Vec<Lost> {
        let dropped = rt::at_once(self.at_once(), topic.keys_on(self.id), |key| {
            let core = Rc::clone(self);
            async move {
                let records = core.drop_partition(key).await;
                (key.partition, records)
            }
        });
        let mut lost = dropped.await;
        lost.retain(|(_, records)| 0 < *records);
        lost
    }

    /// Lets go of a partition whose topic is being deleted. What was accepted is written before, where there is room, and no
    /// more than that: it stays if the files cannot be moved away, and else all of it goes. Tells how many records are lost.
    pub(crate) async fn drop_partition(self: &Rc<Self>, key: PartitionKey) -> u64 {
        let Some(claim) = self.claimed(key).await else {
            return 0;
        };
        let slot = claim.slot();
        self.halt(key).await;
        self.followers.forget(key);
        self.repairs.forget(key);
        let mut lost = 0;
        if let Some((mut log, accepted)) = self.take_log(slot).await {
            let flushed = Box::pin(log.flush_pending(rt::wall_clock())).await;
            if let Err(error) = flushed
                && !error.is_shortage()
            {
                let what = "not written before its topic is deleted";
                self.log_trouble(slot, what, &error, None);
            }
            if let Some(board) = self.slots.borrow().board(slot) {
                board.advance(log.durable());
            }
            lost = accepted.lost(log.durable());
        }
        self.void(slot, Void::Closed);
        if let Some(found) = self.slots.borrow_mut().remove(slot) {
            self.sweep.forget(slot, &found.swept);
        }
        self.ahead.forget(key);
        sub(&self.counters.partitions, 1);
        lost
    }

    /// Tells what is lost of those partitions that are this core's.
    pub(crate) fn tell_losses(&self, topic: &Topic, losses: &[Lost]) {
        let is_here = |lost: &&Lost| topic.owner(lost.0) == Some(self.id);
        for lost in losses.iter().filter(is_here) {
            self.tell_lost(topic, *lost);
        }
    }

    /// Counts and logs what was accepted and could not be written before its partition was closed.
    fn tell_lost(&self, topic: &Topic, (partition, lost): Lost) {
        add(&self.counters.accepted_lost_records_total, lost);
        tracing::error!(
            topic = %topic.name,
            partition = partition.get(),
            core = self.id.get(),
            lost,
            "records that were accepted are lost: they could not be written before it was closed"
        );
    }

    /// Closes a partition cleanly: flushes what is in memory and marks it. True if it is clean, also if it was
    /// deleted meanwhile: there is nothing to close.
    pub(crate) async fn close_partition(self: &Rc<Self>, slot: SlotId) -> bool {
        let key = self.slots.borrow().get(slot).map(|found| found.key);
        let Some(key) = key else { return true };
        self.ahead.forget(key);
        let Some(claim) = self.claimed(key).await else {
            return true;
        };
        // While it was waited for it may have been deleted, and come back to another slot.
        let slot = claim.slot();
        claim.keep_for_good();
        let Some((log, accepted)) = self.take_log(slot).await else {
            // It could not be opened: there is nothing to close.
            return true;
        };
        let is_fenced = log.is_fenced();
        let closed = self.close_log(slot, log, accepted).await;
        if let Err(error) = &closed {
            let what = "not closed cleanly, or with damage that is written down nowhere; the next start recovers what it can";
            self.log_trouble(slot, what, error, None);
        }
        closed.is_ok() && !is_fenced
    }

    /// Closes a log unless it is fenced, and tells all who wait what came of it.
    pub(super) async fn close_log(
        &self,
        slot: SlotId,
        mut log: Log<super::Disk>,
        accepted: Accepted,
    ) -> Result<(), Error> {
        let closed = match log.is_fenced() {
            true => Ok(()),
            false => log.close(rt::clocks()).await,
        };
        // Also if it failed: what it had synced before that is durable.
        if let Some(board) = self.slots.borrow().board(slot) {
            board.advance(log.durable());
        }
        let lost = accepted.lost(log.durable());
        if let (true, Some(found)) = (0 < lost, self.slots.borrow().get(slot)) {
            self.tell_lost(&found.topic, (found.key.partition, lost));
        }
        // Also of a fenced one: some may have begun to wait after the fence was told.
        self.void(slot, Void::Closed);
        closed
    }

    /// How many partitions are opened or closed at the same time: enough to keep the disk busy, few
    /// enough to bound open files and what recovery holds in memory.
    pub(crate) fn at_once(&self) -> usize {
        self.files.at_once()
    }

    /// Every partition of the core.
    pub(crate) fn partition_slots(&self) -> Vec<SlotId> {
        self.slots.borrow().ids()
    }

    /// New settings for the partitions of a topic that are here, of which there may be thousands: others have the core
    /// between any two of them. One change comes at a time.
    pub(crate) async fn apply_settings(self: &Rc<Self>, topic: &Arc<Topic>) {
        for slot in self.partition_slots() {
            let key = match self.slots.borrow_mut().get_mut(slot) {
                Some(found) if found.key.topic == topic.id => {
                    found.topic = Arc::clone(topic);
                    found.key
                }
                _ => continue,
            };
            let policy = policy_of(topic, key.partition);
            let options = self.options_of(topic, key.partition);
            self.step(slot, Input::Policy { policy, options });
            rt::yield_if_needed().await;
        }
    }

    /// Opens the log of a partition, or notes why it cannot be opened.
    pub(super) async fn open_log(
        self: &Rc<Self>,
        slot: SlotId,
        key: PartitionKey,
        topic: &Topic,
    ) -> Result<OpenReport, Failure> {
        let opened = self.open_files(slot, key, topic).await;
        self.take_opened(slot, key, opened)
    }

    /// Opens the files of a log; nothing is noted yet. One that had files and has none is no new one.
    pub(super) async fn open_files(
        &self,
        slot: SlotId,
        key: PartitionKey,
        topic: &Topic,
    ) -> Result<(Log<super::Disk>, OpenReport), Error> {
        let dir = catalog::partition_dir(&self.root, &topic.name, key.partition);
        let quarantine = catalog::quarantine_dir(&self.root);
        let beside = catalog::topic_dir(&self.root, &topic.name);
        let begun = Begun::beside(beside, &key.partition.to_string());
        let identity = Identity::new(key.topic, key.partition);
        let options = Options {
            ends_before_unread: self.ends_before_unread(slot),
            call_off: self.call_off_of(slot),
            ..self.options_of(topic, key.partition)
        };
        let now = rt::clocks();
        let seed = self.seed();
        Log::open_beside(dir, quarantine, begun, identity, options, seed, now).await
    }

    /// Takes a log that was opened, or notes why it was not.
    pub(super) fn take_opened(
        self: &Rc<Self>,
        slot: SlotId,
        key: PartitionKey,
        opened: Result<(Log<super::Disk>, OpenReport), Error>,
    ) -> Result<OpenReport, Failure> {
        let (log, report) = opened.map_err(|error| self.set_unopened(slot, error))?;
        self.install(slot, key, log);
        Ok(report)
    }

    fn install(self: &Rc<Self>, slot: SlotId, key: PartitionKey, mut log: Log<super::Disk>) {
        let generation = self.generation_last.get().wrapping_add(1);
        self.generation_last.set(generation);
        // The topic as it is now: its settings may have changed while the log was opened.
        let topic = self.slots.borrow().get(slot).map(|it| it.topic.clone());
        let Some(topic) = topic else { return };
        log.set_options(self.options_of(&topic, key.partition));
        let policy = policy_of(&topic, key.partition);
        let (durable, is_read_only) = (log.durable(), log.read_only_from().is_some());
        let partition = Partition::new(log, generation, policy, rt::wall_clock());
        if let Some(found) = self.slots.borrow_mut().get_mut(slot) {
            found.state = SlotState::Open(Box::new(partition));
            found.again.opened(is_read_only);
            found.troubles = Default::default();
            // A board of its own: recovery may end below what an earlier opening had told.
            found.board = Board::at(durable);
        }
        self.doubt(key);
        self.tell_heard(slot);
        // Before retention looks for the first time.
        self.tell_snapshotted(slot);
        self.step(slot, Input::Tick);
    }

    /// Ends a partition's requests, waits until its disk is quiet and takes its log, with what was accepted
    /// and is not durable yet. It is fenced no more, whatever comes of the log.
    pub(super) async fn take_log(
        self: &Rc<Self>,
        slot: SlotId,
    ) -> Option<(Log<super::Disk>, Accepted)> {
        self.step(slot, Input::Close);
        self.quiet(|| {
            let slots = self.slots.borrow();
            let partition = slots.get(slot).and_then(|found| found.partition());
            partition.is_none_or(|partition| !partition.has_outstanding())
        })
        .await;
        let mut slots = self.slots.borrow_mut();
        let found = slots.get_mut(slot)?;
        let state = std::mem::replace(&mut found.state, SlotState::Opening);
        self.memory.weigh(found);
        // There is more room, and nothing to wait for where it was.
        self.flushed.notify();
        match state {
            SlotState::Open(partition) => {
                let (log, accepted) = partition.into_log();
                sub(&self.counters.fenced_partitions, log.is_fenced().into());
                Some((log, accepted))
            }
            SlotState::Opening | SlotState::Unopened(_) | SlotState::Failed => None,
        }
    }

    /// How a topic's settings make the log of a partition behave.
    fn options_of(&self, topic: &Topic, partition: PartitionId) -> Options {
        let settings = &topic.settings;
        let segment_age_max_ms = settings.segment_age_ms;
        Options {
            segment_bytes_max: ByteSize::from_bytes(topic.segment_bytes_max(partition)),
            segment_age_max_ms: segment_age_max_ms
                .map(|age| i64::try_from(age).unwrap_or(i64::MAX)),
            tail_bytes_max: self.memory.kept_bytes_max(),
            ownership: match topic.is_owned(partition) {
                true => Ownership::Owner,
                false => Ownership::Follower,
            },
            ..Options::default()
        }
    }
}

fn policy_of(topic: &Topic, partition: PartitionId) -> Policy {
    let settings = &topic.settings;
    let here = Policy {
        level: settings.ack,
        replication: Replication::of(topic.replica(partition)),
        ..Policy::default()
    };
    if !topic.is_owned(partition) {
        // What the owner lets go of goes here as well, and nothing else.
        return here;
    }
    Policy {
        retention_age_ms: settings.retention_age_ms,
        retention_bytes: settings.retention_bytes,
        held: match settings.retention_hold {
            RetentionHold::None => Held::Nothing,
            RetentionHold::Snapshotted => Held::Unsnapshotted,
            RetentionHold::Replicated => Held::Unreplicated,
            RetentionHold::Unknown => Held::All,
        },
        hold_bytes: settings.retention_hold_bytes,
        ..here
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use corelog_protocol::error::ErrorCode;
    use corelog_protocol::message::delete_topic;
    use corelog_record::{CoreId, Offset, TopicId, TopicName};
    use futures_lite::future::poll_once;

    use super::super::tests::{
        batches, creating, flush, hold_openings, logged, produce, topic, with_core,
    };
    use super::*;
    use crate::catalog::Admin;

    /// A topic of one partition that has a record which was accepted and cannot be written.
    async fn unwritten(core: &Rc<Core>, admin: &Admin) -> (TopicName, TopicId, PartitionKey) {
        let request = creating("unwritten");
        let name = request.name.clone();
        let id = admin.create(request).await.unwrap().id;
        let key = PartitionKey {
            topic: id,
            partition: PartitionId::new(0),
        };
        produce(core, key, &batches(100)).await;
        // Its directory is made with the first group.
        std::fs::write(core.shared.data_dir.join("topics/unwritten/0"), "").unwrap();
        (name, id, key)
    }

    fn lost(core: &Core) -> u64 {
        let counters = &core.counters;
        counters.accepted_lost_records_total.load(Ordering::Relaxed)
    }

    /// Whoever deleted a topic to make room on a full disk was told of a loss.
    #[test]
    fn of_a_topic_that_is_deleted_no_record_is_told_as_lost() {
        with_core(|core| async move {
            let admin = Admin::new(Rc::clone(&core));
            let (name, id, _) = unwritten(&core, &admin).await;
            let lines = logged(async {
                let request = delete_topic::Request { name, id };
                admin.delete(request).await.unwrap();
            });
            let lines = lines.await;
            assert_eq!(lost(&core), 0);
            assert!(
                !lines.iter().any(|line| line.contains("lost=")),
                "{lines:?}"
            );
            let named = "topic=unwritten partition=0 core=0";
            let line = lines
                .iter()
                .find(|line| line.contains("not written before"));
            assert!(line.is_some_and(|line| line.contains(named)), "{lines:?}");
        });
    }

    /// One waited for the other, of thousands perhaps, while nobody could create or alter a topic.
    #[test]
    fn partitions_of_a_topic_that_is_deleted_go_side_by_side() {
        with_core(|core| async move {
            let (topic, first) = topic(1);
            let mut topic = Arc::unwrap_or_clone(topic);
            topic.owners.push(core.id);
            let topic = Arc::new(topic);
            core.open_topic(&topic).await;
            let second = topic.keys_on(core.id).nth(1).unwrap();
            let claim = core.claim(core.slot_of(first).unwrap()).unwrap();
            let mut dropping = pin!(core.drop_topic(&topic));
            for _ in 0..2_000 {
                assert!(poll_once(&mut dropping).await.is_none(), "one is claimed");
                if core.slot_of(second).is_err() {
                    break;
                }
                rt::sleep(Duration::from_millis(1)).await;
            }
            assert!(core.slot_of(second).is_err(), "it is there still");
            drop(claim);
            assert_eq!(dropping.await, []);
        });
    }

    /// Nobody was told of what had been accepted.
    #[test]
    fn what_a_topic_has_lost_that_cannot_be_deleted_is_told_and_counted() {
        with_core(|core| async move {
            let admin = Admin::new(Rc::clone(&core));
            let (name, id, key) = unwritten(&core, &admin).await;
            let claim = core.claim(core.slot_of(key).unwrap()).unwrap();
            let lines = logged(async {
                let request = delete_topic::Request {
                    name: name.clone(),
                    id,
                };
                let mut deleting = pin!(admin.delete(request));
                while core.routes.borrow().topic(&name).is_ok() {
                    assert!(poll_once(&mut deleting).await.is_none(), "it is claimed");
                    rt::sleep(Duration::from_millis(1)).await;
                }
                let grave = format!("deleted/unwritten-{id}/full");
                std::fs::create_dir_all(core.shared.data_dir.join(grave)).unwrap();
                drop(claim);
                deleting.await.unwrap_err();
            });
            let lines = lines.await;
            assert_eq!(lost(&core), 1);
            let told = "topic=unwritten partition=0 core=0 lost=1";
            assert!(lines.iter().any(|line| line.contains(told)), "{lines:?}");
            assert!(core.routes.borrow().topic(&name).is_ok(), "it is back");
        });
    }

    /// Core 0 counted those of all cores.
    #[test]
    fn what_a_topic_has_lost_is_counted_by_the_core_that_had_it() {
        with_core(|core| async move {
            let (topic, _) = topic(1);
            let mut topic = Arc::unwrap_or_clone(topic);
            topic.owners.push(CoreId::new(1));
            let losses: [Lost; 2] = [(PartitionId::new(0), 5), (PartitionId::new(1), 7)];
            let change = catalog::Change::Lost(Arc::new(topic), Arc::new(losses));
            let lines = logged(core.apply(change)).await;
            assert_eq!(lost(&core), 5);
            let told = "topic=topic-1 partition=0 core=0 lost=5";
            let lines: Vec<_> = lines.iter().filter(|it| it.contains("lost=")).collect();
            assert!(
                matches!(&lines[..], [line] if line.contains(told)),
                "{lines:?}"
            );
        });
    }

    /// Which one it was the log did not say.
    #[test]
    fn a_partition_that_is_not_closed_cleanly_before_reopening_is_named() {
        with_core(|core| async move {
            let admin = Admin::new(Rc::clone(&core));
            let (_, _, key) = unwritten(&core, &admin).await;
            let lines = logged(async {
                Box::pin(core.reopen_partition(key)).await.ok();
            });
            let lines = lines.await;
            let line = lines.iter().find(|line| line.contains("before reopening"));
            let is_named = |line: &String| line.contains("topic=unwritten partition=0 core=0");
            assert!(line.is_some_and(is_named), "{lines:?}");
        });
    }

    /// They were gone, and counted nowhere, where the topic then could not be deleted.
    #[test]
    fn records_that_were_accepted_stay_until_the_files_of_their_topic_go() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            assert!(core.open_partition(&topic, key).await);
            produce(&core, key, &batches(100)).await;
            core.drop_partition(key).await;
            assert!(core.open_partition(&topic, key).await);
            assert_eq!(core.place(key).unwrap().log_end, Offset::ZERO.plus(1));
        });
    }

    /// A stop beside a deletion was told as unclean.
    #[test]
    fn a_partition_that_is_deleted_while_its_closing_waits_is_closed_cleanly() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            assert!(core.open_partition(&topic, key).await);
            let slot = core.slot_of(key).unwrap();
            let claim = core.claim(slot).unwrap();
            let (mut dropping, mut closing) = (
                pin!(core.drop_partition(key)),
                pin!(core.close_partition(slot)),
            );
            assert!(poll_once(&mut dropping).await.is_none(), "it is claimed");
            assert!(poll_once(&mut closing).await.is_none(), "it is claimed");
            drop(claim);
            dropping.await;
            assert!(closing.await);
            assert!(core.close_partition(slot).await, "nor is it there any more");
        });
    }

    /// Each waited for all that an opening asks of a disk that answers late.
    #[test]
    fn whoever_closes_a_partition_calls_off_what_opens_it() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            assert!(core.open_partition(&topic, key).await);
            let slot = core.slot_of(key).unwrap();
            produce(&core, key, &batches(10_000)).await;
            flush(&core, key).await;
            let claim = core.claim(slot).unwrap();
            core.take_log(slot).await.unwrap();
            let mut closing = pin!(core.drop_partition(key));
            assert!(poll_once(&mut closing).await.is_none(), "it is claimed");
            let refused = core.open_log(slot, key, &topic).await.unwrap_err();
            assert!(refused.is(ErrorCode::Stopping), "{refused}");
            let is_unopened = core.slots.borrow().get(slot).map(|slot| slot.is_unopened());
            assert_eq!(is_unopened, Some(true), "it is no failure");
            drop(claim);
            closing.await;
            assert!(core.slot_of(key).is_err());
        });
    }

    #[test]
    fn a_stop_calls_off_what_is_being_opened_and_nothing_else_does() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            assert!(core.open_partition(&topic, key).await);
            let slot = core.slot_of(key).unwrap();
            let claim = core.claim(slot).unwrap();
            let call_off = core.call_off_of(slot);
            assert!(poll_once(core.drop_partition(key)).await.is_none());
            assert!(call_off.is_called());
            drop(claim);
            let _claim = core.claim(slot).unwrap();
            let call_off = core.call_off_of(slot);
            assert!(!call_off.is_called(), "it was another one");
            core.begin_stop();
            assert!(call_off.is_called());
        });
    }

    /// It waits behind others that are opened, whom nobody calls off.
    #[test]
    fn a_reopening_that_waits_for_its_turn_is_called_off() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            assert!(core.open_partition(&topic, key).await);
            let _turns = hold_openings(&core).await;
            let mut reopening = pin!(core.reopen_partition(key));
            assert!(poll_once(&mut reopening).await.is_none());
            let dropping = rt::timeout(Duration::from_secs(60), core.drop_partition(key));
            assert!(dropping.await.is_some());
            let refused = reopening.await.unwrap_err();
            assert!(refused.is(ErrorCode::Stopping), "{refused}");
        });
    }
}

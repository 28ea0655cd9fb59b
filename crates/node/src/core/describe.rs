//! What a core tells of its partitions, to clients and to the metrics.

use corelog_protocol::message::describe_topic::{self, Damage, LastSnapshot};

use super::slots::{Slot, SlotId, SlotState};
use super::state::Core;
use super::{Disk, scrub};
use crate::catalog::Topic;
use crate::metrics::{
    HistogramSnapshot, LogSnapshot, PartitionSnapshot, PartitionState, PulseSnapshot, TopicSnapshot,
};
use crate::partition::{Partition, Refusal, Status};
use crate::rt;

impl Core {
    /// The partitions of a topic that live on this core.
    pub(crate) async fn describe(&self, topic: &Topic) -> Vec<describe_topic::Partition> {
        // Between two of them a slot may have become another's.
        let of_one = |slot: &Slot| (slot.key.topic == topic.id).then(|| self.described(slot));
        self.of_each(self.slots_of(topic), of_one).await
    }

    /// Every partition of this core.
    pub(crate) async fn snapshot(&self) -> Vec<PartitionSnapshot> {
        let of_one = |slot: &Slot| Some(self.snapshot_of(slot));
        self.of_each(self.partition_slots(), of_one).await
    }

    /// The slots of a topic's partitions that live on this core, which may have yet to hear that clients are told of it.
    pub(super) fn slots_of(&self, topic: &Topic) -> Vec<SlotId> {
        let slots = self.slots.borrow();
        let keys = topic.keys_on(self.id);
        keys.filter_map(|key| slots.find(key)).collect()
    }

    /// What there is to tell of these partitions of the core, of which there may be thousands: others have the core
    /// between any two of them.
    async fn of_each<T>(&self, ids: Vec<SlotId>, tell: impl Fn(&Slot) -> Option<T>) -> Vec<T> {
        let mut told = Vec::new();
        for id in ids {
            let of_one = self.slots.borrow().get(id).and_then(&tell);
            told.extend(of_one);
            rt::yield_if_needed().await;
        }
        told
    }

    /// Every topic of the node.
    pub(crate) fn topic_snapshots(&self) -> Vec<TopicSnapshot> {
        let routes = self.routes.borrow();
        let told = routes.topics().map(|topic| TopicSnapshot {
            name: topic.name.clone(),
            id: topic.id,
            created: topic.created,
            partition_count: topic.partition_count(),
            settings: topic.settings.clone(),
        });
        told.collect()
    }

    /// How this core's loop goes.
    pub(crate) fn pulse(&self) -> PulseSnapshot {
        let rt::Pulse {
            busy,
            late_us,
            late_sum_us,
            late_max,
            stalls,
        } = rt::pulse();
        PulseSnapshot {
            core: self.id,
            busy,
            late_us: HistogramSnapshot {
                buckets: late_us,
                sum_us: late_sum_us,
            },
            late_max,
            stalls,
            unflushed_bytes: self.memory.unflushed_bytes(),
            kept_bytes: self.memory.kept_bytes(),
        }
    }

    fn snapshot_of(&self, slot: &Slot) -> PartitionSnapshot {
        let partition = slot.partition();
        let status = partition.map(|partition| partition.status());
        let scrubbed_at = partition.and_then(|partition| partition.scrubbed_at());
        // A clock that was set back since is no age.
        let age = |at| u64::try_from(rt::wall_clock().millis_since(at)).unwrap_or(0);
        let replica = slot.topic.replica(slot.key.partition);
        let (role, source) = self.role(slot.key, replica);
        let waits_for = self.awaited(slot.key, replica);
        PartitionSnapshot {
            topic: slot.topic.name.clone(),
            partition: slot.key.partition,
            core: self.id,
            state: state_of(slot, status.as_ref(), !waits_for.is_empty()),
            waits_for,
            role,
            source,
            log: partition.zip(status.as_ref()).map(log_of),
            parked_fetch_count: status.map_or(0, |status| status.parked_count),
            copying: self.copying(slot.key),
            lag: status.and_then(|status| self.lag(slot.key, status.durable)),
            source_silent_millis: self.source_silent_millis(slot.key),
            scrubbed_at,
            scrub_age_millis: scrubbed_at.map(age),
            unscrubbed_millis: scrub::counted_from(slot).map(age),
        }
    }

    fn described(&self, slot: &Slot) -> describe_topic::Partition {
        use describe_topic::State;
        let snapshot = self.snapshot_of(slot);
        let partition = slot.partition();
        let log = snapshot.log.unwrap_or_default();
        let last = self.last_snapshots.borrow();
        let counts = partition.is_none_or(|partition| partition.has_what_was_snapshotted());
        let last = last.get(slot.key).filter(|_| counts);
        let last = last.map(|last| LastSnapshot {
            name: last.name.to_string(),
            end: last.end,
        });
        describe_topic::Partition {
            id: snapshot.partition,
            core: self.id,
            log_start: log.log_start,
            high_watermark: log.high_watermark,
            durable: log.durable,
            log_end: log.log_end,
            segments: u32::try_from(log.segment_count).unwrap_or(u32::MAX),
            bytes: log.store_bytes,
            epoch: log.epoch,
            closed: snapshot.log.is_none(),
            state: match snapshot.state {
                PartitionState::Serving => State::Ok,
                PartitionState::Opening => State::Opening,
                PartitionState::Fenced => State::Fenced,
                PartitionState::Full => State::Full,
                PartitionState::Held => State::Held,
                PartitionState::Damaged | PartitionState::Failed => State::Damaged,
            },
            waits_for: snapshot.waits_for,
            damage: partition.map_or_else(Vec::new, |partition| told(partition.damage())),
            read_only: log.is_read_only,
            scrubbed_at: snapshot.scrubbed_at,
            snapshot: last,
            role: snapshot.role,
            source: snapshot.source,
            copying: snapshot.copying,
            lag_records: snapshot.lag.map(|lag| lag.records),
            lag_bytes: snapshot.lag.map(|lag| lag.bytes),
            lag_ms: snapshot.lag.and_then(|lag| lag.millis),
        }
    }
}

/// What may be done with a partition, of which an open one has a status.
fn state_of(slot: &Slot, status: Option<&Status>, is_held: bool) -> PartitionState {
    match (&slot.state, status) {
        (_, Some(status)) => state_of_open(status, is_held),
        (SlotState::Unopened(Refusal::StorageFull), None) => PartitionState::Full,
        // One that the disk did not give may take minutes to be tried again, and fail as before.
        (SlotState::Opening, None) if slot.again.is_waiting() => PartitionState::Failed,
        (SlotState::Opening | SlotState::Unopened(_), None) => PartitionState::Opening,
        (SlotState::Failed | SlotState::Open(_), None) => PartitionState::Failed,
    }
}

/// What keeps it from being written comes first: damage may last for weeks.
fn state_of_open(status: &Status, is_held: bool) -> PartitionState {
    match status {
        status if status.is_fenced => PartitionState::Fenced,
        status if status.is_full => PartitionState::Full,
        _ if is_held => PartitionState::Held,
        status if status.is_damaged => PartitionState::Damaged,
        _ => PartitionState::Serving,
    }
}

/// Where its log is, as it is told of one that is open.
fn log_of((partition, status): (&Partition<Disk>, &Status)) -> LogSnapshot {
    LogSnapshot {
        log_start: status.log_start,
        high_watermark: status.high_watermark,
        durable: status.durable,
        log_end: status.log_end,
        epoch: status.epoch,
        segment_count: status.segment_count,
        store_bytes: status.store_bytes,
        is_read_only: status.is_read_only,
        damage_count: partition.damage().len(),
    }
}

/// Damage as clients are told of it.
pub(super) fn told(damage: &[corelog_storage::log::Damage]) -> Vec<Damage> {
    let of = |damage: &corelog_storage::log::Damage| Damage {
        from: damage.from,
        to: damage.to,
        segment: damage.segment,
    };
    damage.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use corelog_record::{CoreId, PartitionId};

    use super::super::tests::{batches, produce, topic, with_core};
    use super::*;
    use crate::core::PartitionKey;
    use crate::rt::tests::ways_given;

    /// A full disk was not told, nor did it wake anybody, where a byte had rotted weeks before.
    #[test]
    fn a_full_disk_is_told_of_a_damaged_partition_too() {
        let told = |is_fenced, is_full, is_held, is_damaged| {
            let status = Status {
                is_fenced,
                is_full,
                is_damaged,
                ..Status::default()
            };
            state_of_open(&status, is_held)
        };
        assert_eq!(told(true, true, true, true), PartitionState::Fenced);
        assert_eq!(told(false, true, true, true), PartitionState::Full);
        assert_eq!(told(false, false, true, true), PartitionState::Held);
        assert_eq!(told(false, false, false, true), PartitionState::Damaged);
        assert_eq!(told(false, false, false, false), PartitionState::Serving);
    }

    /// It was told with offsets and a size of 0, as one that is empty.
    #[test]
    fn of_a_partition_that_is_not_open_no_offset_is_told() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            core.routes.borrow_mut().put(Arc::clone(&topic));
            assert!(core.open_partition(&topic, key).await);
            assert!(core.snapshot().await[0].log.is_some());
            assert!(!core.describe(&topic).await[0].closed);
            let slot = core.slot_of(key).unwrap();
            for (state, word) in [
                (SlotState::Opening, PartitionState::Opening),
                (SlotState::Unopened(Refusal::Busy), PartitionState::Opening),
                (
                    SlotState::Unopened(Refusal::StorageFull),
                    PartitionState::Full,
                ),
                (SlotState::Failed, PartitionState::Failed),
            ] {
                core.slots.borrow_mut().get_mut(slot).unwrap().state = state;
                let told = &core.snapshot().await[0];
                assert_eq!((told.state, told.log, told.lag), (word, None, None));
                assert!(core.describe(&topic).await[0].closed);
            }
        });
    }

    /// What is in memory alone was told as on the disk.
    #[test]
    fn what_is_not_on_the_disk_yet_is_not_told_as_durable() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            assert!(core.open_partition(&topic, key).await);
            produce(&core, key, &batches(100)).await;
            let told = core.describe(&topic).await.remove(0);
            assert!(told.durable < told.log_end, "{told:?}");
        });
    }

    /// Whoever scraped a core of thousands of partitions kept it from all else until it had told of each of them.
    #[test]
    fn others_have_the_core_while_it_tells_of_its_partitions() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            for number in 0..5 {
                let partition = PartitionId::new(number);
                let key = PartitionKey { partition, ..key };
                let added = core.slots.borrow_mut().add(key, Arc::clone(&topic));
                added.unwrap();
            }
            let mut all = Arc::unwrap_or_clone(topic.clone());
            all.owners = vec![core.id; 5];
            let all = Arc::new(all);
            core.routes.borrow_mut().put(Arc::clone(&all));
            assert_eq!(ways_given(core.snapshot()).await, 5);
            assert_eq!(ways_given(core.describe(&all)).await, 5);
            assert_eq!(ways_given(core.replicas(&all, None)).await, 5);
            assert_eq!(core.snapshot().await.len(), 5);
            assert_eq!(core.describe(&all).await.len(), 5);
            assert_eq!(core.replicas(&all, None).await.len(), 5);
        });
    }

    /// All slots of the core were looked through for one partition of one topic; later none of a topic that this core was the
    /// last to hear of: a description lacked its partitions, and a scrub passed them over.
    #[test]
    fn a_topic_has_the_slots_of_its_own_partitions_here_before_clients_are_told_of_it() {
        with_core(|core| async move {
            let (other, key) = topic(2);
            core.slots.borrow_mut().add(key, other).unwrap();
            let (topic, key) = topic(1);
            let mut topic = Arc::unwrap_or_clone(topic);
            topic.owners = vec![CoreId::new(1), core.id, core.id];
            let topic = Arc::new(topic);
            assert_eq!(core.slots_of(&topic), [], "none is there yet");
            let partition = PartitionId::new(2);
            let key = PartitionKey { partition, ..key };
            let added = core.slots.borrow_mut().add(key, Arc::clone(&topic));
            assert_eq!(core.slots_of(&topic), [added.unwrap()]);
            let told = core.describe(&topic).await;
            assert_eq!((told.len(), told[0].id), (1, partition));
            let scrubs = core.scrub(&topic, None, true).await;
            assert_eq!((scrubs.len(), scrubs[0].id), (1, partition));
        });
    }
}

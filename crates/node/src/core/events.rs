//! What happened to a log: one line and one count each.

use std::rc::Rc;

use corelog_storage::log::Event;

use super::slots::SlotId;
use super::state::Core;
use crate::metrics::add;

impl Core {
    /// Tells the operator what happened to a partition's log.
    pub(super) fn tell_event(self: &Rc<Self>, slot: SlotId, event: &Event) {
        let slots = self.slots.borrow();
        let Some(slot) = slots.get(slot) else { return };
        let (topic, partition) = (&slot.topic.name, slot.key.partition.get());
        let counters = &self.counters;
        match event {
            Event::Torn(torn) => {
                add(&counters.torn_total, 1);
                add(&counters.torn_bytes_total, torn.bytes);
                tracing::warn!(
                    %topic,
                    partition,
                    offset = torn.offset.get(),
                    bytes = torn.bytes,
                    bytes_since_mark = torn.bytes_since_mark,
                    "torn bytes behind the last whole batch were quarantined and cut"
                );
            }
            Event::Damage(damage) | Event::DamageKnown(damage) => {
                let is_known = matches!(event, Event::DamageKnown(_));
                add(&counters.damage_total, 1);
                tracing::error!(
                    %topic,
                    partition,
                    from = damage.from.get(),
                    to = damage.to.get(),
                    segment = damage.segment.get(),
                    is_known,
                    "damage: bytes that were promised cannot be trusted"
                );
                let key = slot.key;
                drop(slots);
                self.heal(key, None);
            }
            Event::ReadOnly { from } => {
                add(&counters.read_only_total, 1);
                let from = from.get();
                tracing::error!(%topic, partition, from, "damage at the end: nothing is appended");
            }
            Event::Unnamed { file, quarantined } => {
                add(&counters.unnamed_files_total, 1);
                tracing::warn!(
                    %topic,
                    partition,
                    file,
                    quarantined,
                    "a file that the manifest does not name went to quarantine"
                );
            }
            Event::Stray { file, why } => {
                tracing::warn!(
                    %topic,
                    partition,
                    file,
                    why,
                    "a file that the manifest does not name cannot be moved to quarantine, and stays"
                );
            }
            Event::Untold { why } => {
                tracing::warn!(
                    %topic,
                    partition,
                    why,
                    "the file that is to tell of the partition where its directory is gone cannot be made now: it is tried again before its next record"
                );
            }
            Event::ManifestTorn { position, bytes } => {
                add(&counters.torn_edits_total, 1);
                tracing::warn!(
                    %topic,
                    partition,
                    position,
                    bytes,
                    "the remains of an interrupted edit went from the manifest to quarantine"
                );
            }
            Event::Unread {
                file,
                position,
                why,
            } => {
                let position = position.get();
                tracing::error!(
                    %topic,
                    partition,
                    file,
                    position,
                    why,
                    "the disk does not give what stands in a store"
                );
            }
            Event::MarkLost => {
                add(&counters.lost_marks_total, 1);
                tracing::warn!(%topic, partition, "the mark was lost: the last store was read whole");
            }
            Event::StoreReplaced {
                segment,
                generation,
            } => {
                add(&counters.replaced_stores_total, 1);
                tracing::warn!(
                    %topic,
                    partition,
                    segment = segment.get(),
                    generation,
                    "a store could not be written in place and was copied to a new file"
                );
            }
            // The repair tells of it, and from where it came.
            Event::Repaired { .. } => {}
            Event::Surplus { segment, bytes } => {
                add(&counters.surplus_total, 1);
                let segment = segment.get();
                tracing::warn!(%topic, partition, segment, bytes, "a sealed store is too long");
            }
            Event::Dropped { count } => {
                add(&counters.events_dropped_total, *count);
                tracing::warn!(%topic, partition, count, "more happened than was kept to be told");
            }
            Event::IndexRebuilt { segment } => {
                add(&counters.rebuilt_indexes_total, 1);
                let segment = segment.get();
                tracing::warn!(%topic, partition, segment, "an index was made anew from its store");
            }
            event => tracing::warn!(%topic, partition, ?event, "something happened to the log"),
        }
    }
}

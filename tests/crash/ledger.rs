//! What was promised and what was shown of one partition, held against what its log holds.

use std::collections::BTreeMap;

use corelog_record::Offset;
use corelog_record::batch::{self, View};

use crate::follower::Seen;
use crate::payload::{self, Contents};
use crate::producer::Acked;
use crate::support::wire::{Target, Wire};

/// The books on one partition over all rounds.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Every batch that was found after a restart, in order.
    found: Vec<Seen>,
    /// The place of the next record of each producer.
    sequences: BTreeMap<u32, u64>,
    /// Everything promised so far, in records.
    pub(crate) promised: u64,
}

impl Ledger {
    /// The end of what was found.
    pub(crate) fn end(&self) -> Offset {
        self.found.last().map_or(Offset::ZERO, |last| last.next)
    }

    /// Reads what the log holds behind what was found before, and checks that it holds, once,
    /// unaltered and at the offsets that were told, all that was promised and shown in the round.
    pub(crate) fn settle(
        &mut self,
        wire: &mut Wire,
        topic: &Target,
        partition: u32,
        round: &Round,
    ) {
        let bytes = wire.read_all(topic, partition, self.end());
        let before = self.found.len();
        let mut contents: BTreeMap<Offset, Contents> = BTreeMap::new();
        for bytes in batch::Batches::over(&bytes) {
            let batch = View::verify(bytes.unwrap()).unwrap();
            assert_eq!(batch.base_offset(), self.end(), "offsets are dense");
            let found = payload::check(&batch);
            let next = self.sequences.entry(found.producer).or_default();
            // One connection, one order: what a producer sent is in the log from its first record
            // on without a gap, so nothing is there twice either.
            assert_eq!(found.sequence, *next, "lost or twice: {found:?}");
            *next += u64::from(found.count);
            contents.insert(batch.base_offset(), found);
            self.found.push(Seen::of(&batch));
        }
        for acked in &round.acked {
            let found = contents.get(&acked.base);
            assert_eq!(found, Some(&acked.contents), "promised at {}", acked.base);
            self.promised += u64::from(acked.contents.count);
        }
        let found = &self.found[before..];
        for seen in &round.seen {
            let place = found.binary_search_by_key(&seen.base, |batch| batch.base);
            let is_there = place.is_ok_and(|index| found[index] == *seen);
            assert!(is_there, "a reader saw what then vanished: {seen:?}");
        }
    }

    /// Reads the whole log again and checks that all that was ever found is still there.
    pub(crate) fn audit(&self, wire: &mut Wire, topic: &Target, partition: u32) {
        let bytes = wire.read_all(topic, partition, Offset::ZERO);
        let batches = batch::Batches::over(&bytes);
        let found: Vec<_> = batches
            .map(|bytes| Seen::of(&View::verify(bytes.unwrap()).unwrap()))
            .collect();
        assert!(found == self.found, "the log changed after it was checked");
    }
}

/// What was promised and shown of one partition in one round.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) acked: Vec<Acked>,
    pub(crate) seen: Vec<Seen>,
}

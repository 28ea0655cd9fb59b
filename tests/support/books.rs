//! What the client was told of each record, held against the log.

use std::collections::BTreeMap;

use corelog_client::{Ack, Outcome, ProduceError};
use corelog_record::Offset;
use corelog_record::batch::{Batches, Records, View};

use super::wire::{Target, Wire};

/// A record's name: its partition, and its place in the order of that partition's sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) partition: u32,
    pub(crate) number: u64,
}

/// What was told of each record that was sent.
#[derive(Default)]
pub(crate) struct Books {
    told: BTreeMap<Id, Result<Ack, ProduceError>>,
}

/// How many records had which outcome.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) acked: usize,
    pub(crate) not_applied: usize,
    pub(crate) unknown: usize,
    /// Of the unknown ones, those that are in the log.
    pub(crate) unknown_found: usize,
}

impl Id {
    /// The record's value: nobody else's, and of a length of its own.
    pub(crate) fn value(self) -> Vec<u8> {
        let seed = u64::from(self.partition) << 48 | self.number;
        let mut random = fastrand::Rng::with_seed(seed);
        let mut value = format!("{} {} ", self.partition, self.number).into_bytes();
        let start = value.len();
        value.resize(start + random.usize(..2_000), 0);
        random.fill(&mut value[start..]);
        value
    }

    /// The record that has this value.
    pub(crate) fn of(value: &[u8]) -> Self {
        let mut words = value.splitn(3, |byte| *byte == b' ');
        let mut number = || -> u64 {
            let word = std::str::from_utf8(words.next().unwrap()).unwrap();
            word.parse().unwrap()
        };
        let id = Self {
            partition: u32::try_from(number()).unwrap(),
            number: number(),
        };
        assert!(id.value() == value, "{id:?} was altered");
        id
    }
}

impl Books {
    pub(crate) fn note(&mut self, id: Id, outcome: Result<Ack, ProduceError>) {
        let before = self.told.insert(id, outcome);
        assert!(before.is_none(), "{id:?} was told twice");
    }

    /// Reads every partition from its beginning and holds it against what was told.
    pub(crate) fn audit(&self, wire: &mut Wire, topic: &Target, partitions: u32) -> Tally {
        let mut found: BTreeMap<Id, Offset> = BTreeMap::new();
        for partition in 0..partitions {
            let mut last = None;
            for (offset, id) in read(wire, topic, partition) {
                assert_eq!(
                    id.partition, partition,
                    "{id:?} is in partition {partition}"
                );
                assert!(
                    Some(id.number) > last,
                    "{id:?} at {offset} comes after {last:?}"
                );
                last = Some(id.number);
                let before = found.insert(id, offset);
                assert_eq!(before, None, "{id:?} is there twice");
            }
        }
        let mut tally = Tally::default();
        for (id, outcome) in &self.told {
            let offset = found.remove(id);
            match outcome {
                Ok(ack) => {
                    assert_eq!(ack.partition.get(), id.partition);
                    assert_eq!(offset, Some(ack.offset), "{id:?} was acknowledged");
                    tally.acked += 1;
                }
                Err(error) if error.outcome == Outcome::NotApplied => {
                    assert_eq!(offset, None, "{id:?} was not applied: {error}");
                    tally.not_applied += 1;
                }
                Err(_) => {
                    tally.unknown += 1;
                    tally.unknown_found += usize::from(offset.is_some());
                }
            }
        }
        assert!(found.is_empty(), "nobody was told of {found:?}");
        tally
    }
}

/// All records of a partition, in log order, with dense offsets.
pub(crate) fn read(wire: &mut Wire, topic: &Target, partition: u32) -> Vec<(Offset, Id)> {
    let bytes = wire.read_all(topic, partition, Offset::ZERO);
    let (mut found, mut next) = (Vec::new(), Offset::ZERO);
    for bytes in Batches::over(&bytes) {
        let batch = View::verify(bytes.unwrap()).unwrap();
        assert_eq!(batch.base_offset(), next, "offsets are dense");
        next = batch.next_offset();
        let plain = batch.decompress(16 << 20).unwrap();
        for record in Records::over(&plain, &batch) {
            let record = record.unwrap();
            found.push((record.offset, Id::of(record.value.unwrap())));
        }
    }
    found
}

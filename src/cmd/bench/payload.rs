//! Values of records that can be told again when they are read.
//!
//! ```text
//!   0                  8          16
//!   | producer, number | checksum | random bytes, the same in every run … |
//! ```
//!
//! *Number* counts the values of a producer in a partition, so that what is missing, twice or out of
//! order shows; the checksum covers all else. Both words are little-endian, the producer in the 16 high
//! bits of the first.

use corelog_client::ReceivedBatch;
use corelog_record::batch::{Builder, Codec};
use corelog_record::{ByteSize, Offset, PartitionId};
use xxhash_rust::xxh3::xxh3_64;

use crate::exit::{Exit, stop};
use crate::quantity;

/// Refuses values that cannot tell their place, or that no server takes.
///
/// # Errors
/// Exit code 2.
pub(super) fn check_bytes(record_bytes: ByteSize) -> anyhow::Result<()> {
    if (VALUE_BYTES_MIN as u64..=VALUE_BYTES_MAX).contains(&record_bytes.bytes()) {
        return Ok(());
    }
    let message = "a value tells its place in 16 bytes: --record-bytes between 16 and 1GiB";
    Err(stop(Exit::Usage, message))
}

/// The values of one producer in one partition. They do not compress.
pub(super) struct Values {
    values: Vec<Vec<u8>>,
    /// The checksum of what is behind each one's first words.
    sums: Vec<u64>,
    word: u64,
}

impl Values {
    /// Values of so many bytes, of the producer with that number, in batches of so many: none is twice in a batch of up to 1,000 and a MiB.
    ///
    /// # Panics
    /// If `bytes` is less than [`VALUE_BYTES_MIN`].
    pub(super) fn new(producer: u16, bytes: usize, batch_records: u32) -> Self {
        const SEED: u64 = 7;
        const VALUES_BYTES: usize = 1 << 20;
        assert!(bytes >= VALUE_BYTES_MIN, "a value holds its first words");
        let mut random = fastrand::Rng::with_seed(SEED + u64::from(producer));
        let count = (VALUES_BYTES / bytes)
            .min(batch_records as usize)
            .clamp(1, 1_000);
        let mut value = || {
            let mut value = vec![0; bytes];
            random.fill(&mut value);
            value
        };
        let values: Vec<_> = (0..count).map(|_| value()).collect();
        let sums = values.iter().map(|value| sum(value)).collect();
        let word = u64::from(producer) << NUMBER_BITS;
        Self { values, sums, word }
    }

    fn value_bytes(&self) -> usize {
        self.values[0].len()
    }

    /// The next value.
    fn next(&mut self) -> &[u8] {
        let number = usize::try_from(self.word & NUMBER_MASK).unwrap_or(usize::MAX);
        let index = number % self.values.len();
        let value = &mut self.values[index];
        let (word, sum) = (self.word, self.sums[index] ^ spread(self.word));
        value[..8].copy_from_slice(&word.to_le_bytes());
        value[8..16].copy_from_slice(&sum.to_le_bytes());
        self.word += 1;
        value
    }
}

/// A batch of the next so many values, room for all of it made at once.
///
/// # Errors
/// If the format has no such batch.
pub(super) fn build(
    values: &mut Values,
    records: u32,
    codec: Codec,
) -> Result<Builder, corelog_record::Error> {
    let mut batch = Builder::new(codec);
    let bytes = records as usize * (values.value_bytes() + RECORD_BYTES) + RECORD_BYTES;
    batch.reserve(bytes.min(BATCH_BYTES_MAX));
    let timestamp = quantity::now();
    for _ in 0..records {
        batch.append(timestamp, None, Some(values.next()), &[])?;
    }
    Ok(batch)
}

/// Why a value is not one that a producer of a benchmark sent, or not the next one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Another program's, or altered.
    #[error(
        "partition {partition}, offset {offset}: not a value of `corelog bench`, or not as it was sent; \
         read what others wrote with --unchecked"
    )]
    Altered {
        partition: PartitionId,
        offset: Offset,
    },
    /// One is missing, or came twice, or too late.
    #[error(
        "partition {partition}, offset {offset}: value {found} of producer {producer}, expected {expected}"
    )]
    Disordered {
        partition: PartitionId,
        offset: Offset,
        producer: u64,
        expected: u64,
        found: u64,
    },
}

/// What a batch held.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// The number of its last value.
    pub(super) last: u64,
    pub(super) records: u64,
    /// Bytes of its values.
    pub(super) bytes: u64,
}

/// Looks at every value of one partition, in the order of the log: altered ones show, and gaps, repeats
/// and disorder within what a producer sent in one run. That the end is missing shows in the count.
#[derive(Default)]
pub(super) struct Check {
    /// The next number of each producer of which something came.
    next: Vec<Option<u64>>,
    /// Whether what comes first is the first that was sent.
    is_whole: bool,
}

impl Check {
    /// For who reads from the first value on that a producer sends.
    pub(super) fn whole() -> Self {
        Self {
            next: Vec::new(),
            is_whole: true,
        }
    }

    /// Looks at the next value and gives its number.
    ///
    /// # Errors
    /// [`Wrong`]. A producer may begin anew at 0: that is another run.
    pub(super) fn look(
        &mut self,
        partition: PartitionId,
        offset: Offset,
        value: &[u8],
    ) -> Result<u64, Wrong> {
        let altered = Wrong::Altered { partition, offset };
        let (Some(word), Some(stored)) = (word_at(value, 0), word_at(value, 8)) else {
            return Err(altered);
        };
        if stored != sum(value) ^ spread(word) {
            return Err(altered);
        }
        let (producer, found) = (word >> NUMBER_BITS, word & NUMBER_MASK);
        let index = usize::try_from(producer).unwrap_or(usize::MAX);
        if self.next.len() <= index {
            self.next.resize(index + 1, None);
        }
        let expected = self.next[index].unwrap_or(match self.is_whole {
            true => 0,
            // What was truncated is not missing.
            false => found,
        });
        let is_other_run = found == 0 && !self.is_whole;
        if found != expected && !is_other_run {
            return Err(Wrong::Disordered {
                partition,
                offset,
                producer,
                expected,
                found,
            });
        }
        self.next[index] = Some(found + 1);
        Ok(found)
    }

    /// Looks at every value of a batch.
    ///
    /// # Errors
    /// [`Wrong`], with exit code 3 for who reads from the first one on: nobody else's values are among them. What a batch
    /// that cannot be decoded is.
    pub(super) fn look_at(&mut self, batch: &ReceivedBatch) -> anyhow::Result<Looked> {
        let mut looked = Looked::default();
        for record in batch.records() {
            let record = record?;
            let value = record.value.unwrap_or_default();
            let number = self.look(batch.partition, record.offset, value);
            looked.last = number.map_err(|wrong| match self.is_whole {
                true => stop(Exit::Damage, wrong.to_string()),
                false => wrong.into(),
            })?;
            looked.records += 1;
            looked.bytes += value.len() as u64;
        }
        Ok(looked)
    }
}

/// The checksum of what is behind the first words.
fn sum(value: &[u8]) -> u64 {
    xxh3_64(value.get(VALUE_BYTES_MIN..).unwrap_or_default())
}

/// Spreads a word over all bits, so that no two words cancel out in a sum.
const fn spread(word: u64) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    (word ^ ODD).wrapping_mul(ODD).rotate_left(31)
}

fn word_at(value: &[u8], at: usize) -> Option<u64> {
    let bytes = value.get(at..at + 8)?.try_into().ok()?;
    Some(u64::from_le_bytes(bytes))
}

/// The least and the most bytes of a value.
const VALUE_BYTES_MIN: usize = 16;
const VALUE_BYTES_MAX: u64 = 1 << 30;

/// What a record, or the head of a batch, needs beside values, about.
const RECORD_BYTES: usize = 64;

/// No batch is larger: room for more is not made before it is needed.
const BATCH_BYTES_MAX: usize = 8 << 20;

const NUMBER_BITS: u32 = 48;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    const P: PartitionId = PartitionId::new(3);

    fn look(check: &mut Check, value: &[u8]) -> Result<u64, Wrong> {
        check.look(P, Offset::ZERO, value)
    }

    #[test]
    fn values_of_several_producers_are_known_again_in_order() {
        for bytes in [16, 17, 100, 1 << 20] {
            let (mut check, mut one, mut two) = (
                Check::default(),
                Values::new(1, bytes, 3),
                Values::new(2, bytes, 3),
            );
            for number in 0..20 {
                assert_eq!(look(&mut check, one.next()), Ok(number));
                assert_eq!(look(&mut check, two.next()), Ok(number));
            }
            assert_eq!(look(&mut check, Values::new(1, bytes, 3).next()), Ok(0));
        }
    }

    /// Those of producers that were not the last in number were told as missing.
    #[test]
    fn what_was_truncated_of_several_producers_is_not_missing() {
        let [mut one, mut two] = [1, 2].map(|producer| Values::new(producer, 64, 9));
        for _ in 0..5 {
            one.next();
            two.next();
        }
        let mut check = Check::default();
        assert_eq!(look(&mut check, two.next()), Ok(5));
        assert_eq!(look(&mut check, one.next()), Ok(5));
        two.next();
        assert!(look(&mut check, two.next()).is_err());
    }

    #[test]
    fn any_turned_bit_is_seen() {
        let mut values = Values::new(5, 40, 1);
        let value = values.next().to_vec();
        for bit in 0..value.len() * 8 {
            let mut turned = value.clone();
            turned[bit / 8] ^= 1 << (bit % 8);
            let found = look(&mut Check::default(), &turned);
            assert!(matches!(found, Err(Wrong::Altered { .. })), "{bit}");
        }
        for end in 0..value.len() {
            assert!(look(&mut Check::default(), &value[..end]).is_err());
        }
    }

    #[test]
    fn what_is_missing_or_twice_is_seen() {
        let mut values = Values::new(0, 64, 5);
        let all: Vec<Vec<u8>> = (0..5).map(|_| values.next().to_vec()).collect();
        for (order, is_whole) in [
            (vec![0, 1, 2, 3], true),
            (vec![2, 3, 4], true),
            (vec![0, 1, 3], false),
            (vec![0, 1, 1], false),
            (vec![2, 1], false),
            (vec![0, 1, 0, 1], true),
        ] {
            let mut check = Check::default();
            let looked = order.iter().all(|at| look(&mut check, &all[*at]).is_ok());
            assert_eq!(looked, is_whole, "{order:?}");
            let mut check = Check::whole();
            let looked = order.iter().all(|at| look(&mut check, &all[*at]).is_ok());
            assert_eq!(looked, order == [0, 1, 2, 3], "{order:?}");
        }
    }
}

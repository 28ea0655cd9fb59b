//! Values of records that can be told again when they are read.
//!
//! ```text
//!   0                       8          16
//!   | producer, run, number | checksum | random bytes, the same in every run … |
//! ```
//!
//! *Number* counts the values of a producer in a partition, so that what is missing, twice or out of
//! order shows; the run is any of 65,535, so that what an earlier one left shows among those of a later one, and one that is
//! there again from its beginning. The checksum covers all else, and the topic and the partition, so that what was sent to
//! another one shows. Both words are little-endian, the producer in the 16 high bits of the first, the run in the 16
//! below. Run and number are one count: where a run has no more numbers, it goes on as the next run.

use corelog_client::ReceivedBatch;
use corelog_record::batch::{Builder, Codec};
use corelog_record::{ByteSize, Offset, PartitionId, TopicName};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::exit::{Exit, stop};

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
    /// The checksum of what is behind each one's first words, and of where it goes.
    sums: Vec<u64>,
    word: u64,
}

/// Where values go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) topic: &'a TopicName,
    pub(super) partition: PartitionId,
}

impl<'a> Place<'a> {
    /// All partitions of a topic, in order.
    pub(super) fn all(topic: &'a TopicName, partitions: u32) -> impl Iterator<Item = Self> {
        (0..partitions)
            .map(PartitionId::new)
            .map(move |partition| Self { topic, partition })
    }

    /// What it adds to a checksum.
    fn sum(self) -> u64 {
        xxh3_64_with_seed(self.topic.as_str().as_bytes(), self.partition.get().into())
    }
}

impl Values {
    /// Values of so many bytes, of a run of the producer with that number, in batches of so many: no value's random
    /// bytes are twice in a batch.
    ///
    /// # Panics
    /// If `bytes` is less than [`VALUE_BYTES_MIN`].
    pub(super) fn new(place: Place<'_>, producer: u16, bytes: usize, batch_records: u32) -> Self {
        const SEED: u64 = 7;
        assert!(bytes >= VALUE_BYTES_MIN, "a value holds its first words");
        let mut random = fastrand::Rng::with_seed(SEED + u64::from(producer));
        let count = (BATCH_BYTES_MAX / bytes).min(batch_records as usize).max(1);
        let mut value = || {
            let mut value = vec![0; bytes];
            random.fill(&mut value);
            value
        };
        let values: Vec<_> = (0..count).map(|_| value()).collect();
        let sums = values.iter().map(|value| sum(value) ^ place.sum());
        let sums = sums.collect();
        // Behind each of them there is another one, to go on as.
        let run = u64::from(fastrand::u16(..u16::MAX));
        let word = u64::from(producer) << COUNT_BITS | run << NUMBER_BITS;
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
    let timestamp = corelog_client::now();
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
        "partition {partition}, offset {offset}: not a value that `corelog bench` sent there, or not as it was sent; \
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
    /// What an earlier run sent, or a later one, is not to be there.
    #[error(
        "partition {partition}, offset {offset}: a value of another run amid those of producer {producer}"
    )]
    Strayed {
        partition: PartitionId,
        offset: Offset,
        producer: u64,
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
pub(super) struct Check {
    partition: PartitionId,
    /// What the topic and the partition add to a checksum.
    place: u64,
    /// What came of each producer of which something did.
    came: Vec<Option<Came>>,
    /// Whether what comes first is the first that was sent.
    is_whole: bool,
}

/// Counts: a run and a number each.
#[derive(Clone, Copy)]
struct Came {
    /// The first of the run.
    begin: u64,
    /// What comes next.
    next: u64,
}

impl Check {
    /// For who reads from any value on.
    pub(super) fn new(place: Place<'_>) -> Self {
        Self {
            partition: place.partition,
            place: place.sum(),
            came: Vec::new(),
            is_whole: false,
        }
    }

    /// For who reads from the first value on that a producer sends.
    pub(super) fn whole(place: Place<'_>) -> Self {
        Self {
            is_whole: true,
            ..Self::new(place)
        }
    }

    /// Looks at the next value and gives its number.
    ///
    /// # Errors
    /// [`Wrong`]. A producer may begin anew at 0, in another run.
    pub(super) fn look(&mut self, offset: Offset, value: &[u8]) -> Result<u64, Wrong> {
        let partition = self.partition;
        let altered = Wrong::Altered { partition, offset };
        let (Some(word), Some(stored)) = (word_at(value, 0), word_at(value, 8)) else {
            return Err(altered);
        };
        if stored != sum(value) ^ spread(word) ^ self.place {
            return Err(altered);
        }
        let (producer, count) = (word >> COUNT_BITS, word & COUNT_MASK);
        let index = usize::try_from(producer).unwrap_or(usize::MAX);
        if self.came.len() <= index {
            self.came.resize(index + 1, None);
        }
        let begin = count & !NUMBER_MASK;
        let came = match self.came[index] {
            Some(came) if came.next == count => came,
            known if self.may_begin(known, count) => Came { begin, next: count },
            known => {
                let came = known.unwrap_or(Came { begin, next: begin });
                return Err(match came.next & !NUMBER_MASK == begin {
                    true => Wrong::Disordered {
                        partition,
                        offset,
                        producer,
                        expected: came.next - came.begin,
                        found: count - came.begin,
                    },
                    false => Wrong::Strayed {
                        partition,
                        offset,
                        producer,
                    },
                });
            }
        };
        self.came[index] = Some(Came {
            next: count + 1,
            ..came
        });
        Ok(count - came.begin)
    }

    /// If a value with this count may be the first of a run, behind what came of its producer.
    fn may_begin(&self, known: Option<Came>, count: u64) -> bool {
        let begin = count & !NUMBER_MASK;
        match known {
            // What was truncated is not missing.
            None => count == begin || !self.is_whole,
            Some(came) => count == begin && begin != came.begin && !self.is_whole,
        }
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
            let number = self.look(record.offset, value);
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

const NUMBER_BITS: u32 = 32;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;

/// Of the run and the number.
const COUNT_BITS: u32 = 48;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn at<R>(topic: &str, partition: u32, make: impl FnOnce(Place<'_>) -> R) -> R {
        make(Place {
            topic: &topic.parse().unwrap(),
            partition: PartitionId::new(partition),
        })
    }

    fn values(producer: u16, bytes: usize, batch_records: u32) -> Values {
        at("bench", 3, |place| {
            Values::new(place, producer, bytes, batch_records)
        })
    }

    fn checking() -> Check {
        at("bench", 3, Check::new)
    }

    fn look(check: &mut Check, value: &[u8]) -> Result<u64, Wrong> {
        check.look(Offset::ZERO, value)
    }

    #[test]
    fn values_of_several_producers_are_known_again_in_order() {
        for bytes in [16, 17, 100, 1 << 20] {
            let (mut check, mut one, mut two) =
                (checking(), values(1, bytes, 3), values(2, bytes, 3));
            for number in 0..20 {
                assert_eq!(look(&mut check, one.next()), Ok(number));
                assert_eq!(look(&mut check, two.next()), Ok(number));
            }
            let mut again = Values {
                word: (one.word ^ 1 << NUMBER_BITS) & !NUMBER_MASK,
                ..values(1, bytes, 3)
            };
            assert_eq!(look(&mut check, again.next()), Ok(0), "another run");
        }
    }

    /// Those of producers that were not the last in number were told as missing.
    #[test]
    fn what_was_truncated_of_several_producers_is_not_missing() {
        let [mut one, mut two] = [1, 2].map(|producer| values(producer, 64, 9));
        for _ in 0..5 {
            one.next();
            two.next();
        }
        let mut check = checking();
        assert_eq!(look(&mut check, two.next()), Ok(5));
        assert_eq!(look(&mut check, one.next()), Ok(5));
        two.next();
        assert!(look(&mut check, two.next()).is_err());
    }

    #[test]
    fn any_turned_bit_is_seen() {
        let value = values(5, 40, 1).next().to_vec();
        for bit in 0..value.len() * 8 {
            let mut turned = value.clone();
            turned[bit / 8] ^= 1 << (bit % 8);
            let found = look(&mut checking(), &turned);
            assert!(matches!(found, Err(Wrong::Altered { .. })), "{bit}");
        }
        for end in 0..value.len() {
            assert!(look(&mut checking(), &value[..end]).is_err());
        }
    }

    #[test]
    fn what_is_missing_or_twice_is_seen() {
        let mut values = values(0, 64, 5);
        let all: Vec<Vec<u8>> = (0..5).map(|_| values.next().to_vec()).collect();
        for (order, is_whole) in [
            (vec![0, 1, 2, 3], true),
            (vec![2, 3, 4], true),
            (vec![0, 1, 3], false),
            (vec![0, 1, 1], false),
            (vec![2, 1], false),
            // Sent again, it would be another run.
            (vec![0, 1, 0, 1], false),
        ] {
            let mut check = checking();
            let looked = order.iter().all(|at| look(&mut check, &all[*at]).is_ok());
            assert_eq!(looked, is_whole, "{order:?}");
            let mut check = at("bench", 3, Check::whole);
            let looked = order.iter().all(|at| look(&mut check, &all[*at]).is_ok());
            assert_eq!(looked, order == [0, 1, 2, 3], "{order:?}");
        }
    }

    #[test]
    fn what_was_sent_to_another_partition_or_topic_is_seen() {
        let value = values(0, 64, 1).next().to_vec();
        for (topic, partition, is_there) in
            [("bench", 3, true), ("bench", 2, false), ("other", 3, false)]
        {
            let looked = look(&mut at(topic, partition, Check::new), &value);
            assert_eq!(looked.is_ok(), is_there, "{topic} {partition}: {looked:?}");
        }
    }

    /// A soak may send more to a partition than there are numbers.
    #[test]
    fn a_run_goes_on_behind_its_last_number() {
        for is_whole in [true, false] {
            let (mut values, mut check) = (values(0, 64, 1), checking());
            check.is_whole = is_whole;
            assert_eq!(look(&mut check, values.next()), Ok(0));
            let begin = values.word & COUNT_MASK & !NUMBER_MASK;
            let next = begin + NUMBER_MASK;
            (values.word, check.came) = (next, vec![Some(Came { begin, next })]);
            assert_eq!(look(&mut check, values.next()), Ok(NUMBER_MASK));
            assert_eq!(look(&mut check, values.next()), Ok(NUMBER_MASK + 1));
        }
    }

    #[test]
    fn what_another_run_left_is_seen() {
        let mut new = values(0, 64, 1);
        let mut old = std::iter::repeat_with(|| values(0, 64, 1));
        let mut old = old.find(|old| old.word != new.word).unwrap();
        let mut looking = checking();
        assert_eq!(look(&mut looking, old.next()), Ok(0));
        assert_eq!(look(&mut looking, new.next()), Ok(0), "it begins anew");
        let looked = look(&mut looking, old.next());
        assert!(matches!(looked, Err(Wrong::Strayed { .. })), "{looked:?}");
        assert_eq!(look(&mut looking, new.next()), Ok(1));
        let mut looking = at("bench", 3, Check::whole);
        let [mut old, mut new] = [old.word, new.word].map(|word| Values {
            word: word & !NUMBER_MASK,
            ..values(0, 64, 1)
        });
        assert_eq!(look(&mut looking, old.next()), Ok(0));
        assert!(look(&mut looking, new.next()).is_err());
    }
}

//! Records that can be told apart and made again: a value names its producer and its place among
//! that producer's records, and the rest of it follows from both.

use corelog_record::batch::{self, View};

/// The batches of a producer of this test, in order.
pub(crate) struct Writer {
    producer: u32,
    sequence: u64,
    random: fastrand::Rng,
}

/// Whose records a batch holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) producer: u32,
    /// The place of the batch's first record among its producer's.
    pub(crate) sequence: u64,
    pub(crate) count: u32,
}

impl Writer {
    pub(crate) fn new(producer: u32, seed: u64) -> Self {
        Self {
            producer,
            sequence: 0,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// The next batch of 1 to 40 records; a third of the batches is compressed.
    pub(crate) fn next(&mut self) -> (Contents, Vec<u8>) {
        let contents = Contents {
            producer: self.producer,
            sequence: self.sequence,
            count: self.random.u32(1..=40),
        };
        let codecs = [
            batch::Codec::None,
            batch::Codec::None,
            batch::Codec::None,
            batch::Codec::None,
            batch::Codec::Lz4,
            batch::Codec::Zstd,
        ];
        let codec = codecs[self.random.usize(..codecs.len())];
        self.sequence += u64::from(contents.count);
        let values = (contents.sequence..self.sequence).map(|place| value(self.producer, place));
        (contents, crate::support::wire::batch(codec, values))
    }
}

/// Whose records a batch holds, after comparing each with what its producer sent.
pub(crate) fn check(batch: &View<'_>) -> Contents {
    let plain = batch.decompress(64 << 20).unwrap();
    let mut contents: Option<Contents> = None;
    for record in batch::Records::over(&plain, batch) {
        let record = record.unwrap();
        let found = record.value.unwrap();
        let (producer, sequence) = named(found);
        let contents = contents.get_or_insert(Contents {
            producer,
            sequence,
            count: 0,
        });
        let expected = contents.sequence + u64::from(contents.count);
        assert_eq!((producer, sequence), (contents.producer, expected));
        assert!(
            *found == *value(producer, sequence),
            "record {sequence} of producer {producer} was altered"
        );
        contents.count += 1;
    }
    let contents = contents.unwrap();
    assert_eq!(contents.count, batch.count());
    contents
}

/// The value of a producer's record: 12 bytes that name it, then up to 500 more, or, one time in
/// four hundred, up to 100,000.
fn value(producer: u32, sequence: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(u64::from(producer) << 40 ^ sequence);
    let bytes = if random.u32(..400) == 0 {
        random.usize(..100_000)
    } else {
        random.usize(..500)
    };
    let mut value = Vec::with_capacity(12 + bytes);
    value.extend_from_slice(&producer.to_le_bytes());
    value.extend_from_slice(&sequence.to_le_bytes());
    value.resize(12 + bytes, 0);
    // Half of a value compresses, half does not.
    random.fill(&mut value[12 + bytes / 2..]);
    value
}

fn named(value: &[u8]) -> (u32, u64) {
    let (producer, rest) = value.split_first_chunk().unwrap();
    let (sequence, _) = rest.split_first_chunk().unwrap();
    (u32::from_le_bytes(*producer), u64::from_le_bytes(*sequence))
}

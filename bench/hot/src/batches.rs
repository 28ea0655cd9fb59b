//! Batches as a producer builds them, a server checks them and a consumer walks them.

use std::hint::black_box;

use corelog_record::Timestamp;
use corelog_record::batch::{self, Builder, Codec, Rules, View};

use crate::Hot;

/// A batch of so many records.
pub(crate) fn batch_of(records: usize, record_bytes: usize) -> Vec<u8> {
    let value = vec![0x5a; record_bytes];
    let mut builder = Builder::new(Codec::None);
    for _ in 0..records {
        let appended = builder.append(TIME, None, Some(&value), &[]);
        assert!(appended.is_ok(), "a plain record fits: {appended:?}");
    }
    match builder.build() {
        Ok(batch) => batch,
        Err(error) => panic!("plain records make a batch: {error}"),
    }
}

/// A hundred records become a batch.
pub(crate) struct Build(Vec<u8>);

impl Build {
    pub(crate) fn new() -> Self {
        Self(batch_of(RECORDS, RECORD_BYTES))
    }
}

impl Hot for Build {
    fn count(&self) -> u64 {
        1
    }

    fn bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn run(&mut self) {
        black_box(batch_of(black_box(RECORDS), RECORD_BYTES));
    }
}

/// Header, CRC and the lengths of a hundred records, as an append checks them.
pub(crate) struct Check {
    batch: Vec<u8>,
    rules: Rules,
}

impl Check {
    pub(crate) fn new() -> Self {
        let batch = batch_of(RECORDS, RECORD_BYTES);
        let rules = Rules::default();
        Self { batch, rules }
    }
}

impl Hot for Check {
    fn count(&self) -> u64 {
        1
    }

    fn bytes(&self) -> u64 {
        self.batch.len() as u64
    }

    fn run(&mut self) {
        let checked = batch::check(black_box(&self.batch), &self.rules);
        assert!(checked.is_ok(), "a built batch is valid");
    }
}

/// A hundred records, decoded by who consumes them.
pub(crate) struct Walk(Vec<u8>);

impl Walk {
    pub(crate) fn new() -> Self {
        Self(batch_of(RECORDS, RECORD_BYTES))
    }
}

impl Hot for Walk {
    fn count(&self) -> u64 {
        1
    }

    fn bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn run(&mut self) {
        let view = View::verify(black_box(&self.0));
        let records = view.as_ref().map(View::records);
        let Ok(Ok(records)) = records else {
            panic!("a built batch is valid")
        };
        let mut bytes = 0;
        for record in records {
            let value = record.as_ref().map(|record| record.value);
            bytes += value.ok().flatten().map_or(0, <[u8]>::len);
        }
        assert_eq!(bytes, RECORDS * RECORD_BYTES, "every record is there");
    }
}

/// Of a batch that is neither small nor large.
pub(crate) const RECORDS: usize = 100;
pub(crate) const RECORD_BYTES: usize = 100;
/// When all records were made.
pub(crate) const TIME: Timestamp = Timestamp::from_millis(1_800_000_000_000);

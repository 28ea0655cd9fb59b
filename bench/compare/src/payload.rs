//! What is produced: records that do not compress, and carry their number so that a reader can tell
//! whether it got all of them in order.

/// Batches that are sent by turns.
pub struct Batches {
    record_bytes: usize,
    batches: Vec<Vec<u8>>,
}

impl Batches {
    pub fn new(record_bytes: usize, batch_records: usize) -> Self {
        assert!(
            NUMBER_BYTES <= record_bytes,
            "a record has room for its number"
        );
        let count = (POOL_BYTES / (record_bytes * batch_records)).clamp(1, BATCHES_MAX);
        let mut random = fastrand::Rng::with_seed(7);
        let mut number = 0u64;
        let mut batch = || {
            let mut batch = vec![0; record_bytes * batch_records];
            random.fill(&mut batch);
            for record in batch.chunks_exact_mut(record_bytes) {
                record[..NUMBER_BYTES].copy_from_slice(&number.to_le_bytes());
                number += 1;
            }
            batch
        };
        Self {
            record_bytes,
            batches: (0..count).map(|_| batch()).collect(),
        }
    }

    /// The records of each batch.
    pub fn iter(&self) -> impl Iterator<Item = Vec<&[u8]>> {
        let batches = self.batches.iter();
        batches.map(|batch| batch.chunks(self.record_bytes).collect())
    }
}

/// One record, for where nobody reads it.
pub fn record(record_bytes: usize) -> Vec<u8> {
    let mut record = vec![0; record_bytes];
    fastrand::Rng::with_seed(7).fill(&mut record);
    record
}

/// Tells whether records arrive as they were sent, batch after batch and again from the first.
#[derive(Clone, Debug)]
pub struct Check {
    record_bytes: usize,
    cycle: u64,
    next: u64,
    pub records: u64,
}

impl Check {
    pub fn new(record_bytes: usize, batch_records: usize) -> Self {
        let batch_bytes = record_bytes * batch_records;
        let batches = (POOL_BYTES / batch_bytes).clamp(1, BATCHES_MAX);
        Self {
            record_bytes,
            cycle: (batches * batch_records) as u64,
            next: 0,
            records: 0,
        }
    }

    /// Takes the next record of a partition.
    pub fn take(&mut self, record: &[u8]) -> anyhow::Result<()> {
        let number = record.first_chunk().copied().map(u64::from_le_bytes);
        anyhow::ensure!(
            record.len() == self.record_bytes && number == Some(self.next),
            "record {} is of {} bytes and has the number {number:?}, not {}",
            self.records,
            record.len(),
            self.next
        );
        self.next = (self.next + 1) % self.cycle;
        self.records += 1;
        Ok(())
    }
}

const NUMBER_BYTES: usize = 8;
/// Small enough to stay in memory beside everything else, large enough not to stay in a cache.
const POOL_BYTES: usize = 16 << 20;
const BATCHES_MAX: usize = 64;

//! What is produced: records that do not compress, and carry whose they are and their number, so that a reader can tell
//! whether it got all of its own in order.

use crate::contender::Produce;

/// Batches that are sent by turns to one partition.
pub struct Batches {
    record_bytes: usize,
    batches: Vec<Vec<u8>>,
}

impl Batches {
    pub fn new(load: &Produce, topic: &str, partition: u32) -> Self {
        let record_bytes = load.record_bytes;
        let mut random = fastrand::Rng::with_seed(7);
        let mut numbers = Numbers::new(load, topic, partition);
        let mut batch = || {
            let mut batch = vec![0; load.batch_bytes() as usize];
            random.fill(&mut batch);
            for record in batch.chunks_exact_mut(record_bytes) {
                record[..NUMBER_BYTES].copy_from_slice(&numbers.take());
            }
            batch
        };
        Self {
            record_bytes,
            batches: (0..batches(load)).map(|_| batch()).collect(),
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

/// Tells whether records arrive as they were sent to a partition, batch after batch and again from the first.
#[derive(Clone, Debug)]
pub struct Check {
    record_bytes: usize,
    numbers: Numbers,
    pub records: u64,
}

impl Check {
    pub fn new(load: &Produce, topic: &str, partition: u32) -> Self {
        Self {
            record_bytes: load.record_bytes,
            numbers: Numbers::new(load, topic, partition),
            records: 0,
        }
    }

    /// Takes the next record of the partition.
    pub fn take(&mut self, record: &[u8]) -> anyhow::Result<()> {
        let (found, due) = (record.first_chunk(), self.numbers.take());
        anyhow::ensure!(
            record.len() == self.record_bytes && found == Some(&due),
            "record {} is of {} bytes and begins with {found:x?}, not {due:x?}",
            self.records,
            record.len(),
        );
        self.records += 1;
        Ok(())
    }
}

/// What records begin with: the CRC-32C of their topic and partition, since those of another one are as good in any other
/// way, and their number, which begins again after the last batch.
#[derive(Clone, Debug)]
struct Numbers {
    owner: u32,
    next: u32,
    cycle: u32,
}

impl Numbers {
    fn new(load: &Produce, topic: &str, partition: u32) -> Self {
        assert!(
            NUMBER_BYTES <= load.record_bytes,
            "a record has room for its number"
        );
        Self {
            owner: crc_fast::crc32_iscsi(format!("{topic}-{partition}").as_bytes()),
            next: 0,
            cycle: u32::try_from(batches(load) * load.batch_records).expect("16 MiB of records"),
        }
    }

    fn take(&mut self) -> [u8; NUMBER_BYTES] {
        let number = u64::from(self.owner) << 32 | u64::from(self.next);
        self.next = (self.next + 1) % self.cycle;
        number.to_le_bytes()
    }
}

/// How many different ones there are.
fn batches(load: &Produce) -> usize {
    (POOL_BYTES / load.batch_bytes() as usize).clamp(1, BATCHES_MAX)
}

const NUMBER_BYTES: usize = 8;
/// Small enough to stay in memory beside everything else, large enough not to stay in a cache.
const POOL_BYTES: usize = 16 << 20;
const BATCHES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::row;

    /// All partitions had the same numbers, and so had the topic that warms up: whoever read another one's records was
    /// told that they are right.
    #[test]
    fn a_reader_takes_the_records_of_its_own_partition_and_topic_alone() {
        let load = row("produce-1k-4").load;
        let batches = Batches::new(&load, "bench", 1);
        let records: Vec<_> = batches.iter().flatten().collect();
        let mut check = Check::new(&load, "bench", 1);
        for record in records.iter().chain(&records) {
            check.take(record).unwrap();
        }
        assert_eq!(check.records, 2 * records.len() as u64);
        for (topic, partition) in [("bench", 0), ("warm", 1)] {
            let mut check = Check::new(&load, topic, partition);
            check.take(records[0]).unwrap_err();
        }
        let mut check = Check::new(&load, "bench", 1);
        check.take(records[1]).unwrap_err();
    }
}

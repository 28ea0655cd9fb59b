//! What is known of all segments together, so that nobody has to ask each of them.

use std::collections::VecDeque;

use corelog_record::{ByteSize, Timestamp};

use super::Log;
use crate::disk::Dir;
use crate::segment::{NO_TIMESTAMP, Segment};

/// Sums over the segments of a log.
#[derive(Debug, Default)]
pub(super) struct Sums {
    /// Bytes of batches in all stores.
    store_bytes: u64,
    /// Those of sealed segments.
    sealed_bytes: u64,
    /// Segments without records before the last one: damage may leave nothing of one.
    hollow: usize,
    /// For each segment behind the first, the active one apart: the largest record time of those from
    /// the second one to it.
    peaks: Vec<Timestamp>,
}

impl Sums {
    /// The sums over `segments`.
    pub(super) fn over<D: Dir>(segments: &VecDeque<Segment<D>>) -> Self {
        let rolled = segments.len().saturating_sub(1);
        let is_sealed = |segment: &&Segment<D>| segment.is_sealed();
        let hollow = segments.iter().take(rolled).filter(|s| s.is_empty());
        let mut sums = Self {
            store_bytes: segments.iter().map(Segment::bytes).sum(),
            sealed_bytes: segments.iter().filter(is_sealed).map(Segment::bytes).sum(),
            hollow: hollow.count(),
            peaks: Vec::new(),
        };
        for segment in segments.iter().take(rolled).skip(1) {
            sums.push(segment.end.max_timestamp);
        }
        sums
    }

    /// Notes bytes that were appended.
    pub(super) fn append(&mut self, bytes: usize) {
        self.store_bytes += bytes as u64;
    }

    /// Notes that a segment that is not the first has rolled.
    pub(super) fn push(&mut self, max_timestamp: Timestamp) {
        let peak = self.peaks.last().copied().unwrap_or(NO_TIMESTAMP);
        self.peaks.push(peak.max(max_timestamp));
    }

    /// Notes that a segment of so many bytes was sealed.
    pub(super) fn seal(&mut self, bytes: u64) {
        self.sealed_bytes += bytes;
    }

    /// Bytes of batches in all stores.
    pub(super) fn store_bytes(&self) -> u64 {
        self.store_bytes
    }

    /// The number of the first segment behind the first one that may hold a record of `time` or
    /// later.
    fn first_at(&self, time: Timestamp) -> usize {
        1 + self.peaks.partition_point(|peak| *peak < time)
    }
}

impl<D: Dir> Log<D> {
    /// How many segments have records.
    pub fn segment_count(&self) -> usize {
        let empty = self.sums.hollow + usize::from(self.active().is_empty());
        self.segments.len() - empty
    }

    /// Bytes of batches in sealed segments.
    pub fn sealed_bytes(&self) -> ByteSize {
        ByteSize::from_bytes(self.sums.sealed_bytes)
    }

    /// The segments that may hold a record of `time` or later, in order, and perhaps some that do not.
    pub(super) fn segments_at(&self, time: Timestamp) -> impl Iterator<Item = &Segment<D>> {
        // What a damaged segment holds at most is not always known.
        let behind = match self.damage.is_empty() {
            true => self.sums.first_at(time).min(self.segments.len()),
            false => 1,
        };
        self.segments
            .iter()
            .take(1)
            .chain(self.segments.range(behind..))
    }
}

#[cfg(test)]
mod tests {
    use corelog_record::Offset;

    use super::*;
    use crate::disk::block_on;
    use crate::disk::memory::MemoryDir;
    use crate::log::tests::assert_counted;
    use crate::log::{Hold, Options};
    use crate::testing::own::at;
    use crate::testing::{batch, open, settle};

    fn assert_sums(log: &Log<MemoryDir>, random: &mut fastrand::Rng) {
        assert_counted(log);
        for _ in 0..20 {
            let time = at(random.i64(-10..1_100));
            let may_hold = |segment: &&Segment<MemoryDir>| time <= segment.end.max_timestamp;
            let base = |segment: &Segment<MemoryDir>| segment.base.offset;
            let each: Vec<_> = log.segments.iter().filter(may_hold).map(base).collect();
            let found: Vec<_> = log.segments_at(time).filter(may_hold).map(base).collect();
            assert_eq!(found, each, "what is passed over may not hold {time:?}");
        }
    }

    #[test]
    fn sums_are_what_asking_each_segment_gives() {
        let options = || Options {
            segment_bytes_max: ByteSize::from_kib(8),
            ..Options::default()
        };
        for seed in 0..20 {
            let root = MemoryDir::new();
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut log, _) = open(&root, options(), seed, at(0)).unwrap();
            for round in 0..120 {
                let now = at(round);
                let plan = match random.u8(..40) {
                    0 => {
                        let left = ByteSize::from_kib(random.u32(1..60));
                        log.plan_expire_to(left, Hold::NONE).unwrap()
                    }
                    1 => {
                        let range = log.log_start().get()..=log.durable().get();
                        let lowest = Offset::new(random.u64(range)).unwrap();
                        log.plan_truncate(lowest).unwrap()
                    }
                    2 => {
                        let range = log.log_start().get()..=log.durable().get();
                        let end = Offset::new(random.u64(range)).unwrap();
                        log.plan_truncate_suffix(end, now).unwrap()
                    }
                    3 => {
                        block_on(log.close(now)).unwrap();
                        log = open(&root, options(), seed, now).unwrap().0;
                        None
                    }
                    _ => {
                        let time = at(random.i64(0..1_000));
                        let value = vec![1; random.usize(1..4_000)];
                        log.append(&batch(&[&value], time), now).unwrap();
                        None
                    }
                };
                if let Some(plan) = plan {
                    let done = block_on(plan.run());
                    log.complete_chore(done, now).unwrap();
                }
                assert_sums(&log, &mut random);
                settle(&mut log, now).unwrap();
            }
        }
    }
}

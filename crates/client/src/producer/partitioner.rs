//! Which partition a record goes to when its sender names none.
//!
//! Records with a key follow Kafka's default partitioner bit for bit (murmur2 of the key, sign bit
//! cleared, modulo the number of partitions), so that programs moving over keep their keys where
//! they were. Records without one stick to a partition until a batch's worth of bytes went there
//! and then move on (KIP-480, KIP-794): full batches, evenly spread. They go past a partition that would
//! have them wait.

/// Chooses partitions for one topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partitioner {
    sticky: u32,
    sticky_bytes: usize,
    sticky_bytes_max: usize,
}

impl Partitioner {
    /// A partitioner whose keyless records begin at partition `seed % count` and move on after
    /// `sticky_bytes_max` bytes.
    pub(crate) const fn new(seed: u32, sticky_bytes_max: usize) -> Self {
        Self {
            sticky: seed,
            sticky_bytes: 0,
            sticky_bytes_max,
        }
    }

    /// The partition, below `count`, of a record of `record_bytes` with this key.
    ///
    /// # Panics
    /// If `count` is 0: a topic has at least one partition.
    pub(crate) fn choose(&mut self, key: Option<&[u8]>, record_bytes: usize, count: u32) -> u32 {
        assert!(count > 0, "a topic has at least one partition");
        match key {
            Some(key) => partition_of_key(key, count),
            None => self.stick(record_bytes, count),
        }
    }

    /// Has records without a key go on to the next partition.
    pub(crate) const fn move_on(&mut self) {
        self.sticky = self.sticky.wrapping_add(1);
        self.sticky_bytes = 0;
    }

    fn stick(&mut self, record_bytes: usize, count: u32) -> u32 {
        if self.sticky_bytes >= self.sticky_bytes_max {
            self.move_on();
        }
        self.sticky_bytes = self.sticky_bytes.saturating_add(record_bytes);
        self.sticky % count
    }
}

/// The partition, below `count`, that Kafka's default partitioner gives a key.
///
/// # Panics
/// If `count` is 0.
#[must_use]
pub fn partition_of_key(key: &[u8], count: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % count
}

/// MurmurHash2, 32 bits, with the seed that Kafka's `Utils.murmur2` uses.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    // Keys are bounded by the record limit, far below 2^32; Java's int wraps just the same.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the hash takes the length modulo 2^32"
    )]
    let length = data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    let mut hash = SEED ^ length;
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (index, &byte) in tail.iter().enumerate() {
            hash ^= u32::from(byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_gives_the_hashes_of_kafkas_own_tests() {
        let vectors: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ];
        for (key, hash) in vectors {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn records_of_one_key_share_a_partition_below_the_count() {
        let mut partitioner = Partitioner::new(7, 1);
        for count in 1..50 {
            let first = partitioner.choose(Some(b"key"), 10, count);
            assert!(first < count);
            assert_eq!(partitioner.choose(Some(b"key"), 10, count), first);
        }
    }

    #[test]
    fn records_without_a_key_stick_for_a_batch_then_move_on() {
        let mut partitioner = Partitioner::new(2, 100);
        let chosen: Vec<u32> = (0..8).map(|_| partitioner.choose(None, 50, 3)).collect();
        assert_eq!(chosen, [2, 2, 0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn records_without_a_key_go_on_when_they_are_told() {
        let mut partitioner = Partitioner::new(2, 100);
        assert_eq!(partitioner.choose(None, 50, 3), 2);
        partitioner.move_on();
        let chosen: Vec<u32> = (0..3).map(|_| partitioner.choose(None, 50, 3)).collect();
        assert_eq!(chosen, [0, 0, 1]);
    }

    #[test]
    fn an_empty_key_is_a_key() {
        let mut partitioner = Partitioner::new(0, 1);
        let first = partitioner.choose(Some(b""), 1, 97);
        assert_eq!(partitioner.choose(Some(b""), 1, 97), first);
        assert_eq!(first, partition_of_key(b"", 97));
    }
}

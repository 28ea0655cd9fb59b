//! Which core gets which partition: the one with the fewest; of equals the lowest.

use corelog_record::CoreId;

/// How many partitions each core has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Load {
    counts: Vec<usize>,
}

impl Load {
    /// Cores without partitions.
    pub(crate) fn of_cores(core_count: u16) -> Self {
        assert!(core_count > 0, "a node has a core");
        Self {
            counts: vec![0; usize::from(core_count)],
        }
    }

    /// Counts partitions that are placed already.
    pub(crate) fn add(&mut self, owners: &[CoreId]) {
        for owner in owners {
            self.counts[usize::from(owner.get())] += 1;
        }
    }

    /// Uncounts partitions that went away.
    pub(crate) fn remove(&mut self, owners: &[CoreId]) {
        for owner in owners {
            self.counts[usize::from(owner.get())] -= 1;
        }
    }

    /// All partitions.
    pub(crate) fn total(&self) -> usize {
        self.counts.iter().sum()
    }

    /// Places so many new partitions.
    pub(crate) fn place(&mut self, count: u32) -> Vec<CoreId> {
        (0..count).map(|_| self.place_one()).collect()
    }

    fn place_one(&mut self) -> CoreId {
        let mut least = 0;
        for (core, count) in self.counts.iter().enumerate() {
            if *count < self.counts[least] {
                least = core;
            }
        }
        self.counts[least] += 1;
        CoreId::new(u16::try_from(least).unwrap_or(u16::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores(numbers: &[u16]) -> Vec<CoreId> {
        numbers.iter().copied().map(CoreId::new).collect()
    }

    #[test]
    fn a_new_partition_goes_to_the_least_loaded_core() {
        let mut load = Load::of_cores(3);
        load.add(&cores(&[0, 0, 2]));
        assert_eq!(load.place(4), cores(&[1, 1, 2, 0]));
        assert_eq!(load.total(), 7);
        load.remove(&cores(&[1, 1]));
        assert_eq!(load.place(1), cores(&[1]));
    }
}

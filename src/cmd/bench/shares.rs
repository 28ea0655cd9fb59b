//! How many producers or consumers share the partitions of a topic.

use corelog_record::PartitionId;

/// The partitions of the one with that number out of `count`: each has its share, or, if there are more of
/// them than partitions, several have the same one.
pub(super) fn share(number: u32, count: u32, partitions: u32) -> impl Iterator<Item = PartitionId> {
    let is_its =
        move |partition: &u32| partition % count == number || number % partitions == *partition;
    (0..partitions).filter(is_its).map(PartitionId::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_somebody_and_everybody_a_partition() {
        for (count, partitions) in [(1, 1), (1, 5), (4, 4), (3, 7), (64, 1), (64, 16), (5, 3)] {
            let of = |number| share(number, count, partitions);
            let all: Vec<_> = (0..count).flat_map(of).collect();
            assert_eq!(all.len(), count.max(partitions) as usize);
            assert!((0..count).all(|number| of(number).count() > 0));
            assert!((0..partitions).all(|p| all.contains(&PartitionId::new(p))));
        }
    }
}

//! Up to where snapshots hold each partition: what a topic's hold waits for.

use std::collections::HashMap;
use std::sync::Arc;

use corelog_record::Offset;
use corelog_storage::snapshot::Summary;

use crate::core::PartitionKey;

/// Which snapshot reaches furthest into each partition.
#[derive(Debug, Default)]
pub(crate) struct LastSnapshots {
    by_key: HashMap<PartitionKey, LastSnapshot>,
}

/// The snapshot that reaches furthest into a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastSnapshot {
    pub(crate) name: Arc<str>,
    /// It holds all below.
    pub(crate) end: Offset,
}

impl LastSnapshots {
    /// What these snapshots come to; of two that reach as far the newer counts.
    pub(crate) fn of<'a>(summaries: impl IntoIterator<Item = &'a Summary>) -> Self {
        let mut summaries: Vec<_> = summaries.into_iter().collect();
        summaries.sort_by_key(|summary| summary.created);
        let mut by_key = HashMap::<_, LastSnapshot>::new();
        for summary in summaries {
            let name: Arc<str> = summary.name.as_str().into();
            for topic in &summary.topics {
                for partition in &topic.partitions {
                    let key = PartitionKey {
                        topic: topic.id,
                        partition: partition.partition,
                    };
                    let end = partition.end;
                    if by_key.get(&key).is_none_or(|last| last.end <= end) {
                        let name = Arc::clone(&name);
                        by_key.insert(key, LastSnapshot { name, end });
                    }
                }
            }
        }
        Self { by_key }
    }

    /// What these and one that was taken later come to.
    pub(super) fn with(&self, summary: &Summary) -> Self {
        let mut by_key = self.by_key.clone();
        for (key, last) in Self::of([summary]).by_key {
            if by_key.get(&key).is_none_or(|known| known.end <= last.end) {
                by_key.insert(key, last);
            }
        }
        Self { by_key }
    }

    /// Whether the snapshot `name` is the one that reaches furthest into any partition.
    pub(super) fn depends_on(&self, name: &str) -> bool {
        self.by_key.values().any(|last| &*last.name == name)
    }

    /// The one that reaches furthest into a partition.
    pub(crate) fn get(&self, key: PartitionKey) -> Option<&LastSnapshot> {
        self.by_key.get(&key)
    }

    /// All of a partition below is in a snapshot.
    pub(crate) fn end_of(&self, key: PartitionKey) -> Offset {
        self.get(key).map_or(Offset::ZERO, |last| last.end)
    }
}

#[cfg(test)]
mod tests {
    use corelog_record::{PartitionId, Timestamp, TopicId, TopicName};
    use corelog_storage::snapshot::{Name, Partition, Topic};

    use super::*;

    fn summary(name: &str, created: i64, end: u64) -> Summary {
        Summary {
            name: Name::new(name).expect("a name"),
            created: Timestamp::from_millis(created),
            topics: vec![Topic {
                name: TopicName::new("t").expect("a name"),
                id: TopicId::from_bytes([7; 16]),
                settings: Vec::new(),
                partitions: vec![Partition {
                    partition: PartitionId::new(0),
                    log_start: Offset::ZERO,
                    end: Offset::new(end).expect("an offset"),
                    bytes: 1,
                    segments: 1,
                }],
            }],
        }
    }

    #[test]
    fn the_snapshot_that_reaches_furthest_counts_and_of_equals_the_newest() {
        let all = [summary("b", 2, 9), summary("c", 3, 9), summary("a", 1, 5)];
        let last = LastSnapshots::of(&all);
        let key = |partition| PartitionKey {
            topic: TopicId::from_bytes([7; 16]),
            partition: PartitionId::new(partition),
        };
        let found = last.get(key(0)).expect("one");
        assert_eq!((&*found.name, found.end.get()), ("c", 9));
        assert_eq!(last.end_of(key(1)), Offset::ZERO);
    }

    /// Each change once read all summaries again.
    #[test]
    fn one_more_snapshot_counts_as_if_all_were_read_again() {
        let mut last = LastSnapshots::default();
        let all = [
            summary("a", 1, 5),
            summary("b", 2, 9),
            summary("c", 3, 9),
            summary("d", 4, 7),
        ];
        for (number, summary) in all.iter().enumerate() {
            last = last.with(summary);
            assert_eq!(last.by_key, LastSnapshots::of(&all[..=number]).by_key);
        }
        // Without the others nothing would hold what it holds.
        let depends: Vec<_> = ["a", "b", "c", "d"]
            .map(|name| last.depends_on(name))
            .into();
        assert_eq!(depends, [false, false, true, false]);
    }
}

//! Where the last snapshot of each partition ends: what a topic's hold waits for.

use std::collections::HashMap;
use std::sync::Arc;

use corelog_record::{Chain, Offset, Timestamp};
use corelog_storage::snapshot::Summary;

use crate::core::PartitionKey;

/// Which snapshot of each partition is the last.
#[derive(Debug, Default, Clone)]
pub(crate) struct LastSnapshots {
    by_key: HashMap<PartitionKey, LastSnapshot>,
}

/// The last snapshot of a partition. An earlier one may reach further: of a log whose end was cut since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastSnapshot {
    pub(crate) name: Arc<str>,
    /// It holds all below.
    pub(crate) end: Offset,
    /// The chain there.
    chain: Option<Chain>,
    created: Timestamp,
}

impl LastSnapshots {
    /// Takes in one more, wherever it belongs among the others: one of a clock that was ahead before all whose time has come.
    pub(super) fn add(&mut self, summary: &Summary, now: Timestamp) {
        let rank = |created| (created <= now, created);
        self.put(summary, |known| {
            rank(known.created) <= rank(summary.created)
        });
    }

    /// What these and one that was taken later come to, whatever the clock says.
    pub(super) fn with(&self, summary: &Summary) -> Self {
        let mut all = self.clone();
        all.put(summary, |_| true);
        all
    }

    /// Takes in one more, for the partitions whose last one `gives_way`.
    fn put(&mut self, summary: &Summary, gives_way: impl Fn(&LastSnapshot) -> bool) {
        let name: Arc<str> = summary.name.as_str().into();
        for topic in &summary.topics {
            for partition in &topic.partitions {
                let key = PartitionKey {
                    topic: topic.id,
                    partition: partition.partition,
                };
                if self.by_key.get(&key).is_none_or(&gives_way) {
                    let last = LastSnapshot {
                        name: Arc::clone(&name),
                        end: partition.end,
                        chain: partition.chain,
                        created: summary.created,
                    };
                    self.by_key.insert(key, last);
                }
            }
        }
    }

    /// Whether the snapshot `name` is the last of any partition.
    pub(super) fn depends_on(&self, name: &str) -> bool {
        self.by_key.values().any(|last| &*last.name == name)
    }

    /// The last one of a partition.
    pub(crate) fn get(&self, key: PartitionKey) -> Option<&LastSnapshot> {
        self.by_key.get(&key)
    }

    /// Where the last one of a partition ends, and the chain there; `None` also for one of an early version,
    /// which does not tell the chain: whether the log still has what it holds, nobody knows.
    pub(crate) fn place_of(&self, key: PartitionKey) -> Option<(Offset, Chain)> {
        let last = self.get(key)?;
        Some((last.end, last.chain?))
    }
}

#[cfg(test)]
mod tests {
    use corelog_record::{PartitionId, TopicId, TopicName};
    use corelog_storage::snapshot::{Name, Partition, Topic};

    use super::*;
    use crate::core::tests::{key, topic, with_core};

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
                    chain: Some(Chain::from_raw(end)),
                    bytes: 1,
                    segments: 1,
                }],
            }],
        }
    }

    fn of(all: &[Summary]) -> LastSnapshots {
        let mut last = LastSnapshots::default();
        let now = Timestamp::from_millis(10);
        all.iter().for_each(|summary| last.add(summary, now));
        last
    }

    /// One that reached further once counted although the log had been cut below: what came there instead, no
    /// snapshot held.
    #[test]
    fn the_newest_snapshot_counts_whatever_earlier_ones_reach() {
        let all = [summary("b", 2, 9), summary("c", 3, 7), summary("a", 1, 5)];
        let last = of(&all);
        let key = |partition| key(7, partition);
        let found = last.get(key(0)).expect("one");
        assert_eq!((&*found.name, found.end.get()), ("c", 7));
        let place = (found.end, Chain::from_raw(7));
        assert_eq!(last.place_of(key(0)), Some(place));
        assert_eq!(last.place_of(key(1)), None);
    }

    /// One taken while the clock was a year ahead counted as the last one for that year: retention waited for it.
    #[test]
    fn a_snapshot_of_the_future_counts_before_all_others() {
        let all = [
            summary("a", 2, 7),
            summary("ahead", 99, 5),
            summary("b", 1, 6),
        ];
        for order in [[0, 1, 2], [1, 0, 2], [2, 1, 0]] {
            let last = of(&order.map(|at: usize| all[at].clone()));
            let [(_, found)] = &last.by_key.iter().collect::<Vec<_>>()[..] else {
                panic!("one partition");
            };
            assert_eq!(&*found.name, "a");
        }
        assert_eq!(of(&all[1..2]).by_key.len(), 1, "alone it counts");
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
            assert_eq!(last.by_key, of(&all[..=number]).by_key);
        }
        // Without the others nothing would hold what it holds.
        let depends: Vec<_> = ["a", "b", "c", "d"]
            .map(|name| last.depends_on(name))
            .into();
        assert_eq!(depends, [false, false, false, true]);
    }

    /// Behind a start or a reopening all would wait for the next one, as if there were none.
    #[test]
    fn a_partition_that_is_opened_knows_where_its_last_snapshot_ends() {
        with_core(|core| async move {
            let (topic, key) = topic(7);
            core.keep_snapshots(Arc::new(of(&[summary("a", 1, 5)])))
                .await;
            assert!(core.open_partition(&topic, key).await);
            let told = core.describe(&topic).await;
            assert_eq!(told[0].snapshot, None, "the log has not what that holds");
        });
    }
}

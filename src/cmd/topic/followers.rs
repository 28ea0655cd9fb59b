//! Who follows a topic's partitions, as a server knows them, and whom it has yet to tell that it was promoted.

use std::collections::{BTreeMap, BTreeSet};

use corelog_protocol::message::replica_status::{Follower, Partition};
use corelog_record::{Offset, PartitionId};
use serde_json::{Value, json};

use crate::quantity::Span;

/// One follower of a topic, however many of its partitions it follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Partitions that it follows, each once, however many copies of it are remembered.
    pub(super) partition_count: usize,
    /// Copies that were not heard since the server was started, and retention may wait for.
    pub(super) silent_count: usize,
    /// Copies that were.
    pub(super) heard_count: usize,
    /// Records that the server has and those that were heard had not then.
    pub(super) records_behind: u64,
    /// Whether one that was heard is of a partition whose log is not open there: how far it is behind is not known.
    pub(super) is_any_closed: bool,
    /// Since the first and the last of those was heard; nothing if none was.
    pub(super) heard_ms: Option<(u64, u64)>,
    /// Since the server was started, if any are silent.
    pub(super) silent_ms: u64,
}

/// The followers of partitions, by address; those that do not say where they are reached are left out.
pub(super) fn by_address(partitions: &[Partition]) -> BTreeMap<&str, Known> {
    let mut all: BTreeMap<&str, Known> = BTreeMap::new();
    for partition in partitions {
        let mut counted = BTreeSet::new();
        for follower in &partition.followers {
            let Some(address) = follower.address.as_deref() else {
                continue;
            };
            let known = all.entry(address).or_default();
            known.partition_count += usize::from(counted.insert(address));
            if follower.is_silent {
                known.silent_count += 1;
                known.silent_ms = known.silent_ms.max(follower.heard_ms);
            } else {
                known.records_behind += partition.end.get().saturating_sub(follower.end.get());
                known.is_any_closed |= partition.closed;
                known.heard_count += 1;
                let here = follower.heard_ms;
                let (first, last) = known.heard_ms.unwrap_or((here, here));
                known.heard_ms = Some((first.max(here), last.min(here)));
            }
        }
    }
    all
}

/// Partitions that were copied from an address before a copy of them was promoted, which has yet to be heard there.
pub(super) fn untold_at(partitions: &[Partition], address: &str) -> Vec<PartitionId> {
    let is_untold = |one: &&Partition| one.outranked.iter().any(|it| it == address);
    let untold = partitions.iter().filter(is_untold);
    untold.map(|one| one.id).collect()
}

/// If a partition is followed from an address.
pub(super) fn is_followed(partitions: &[Partition], id: PartitionId, address: &str) -> bool {
    let mut meant = partitions.iter().filter(|one| one.id == id);
    let is_there = |follower: &Follower| follower.address.as_deref() == Some(address);
    meant.any(|one| one.followers.iter().any(is_there))
}

impl Known {
    /// What is known of it, as a part of a sentence.
    pub(super) fn said(&self) -> String {
        let ago = |ms: u64| Span::from_millis(ms / 1_000 * 1_000).to_string();
        let since = ago(self.silent_ms);
        let silent = format!("not heard of since the server was started, {since} ago");
        let Some((first, last)) = self.heard_ms else {
            return silent;
        };
        let heard = match (ago(last), ago(first)) {
            (last, first) if last == first => last,
            (last, first) => format!("{last} to {first}"),
        };
        let far = match (self.records_behind, self.is_any_closed) {
            (0, false) => "level".to_owned(),
            (0, true) => "how far behind is not known".to_owned(),
            (behind, false) => format!("{behind} records behind"),
            (behind, true) => format!("at least {behind} records behind"),
        };
        let heard = format!("{far}, heard {heard} ago");
        match (self.heard_count, self.silent_count) {
            (_, 0) => heard,
            (count, others) => format!("{count} of its copies {heard}; {others} {silent}"),
        }
    }
}

/// A partition's followers as programs read them.
pub(super) fn in_json(followers: &[Follower]) -> Vec<Value> {
    let json = |follower: &Follower| {
        json!({
            "address": follower.address,
            "copy": follower.copy.to_string(),
            "end": (!follower.is_silent).then_some(follower.end).map(Offset::get),
            "heard_ms": (!follower.is_silent).then_some(follower.heard_ms),
        })
    };
    followers.iter().map(json).collect()
}

#[cfg(test)]
mod tests {
    use corelog_record::CopyId;

    use super::*;

    fn follower(copy: u8, end: u64, is_silent: bool) -> Follower {
        Follower {
            node: None,
            address: Some("log2:7400".to_owned()),
            copy: CopyId::from_bytes([copy; 16]),
            end: Offset::new(end).unwrap(),
            heard_ms: if is_silent { 90_000 } else { 1_500 },
            is_silent,
        }
    }

    fn partition(number: u32, followers: Vec<Follower>) -> Partition {
        Partition {
            followers,
            ..Partition::owned(PartitionId::new(number), Offset::new(100).unwrap())
        }
    }

    /// A copy that is no more was counted as a partition, and not shown beside one that was heard.
    #[test]
    fn a_follower_has_partitions_and_silent_copies_of_them() {
        let partitions = [
            partition(0, vec![follower(1, 0, true), follower(2, 98, false)]),
            partition(1, vec![follower(3, 100, false)]),
        ];
        let known = by_address(&partitions)["log2:7400"];
        assert_eq!((known.partition_count, known.silent_count), (2, 1));
        assert_eq!(
            known.said(),
            "2 of its copies 2 records behind, heard 1s ago; 1 not heard of since the server was \
             started, 1m 30s ago"
        );
        let known = by_address(&partitions[1..])["log2:7400"];
        assert_eq!(known.said(), "level, heard 1s ago");
        let silent = [partition(0, vec![follower(1, 0, true)])];
        let known = by_address(&silent)["log2:7400"];
        assert_eq!(
            known.said(),
            "not heard of since the server was started, 1m 30s ago"
        );
    }

    /// With its end, told as 0, every copy of it was level.
    #[test]
    fn of_a_partition_whose_log_is_not_open_nobody_is_level() {
        let closed = Partition {
            end: Offset::ZERO,
            closed: true,
            ..partition(0, vec![follower(1, 98, false)])
        };
        let open = partition(1, vec![follower(2, 98, false)]);
        let partitions = [closed, open];
        let said = |partitions: &[Partition]| by_address(partitions)["log2:7400"].said();
        assert_eq!(
            said(&partitions[..1]),
            "how far behind is not known, heard 1s ago"
        );
        assert_eq!(said(&partitions), "at least 2 records behind, heard 1s ago");
    }

    /// One that was heard spoke for those that had gone away hours ago.
    #[test]
    fn of_several_copies_is_told_when_the_first_and_the_last_of_them_was_heard() {
        let long_ago = Follower {
            heard_ms: 7_200_000,
            ..follower(1, 100, false)
        };
        let partitions = [
            partition(0, vec![long_ago]),
            partition(1, vec![follower(2, 100, false)]),
        ];
        let known = by_address(&partitions)["log2:7400"];
        assert_eq!(known.said(), "level, heard 1s to 2h ago");
    }
}

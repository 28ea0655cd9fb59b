//! Who follows a topic's partitions, as a server knows them.

use std::collections::BTreeMap;

use corelog_protocol::message::replica_status::{Follower, Partition};
use corelog_record::Offset;
use serde_json::{Value, json};

use crate::quantity::Span;

/// One follower of a topic, however many of its partitions it follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) partition_count: usize,
    /// Records that the server has and it had not when it was last heard.
    pub(super) records_behind: u64,
    /// Since any of its copies was heard, or since the server was started if none was since.
    pub(super) heard_ms: u64,
    pub(super) is_silent: bool,
}

/// The followers of partitions, by address; those that do not say where they are reached are left out.
pub(super) fn by_address(partitions: &[Partition]) -> BTreeMap<&str, Known> {
    let mut all: BTreeMap<&str, Known> = BTreeMap::new();
    for partition in partitions {
        for follower in &partition.followers {
            let Some(address) = follower.address.as_deref() else {
                continue;
            };
            let behind = partition.end.get().saturating_sub(follower.end.get());
            let known = all.entry(address).or_insert(Known {
                heard_ms: follower.heard_ms,
                is_silent: true,
                ..Known::default()
            });
            known.partition_count += 1;
            known.records_behind += behind;
            known.heard_ms = known.heard_ms.min(follower.heard_ms);
            known.is_silent &= follower.is_silent;
        }
    }
    all
}

impl Known {
    /// What is known of it, as a part of a sentence.
    pub(super) fn said(&self) -> String {
        let ago = Span::from_millis(self.heard_ms / 1_000 * 1_000);
        match (self.is_silent, self.records_behind) {
            (true, _) => format!("not heard of since the server was started, {ago} ago"),
            (false, 0) => format!("level, heard {ago} ago"),
            (false, behind) => format!("{behind} records behind, heard {ago} ago"),
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

//! What a node tells of a partition's files and chains, and a log of many segments to ask about.

use std::path::PathBuf;

use corelog_node::{Node, NodeConfig};
use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::settings::TopicSettings;
use corelog_protocol::message::{chain_at, segments, truncate};
use corelog_record::{Offset, PartitionId, TopicId};
use tempfile::TempDir;

use crate::client::{Client, name, to};
use crate::{directory, start_with, wait_until};

/// A node with a partition of many sealed segments, which the second core owns.
pub(crate) struct Many {
    pub(crate) node: Node,
    pub(crate) client: Client,
    pub(crate) id: TopicId,
    dir: TempDir,
}

pub(crate) const TOPIC: &str = "many";
const PARTITION: u32 = 1;

impl Many {
    /// At least so many sealed segments of about 1 MiB.
    pub(crate) fn start(count: usize, adjust: impl FnOnce(&mut NodeConfig)) -> Self {
        let dir = directory();
        let node = start_with(&dir, adjust);
        let mut client = Client::hello(node.addresses().cores[0]);
        let settings = TopicSettings {
            segment_bytes: 1 << 20,
            ..TopicSettings::default()
        };
        let id = client.create_with(TOPIC, 2, settings);
        let mut many = Self {
            node,
            client,
            id,
            dir,
        };
        let value = "v".repeat(300_000);
        while many.segments(0).sealed.len() < count {
            let request = to(TOPIC, id, PARTITION);
            many.client.produce(&request, &[&value]).expect("produced");
        }
        // More may have rolled and not be sealed yet.
        wait_until(|| many.all_but_the_active_are_sealed());
        many
    }

    fn all_but_the_active_are_sealed(&mut self) -> bool {
        let told = self.segments(0);
        let behind = told
            .sealed
            .last()
            .map(|sealed| sealed.digest.last.get() + 1);
        told.active.map(|active| active.base.get()) == behind
    }

    pub(crate) fn segments(&mut self, from: u64) -> segments::Answer {
        let request = segments::Request {
            topic: name(TOPIC),
            id: self.id,
            partition: Self::partition(),
            from: offset(from),
        };
        self.client.ask(&request).expect("told")
    }

    pub(crate) fn truncate(&mut self, lowest: Offset) {
        let request = truncate::Request {
            topic: name(TOPIC),
            id: self.id,
            partition: Self::partition(),
            lowest,
        };
        self.client.ask(&request).expect("truncated");
    }

    pub(crate) fn partition() -> PartitionId {
        PartitionId::new(PARTITION)
    }

    /// The store of a segment.
    pub(crate) fn store(&self, base: Offset) -> PathBuf {
        let home = self.dir.path().join("topics").join(TOPIC);
        let partition = home.join(PARTITION.to_string());
        partition.join(format!("{:020}.log", base.get()))
    }
}

pub(crate) fn offset(value: u64) -> Offset {
    Offset::new(value).expect("an offset")
}

#[test]
fn sealed_segments_are_told_in_order_with_chains_that_meet_and_the_active_one_behind() {
    let mut many = Many::start(3, |_| {});
    let told = many.segments(0);
    assert_eq!((told.epochs.len(), told.log_start.get()), (1, 0));
    let mut next = (offset(0), 0, told.sealed[0].digest.chain_base);
    for sealed in &told.sealed {
        let digest = &sealed.digest;
        assert_eq!((sealed.base, digest.first_ordinal.get()), (next.0, next.1));
        assert_eq!(digest.chain_base, next.2);
        let bytes = std::fs::metadata(many.store(sealed.base)).expect("a store");
        assert_eq!(digest.bytes, bytes.len());
        assert_eq!(digest.batches, digest.last_ordinal.get() - next.1 + 1);
        let behind = offset(digest.last.get() + 1);
        next = (behind, digest.last_ordinal.get() + 1, digest.chain_end);
    }
    let active = told.active.expect("an active segment");
    assert_eq!((active.base, active.base_ordinal.get()), (next.0, next.1));
    assert_eq!(active.chain_base, next.2);
    assert_eq!(active.durable_offset, told.high_watermark);
    assert!(active.durable_position.get() > 0);

    let some = many.segments(told.sealed[1].digest.last.get());
    assert_eq!(some.sealed, told.sealed[1..]);
    many.node.stop().expect("a clean stop");
}

#[test]
fn the_chain_at_the_high_watermark_is_that_behind_the_active_segment() {
    let mut many = Many::start(2, |_| {});
    let told = many.segments(0);
    let at = |offset| chain_at::Request {
        topic: name(TOPIC),
        id: many.id,
        partition: Many::partition(),
        offset,
    };
    let (end, beyond) = (
        at(told.high_watermark),
        at(offset(told.high_watermark.get() + 1)),
    );
    let active = told.active.expect("an active segment");
    let found = many.client.ask(&end).expect("told");
    assert_eq!(found.offset, told.high_watermark);
    assert_eq!(found.chain, active.durable_chain);
    assert_eq!(found.ordinal, active.durable_ordinal);
    assert_eq!(found.epoch, Some(told.epochs[0].epoch));
    let error = many.client.ask(&beyond).expect_err("not yet");
    assert!(error.is(ErrorCode::OutOfRange), "{error}");
    many.node.stop().expect("a clean stop");
}

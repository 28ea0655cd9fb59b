//! A snapshot as it should be, whatever became of its log since.

use std::rc::Rc;

use corelog_record::{CopyId, LeaderEpoch, Lineage, Offset, TopicId};

use super::at;
use super::model::Stored;
use crate::Error;
use crate::disk::Dir;
use crate::log::{Identity, Log, Options};
use crate::snapshot::{Partition, Restore, Stores, restore};
use crate::testing::identity;

/// A snapshot that was taken.
#[derive(Debug, Clone, Hash)]
pub(super) struct Taken {
    /// Names its directory, and that of the topic it is restored to.
    pub(super) number: usize,
    pub(super) log_start: Offset,
    pub(super) end: Offset,
    pub(super) segments: usize,
    pub(super) bytes: u64,
    /// The epoch of its log.
    pub(super) epoch: LeaderEpoch,
    /// Its batches, oldest first.
    pub(super) stored: Vec<Rc<Stored>>,
}

/// Where the snapshot of this number is, on the disk `root`.
pub(super) fn dir<D: Dir>(root: &D, number: usize) -> D {
    root.child("snapshots").child(&number.to_string())
}

impl Taken {
    fn topic<D: Dir>(&self, root: &D) -> D {
        root.child("topics").child(&self.number.to_string())
    }

    /// Restores it; the partition must not be there yet.
    pub(super) async fn restore<D: Dir>(&self, root: &D) -> Result<(), Error> {
        let order = Restore {
            origin: identity().topic,
            partition: Partition {
                partition: identity().partition,
                log_start: self.log_start,
                end: self.end,
                chain: None,
                bytes: self.bytes,
                segments: self.segments as u64,
            },
            topic: OTHER,
            copy: CopyId::from_bytes([5; 16]),
            lineage: Lineage::from_bytes([6; 16]),
            now: at(NOW),
            stores: Stores::Copied,
            is_damage_kept: false,
        };
        let (source, topic) = (dir(root, self.number), self.topic(root));
        let restored = restore(&source, &topic, order, &mut |_| {}).await?;
        let end = restored.map_or(Offset::ZERO, |restored| restored.end);
        assert_eq!(end, self.end);
        Ok(())
    }

    /// Whether the partition is there.
    pub(super) async fn is_restored<D: Dir>(&self, root: &D) -> bool {
        let partition = identity().partition.to_string();
        let dir = self.topic(root).child(&partition);
        dir.exists().await.unwrap()
    }

    /// Opens the partition that it was restored to, and finds it whole.
    pub(super) async fn check<D: Dir>(&self, root: &D, options: &Options) {
        let dir = self.topic(root).child(&identity().partition.to_string());
        let quarantine = root.child("quarantine");
        let identity = Identity::new(OTHER, identity().partition);
        let opened = Log::open(dir, quarantine, identity, options.clone(), 1, at(NOW)).await;
        let (log, report) = opened.unwrap();
        assert!(report.damage.is_empty(), "{report:?}");
        assert!(report.torn.is_none(), "{report:?}");
        assert_eq!((log.log_start(), log.durable()), (self.log_start, self.end));
        assert_eq!(log.log_end(), self.end);
        if self.segments > 0 {
            assert!(self.epoch < log.epoch(), "a restore begins an epoch");
        }
        let mut reader = log.reader(Offset::ZERO);
        for stored in &self.stored {
            let read = reader.next().await.unwrap();
            let read = read.map(|view| view.bytes());
            assert_eq!(read, Some(&stored.bytes[..]), "batch {}", stored.base);
        }
        assert!(reader.next().await.unwrap().is_none(), "nothing behind");
    }
}

/// The topic that is restored to.
const OTHER: TopicId = TopicId::from_bytes([8; 16]);

/// Milliseconds of the clock when it is restored.
const NOW: i64 = 1 << 21;

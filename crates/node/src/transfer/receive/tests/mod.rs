//! Segments are received from sources that speak the protocol over real sockets, and misbehave.

mod source;
mod stories;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use corelog_protocol::message::segments::{self, DigestKind, Sealed};
use corelog_record::{
    ByteSize, CopyId, HistoryId, Offset, Ordinal, PartitionId, Timestamp, TopicName,
};
use corelog_storage::disk::std::StdDir;
use corelog_storage::disk::{Dir, block_on};
use corelog_storage::format::edit::Seal;
use corelog_storage::log::Options;
use corelog_storage::log::lineage::Began;
use corelog_storage::testing;

use super::claims::Claims;
use super::job::{self, MakesWay, Outcome};
use super::queues::Ordered;
use super::sources::Sources;
use super::{Order, Progress, Received, Wanted};

/// Where a source listens that has these sealed segments of a log, and their bytes.
pub(crate) fn source_of(history: HistoryId, sealed: Vec<(Seal, Vec<u8>)>) -> String {
    let copied = Copied {
        history,
        sealed,
        epochs: Vec::new(),
    };
    source::Source::new(&copied, &[]).address
}

/// A log as its files, for sources to send.
#[derive(Clone)]
struct Copied {
    history: HistoryId,
    sealed: Vec<(Seal, Vec<u8>)>,
    epochs: Vec<Began>,
}

impl Copied {
    /// A log of some segments, most of them of more than a megabyte.
    fn new() -> Self {
        Self::of_values(150_000)
    }

    /// One that says it is this log, with batches of its own in the first segment.
    fn forged(&self) -> Self {
        let (mut forged, other) = (self.clone(), Self::of_values(140_000));
        forged.sealed[0].1.clone_from(&other.sealed[0].1);
        forged
    }

    /// One that says it is this log, with less in the last batch of the first segment, and so many bytes behind that are
    /// none.
    fn shortened(&self, bytes: usize) -> Self {
        let last = usize::try_from(self.sealed[0].0.digest.batches).unwrap() - 1;
        let shorter = |number| if number == last { bytes } else { 0 };
        let (mut forged, mut other) = (self.clone(), Self::of(|number| 150_000 - shorter(number)));
        other.sealed[0].1.extend(vec![0; bytes]);
        assert_eq!(forged.sealed[0].1.len(), other.sealed[0].1.len());
        forged.sealed[0].1 = other.sealed[0].1.clone();
        forged
    }

    /// A log of values of so many bytes.
    fn of_values(bytes: usize) -> Self {
        Self::of(|_| bytes)
    }

    /// A log of values, each of as many bytes as its number has.
    fn of(bytes: impl Fn(usize) -> usize) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let root = StdDir::new(dir.path());
        let options = Options {
            segment_bytes_max: ByteSize::from_kib(1_300),
            ..Options::default()
        };
        let now = Timestamp::from_millis(1_700_000_000_000);
        let (mut log, _) = testing::open(&root, options, 1, now).unwrap();
        for number in 0..50_u8 {
            let value = vec![number; bytes(number.into())];
            log.append(&testing::batch(&[&value], now), now).unwrap();
            testing::flush(&mut log, now).unwrap();
        }
        testing::settle(&mut log, now).unwrap();
        let read = |(generation, seal): (u32, Seal)| {
            assert_eq!(generation, 0);
            let name = format!("{:020}.log", seal.digest.base.get());
            let bytes = block_on(root.child("p0").read(&name, 16 << 20)).unwrap();
            (seal, bytes)
        };
        let sealed: Vec<_> = log.sealed().map(read).collect();
        assert!(sealed.len() > 4, "{}", sealed.len());
        Self {
            history: testing::identity().history,
            sealed,
            epochs: log.epochs().iter().map(Began::from).collect(),
        }
    }

    /// What a source that has it tells.
    fn told(&self, history: HistoryId) -> segments::Answer {
        let sealed = self.sealed.iter().map(|(seal, _)| {
            let digest = &seal.digest;
            let before = |end: u64| end - 1;
            Sealed {
                base: digest.base,
                generation: 0,
                digest: segments::Digest {
                    kind: DigestKind::Original,
                    first: digest.base,
                    last: Offset::new(before(digest.end.get())).unwrap(),
                    first_ordinal: digest.ordinal,
                    last_ordinal: Ordinal::new(before(digest.end_ordinal.get())).unwrap(),
                    bytes: digest.bytes,
                    batches: digest.batches,
                    chain_base: digest.chain,
                    chain_end: digest.end_chain,
                    hash: None,
                },
                max_timestamp: seal.max_timestamp,
                sealed_at: seal.sealed,
            }
        });
        segments::Answer {
            history,
            copy: CopyId::from_bytes([2; 16]),
            log_start: Offset::ZERO,
            high_watermark: Offset::ZERO,
            epochs: Vec::new(),
            sealed: sealed.collect(),
            active: None,
        }
    }

    fn bytes(&self, base: Offset) -> Vec<u8> {
        let found = self
            .sealed
            .iter()
            .find(|(seal, _)| seal.digest.base == base);
        found.unwrap().1.clone()
    }

    /// An order of the segments `numbers` from `sources`, into `dir`.
    fn order(
        &self,
        numbers: std::ops::Range<usize>,
        sources: &[&source::Source],
        dir: &StdDir,
    ) -> Order {
        let identity = testing::identity();
        let wanted = |(seal, _): &(Seal, Vec<u8>)| Wanted {
            seal: seal.clone(),
            generation: 0,
        };
        Order {
            sources: sources
                .iter()
                .map(|source| source.address.clone())
                .collect(),
            failed: Vec::new(),
            client: "a test".to_owned(),
            topic: TopicName::new("orders").unwrap(),
            id: identity.topic,
            partition: PartitionId::new(0),
            history: self.history,
            segments: self.sealed[numbers].iter().map(wanted).collect(),
            epochs: self.epochs.clone(),
            dir: dir.clone(),
            interval_bytes: 4_096,
            rate: 0,
            patience: Duration::from_secs(10),
            turn: Duration::from_secs(10),
            is_alone: true,
        }
    }

    /// Holds what is ready, and its files, against what was sent.
    fn assert_ready(&self, received: &Received, numbers: std::ops::Range<usize>, dir: &StdDir) {
        let wanted = &self.sealed[numbers];
        let bases = |seals: &[(Seal, Vec<u8>)]| -> Vec<_> {
            seals.iter().map(|(seal, _)| seal.digest.base).collect()
        };
        let ready: Vec<_> = received.ready.iter().map(|ready| ready.base()).collect();
        assert_eq!(ready, bases(wanted));
        for (seal, sent) in wanted {
            let name = format!("{:020}.log", seal.digest.base.get());
            let entries = block_on(dir.list()).unwrap();
            let is_it = |name: &str, of: &str| name.starts_with(of) && name.ends_with(".partial");
            let partial = entries
                .iter()
                .find(|entry| is_it(&entry.name, &name))
                .unwrap();
            let came = block_on(dir.read(&partial.name, 16 << 20)).unwrap();
            assert!(&came == sent, "{name} came as it was sent");
        }
    }
}

/// Receives what comes of an order in its only turn, which makes way to nobody.
fn received(order: &Order, progress: &Progress, claims: &Arc<Claims>) -> Received {
    let sources = Sources::new(order);
    turn(order, &sources, progress, claims, &|_| false)
}

/// Receives what comes of an order in a turn, with what went wrong in those before it.
fn turn(
    order: &Order,
    sources: &Sources,
    progress: &Progress,
    claims: &Arc<Claims>,
    makes_way: &MakesWay<'_>,
) -> Received {
    let Outcome { ready, error } = job::run(order, sources, progress, claims, makes_way);
    Received {
        ready,
        faults: sources.take_faults(),
        error,
    }
}

/// An order of no segments.
pub(super) fn order_at(rate: u64) -> Order {
    let (_dir, dir) = directory();
    let copied = Copied {
        history: testing::identity().history,
        sealed: Vec::new(),
        epochs: Vec::new(),
    };
    Order {
        rate,
        ..copied.order(0..0, &[], &dir)
    }
}

/// An order that has had a turn or not.
pub(super) fn ordered(order: &Order, has_made_way: bool) -> Ordered {
    Ordered {
        order: order.clone(),
        has_made_way,
        sources: Arc::new(Sources::new(order)),
        progress: Arc::new(Progress::new(order)),
        done: flume::bounded(1).0,
    }
}

fn directory() -> (tempfile::TempDir, StdDir) {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let std = StdDir::new(dir.path());
    (dir, std)
}

//! Tests of segments that come in: what is refused, what is resumed, what is installed, and what a
//! power cut leaves.

mod called_off;
mod crash;
mod healing;
mod installing;
mod receiving;

use corelog_record::{CopyId, Offset, Ordinal};

use super::{Error, Intake, Of, Ready};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::format::edit::{Edit, Epoch, Seal};
use crate::format::manifest::Header;
use crate::format::mark::Slot;
use crate::log::lineage::Began;
use crate::log::{Chore, Log, Options};
use crate::manifest::{self, Manifest};
use crate::mark::Mark;
use crate::segment::{NO_TIMESTAMP, Point, name};
use crate::testing::own::{self, at, fill, follower, names, small, walk};
use crate::testing::{MemoryLog, batch, flush, identity, open, run, settle};

/// The log that is copied, and what it tells of itself.
struct Source {
    root: MemoryDir,
    sealed: Vec<(u32, Seal)>,
    epochs: Vec<Epoch>,
}

impl Source {
    /// A log of some segments, in which a second epoch begins at `restart` records, if there are any.
    fn new(restart: usize) -> Self {
        Self::of_values(1_500, restart, &small())
    }

    /// The same, with values of so many bytes.
    fn of_values(bytes: usize, restart: usize, options: &Options) -> Self {
        let root = MemoryDir::new();
        let (mut log, _) = open(&root, options.clone(), 1, at(0)).unwrap();
        fill(&mut log, restart, bytes);
        drop(log);
        let (mut log, report) = open(&root, options.clone(), 2, at(0)).unwrap();
        assert_eq!(report.is_clean, restart == 0);
        fill(&mut log, 60 - restart, bytes);
        settle(&mut log, at(1)).unwrap();
        let sealed: Vec<_> = log.sealed().collect();
        assert!(sealed.len() > 4, "{}", sealed.len());
        let (_, state) = block_on(manifest::read(&root.child("p0"))).unwrap();
        let epochs = state.epochs().to_vec();
        Self {
            root,
            sealed,
            epochs,
        }
    }

    fn began(&self) -> Vec<Began> {
        self.epochs.iter().map(Began::from).collect()
    }

    /// The segment `number`, to come in with a generation.
    fn of(&self, number: usize, generation: u32) -> Of {
        Of {
            history: identity().history,
            seal: self.sealed[number].1.clone(),
            generation,
            epochs: self.began(),
            interval_bytes: 512,
        }
    }

    /// The bytes of the segment `number`.
    fn bytes(&self, number: usize) -> Vec<u8> {
        let (generation, seal) = &self.sealed[number];
        let name = name::store(seal.digest.base, *generation);
        block_on(self.root.child("p0").read(&name, 4 << 20)).unwrap()
    }
}

/// An empty copy of the log that is copied: it has its files, and knows the first epoch.
fn copy(root: &MemoryDir, source: &Source) {
    let dir = root.child("p0");
    let identity = identity();
    let header = Header {
        topic: identity.topic,
        partition: identity.partition,
        history: identity.history,
        copy: CopyId::from_bytes([9; 16]),
    };
    let origin = Point::origin(corelog_record::Chain::seed(identity.history));
    let slot = Slot {
        history: header.history,
        copy: header.copy,
        sequence: 0,
        segment: Offset::ZERO,
        generation: 0,
        is_clean: true,
        position: origin.position,
        offset: origin.offset,
        ordinal: origin.ordinal,
        chain: origin.chain,
        max_timestamp: NO_TIMESTAMP,
        epoch: Some(source.epochs[0].epoch),
        born: None,
    };
    block_on(async {
        dir.create().await.unwrap();
        let edits = [Edit::Epoch(source.epochs[0])];
        Manifest::create(dir.clone(), header, &edits).await.unwrap();
        Mark::create(dir.clone(), slot).await.unwrap();
        dir.sync().await.unwrap();
    });
}

/// Receives the segment `number` in pieces of `piece` bytes.
async fn receive<D: Dir>(
    root: &D,
    source: &Source,
    number: usize,
    piece: usize,
) -> Result<Ready, Error> {
    let mut intake = Intake::open(&root.child("p0"), source.of(number, 0), at(5)).await?;
    let bytes = source.bytes(number);
    let rest = usize::try_from(intake.position()).unwrap();
    for piece in bytes[rest..].chunks(piece) {
        intake.push(piece).await?;
    }
    intake.finish().await
}

fn install<D: Dir>(log: &mut Log<D>, ready: Vec<Ready>) -> Result<Chore, crate::Error> {
    let plan = log.plan_install(ready, at(9))?;
    run(log, plan, at(9))
}

fn files<D: Dir>(root: &D) -> Vec<String> {
    names(&root.child("p0"))
}

fn partials<D: Dir>(root: &D) -> usize {
    files(root)
        .iter()
        .filter(|name| super::partial::is_partial(name))
        .count()
}

/// A log into which the whole of a source was installed.
fn replica(source: &Source) -> (MemoryDir, MemoryLog) {
    let root = MemoryDir::new();
    copy(&root, source);
    let (mut log, report) = open(&root, small(), 3, at(2)).unwrap();
    assert!(report.is_clean, "{report:?}");
    let ready = (0..source.sealed.len())
        .map(|number| block_on(receive(&root, source, number, 5_000)).unwrap());
    let ready = ready.collect();
    install(&mut log, ready).unwrap();
    (root, log)
}

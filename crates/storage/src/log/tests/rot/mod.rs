//! Bit rot: every structure of a partition is changed in every way, and whatever is served is what
//! was appended, whatever is not is told.
//!
//! Two things are told apart that a disk does: a change of bytes that were witnessed (by a checksum,
//! the chain, a mark, the manifest) is always met; bytes newer than the last mark that vanish as if
//! they had never been written leave no trace anywhere, and are counted for themselves.

mod harm;
mod report;

use corelog_record::batch::{self, View};
use corelog_record::{Offset, PartitionId, Timestamp};
use fastrand::Rng;

use self::report::{Met, Report};
use super::{at, small};
use crate::Error;
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::log::{Event, Identity, Log, OpenReport, ReadError};
use crate::testing::{batch, flush, identity, run, settle};

/// How many changes there are in each run; the variable asks for more.
const CHANGES: usize = 5_500;

/// A batch as it was stored.
struct Stored {
    base: Offset,
    end: Offset,
    bytes: Vec<u8>,
}

/// A disk with two partitions of equal shape, and what the first of them promised.
struct World {
    root: MemoryDir,
    stored: Vec<Stored>,
    /// What the other one promised.
    foreign: Vec<Stored>,
    /// All below is witnessed by a mark.
    marked: Offset,
    is_clean: bool,
}

fn open(
    root: &MemoryDir,
    partition: u32,
    seed: u64,
    now: Timestamp,
) -> Result<(Log<MemoryDir>, OpenReport), Error> {
    let identity = Identity::new(identity().topic, PartitionId::new(partition));
    let (dir, quarantine) = (
        root.child(&format!("p{partition}")),
        root.child("quarantine"),
    );
    block_on(Log::open(dir, quarantine, identity, small(), seed, now))
}

/// Lives a partition's life: some segments sealed, one not, two epochs, a log start within a segment.
fn live(root: &MemoryDir, partition: u32, is_clean: bool) -> (Vec<Stored>, Offset) {
    let mut stored = Vec::new();
    let (mut log, _) = open(root, partition, 1, at(0)).unwrap();
    let mut number = 0;
    let mut append = |log: &mut Log<MemoryDir>, count: usize| {
        for _ in 0..count {
            number += 1;
            let byte = u8::try_from(number % 200).unwrap() + u8::try_from(partition).unwrap();
            let value = vec![byte; number * 37 % 900];
            let mut one = batch(&[&value, b"x"], at(number.try_into().unwrap()));
            let appended = log.append(&one, at(0)).unwrap();
            batch::patch(&mut one, appended.base, log.epoch());
            flush(log, at(0)).unwrap();
            stored.push(Stored {
                base: appended.base,
                end: appended.end,
                bytes: one,
            });
        }
    };
    append(&mut log, 60);
    settle(&mut log, at(1)).unwrap();
    drop(log);
    let (mut log, _) = open(root, partition, 2, at(2)).unwrap();
    append(&mut log, 70);
    settle(&mut log, at(3)).unwrap();
    let plan = log.plan_truncate(Offset::new(5).unwrap()).unwrap().unwrap();
    run(&mut log, plan, at(3)).unwrap();
    settle(&mut log, at(4)).unwrap();
    let marked = log.durable();
    // Killed in the middle of a roll: the older store is not sealed, the mark is behind.
    append(&mut log, 24);
    let start = log.log_start();
    stored.retain(|stored| start < stored.end);
    if is_clean {
        block_on(log.close(at(5))).unwrap();
    }
    (stored, marked)
}

fn world(is_clean: bool) -> World {
    let root = MemoryDir::new();
    let (stored, marked) = live(&root, 0, is_clean);
    let (foreign, _) = live(&root, 1, is_clean);
    let marked = match is_clean {
        true => stored.last().unwrap().end,
        false => marked,
    };
    World {
        root: root.power_cut(0),
        stored,
        foreign,
        marked,
        is_clean,
    }
}

impl World {
    /// Whether `bytes` may be served for a batch. Behind the mark nothing witnesses that a sound batch
    /// of the same base offset and epoch is not the one that was appended.
    fn is_right(&self, stored: &Stored, bytes: &[u8]) -> bool {
        let is_witnessed = self.is_clean || stored.end <= self.marked;
        let mut foreign = self.foreign.iter();
        let mut is_foreign = || foreign.any(|f| f.base == stored.base && f.bytes == bytes);
        stored.bytes == bytes || (!is_witnessed && is_foreign())
    }
}

/// Reads every batch that was promised, below `end`. Returns how many are damaged, and those that are
/// gone.
fn read(log: &Log<MemoryDir>, world: &World, end: Offset) -> (usize, Vec<Offset>) {
    let (mut damaged, mut gone) = (0, Vec::new());
    for stored in &world.stored {
        if end <= stored.base {
            gone.push(stored.base);
            continue;
        }
        let from = stored.base.max(log.log_start());
        let fetched = log.plan_read(from, Offset::MAX, 1);
        match fetched.and_then(|plan| block_on(plan.run())) {
            Ok(fetched) => {
                let bytes: Vec<u8> = fetched
                    .pieces
                    .iter()
                    .flat_map(|piece| piece.to_vec())
                    .collect();
                let is_sound = View::verify(&bytes).is_ok();
                assert!(
                    is_sound && world.is_right(stored, &bytes),
                    "bad bytes at {from}"
                );
            }
            Err(ReadError::Damaged { from, to, .. }) => {
                assert!(
                    from < stored.end && stored.base < to,
                    "damage [{from}, {to})"
                );
                damaged += 1;
            }
            Err(ReadError::OutOfRange { .. }) if stored.end <= log.log_start() => {
                gone.push(stored.base);
            }
            Err(error) => panic!("{}: {error:?}", stored.base),
        }
    }
    (damaged, gone)
}

/// Walks over all of it. A reader compares the chain at a segment's end, so what is not as it was
/// appended may pass it, but not without an error for that segment.
fn walk(log: &Log<MemoryDir>, world: &World) {
    let mut reader = log.reader(Offset::ZERO);
    let is_right = |view: &View<'_>| {
        let base = view.base_offset();
        let stored = world.stored.iter().find(|stored| stored.base == base);
        stored.is_none_or(|stored| world.is_right(stored, view.bytes()))
    };
    let (mut wrong, mut is_told) = (None, false);
    // All below was given, or told of as damage.
    let mut next = log.log_start();
    for _ in 0..2 * world.stored.len() {
        match block_on(reader.next()) {
            Ok(Some(view)) => {
                wrong = wrong.or((!is_right(&view)).then(|| view.base_offset()));
                assert!(view.base_offset() <= next, "nothing was said of {next}");
                next = view.next_offset();
            }
            Ok(None) => {
                assert!(log.durable() <= next, "nothing was said of {next}");
                break;
            }
            Err(Error::Damaged { from, to, .. }) => {
                assert!(from <= next, "nothing was said of {next}");
                (next, is_told) = (next.max(to), true);
            }
            // It goes on with the next segment.
            Err(Error::Io { .. }) => (next, is_told) = (Offset::MAX, true),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(
        wrong.is_none() || is_told,
        "a walk passed {wrong:?}, which was not appended"
    );
}

/// Opens what is left, reads all, goes on, and opens it once more. Returns how the change was met.
fn meet(root: &MemoryDir, world: &World, seed: u64) -> Met {
    let (mut log, report) = match open(root, 0, seed, at(100)) {
        Err(Error::Format { .. } | Error::Foreign { .. } | Error::NoManifest { .. }) => {
            return Met::Refused;
        }
        opened => opened.unwrap(),
    };
    let end = log.log_end();
    let (damaged, gone) = read(&log, world, end);
    walk(&log, world);
    let events = log.take_events();
    let is_kept = |event: &Event| {
        let Event::Unnamed { .. } = event else {
            return false;
        };
        true
    };
    let is_quarantined = report.torn.is_some() || events.iter().any(is_kept);
    assert!(
        report.torn.is_none() || !report.quarantined.is_empty(),
        "torn bytes are kept"
    );
    let is_read_only = report.is_read_only;
    go_on(&mut log, is_read_only);
    block_on(log.close(at(102))).unwrap();
    let (again, second) = open(root, 0, seed, at(103)).unwrap();
    let (damaged_again, gone_again) = read(&again, world, end);
    assert_eq!(gone_again, gone, "nothing more is gone");
    assert!(
        damaged <= damaged_again || !second.is_clean,
        "damage is remembered: {second:?}"
    );
    match (damaged, gone.first()) {
        (0, None) => Met::Served,
        (_, None) => Met::Damaged,
        // What a mark witnessed is not of files that nobody names.
        (_, Some(first)) if is_quarantined && world.marked <= *first => Met::Quarantined,
        (_, Some(_)) if is_read_only || !report.damage.is_empty() => Met::Damaged,
        (0, Some(first)) if !world.is_clean && world.marked <= *first => Met::Unwitnessed,
        (_, Some(first)) => panic!("{first} is gone and nobody said so: {report:?}"),
    }
}

/// The log goes on, unless damage at its end keeps it from that.
fn go_on(log: &mut Log<MemoryDir>, is_read_only: bool) {
    let appended = log.append(&batch(&[b"goes on"], at(101)), at(101));
    assert_eq!(appended.is_err(), is_read_only, "{appended:?}");
    settle(log, at(101)).unwrap();
    assert!(!log.is_fenced());
    if let Ok(appended) = appended {
        log.tail.shrink(0);
        let read = block_on(log.plan_read(appended.base, Offset::MAX, 1).unwrap().run());
        assert_eq!(read.unwrap().next, appended.end);
    }
}

#[test]
fn whatever_rots_nothing_bad_is_served_and_nothing_is_gone_in_silence() {
    let worlds = [world(true), world(false)];
    for world in &worlds {
        let root = world.root.power_cut(0);
        assert_eq!(meet(&root, world, 0), Met::Served, "nothing rotted");
    }
    let asked = std::env::var("CORELOG_ROT_CHANGES").ok();
    let changes = asked.map_or(CHANGES, |text| text.parse().unwrap());
    let mut report = Report::default();
    let mut seed = 0;
    while report.total() < changes {
        seed += 1;
        let mut rng = Rng::with_seed(seed);
        let world = &worlds[rng.usize(..worlds.len())];
        let root = world.root.power_cut(0);
        let Some(harm) = harm::harm(&root, &mut rng) else {
            continue;
        };
        let met =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| meet(&root, world, seed)));
        let Ok(met) = met else {
            panic!("seed {seed}, clean {}: {harm:?}", world.is_clean)
        };
        report.note(harm, met);
    }
    let table = report.markdown();
    println!("{table}");
    if let Ok(path) = std::env::var("CORELOG_ROT_REPORT") {
        let path = std::path::PathBuf::from(path);
        let (dir, name) = (path.parent().unwrap(), path.file_name().unwrap());
        let dir = crate::disk::std::StdDir::new(dir);
        block_on(dir.write_aside(name.to_str().unwrap(), table.as_bytes())).unwrap();
    }
    for structure in [
        "batch: leader epoch",
        "batch: payload",
        "store",
        "index: rows",
        "manifest: edits",
    ] {
        assert!(report.has(structure), "{structure}");
    }
    for structure in [
        "mark",
        "length: log",
        "name: log",
        "sibling: directory",
        "sibling: log",
    ] {
        assert!(report.has(structure), "{structure}");
    }
    let met = [Met::Served, Met::Damaged, Met::Quarantined, Met::Refused];
    assert!(met.iter().all(|met| report.count(*met) > 50), "{table}");
    assert!(
        report.count(Met::Unwitnessed) < report.total() / 50,
        "{table}"
    );
}

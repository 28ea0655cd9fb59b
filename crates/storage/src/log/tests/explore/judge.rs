//! Recovers what a crash left, crashes it again, and holds it against what was promised.

use corelog_record::Offset;
use fastrand::Rng;

use super::super::at;
use super::super::model::{Model, Stored};
use super::super::world::lose_unsynced;
use super::Effort;
use super::tally::Tally;
use crate::disk::memory::{Choices, MemoryDir};
use crate::disk::{Dir, Entry, block_on};
use crate::log::{Log, OpenReport, Options, Torn};
use crate::manifest::Manifest;
use crate::segment::name;
use crate::testing;

pub(super) struct Judge<'a> {
    options: &'a Options,
    rng: Rng,
    effort: Effort,
}

impl<'a> Judge<'a> {
    pub(super) fn new(options: &'a Options, rng: Rng, effort: Effort) -> Self {
        Self {
            options,
            rng,
            effort,
        }
    }

    /// The power went: `image` is left, and all of `promised` must be on it.
    pub(super) fn judge(&mut self, image: &MemoryDir, promised: &Model, tally: &mut Tally) {
        let is_again = self.rng.usize(0..self.effort.again) == 0;
        let before = image.fork();
        if is_again {
            image.record();
        }
        let mut model = promised.clone();
        let (log, _, torn) = self.open(image, &mut model, tally);
        drop(log);
        if is_again {
            self.crash_during(image, promised, torn.as_ref(), tally);
            self.crash_after(image, &model, torn.as_ref(), tally);
            // A process that dies leaves no torn bytes by itself, but while it cuts some.
            if torn.is_some() {
                self.judge_killed(&before, promised, tally);
            }
        }
        self.go_on(image, model, tally);
        self.restore(image, promised);
    }

    /// The process died, and what it had not synced may be only in memory any more. It comes back,
    /// may die again while it recovers, shows what it has, and then the power goes.
    pub(super) fn judge_killed(&mut self, root: &MemoryDir, promised: &Model, tally: &mut Tally) {
        let mut root = root.clone();
        for deaths in 0..2 {
            if self.rng.bool() {
                lose_unsynced(&root, &mut self.rng);
            }
            root.record();
            let mut model = promised.clone();
            let (log, _, torn) = self.open(&root, &mut model, tally);
            drop(log);
            for _ in 0..2 - deaths {
                self.crash_after(&root, &model, torn.as_ref(), tally);
            }
            let count = self.rng.usize(0..=root.recorded());
            root = root.trace().disk_after(count);
        }
    }

    /// Crashes somewhere in the recovery that was recorded: what was promised before it still holds.
    fn crash_during(
        &mut self,
        image: &MemoryDir,
        promised: &Model,
        torn: Option<&TornBytes>,
        tally: &mut Tally,
    ) {
        let trace = image.trace();
        let choices = Choices {
            seed: self.rng.u64(..),
            ..Choices::default()
        };
        for _ in 0..2 {
            let mut states = trace.crash_states(choices);
            states.skip_to(self.rng.usize(0..=trace.len()));
            let skipped = self.rng.usize(0..4);
            let Some(state) = states.nth(skipped) else {
                continue;
            };
            tally.note_again(state.hash);
            let is_kept =
                torn.is_none_or(|torn| torn.is_there(&state.image) || torn.is_kept(&state.image));
            assert!(is_kept, "torn bytes are kept before they are cut: {state}");
            self.open(&state.image, &mut promised.clone(), tally);
        }
    }

    /// Crashes right after a recovery: all that it found is there, and nothing else.
    fn crash_after(
        &mut self,
        image: &MemoryDir,
        found: &Model,
        torn: Option<&TornBytes>,
        tally: &mut Tally,
    ) {
        let cut = image.power_cut(self.rng.u64(..));
        tally.note_again(cut.hash());
        let is_kept = torn.is_none_or(|torn| torn.is_kept(&cut));
        assert!(is_kept, "torn bytes are kept");
        let mut model = found.clone();
        let (_, report, _) = self.open(&cut, &mut model, tally);
        assert_eq!(model.end(), found.end(), "recovered again: {report:?}");
    }

    /// Opens a recovered log again, appends, closes, and opens it.
    fn go_on(&mut self, image: &MemoryDir, found: Model, tally: &mut Tally) {
        let mut model = found;
        let end = model.end();
        let (mut log, report, _) = self.open(image, &mut model, tally);
        assert!(report.torn.is_none(), "once is enough: {report:?}");
        assert!(report.quarantined.is_empty(), "once is enough: {report:?}");
        assert_eq!(model.end(), end, "{report:?}");
        let now = at(NOW + 1);
        let batch = testing::batch(&[b"go on"], now);
        let stored = Stored::new(batch, end, log.epoch());
        let appended = match model.is_copy {
            true if log.epochs().is_empty() => return,
            true => log.append_copied(&stored.bytes, end, now),
            false => log.append(&stored.bytes, now),
        };
        let appended = appended.unwrap();
        assert_eq!(appended.base, end, "offsets are dense");
        model.append(vec![stored]);
        testing::flush(&mut log, now).unwrap();
        model.flushed(appended.end);
        if self.rng.u32(0..4) == 0 {
            self.crash_after(image, &model, None, tally);
        }
        block_on(log.close(now)).unwrap();
        let (log, report) = self.open_only(image, tally);
        assert!(report.is_clean && report.torn.is_none(), "{report:?}");
        assert!(report.quarantined.is_empty(), "{report:?}");
        assert_eq!((log.durable(), log.log_end()), (appended.end, appended.end));
        let last = testing::read_all(&log, end).unwrap();
        assert_eq!(last.len(), 1);
    }

    /// Finds the snapshots that were taken, and those restored that were, or restores them now. A
    /// partition is there whole or not at all.
    fn restore(&mut self, image: &MemoryDir, promised: &Model) {
        for (number, taken) in promised.taken.iter().enumerate() {
            if !block_on(taken.is_restored(image)) {
                assert!(promised.restored_count <= number, "it was restored");
                block_on(taken.restore(image)).unwrap();
            }
            block_on(taken.check(image, self.options));
        }
    }

    /// Opens a log and holds it against the model, which takes over what is found.
    fn open(
        &mut self,
        root: &MemoryDir,
        model: &mut Model,
        tally: &mut Tally,
    ) -> (Log<MemoryDir>, OpenReport, Option<TornBytes>) {
        let before = root.fork();
        let (log, report) = self.open_only(root, tally);
        model.accept(&log, &report);
        block_on(model.walk(&log));
        check_files(root, &log);
        check_cut(root, model);
        let torn = report.torn.as_ref();
        let torn = torn.map(|torn| TornBytes::of(&before, torn));
        let is_kept = torn.as_ref().is_none_or(|torn| torn.is_kept(root));
        assert!(is_kept, "torn bytes go to quarantine: {report:?}");
        (log, report, torn)
    }

    fn open_only(&mut self, root: &MemoryDir, tally: &mut Tally) -> (Log<MemoryDir>, OpenReport) {
        tally.note_recovery();
        let (options, seed) = (self.options.clone(), self.rng.u64(..));
        testing::open(root, options, seed, at(NOW)).unwrap()
    }
}

/// Bytes that were cut off as torn.
struct TornBytes {
    store: String,
    position: usize,
    bytes: Vec<u8>,
}

impl TornBytes {
    /// Those that `before` held, of which `torn` says that they were cut.
    fn of(before: &MemoryDir, torn: &Torn) -> Self {
        let position = usize::try_from(torn.position.get()).unwrap();
        let len = usize::try_from(torn.bytes).unwrap();
        let dir = before.child("p0");
        let manifest = block_on(Manifest::open(dir.clone())).unwrap();
        let mut named = manifest.state().segments().iter();
        let named = named.find(|named| named.base == torn.segment).unwrap();
        let store = name::store(named.base, named.generation);
        let bytes = block_on(dir.read(&store, u64::MAX)).unwrap();
        Self {
            store,
            position,
            bytes: bytes[position..position + len].to_vec(),
        }
    }

    /// Whether they are where they were.
    fn is_there(&self, root: &MemoryDir) -> bool {
        let read = block_on(root.child("p0").read(&self.store, u64::MAX));
        let range = self.position..self.position + self.bytes.len();
        read.is_ok_and(|bytes| bytes.get(range) == Some(&self.bytes))
    }

    /// Whether they are in quarantine.
    fn is_kept(&self, root: &MemoryDir) -> bool {
        quarantine(root).contains(&self.bytes)
    }
}

/// The contents of all files in quarantine.
fn quarantine(root: &MemoryDir) -> Vec<Vec<u8>> {
    let dir = root.child("quarantine");
    let entries = block_on(dir.list()).unwrap_or_default();
    let read = |entry: &Entry| block_on(dir.read(&entry.name, u64::MAX)).unwrap();
    entries.iter().map(read).collect()
}

/// What was durable and then cut off is in quarantine.
fn check_cut(root: &MemoryDir, model: &Model) {
    if model.cut.is_empty() {
        return;
    }
    let kept = quarantine(root);
    for stored in &model.cut {
        let holds = |bytes: &Vec<u8>| {
            let mut windows = bytes.windows(stored.bytes.len());
            windows.any(|window| window == stored.bytes)
        };
        assert!(
            kept.iter().any(holds),
            "{} was cut and is gone",
            stored.base
        );
    }
}

/// The manifest names all stores, all that it names are there, and zeros lie behind the last batch.
fn check_files(root: &MemoryDir, log: &Log<MemoryDir>) {
    let dir = root.child("p0");
    let Ok(manifest) = block_on(Manifest::open(dir.clone())) else {
        assert_eq!(
            log.log_end(),
            Offset::ZERO,
            "a log with records has a manifest"
        );
        return;
    };
    let segments = manifest.state().segments();
    let named: Vec<_> = segments
        .iter()
        .map(|segment| name::store(segment.base, segment.generation))
        .collect();
    let entries = block_on(dir.list()).unwrap();
    for entry in entries.iter().filter(|entry| name::is_store(&entry.name)) {
        assert!(named.contains(&entry.name), "nothing names {}", entry.name);
    }
    for segment in log.segments() {
        let is_it = |named: &&String| name::base(named) == Some(segment.base);
        let store = named.iter().find(is_it).expect("a named store");
        let bytes = block_on(dir.read(store, u64::MAX)).unwrap();
        let end = usize::try_from(segment.bytes).unwrap();
        assert!(end <= bytes.len(), "{store} ends within its batches");
        let is_zero = bytes[end..].iter().all(|byte| *byte == 0);
        assert!(is_zero, "{store} holds something behind its last batch");
        assert!(!segment.is_sealed || bytes.len() == end, "{store} is cut");
    }
    if let Some(store) = named.last().filter(|last| {
        let base = name::base(last);
        log.segments().all(|segment| Some(segment.base) != base)
    }) {
        let bytes = block_on(dir.read(store, u64::MAX)).unwrap_or_default();
        assert!(bytes.iter().all(|byte| *byte == 0), "{store} is empty");
    }
}

/// Milliseconds of the clock when logs are recovered.
const NOW: i64 = 1 << 20;

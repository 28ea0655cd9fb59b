//! A log and its model, side by side, with operations of the disk held at a gate: flush, chore and
//! appends interleave in any order, and a crash comes between any two operations.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;

use corelog_record::{ByteSize, Lineage, Offset, Timestamp};
use fastrand::Rng;

use super::at;
use super::model::{Change, Model, Stored};
use super::taken::{self, Taken};
use crate::Error;
use crate::disk::faulty::{FaultyDir, Match, When};
use crate::disk::memory::{FailedSync, MemoryDir};
use crate::disk::{Dir, block_on, poll_once};
use crate::format::edit::{Edit, Settings};
use crate::log::lineage::Began;
use crate::log::{
    AppendError, Begin, Chore, ChoreDone, ChorePlan, FlushDone, Hold, Log, OpenReport, Options,
    SegmentInfo,
};
use crate::manifest::Manifest;
use crate::testing::identity;

pub(super) type Disk = FaultyDir<MemoryDir>;
type Running<T> = Pin<Box<dyn Future<Output = T>>>;
type Opened = Result<(Log<Disk>, OpenReport), Error>;

/// Looks at the disk and at what was promised between two operations of the disk.
pub(super) type Watch = Box<dyn FnMut(&Disk, &Model)>;

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) disk: Disk,
    pub(super) log: Log<Disk>,
    pub(super) model: Model,
    pub(super) options: Options,
    /// Milliseconds of the clock.
    pub(super) now: i64,
    flush: Option<Running<FlushDone<Disk>>>,
    chore: Option<Running<ChoreDone<Disk>>>,
    /// Which operations of the disk are held.
    held: Vec<Match>,
    pub(super) watch: Option<Watch>,
    /// Where a snapshot ends that has begun.
    snapshot: Option<Offset>,
    /// How many snapshots were tried.
    pub(super) snapshot_count: usize,
    pub(super) sealed: usize,
    pub(super) cut_count: usize,
}

impl World {
    /// A new log on a new disk, on which the operations `held` wait until they are let go.
    pub(super) fn new(rng: Rng, options: Options, held: Vec<Match>) -> Self {
        let mut rng = rng;
        let disk = gated(MemoryDir::used(), &held);
        let (log, report) = open(&disk, &options, rng.u64(..), 0).unwrap();
        assert!(report.is_clean);
        Self {
            rng,
            disk,
            log,
            model: Model::new(),
            options,
            now: 0,
            flush: None,
            chore: None,
            held,
            watch: None,
            snapshot: None,
            snapshot_count: 0,
            sealed: 0,
            cut_count: 0,
        }
    }

    /// Appends `batches` at once, if the log takes them.
    pub(super) fn append(&mut self, batches: Vec<Vec<u8>>) {
        let bytes = batches.concat();
        let (mut base, epoch) = (self.log.log_end(), self.log.epoch());
        let mut stored = Vec::new();
        for batch in batches {
            let one = Stored::new(batch, base, epoch);
            base = one.end;
            stored.push(one);
        }
        let appended = match self.model.is_copy {
            true => {
                let stamped: Vec<_> = stored.iter().map(|stored| &stored.bytes[..]).collect();
                let base = match self.rng.u32(0..4) {
                    0 => self.log.log_end(),
                    _ => self.log.active().base.offset,
                };
                let now = at(self.now);
                self.log.append_copied(&stamped.concat(), base, now)
            }
            false => self.log.append(&bytes, at(self.now)),
        };
        match appended {
            Ok(appended) => {
                assert_eq!((appended.base, appended.end), (self.model.end(), base));
                self.model.epoch = epoch;
                self.model.append(stored);
            }
            Err(AppendError::Full { .. } | AppendError::Cutting) => {}
            Err(AppendError::StorageFull) => assert!(self.log.is_full()),
            Err(AppendError::Fenced) => assert!(self.log.is_fenced()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts to give up all that the log holds: it goes on as an empty copy at its end.
    pub(super) fn adopt(&mut self) {
        let (history, end) = (self.log.identity().history, self.log.end_place());
        let planned = self.log.plan_adopt(history, end).map(Some);
        self.start_change(planned, Some(Change::Start(end.offset)));
    }

    /// Starts to begin an epoch: of its own, or, in a copy, the next one of its source.
    pub(super) fn begin_epoch(&mut self) {
        let epoch = self.model.epoch.next();
        let begin = match self.model.is_copy {
            true => Begin::Copied(Began {
                epoch,
                lineage: Lineage::from_bytes([7; 16]),
                offset: self.log.log_end(),
            }),
            false => Begin::Own,
        };
        match self.log.plan_epoch(begin) {
            Ok(plan) => {
                self.model.epoch = match self.model.is_copy {
                    true => epoch,
                    false => self.model.epoch,
                };
                self.run_chore(plan, Change::None);
            }
            Err(Error::Busy) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts a flush, if one is wanted and possible.
    pub(super) fn start_flush(&mut self) {
        if let Some(plan) = self.log.plan_flush() {
            assert!(self.flush.is_none(), "one flush in flight");
            self.flush = Some(Box::pin(plan.run()));
            self.poll();
        }
    }

    /// Starts what background work is due.
    pub(super) fn start_chore(&mut self, is_idle: bool) {
        if let Some(plan) = self.log.plan_chore(at(self.now), is_idle) {
            self.run_chore(plan, Change::None);
        }
    }

    /// Starts to drop segments that were sealed before `since`, but for those that `hold` keeps.
    pub(super) fn expire(&mut self, since: Timestamp, hold: Hold) {
        let start = self.expired(hold, |segment, _| segment.seal_time < Some(since));
        let planned = self.log.plan_expire(since, hold);
        self.start_change(planned, start.map(Change::Start));
    }

    /// Starts to drop sealed segments until at most `bytes` are left, but for those that `hold`
    /// keeps.
    pub(super) fn expire_to(&mut self, bytes: ByteSize, hold: Hold) {
        let start = self.expired(hold, |_, left| bytes.bytes() < left);
        let planned = self.log.plan_expire_to(bytes, hold);
        self.start_change(planned, start.map(Change::Start));
    }

    /// Where the log should start when all segments at the front are gone that are `due`.
    fn expired(&self, hold: Hold, due: impl Fn(&SegmentInfo, u64) -> bool) -> Option<Offset> {
        let mut left = self.log.store_bytes().bytes();
        let mut start = None;
        for segment in self.log.segments().take_while(|segment| segment.is_sealed) {
            let is_large = hold.bytes_max.is_some_and(|max| max.bytes() < left);
            if !due(&segment, left) || (hold.upto < segment.next && !is_large) {
                break;
            }
            left -= segment.bytes;
            start = Some(segment.next);
        }
        start
    }

    /// Starts to move log start to `lowest`.
    pub(super) fn truncate(&mut self, lowest: Offset) {
        let planned = self.log.plan_truncate(lowest);
        self.start_change(planned, Some(Change::Start(lowest)));
    }

    /// Starts to cut the end of the log at `from`.
    pub(super) fn truncate_suffix(&mut self, from: Offset) {
        let cut = self.model.cut_at(from);
        let planned = self.log.plan_truncate_suffix(from, at(self.now));
        self.start_change(planned, Some(Change::Suffix(cut)));
    }

    /// Begins a snapshot, or goes on with one that has begun, if what it needs is sealed.
    pub(super) fn snapshot(&mut self) {
        if self.is_cutting() || self.log.is_fenced() {
            return;
        }
        let upto = match self.snapshot {
            Some(upto) => upto,
            None => match self.log.begin_snapshot() {
                Ok(upto) => upto,
                // Too much waits to be sealed.
                Err(Error::Busy) => return,
                Err(error) => panic!("{error}"),
            },
        };
        self.snapshot = Some(upto);
        let target = taken::dir(&self.disk, self.snapshot_count);
        match self.log.plan_snapshot(upto, target) {
            Ok(Some(plan)) => {
                self.snapshot = None;
                self.snapshot_count += 1;
                self.run_chore(plan, Change::None);
            }
            Ok(None) | Err(Error::Busy) => {}
            // The log was cut off below meanwhile.
            Err(Error::OutOfRange { .. }) => self.snapshot = None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Whether a snapshot has begun.
    pub(super) fn is_snapshotting(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Restores the next snapshot that was not yet, beside the log. Returns whether there was one.
    pub(super) fn restore(&mut self) -> bool {
        let next = self.model.taken.get(self.model.restored_count);
        let Some(taken) = next.cloned() else {
            return false;
        };
        let disk = self.disk.clone();
        self.drive(taken.restore(&disk)).unwrap();
        self.model.restored_count += 1;
        true
    }

    fn start_change(
        &mut self,
        planned: Result<Option<ChorePlan<Disk>>, Error>,
        to: Option<Change>,
    ) {
        match planned {
            Ok(Some(plan)) => {
                let change = match to.expect("a change that the model knows of") {
                    // Retention never moves a log start back that a user has moved further on.
                    Change::Start(start) => Change::Start(start.max(self.model.log_start)),
                    other => other,
                };
                self.run_chore(plan, change);
            }
            Ok(None) | Err(Error::Busy) => {}
            Err(Error::Fenced) => assert!(self.log.is_fenced()),
            Err(error) => panic!("{error}"),
        }
    }

    fn run_chore(&mut self, plan: ChorePlan<Disk>, change: Change) {
        assert!(self.chore.is_none(), "one chore at a time");
        self.chore = Some(Box::pin(plan.run()));
        self.model.change = change;
        self.poll();
    }

    /// Lets one held operation go. Returns whether there was one.
    pub(super) fn advance(&mut self) -> bool {
        let is_any = release(&self.disk, &mut self.watch, &self.model);
        self.poll();
        is_any
    }

    fn poll(&mut self) {
        if let Some(flush) = &mut self.flush
            && let Poll::Ready(done) = poll_once(Pin::new(flush))
        {
            self.flush = None;
            match self.log.complete_flush(done, at(self.now)) {
                Ok(flushed) => self.model.flushed(flushed.durable),
                // A fence that was set meanwhile lets go of the group, which waits for no space then.
                Err(Error::StorageFull { .. }) => {
                    assert!(self.log.is_full() || self.log.is_fenced());
                }
                Err(_) => assert!(self.log.is_fenced(), "a failed flush fences"),
            }
        }
        if let Some(chore) = &mut self.chore
            && let Poll::Ready(done) = poll_once(Pin::new(chore))
        {
            self.chore = None;
            match self.log.complete_chore(done, at(self.now)) {
                Ok(chore) => self.note_chore(&chore),
                // In doubt until the log is opened again.
                Err(_) if self.log.is_fenced() => {}
                Err(_) => self.model.change = Change::None,
            }
        }
    }

    fn note_chore(&mut self, chore: &Chore) {
        let change = self.model.change;
        match chore {
            Chore::Sealed { segments } => self.sealed += segments,
            // What was left below the log start goes, and that stays where it is.
            Chore::Expired { log_start, .. } if change == Change::None => {
                assert_eq!(*log_start, self.model.log_start);
            }
            Chore::Expired { log_start, .. } | Chore::Adopted { start: log_start } => {
                assert_eq!(change, Change::Start(*log_start));
            }
            Chore::SuffixCut { log_end, .. } => assert_eq!(change, Change::Suffix(*log_end)),
            Chore::Snapshotted {
                log_start,
                end,
                segments,
                bytes,
                ..
            } => self.model.snapshotted(Taken {
                number: self.snapshot_count - 1,
                log_start: *log_start,
                end: *end,
                segments: *segments,
                bytes: *bytes,
                epoch: self.log.epoch(),
                stored: Vec::new(),
            }),
            _ => assert_eq!(change, Change::None),
        }
        self.model.changed();
        self.model.epoch = self.model.epoch.max(self.log.epoch());
    }

    /// Whether a flush or a chore is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.flush.is_some() || self.chore.is_some()
    }

    /// Whether the end of the log is being cut off.
    pub(super) fn is_cutting(&self) -> bool {
        matches!(self.model.change, Change::Suffix(_))
    }

    /// Lets everything under way come to its end, and all that is due.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            self.advance();
            if self.log.is_fenced() {
                return;
            }
            if self.flush.is_none() {
                self.start_flush();
            }
            if self.chore.is_none() {
                self.start_chore(true);
                if !self.is_busy() && self.log.pending_bytes() == 0 {
                    return self.assert_front_gone();
                }
            }
            if self.log.is_full() && !self.is_busy() {
                self.now += 100;
            }
        }
        panic!("work without end");
    }

    /// What ended at or below the log start is gone, but for what only the active segment ends.
    fn assert_front_gone(&self) {
        if let Some(first) = self.log.segments().next() {
            let is_below = first.is_sealed && first.next <= self.log.log_start();
            assert!(!is_below, "{first:?} stays");
        }
    }

    /// Closes the log and opens it again. `meanwhile` may touch the disk in between.
    pub(super) fn close(&mut self, meanwhile: impl FnOnce(&MemoryDir)) {
        assert!(!self.is_busy());
        let closing = self.log.close(at(self.now));
        let closed = drive(&self.disk, &mut self.watch, &self.model, closing);
        if closed.is_err() {
            // Full, or failed: the next opening recovers.
            return;
        }
        self.model.durable = self.model.end();
        self.disk.faults().clear();
        meanwhile(self.disk.inner());
        let (log, report) = self.open().unwrap();
        assert!(report.is_clean, "{report:?}");
        assert!(report.torn.is_none(), "{report:?}");
        assert!(report.quarantined.is_empty(), "{report:?}");
        self.take(log, &report);
    }

    /// Kills the process and starts it again on the same machine: what was written is there, synced
    /// or not. With `is_lost`, what was not synced is there only until the power goes, as after a
    /// failed sync, unless it is written again.
    pub(super) fn kill(&mut self, is_lost: bool) {
        self.stop();
        if is_lost {
            lose_unsynced(self.disk.inner(), &mut self.rng);
        }
        let opened = match self.open() {
            Err(error) => {
                assert!(matches!(error, Error::StorageFull { .. }), "{error}");
                self.disk.faults().clear();
                self.open()
            }
            opened => opened,
        };
        let (log, report) = opened.unwrap();
        self.take(log, &report);
    }

    /// Cuts the power, now or during the recovery after it, and opens what is left.
    pub(super) fn cut_power(&mut self) {
        self.cut_count += 1;
        self.stop();
        let mut image = self.disk.inner().power_cut(self.rng.u64(..));
        loop {
            self.replace_disk(image);
            let is_interrupted = self.rng.u32(0..3) == 0;
            let operations = match is_interrupted {
                true => self.rng.usize(0..60),
                false => usize::MAX,
            };
            let seed = self.rng.u64(..);
            let opened = open_up_to(&self.disk, &self.options, seed, self.now, operations);
            if let Some(opened) = opened {
                let (log, report) = opened.unwrap();
                self.take(log, &report);
                return;
            }
            image = self.disk.inner().power_cut(self.rng.u64(..));
        }
    }

    /// Goes on with another disk; the log is to be opened anew.
    pub(super) fn replace_disk(&mut self, root: MemoryDir) {
        self.disk = gated(root, &self.held);
    }

    /// Opens what a crash left.
    pub(super) fn reopen(&mut self) {
        let (log, report) = self.open().unwrap();
        self.take(log, &report);
    }

    /// Ends the process: nothing is under way any more.
    pub(super) fn stop(&mut self) {
        (self.flush, self.chore) = (None, None);
        self.snapshot = None;
        self.now += 1;
    }

    fn open(&mut self) -> Opened {
        let (dir, quarantine) = (self.disk.child("p0"), self.disk.child("quarantine"));
        let (options, seed) = (self.options.clone(), self.rng.u64(..));
        let opening = Log::open(dir, quarantine, identity(), options, seed, at(self.now));
        drive(&self.disk, &mut self.watch, &self.model, opening)
    }

    fn take(&mut self, log: Log<Disk>, report: &OpenReport) {
        self.model.accept(&log, report);
        self.log = log;
    }

    /// Runs a future to its end; what else is held may go on, too.
    pub(super) fn drive<T>(&mut self, future: impl Future<Output = T>) -> T {
        drive(&self.disk, &mut self.watch, &self.model, future)
    }

    /// Reads all of it.
    pub(super) fn walk(&mut self) {
        drive(
            &self.disk,
            &mut self.watch,
            &self.model,
            self.model.walk(&self.log),
        );
    }
}

/// Fills the manifest of a closed log with edits that say nothing, until at most `bytes` of its
/// space are left.
pub(super) fn fill_manifest(root: &MemoryDir, bytes: usize) {
    let dir = root.child("p0");
    let Ok(mut manifest) = block_on(Manifest::open(dir.clone())) else {
        return; // A log without records has none.
    };
    let file = block_on(dir.read(crate::manifest::NAME, u64::MAX)).unwrap();
    let used = file
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1);
    let mut left = (file.len() - used.next_multiple_of(16)).saturating_sub(bytes);
    while EDIT_BYTES < left {
        let value = "x".repeat(left.min(4000) - EDIT_BYTES);
        let changes = [("k".to_owned(), Some(value))].into();
        block_on(manifest.append(&Edit::Settings(Settings { changes }))).unwrap();
        left -= left.min(4000);
    }
}

/// What an edit of settings takes beside its value, generously.
const EDIT_BYTES: usize = 64;

/// Does to all files of the log and of the quarantine what failed syncs do, on some file system.
pub(super) fn lose_unsynced(root: &MemoryDir, rng: &mut Rng) {
    let how = *rng.choice(&FailedSync::ALL).unwrap();
    for dir in [root.child("p0"), root.child("quarantine")] {
        for entry in block_on(dir.list()).unwrap_or_default() {
            dir.fail_sync(&entry.name, how, rng.u64(..)).unwrap();
        }
    }
}

/// A disk on which the operations `held` wait until they are let go.
pub(super) fn gated(root: MemoryDir, held: &[Match]) -> Disk {
    let disk = FaultyDir::new(root);
    for which in held {
        disk.faults().hold(which.clone(), When::Before);
    }
    disk
}

pub(super) fn open(disk: &Disk, options: &Options, seed: u64, now: i64) -> Opened {
    open_up_to(disk, options, seed, now, usize::MAX).unwrap()
}

/// Opens the log, unless that takes more than so many operations of the disk.
fn open_up_to(
    disk: &Disk,
    options: &Options,
    seed: u64,
    now: i64,
    operations: usize,
) -> Option<Opened> {
    let (dir, quarantine) = (disk.child("p0"), disk.child("quarantine"));
    let options = options.clone();
    let opening = Log::open(dir, quarantine, identity(), options, seed, at(now));
    let mut opening = pin!(opening);
    for _ in 0..operations {
        if let Poll::Ready(opened) = poll_once(opening.as_mut()) {
            return Some(opened);
        }
        let is_any = disk.faults().release_one();
        assert!(is_any, "an open waits for the disk only");
    }
    None
}

fn release(disk: &Disk, watch: &mut Option<Watch>, model: &Model) -> bool {
    if let Some(watch) = watch {
        watch(disk, model);
    }
    disk.faults().release_one()
}

fn drive<T>(
    disk: &Disk,
    watch: &mut Option<Watch>,
    model: &Model,
    future: impl Future<Output = T>,
) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = poll_once(future.as_mut()) {
            return value;
        }
        let is_any = release(disk, watch, model);
        assert!(is_any, "a future waits for the disk only");
    }
}

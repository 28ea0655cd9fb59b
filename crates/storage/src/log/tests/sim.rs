//! A log and its model, side by side, with every operation on the disk held at a gate: flush, chore
//! and appends interleave in any order, and the power goes at any moment.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;

use corelog_record::batch::{self, View};
use corelog_record::{ByteSize, Offset, Timestamp};
use fastrand::Rng;

use super::at;
use crate::Error;
use crate::disk::faulty::{FaultyDir, Match, When};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, poll_once};
use crate::log::{
    AppendError, Chore, ChoreDone, ChorePlan, FlushDone, Hold, Log, OpenReport, Options, ReadError,
};
use crate::testing::{batch, identity};

type Disk = FaultyDir<MemoryDir>;
type Running<T> = Pin<Box<dyn Future<Output = T>>>;

/// What a chore under way will have changed when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    Start,
    Suffix(Offset),
}

/// One batch as it should be stored.
#[derive(Debug, Clone)]
struct Stored {
    base: Offset,
    end: Offset,
    time: Timestamp,
    bytes: Vec<u8>,
}

pub(super) struct Sim {
    pub(super) rng: Rng,
    disk: Disk,
    log: Log<Disk>,
    options: Options,
    now: i64,
    /// All that was appended and not cut, oldest first; also what is below log start.
    stored: Vec<Stored>,
    durable: Offset,
    log_start: Offset,
    flush: Option<Running<FlushDone<Disk>>>,
    chore: Option<(Running<ChoreDone<Disk>>, Change)>,
    pub(super) cuts: usize,
    pub(super) sealed: usize,
}

impl Sim {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let options = Options {
            segment_bytes_max: ByteSize::from_kib(*pick(&mut rng, &[4, 12, 40])),
            segment_age_max_ms: Some(5_000),
            index_interval_bytes: *pick(&mut rng, &[1, 512, 4096]),
            tail_bytes_max: *pick(&mut rng, &[0, 16 << 10, 1 << 20]),
            ..Options::default()
        };
        let disk = FaultyDir::new(MemoryDir::new());
        disk.faults().hold(Match::ANY, When::Before);
        let (log, report) = open(&disk, &options, rng.u64(..), 0).unwrap();
        assert!(report.is_clean);
        Self {
            rng,
            disk,
            log,
            options,
            now: 0,
            stored: Vec::new(),
            durable: Offset::ZERO,
            log_start: Offset::ZERO,
            flush: None,
            chore: None,
            cuts: 0,
            sealed: 0,
        }
    }

    /// Does something at random.
    pub(super) fn step(&mut self) {
        self.now += self.rng.i64(0..400);
        // Files go away while the end is cut off: who walks over all of it is told so.
        let is_cutting = matches!(self.chore, Some((_, Change::Suffix(_))));
        match self.rng.u32(0..100) {
            97 if is_cutting => self.advance(),
            0..=24 => self.append(),
            25..=44 => self.start_flush(),
            45..=59 => self.start_chore(),
            60..=79 => (0..self.rng.u32(1..8)).for_each(|_| self.advance()),
            80..=85 => self.read(),
            86..=87 => self.find_time(),
            88..=89 => drop(self.log.roll_if_due(at(self.now))),
            90 => self.log.shrink_tail(0),
            91..=94 => self.change_start(),
            95 => self.cut_suffix(),
            96 => self.close(),
            97 => self.walk(),
            98 => self.kill(),
            _ => self.cut_power(),
        }
        self.check();
    }

    /// Lets everything under way come to its end, then looks at all of it.
    pub(super) fn finish(&mut self) {
        self.quiesce();
        self.walk();
        self.cut_power();
        self.check();
        self.walk();
    }

    fn check(&self) {
        let log = &self.log;
        assert!(!log.is_fenced(), "nothing failed");
        assert_eq!(log.log_start(), self.log_start);
        assert_eq!(log.durable(), self.durable);
        assert_eq!(log.log_end(), self.end());
        let mut next = None;
        for segment in log.segments() {
            assert!(
                next.is_none_or(|next| next == segment.base),
                "segments are dense"
            );
            next = Some(segment.next);
        }
    }

    fn end(&self) -> Offset {
        self.stored.last().map_or(Offset::ZERO, |last| last.end)
    }

    fn append(&mut self) {
        let mut bytes = Vec::new();
        let mut base = self.log.log_end();
        let mut stored = Vec::new();
        for _ in 0..self.rng.usize(1..4) {
            let time = at(self.now + self.rng.i64(-3000..3000));
            let value_bytes_max = *pick(&mut self.rng, &[9, 900, 9000]);
            let value = vec![self.rng.u8(..); self.rng.usize(0..value_bytes_max)];
            let values = vec![value.as_slice(); self.rng.usize(1..4)];
            let mut one = batch(&values, time);
            bytes.extend_from_slice(&one);
            batch::patch(&mut one, base, self.log.epoch());
            let end = base.plus(values.len() as u64);
            stored.push(Stored {
                base,
                end,
                time,
                bytes: one,
            });
            base = end;
        }
        match self.log.append(&bytes, at(self.now)) {
            Ok(appended) => {
                assert_eq!((appended.base, appended.end), (self.end(), base));
                self.stored.append(&mut stored);
            }
            Err(AppendError::Full { .. } | AppendError::Cutting) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn start_flush(&mut self) {
        if let Some(plan) = self.log.plan_flush() {
            assert!(self.flush.is_none(), "one flush in flight");
            self.flush = Some(Box::pin(plan.run()));
            self.poll();
        }
    }

    fn start_chore(&mut self) {
        let is_idle = self.rng.bool();
        if let Some(plan) = self.log.plan_chore(at(self.now), is_idle) {
            self.run_chore(plan, Change::None);
        }
    }

    fn run_chore(&mut self, plan: ChorePlan<Disk>, change: Change) {
        assert!(self.chore.is_none(), "one chore at a time");
        self.chore = Some((Box::pin(plan.run()), change));
        self.poll();
    }

    /// Lets one held operation go.
    fn advance(&mut self) {
        self.disk.faults().release_one();
        self.poll();
    }

    fn poll(&mut self) {
        if let Some(flush) = &mut self.flush
            && let Poll::Ready(done) = poll_once(Pin::new(flush))
        {
            self.flush = None;
            let flushed = self.log.complete_flush(done, at(self.now)).unwrap();
            assert!(self.durable < flushed.durable);
            self.durable = flushed.durable;
        }
        if let Some((chore, change)) = &mut self.chore
            && let Poll::Ready(done) = poll_once(Pin::new(chore))
        {
            let change = *change;
            self.chore = None;
            let chore = self.log.complete_chore(done, at(self.now)).unwrap();
            self.note_chore(&chore, change);
        }
    }

    fn note_chore(&mut self, chore: &Chore, change: Change) {
        match chore {
            Chore::Sealed { .. } => self.sealed += 1,
            Chore::Expired { log_start, .. } => {
                assert_eq!(change, Change::Start);
                assert!(self.log_start <= *log_start);
                self.log_start = *log_start;
            }
            Chore::SuffixCut { log_end } => {
                let Change::Suffix(from) = change else {
                    panic!("no cut was asked for")
                };
                assert!(*log_end <= from);
                self.stored.retain(|stored| stored.end <= from);
                assert_eq!(self.end(), *log_end);
                self.durable = *log_end;
                self.log_start = self.log_start.min(*log_end);
            }
            _ => {}
        }
    }

    fn quiesce(&mut self) {
        for _ in 0..10_000 {
            self.advance();
            if self.flush.is_none() {
                self.start_flush();
            }
            if self.chore.is_none() {
                let plan = self.log.plan_chore(at(self.now), true);
                match plan {
                    Some(plan) => self.run_chore(plan, Change::None),
                    None if self.flush.is_none() => return,
                    None => {}
                }
            }
        }
        panic!("work without end");
    }

    fn change_start(&mut self) {
        let now = at(self.now);
        let planned = match self.rng.u32(0..3) {
            0 => self
                .log
                .plan_expire(now.saturating_sub_millis(self.rng.i64(0..2000)), Hold::NONE),
            1 => self
                .log
                .plan_expire_to(ByteSize::from_kib(self.rng.u32(0..60)), Hold::NONE),
            _ => {
                let lowest = self.any_offset(self.durable);
                self.log.plan_truncate(lowest)
            }
        };
        match planned {
            Ok(Some(plan)) => self.run_chore(plan, Change::Start),
            Ok(None) | Err(Error::Busy) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn cut_suffix(&mut self) {
        let from = self.any_offset(self.durable).max(self.log_start);
        match self.log.plan_truncate_suffix(from, at(self.now)) {
            Ok(Some(plan)) => {
                self.run_chore(plan, Change::Suffix(from));
            }
            Ok(None) | Err(Error::Busy) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn any_offset(&mut self, end: Offset) -> Offset {
        Offset::new(self.rng.u64(0..=end.get())).unwrap()
    }

    fn read(&mut self) {
        let from = self.any_offset(self.end().plus(1));
        let upto = self.any_offset(self.end().plus(5));
        let bytes_max = *pick(&mut self.rng, &[0, 100, 5_000, 1 << 20]);
        let plan = match self.log.plan_read(from, upto, bytes_max) {
            Ok(plan) => plan,
            Err(ReadError::OutOfRange { valid, .. }) => {
                assert!(from < valid.start || self.end() < from);
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let is_ready = plan.is_ready();
        let fetched = if is_ready {
            let Poll::Ready(fetched) = poll_once(pin!(plan.run())) else {
                panic!("it was ready")
            };
            fetched.unwrap()
        } else {
            drive(&self.disk, plan.run()).unwrap()
        };
        let limit = upto.min(self.durable);
        let mut wanted = self
            .stored
            .iter()
            .filter(|s| from < s.end && s.end <= limit);
        let (mut next, mut bytes) = (from, 0);
        for piece in &fetched.pieces {
            for batch in batch::Batches::over(piece) {
                let batch = batch.unwrap();
                let stored = wanted.next().expect("only what was appended is read");
                assert_eq!(batch, stored.bytes);
                (next, bytes) = (stored.end, bytes + batch.len());
            }
        }
        assert_eq!((fetched.next, fetched.bytes), (next, bytes));
        assert_eq!(
            bytes == 0,
            limit <= from || wanted.next().is_none() && bytes == 0
        );
        let first = self
            .stored
            .iter()
            .find(|s| from < s.end)
            .map_or(0, |s| s.bytes.len());
        assert!(
            bytes <= bytes_max.max(first),
            "{bytes} bytes of {bytes_max}"
        );
    }

    fn find_time(&mut self) {
        let time = at(self.now + self.rng.i64(-9_000..3000));
        let upto = self.any_offset(self.end());
        let found = drive(&self.disk, self.log.plan_find_time(time, upto).run()).unwrap();
        let limit = upto.min(self.durable);
        let expected = self.stored.iter().find(|stored| {
            time <= stored.time && self.log_start < stored.end && stored.end <= limit
        });
        assert_eq!(found, expected.map(|stored| (stored.base, stored.time)));
    }

    /// Reads all of it in order, the chain verified.
    fn walk(&mut self) {
        let mut reader = self.log.reader(Offset::ZERO);
        let wanted = |s: &&Stored| self.log_start < s.end && s.end <= self.durable;
        for stored in self.stored.iter().filter(wanted) {
            let bytes = drive(&self.disk, async {
                reader
                    .next()
                    .await
                    .unwrap()
                    .map(|view: View<'_>| view.bytes().to_vec())
            });
            assert_eq!(bytes.as_ref(), Some(&stored.bytes));
        }
        assert!(drive(&self.disk, async {
            reader.next().await.unwrap().is_none()
        }));
    }

    fn close(&mut self) {
        if self.flush.is_some() || self.chore.is_some() {
            return;
        }
        drive(&self.disk, self.log.close(at(self.now))).unwrap();
        self.durable = self.end();
        let (log, report) = open(&self.disk, &self.options, self.rng.u64(..), self.now).unwrap();
        assert!(report.is_clean, "{report:?}");
        assert!(report.quarantined.is_empty(), "{report:?}");
        self.log = log;
    }

    /// Kills the process and starts it again on the same machine: what was written is there, synced
    /// or not.
    fn kill(&mut self) {
        let change = self
            .chore
            .as_ref()
            .map_or(Change::None, |(_, change)| *change);
        (self.flush, self.chore) = (None, None);
        let had_files = !self.stored.is_empty();
        self.now += 1;
        let (log, report) = open(&self.disk, &self.options, self.rng.u64(..), self.now).unwrap();
        self.compare(&log, &report, change, had_files);
        self.log = log;
    }

    /// Cuts the power, now or during the recovery after it, and opens what is left.
    pub(super) fn cut_power(&mut self) {
        self.cuts += 1;
        let change = self
            .chore
            .as_ref()
            .map_or(Change::None, |(_, change)| *change);
        let epoch = self.log.epoch();
        (self.flush, self.chore) = (None, None);
        let had_files = !self.stored.is_empty();
        let mut image = self.disk.inner().power_cut(self.rng.u64(..));
        loop {
            self.disk = FaultyDir::new(image);
            self.disk.faults().hold(Match::ANY, When::Before);
            let operations = if self.rng.u32(0..3) == 0 {
                self.rng.usize(0..60)
            } else {
                usize::MAX
            };
            let opened = open_up_to(
                &self.disk,
                &self.options,
                self.rng.u64(..),
                self.now,
                operations,
            );
            if let Some(opened) = opened {
                let (log, report) = opened.unwrap();
                self.compare(&log, &report, change, had_files);
                if Offset::ZERO < log.log_end() && !report.is_clean {
                    assert!(epoch < log.epoch(), "an unclean open begins an epoch");
                }
                self.log = log;
                return;
            }
            image = self.disk.inner().power_cut(self.rng.u64(..));
        }
    }

    /// Compares what a power cut left with what was promised.
    fn compare(&mut self, log: &Log<Disk>, report: &OpenReport, change: Change, had: bool) {
        assert!(report.damage.is_empty(), "{report:?}");
        assert!(!report.is_read_only, "{report:?}");
        assert!(had || log.log_end() == Offset::ZERO);
        let end = log.log_end();
        assert_eq!(log.durable(), end, "all that is left is durable");
        match change {
            Change::Suffix(from) if end <= from => {}
            _ => assert!(self.durable <= end, "nothing durable is lost: {report:?}"),
        }
        match change {
            Change::Start => assert!(self.log_start <= log.log_start()),
            Change::None => assert_eq!(self.log_start, log.log_start()),
            Change::Suffix(_) => assert!(log.log_start() <= self.log_start),
        }
        self.stored.retain(|stored| stored.end <= end);
        assert_eq!(self.end(), end, "the log ends at a batch");
        self.durable = end;
        self.log_start = log.log_start();
    }
}

fn pick<'a, T>(rng: &mut Rng, choices: &'a [T]) -> &'a T {
    &choices[rng.usize(0..choices.len())]
}

fn open(
    disk: &Disk,
    options: &Options,
    seed: u64,
    now: i64,
) -> Result<(Log<Disk>, OpenReport), Error> {
    open_up_to(disk, options, seed, now, usize::MAX).unwrap()
}

/// Opens the log, unless that takes more than so many operations of the disk.
fn open_up_to(
    disk: &Disk,
    options: &Options,
    seed: u64,
    now: i64,
    operations: usize,
) -> Option<Result<(Log<Disk>, OpenReport), Error>> {
    let (dir, quarantine) = (disk.child("p0"), disk.child("quarantine"));
    let mut opening = pin!(Log::open(
        dir,
        quarantine,
        identity(),
        options.clone(),
        seed,
        at(now)
    ));
    for _ in 0..operations {
        if let Poll::Ready(opened) = poll_once(opening.as_mut()) {
            return Some(opened);
        }
        assert!(
            disk.faults().release_one(),
            "an open waits for the disk only"
        );
    }
    None
}

/// Runs a future to its end; what else is held may go on, too.
fn drive<T>(disk: &Disk, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = poll_once(future.as_mut()) {
            return value;
        }
        assert!(
            disk.faults().release_one(),
            "a future waits for the disk only"
        );
    }
}

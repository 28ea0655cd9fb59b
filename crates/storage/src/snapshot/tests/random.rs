//! Snapshots at any moment of a log's life: whatever goes on beside them, what is restored is what
//! the log held below their end.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;

use corelog_record::batch as records;
use fastrand::Rng;

use super::*;
use crate::disk::faulty::{FaultyDir, Match, When};
use crate::disk::memory::MemoryDir;
use crate::disk::poll_once;
use crate::log::{AppendError, ChoreDone, FlushDone, Hold};
use crate::snapshot::{self, sweep_unfinished};
use crate::testing::open;

type Disk = FaultyDir<MemoryDir>;
type Running<T> = Pin<Box<dyn Future<Output = T>>>;

/// A log, what was appended to it, and the snapshots that were taken.
struct Life {
    rng: Rng,
    disk: Disk,
    log: Log<Disk>,
    now: i64,
    /// The end of each batch and its bytes, as stored.
    stored: Vec<(Offset, Vec<u8>)>,
    flush: Option<Running<FlushDone<Disk>>>,
    chore: Option<Running<ChoreDone<Disk>>>,
    /// A snapshot that was begun: its number and where it ends.
    begun: Option<(usize, Offset)>,
    taken: Vec<Summary>,
    cuts: usize,
}

impl Life {
    fn new(seed: u64) -> Self {
        let disk = Disk::new(MemoryDir::new());
        disk.faults().hold(Match::ANY, When::Before);
        let (log, _) = drive(&disk, opening(&disk, 0)).unwrap();
        Self {
            rng: Rng::with_seed(seed),
            disk,
            log,
            now: 0,
            stored: Vec::new(),
            flush: None,
            chore: None,
            begun: None,
            taken: Vec::new(),
            cuts: 0,
        }
    }

    fn step(&mut self) {
        self.now += self.rng.i64(0..300);
        match self.rng.u32(0..100) {
            0..=24 => self.append(),
            25..=39 => self.start_flush(),
            40..=54 => self.start_chore(),
            55..=84 => (0..self.rng.u32(1..6)).for_each(|_| self.advance()),
            85..=90 => self.begin(),
            91..=96 => self.move_start(),
            _ => self.cut_power(),
        }
    }

    fn append(&mut self) {
        let value = vec![self.rng.u8(..); self.rng.usize(0..6_000)];
        let mut bytes = batch(&[&value, b"second"], at(self.now));
        match self.log.append(&bytes, at(self.now)) {
            Ok(appended) => {
                records::patch(&mut bytes, appended.base, appended.epoch);
                self.stored.push((appended.end, bytes));
            }
            Err(AppendError::Full { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn start_flush(&mut self) {
        if let Some(plan) = self.log.plan_flush() {
            self.flush = Some(Box::pin(plan.run()));
        }
    }

    /// A snapshot that was begun, if it can be taken now; else what is due.
    fn start_chore(&mut self) {
        let is_free = self.chore.is_none();
        let plan = match self.begun.filter(|_| is_free) {
            Some((number, upto)) => match self.log.plan_snapshot(upto, self.target(number)) {
                // The flush under way has the manifest.
                Err(Error::Busy) => None,
                planned => planned.unwrap(),
            },
            None => None,
        };
        let plan = plan.or_else(|| self.log.plan_chore(at(self.now), self.rng.bool()));
        if let Some(plan) = plan {
            self.chore = Some(Box::pin(plan.run()));
        }
    }

    fn move_start(&mut self) {
        let planned = match self.rng.bool() {
            true => self.log.plan_expire(at(self.now - 1_000), Hold::NONE),
            false => {
                let lowest = self.rng.u64(0..=self.log.durable().get());
                self.log.plan_truncate(offset(lowest))
            }
        };
        match planned {
            Ok(Some(plan)) => self.chore = Some(Box::pin(plan.run())),
            Ok(None) | Err(Error::Busy) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn begin(&mut self) {
        if self.begun.is_none() {
            let upto = self.log.begin_snapshot().unwrap();
            let number = self.taken.len() + 100 * self.cuts;
            drive(&self.disk, self.disk.child("snapshots").create()).unwrap();
            drive(&self.disk, begin(&self.home(number))).unwrap();
            self.begun = Some((number, upto));
        }
    }

    fn advance(&mut self) {
        self.disk.faults().release_one();
        if let Some(flush) = &mut self.flush
            && let Poll::Ready(done) = poll_once(Pin::new(flush))
        {
            self.flush = None;
            self.log.complete_flush(done, at(self.now)).unwrap();
        }
        if let Some(chore) = &mut self.chore
            && let Poll::Ready(done) = poll_once(Pin::new(chore))
        {
            self.chore = None;
            let chore = self.log.complete_chore(done, at(self.now)).unwrap();
            self.note(&chore);
        }
    }

    /// Makes a snapshot of what was linked.
    fn note(&mut self, chore: &Chore) {
        let Chore::Snapshotted {
            log_start,
            end,
            chain,
            segments,
            bytes,
        } = *chore
        else {
            return;
        };
        let (number, upto) = self.begun.take().expect("one was begun");
        assert!(upto <= end);
        let partition = Partition {
            partition: identity().partition,
            log_start,
            end,
            chain: Some(chain),
            bytes,
            segments: segments as u64,
        };
        let summary = Summary {
            name: Name::new(&number.to_string()).unwrap(),
            ..summary(partition)
        };
        drive(&self.disk, commit(&self.home(number), &summary)).unwrap();
        self.taken.push(summary);
    }

    /// What was committed is there, all else is swept; the log goes on.
    fn cut_power(&mut self) {
        self.cuts += 1;
        (self.flush, self.chore, self.begun) = (None, None, None);
        let durable = self.log.durable();
        self.disk = Disk::new(self.disk.inner().power_cut(self.rng.u64(..)));
        let shelf = self.disk.child("snapshots");
        assert_eq!(listed(&shelf).len(), self.taken.len());
        block_on(sweep_unfinished(&shelf)).unwrap();
        self.disk.faults().hold(Match::ANY, When::Before);
        let (log, report) = drive(&self.disk, opening(&self.disk, self.now)).unwrap();
        assert!(
            report.damage.is_empty() && durable <= log.log_end(),
            "{report:?}"
        );
        self.stored.retain(|(end, _)| *end <= log.log_end());
        self.log = log;
    }

    /// Restores every snapshot, and compares it with what was appended.
    fn compare(&mut self) -> usize {
        let root = Disk::new(self.disk.inner().power_cut(1));
        for (number, summary) in self.taken.iter().enumerate() {
            let partition = summary.topics[0].partitions[0];
            let home = root.child("snapshots").child(summary.name.as_str());
            let opened = block_on(snapshot::open(&home)).unwrap();
            assert_eq!(opened, *summary);
            let source = partition_dir(&home, &topic(), partition.partition);
            let target = root.child("topics").child(&number.to_string());
            let back = block_on(restore(&source, &target, order(partition), &mut |_| {}));
            if back.unwrap().is_none() {
                assert!(partition.is_unborn());
                continue;
            }
            let identity = Identity::new(OTHER, partition.partition);
            let (dir, aside) = (target.child("0"), root.child("quarantine"));
            let opening = Log::open(dir, aside, identity, small(), 3, at(self.now));
            let (copy, report) = block_on(opening).unwrap();
            assert!(report.is_clean, "{report:?}");
            let bounds = (copy.log_start(), copy.log_end());
            assert_eq!(bounds, (partition.log_start, partition.end));
            let wanted = self
                .stored
                .iter()
                .filter(|(end, _)| partition.log_start < *end && *end <= partition.end);
            let wanted: Vec<_> = wanted.map(|(_, bytes)| bytes.clone()).collect();
            assert_eq!(walk(&copy), wanted);
        }
        self.taken.len()
    }

    fn home(&self, number: usize) -> Disk {
        self.disk.child("snapshots").child(&number.to_string())
    }

    fn target(&self, number: usize) -> Disk {
        partition_dir(&self.home(number), &topic(), identity().partition)
    }
}

async fn opening(disk: &Disk, now: i64) -> Result<(Log<Disk>, OpenReport), Error> {
    let (dir, aside) = (disk.child("p0"), disk.child("quarantine"));
    Log::open(dir, aside, identity(), small(), 5, at(now)).await
}

/// Runs a future to its end; what else is held may go on, too.
fn drive<T>(disk: &Disk, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = poll_once(future.as_mut()) {
            return value;
        }
        assert!(disk.faults().release_one(), "it waits for the disk only");
    }
}

#[test]
fn what_is_restored_is_what_the_log_held_whatever_went_on_beside_the_snapshot() {
    let (mut taken, mut cuts) = (0, 0);
    for seed in 0..300 {
        let caught = std::panic::catch_unwind(|| {
            let mut life = Life::new(seed);
            for _ in 0..150 {
                life.step();
            }
            (life.compare(), life.cuts)
        });
        match caught {
            Ok(counts) => (taken, cuts) = (taken + counts.0, cuts + counts.1),
            Err(panic) => {
                eprintln!("the life of seed {seed} failed");
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert!(taken > 100, "{taken} snapshots");
    assert!(cuts > 300, "{cuts} power cuts");
}

/// A snapshot of a log that was opened after a clean stop, and of which nothing else is changed.
#[test]
fn a_snapshot_right_after_a_clean_stop_leaves_a_log_that_opens() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, 20, 1_000);
    block_on(log.close(at(1))).unwrap();
    let (mut log, _) = open(&root, small(), 2, at(2)).unwrap();
    let all = walk(&log);
    snapshot(&mut log, &root).unwrap();
    drop(log);
    for root in [root.power_cut(1), root] {
        let (log, report) = open(&root, small(), 3, at(20)).unwrap();
        assert!(report.damage.is_empty(), "{report:?}");
        assert_eq!(walk(&log), all);
    }
}

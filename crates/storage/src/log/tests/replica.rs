//! Two replicas of a log: one owns it, the other follows; they crash, and they change hands.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use corelog_record::{ByteSize, LeaderEpoch, Lineage, Offset};
use fastrand::Rng;

use super::at;
use super::world::{Disk, gated};
use crate::Error;
use crate::disk::faulty::Match;
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, poll_once};
use crate::format::edit::Point;
use crate::log::lineage::{Began, Common, Line, common};
use crate::log::{AppendError, Begin, ChorePlan, CopyError, Hold, Log, Options, Ownership};
use crate::testing::{batch, identity};

/// A process that died in the middle of something.
struct Died;

type Lived<T> = Result<T, Died>;

/// One replica.
struct Side {
    disk: Disk,
    log: Log<Disk>,
    options: Options,
    /// After so many operations of the disk the process dies.
    left: usize,
    now: i64,
    seed: u64,
}

impl Side {
    fn new(options: Options, seed: u64) -> Self {
        let disk = gated(MemoryDir::new(), &[Match::ANY]);
        let log = opened(&disk, &options, seed, 0, &mut usize::MAX.clone());
        let log = log.unwrap_or_else(|_| unreachable!("nothing dies yet"));
        Self {
            disk,
            log,
            options,
            left: usize::MAX,
            now: 0,
            seed,
        }
    }

    fn run<T>(&mut self, future: impl Future<Output = T>) -> Lived<T> {
        run(&self.disk, &mut self.left, future)
    }

    /// Runs a plan, if there is one. Returns whether there was.
    fn chore(&mut self, plan: Result<Option<ChorePlan<Disk>>, Error>) -> Lived<bool> {
        let Some(plan) = plan.unwrap() else {
            return Ok(false);
        };
        let done = self.run(plan.run())?;
        self.log.complete_chore(done, at(self.now)).unwrap();
        Ok(true)
    }

    fn flush(&mut self) -> Lived<bool> {
        let Some(plan) = self.log.plan_flush() else {
            return Ok(false);
        };
        let done = self.run(plan.run())?;
        self.log.complete_flush(done, at(self.now)).unwrap();
        Ok(true)
    }

    /// Makes all durable, and does what is due.
    fn settle(&mut self) -> Lived<()> {
        loop {
            if self.flush()? {
                continue;
            }
            let plan = self.log.plan_chore(at(self.now), true);
            if !self.chore(Ok(plan))? {
                return Ok(());
            }
        }
    }

    fn own(&mut self, ownership: Ownership) {
        self.options.ownership = ownership;
        self.log.set_options(self.options.clone());
    }

    /// Opens the log again, after a clean stop, a kill or a power cut; opening may be cut short, too.
    fn reopen(&mut self, rng: &mut Rng) {
        self.now += 1;
        // What stood at the end may be given up by what was under way.
        let promised = Some(self.log.durable()).filter(|_| !self.log.is_end_held());
        if rng.u32(0..3) == 0 && self.left > 0 {
            self.left = usize::MAX;
            let closing = self.log.close(at(self.now));
            assert!(run(&self.disk, &mut self.left, closing).is_ok());
        }
        let mut is_cut = rng.bool();
        loop {
            let root = match is_cut {
                true => self.disk.inner().power_cut(rng.u64(..)),
                false => self.disk.inner().fork(),
            };
            self.disk = gated(root, &[Match::ANY]);
            self.seed += 1;
            let mut left = match rng.u32(0..4) {
                0 => rng.usize(0..60),
                _ => usize::MAX,
            };
            if let Ok(log) = opened(&self.disk, &self.options, self.seed, self.now, &mut left) {
                assert!(promised <= Some(log.durable()), "{promised:?} is kept");
                (self.log, self.left) = (log, usize::MAX);
                return;
            }
            is_cut = true;
        }
    }

    fn chain_at(&mut self, offset: Offset) -> Option<Point> {
        let plan = self.log.plan_chain_at(offset).ok()?;
        let mut left = usize::MAX;
        let found = run(&self.disk, &mut left, plan.run());
        found.ok().map(|found| found.unwrap())
    }

    fn line(&self) -> (Vec<Began>, Offset) {
        let epochs = self.log.epochs().iter().map(Began::from).collect();
        (epochs, self.log.durable())
    }
}

/// Runs a future to its end, or until the process dies.
fn run<T>(disk: &Disk, left: &mut usize, future: impl Future<Output = T>) -> Lived<T> {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = poll_once(future.as_mut()) {
            return Ok(value);
        }
        *left = left.checked_sub(1).ok_or(Died)?;
        assert!(disk.faults().release_one(), "it waits for the disk only");
    }
}

fn opened(
    disk: &Disk,
    options: &Options,
    seed: u64,
    now: i64,
    left: &mut usize,
) -> Lived<Log<Disk>> {
    let (dir, quarantine) = (disk.child("p0"), disk.child("quarantine"));
    let opening = Log::open(dir, quarantine, identity(), options.clone(), seed, at(now));
    let (log, report) = run(disk, left, opening)?.unwrap();
    assert!(report.damage.is_empty(), "nothing rots: {report:?}");
    assert!(!report.is_read_only, "{report:?}");
    Ok(log)
}

/// Both of them.
struct Pair {
    rng: Rng,
    owner: Side,
    copy: Side,
    /// All epochs that ever began, and where.
    began: Vec<(LeaderEpoch, Lineage, Offset)>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    deaths: usize,
    adopted: usize,
    epochs: usize,
    rejoined: usize,
    unrolled: usize,
    hands: usize,
    rolled: usize,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let options = Options {
            segment_bytes_max: ByteSize::from_kib(*rng.choice(&[4, 8, 16]).unwrap()),
            index_interval_bytes: *rng.choice(&[1, 512, 4096]).unwrap(),
            tail_bytes_max: *rng.choice(&[0, 16 << 10]).unwrap(),
            ..Options::default()
        };
        let follower = Options {
            ownership: Ownership::Follower,
            // Of no account to it.
            segment_bytes_max: ByteSize::from_kib(1),
            segment_age_max_ms: Some(0),
            ..options.clone()
        };
        Self {
            owner: Side::new(options, (2 * seed) << 20),
            copy: Side::new(follower, (2 * seed + 1) << 20),
            rng,
            began: Vec::new(),
            counts: Counts::default(),
        }
    }

    fn step(&mut self) {
        let may_die = |rng: &mut Rng| match rng.u32(0..6) {
            0 => rng.usize(0..40),
            _ => usize::MAX,
        };
        let is_owner = self.rng.bool();
        match is_owner {
            true => self.owner.left = may_die(&mut self.rng),
            false => self.copy.left = may_die(&mut self.rng),
        }
        let lived = match self.rng.u32(0..100) {
            0..3 => self.change_hands(),
            _ if is_owner => self.work(),
            _ => self.follow(),
        };
        if lived.is_err() || self.rng.u32(0..40) == 0 {
            self.counts.deaths += 1;
            let side = match self.owner.left == 0 {
                true => &mut self.owner,
                false => &mut self.copy,
            };
            side.reopen(&mut self.rng);
        }
        (self.owner.left, self.copy.left) = (usize::MAX, usize::MAX);
        self.check();
    }

    /// The owner does something.
    fn work(&mut self) -> Lived<()> {
        let Self { rng, owner, .. } = self;
        owner.now += rng.i64(0..300);
        match rng.u32(0..12) {
            0 => {
                let range = owner.log.log_start().get()..=owner.log.durable().get();
                let lowest = Offset::new(rng.u64(range)).unwrap();
                if rng.u32(0..4) == 0 {
                    let plan = owner.log.plan_truncate(lowest);
                    owner.chore(plan)?;
                }
            }
            1 => {
                let plan = owner.log.plan_expire_to(ByteSize::from_kib(40), Hold::NONE);
                owner.chore(plan)?;
            }
            2 => {
                owner.settle()?;
                let plan = owner.log.plan_epoch(Begin::Own);
                owner.chore(plan.map(Some))?;
            }
            3..6 => owner.settle()?,
            6..8 => _ = owner.flush()?,
            _ => {
                for _ in 0..rng.u32(1..4) {
                    let value = vec![rng.u8(1..); rng.usize(0..3000)];
                    let values = vec![&value[..]; rng.usize(1..3)];
                    let appended = owner
                        .log
                        .append(&batch(&values, at(owner.now)), at(owner.now));
                    assert!(
                        matches!(appended, Ok(_) | Err(AppendError::Full { .. })),
                        "{appended:?}"
                    );
                }
            }
        }
        Ok(())
    }

    /// What the two have in common, by their epochs; the chains there are the same.
    fn common(&mut self) -> Common {
        let ((ours, our_end), (theirs, their_end)) = (self.copy.line(), self.owner.line());
        let line = |epochs, end| Line { epochs, end };
        let found = common(line(&ours, our_end), line(&theirs, their_end));
        let (here, there) = (
            self.copy.chain_at(found.offset),
            self.owner.chain_at(found.offset),
        );
        if let (Some(here), Some(there)) = (here, there) {
            assert_eq!(here, there, "what they have in common is the same");
        }
        found
    }

    /// The copy takes over some more of what the owner has.
    fn follow(&mut self) -> Lived<()> {
        self.copy.settle()?;
        let floor = self.owner.log.floor_place();
        if self.copy.log.log_end() < floor.offset || !self.has_files() {
            self.counts.adopted += 1;
            let history = self.owner.log.identity().history;
            let plan = self.copy.log.plan_adopt(history, floor);
            self.copy.chore(plan.map(Some))?;
        }
        let shared = self.common();
        let last = self.copy.log.epochs().last().map(|last| last.epoch);
        if shared.offset < self.copy.log.log_end() || shared.epoch < last {
            return self.rejoin(shared);
        }
        for _ in 0..self.rng.u32(1..4) {
            self.begin_epochs()?;
            self.fetch()?;
            if self.rng.bool() {
                self.copy.settle()?;
            }
        }
        self.copy.settle()?;
        let lowest = self.owner.log.log_start().min(self.copy.log.durable());
        if self.copy.log.log_start() < lowest {
            let plan = self.copy.log.plan_truncate(lowest);
            self.copy.chore(plan)?;
        }
        Ok(())
    }

    fn has_files(&self) -> bool {
        self.copy.log.log_end() > Offset::ZERO || !self.copy.log.epochs().is_empty()
    }

    /// The copy gives up what the owner does not have; if that is no longer there, all it has.
    fn rejoin(&mut self, shared: Common) -> Lived<()> {
        let now = at(self.copy.now);
        self.counts.rejoined += 1;
        match self.copy.log.plan_rejoin(shared, now) {
            Err(Error::OutOfRange { .. }) => {
                let (options, seed) = (self.copy.options.clone(), self.copy.seed + 1);
                self.copy = Side::new(options, seed);
            }
            plan => {
                let end = self.copy.log.log_end();
                let is_any = self.copy.chore(plan)?;
                assert!(is_any, "{shared:?} is less than {end}");
                assert_eq!(
                    self.copy.log.log_end(),
                    shared.offset,
                    "cut between batches"
                );
            }
        }
        Ok(())
    }

    /// Begins the epochs here that began at the owner where the copy ends.
    fn begin_epochs(&mut self) -> Lived<()> {
        let end = self.copy.log.log_end();
        let last = self.copy.log.epochs().last().map(|last| last.epoch);
        let is_empty = self.copy.log.floor_place().offset == end;
        let is_due = |began: &Began| {
            let is_here = began.offset == end || (is_empty && began.offset < end);
            is_here && last < Some(began.epoch)
        };
        let (epochs, _) = self.owner.line();
        let due: Vec<_> = epochs.into_iter().filter(is_due).collect();
        for began in due {
            self.copy.settle()?;
            self.counts.epochs += 1;
            let plan = self.copy.log.plan_epoch(Begin::Copied(began));
            self.copy.chore(plan.map(Some))?;
        }
        Ok(())
    }

    fn fetch(&mut self) -> Lived<()> {
        let from = self.copy.log.log_end();
        let (epochs, durable) = self.owner.line();
        let next = epochs.iter().map(|began| began.offset);
        let upto = next.filter(|next| from < *next).fold(durable, Offset::min);
        if upto <= from {
            return Ok(());
        }
        let bytes_max = self.rng.usize(0..8000);
        let plan = self.owner.log.plan_copy(from, upto, bytes_max).unwrap();
        let fetched = run(&self.owner.disk, &mut usize::MAX.clone(), plan.run());
        let fetched = fetched
            .unwrap_or_else(|_| unreachable!("it does not die"))
            .unwrap();
        let pieces = fetched.pieces.iter().map(|piece| piece.to_vec());
        let bytes: Vec<u8> = pieces.flatten().collect();
        let now = at(self.copy.now);
        let before = self.copy.log.segments().count();
        let is_empty = self.copy.log.floor_place().offset == from;
        match self
            .copy
            .log
            .append_copied(&bytes, fetched.segment_base, now)
        {
            Ok(appended) => {
                assert_eq!((appended.base, appended.end), (from, fetched.next));
                self.counts.rolled += usize::from(before < self.copy.log.segments().count());
            }
            Err(AppendError::Full { .. }) => {}
            // It had expired more than the other one, before that became the owner.
            Err(AppendError::Copy(CopyError::Boundary { .. })) if is_empty => {
                self.counts.adopted += 1;
                let (history, floor) = {
                    let log = &self.owner.log;
                    (log.identity().history, log.floor_place())
                };
                let plan = self.copy.log.plan_adopt(history, floor);
                self.copy.chore(plan.map(Some))?;
            }
            Err(AppendError::Copy(CopyError::Rolled { segment })) => {
                assert_eq!(segment, fetched.segment_base);
                self.copy.settle()?;
                self.counts.unrolled += 1;
                let plan = self.copy.log.plan_unroll(now);
                assert!(self.copy.chore(plan)?, "it was rolled");
            }
            Err(error) => panic!(
                "{error} at {from}: {:?} follows {:?}",
                self.copy.log.epochs(),
                self.owner.log.epochs()
            ),
        }
        Ok(())
    }

    /// The copy takes over, whether it has all or not.
    fn change_hands(&mut self) -> Lived<()> {
        self.owner.settle()?;
        self.copy.settle()?;
        let shared = self.common();
        let is_prefix = shared.offset == self.copy.log.log_end();
        if !is_prefix || !self.has_files() {
            return Ok(());
        }
        let plan = self.copy.log.plan_epoch(Begin::Own);
        self.copy.chore(plan.map(Some))?;
        self.note_epochs();
        self.counts.hands += 1;
        self.owner.own(Ownership::Follower);
        self.copy.own(Ownership::Owner);
        std::mem::swap(
            &mut self.owner.options.segment_bytes_max,
            &mut self.copy.options.segment_bytes_max,
        );
        std::mem::swap(
            &mut self.owner.options.segment_age_max_ms,
            &mut self.copy.options.segment_age_max_ms,
        );
        std::mem::swap(&mut self.owner, &mut self.copy);
        self.owner.own(Ownership::Owner);
        self.copy.own(Ownership::Follower);
        Ok(())
    }

    fn note_epochs(&mut self) {
        for log in [&self.owner.log, &self.copy.log] {
            for began in log.epochs() {
                let known = self.began.iter();
                let mut same =
                    known.filter(|known| (known.0, known.1) == (began.epoch, began.lineage));
                match same.next() {
                    // A copy that begins later takes the epochs over that were in force there.
                    Some((_, _, offset)) => assert!(*offset <= began.offset, "{began:?}"),
                    None => self.began.push((began.epoch, began.lineage, began.offset)),
                }
            }
        }
    }

    fn check(&mut self) {
        self.note_epochs();
        let shared = self.common();
        let end = self.copy.log.durable();
        let last = self.copy.log.epochs().last();
        if shared.offset != end || shared.epoch < last.map(|last| last.epoch) {
            return; // It was an owner itself, or died while it became one.
        }
        let bases = |log: &Log<Disk>| log.segments().map(|s| s.base).collect::<Vec<_>>();
        let (theirs, floor) = (bases(&self.owner.log), self.owner.log.floor_place().offset);
        for base in bases(&self.copy.log) {
            let is_theirs = base < floor || theirs.contains(&base);
            assert!(
                is_theirs,
                "segment {base} of the copy is none of {theirs:?}"
            );
        }
    }

    /// The copy catches up, and has all that the owner has.
    fn finish(&mut self) {
        let lived = |lived: Lived<()>| assert!(lived.is_ok(), "nobody dies");
        lived(self.owner.settle());
        for _ in 0..10_000 {
            lived(self.follow());
            if self.copy.log.durable() == self.owner.log.durable() {
                break;
            }
        }
        lived(self.begin_epochs());
        let (owner, copy) = (&self.owner.log, &self.copy.log);
        assert_eq!(copy.end_place(), owner.end_place());
        assert_eq!(
            copy.epochs().last().map(|e| (e.epoch, e.lineage)),
            owner.epochs().last().map(|e| (e.epoch, e.lineage))
        );
        let offset = copy.floor_place().offset.max(owner.floor_place().offset);
        let bases = |log: &Log<Disk>| {
            let bases = log.segments().map(|segment| segment.base);
            bases.filter(|base| offset <= *base).collect::<Vec<_>>()
        };
        assert_eq!(bases(copy), bases(owner));
        let start = owner.log_start().max(copy.log_start());
        let (here, there) = (stored(&self.copy, start), stored(&self.owner, start));
        assert_eq!(here, there);
    }
}

/// All batches from the one that holds `from` on.
fn stored(side: &Side, from: Offset) -> Vec<Vec<u8>> {
    let reading = async {
        let mut batches = Vec::new();
        let mut reader = side.log.reader(from);
        while let Some(batch) = reader.next().await.unwrap() {
            batches.push(batch.bytes().to_vec());
        }
        batches
    };
    let read = run(&side.disk, &mut usize::MAX.clone(), reading);
    read.unwrap_or_else(|_| unreachable!("it does not die"))
}

#[test]
fn a_copy_is_a_prefix_of_its_source_whoever_dies_and_whoever_owns_it() {
    let mut total = Counts::default();
    for seed in 0..super::sim::number("CORELOG_REPLICA_SEEDS").unwrap_or(60) {
        let pair = std::panic::catch_unwind(|| {
            let mut pair = Pair::new(seed);
            for _ in 0..150 {
                pair.step();
            }
            pair.finish();
            pair.counts
        });
        let counts = pair.unwrap_or_else(|panic| {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic)
        });
        total.deaths += counts.deaths;
        total.adopted += counts.adopted;
        total.epochs += counts.epochs;
        total.rejoined += counts.rejoined;
        total.unrolled += counts.unrolled;
        total.hands += counts.hands;
        total.rolled += counts.rolled;
    }
    println!("{total:?}");
    for count in [total.deaths, total.adopted, total.epochs, total.rolled] {
        assert!(60 < count, "{total:?}");
    }
    assert!(
        20 < total.rejoined && 5 < total.unrolled && 20 < total.hands,
        "{total:?}"
    );
}

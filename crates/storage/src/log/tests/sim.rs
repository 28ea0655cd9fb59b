//! A seeded random life of a log, held against its model at every step.

use std::pin::pin;
use std::task::Poll;

use corelog_record::batch;
use corelog_record::{ByteSize, Offset};
use fastrand::Rng;

use super::at;
use super::world::{World, fill_manifest};
use crate::disk::faulty::{Fault, Match, Operation};
use crate::disk::poll_once;
use crate::log::{Hold, Options, ReadError};
use crate::testing;

/// One life.
pub(super) struct Sim {
    world: World,
    /// How often the process died or the power went.
    pub(super) crashes: usize,
    pub(super) compacted: usize,
    pub(super) filled: usize,
    /// How many snapshots were restored.
    pub(super) restored: usize,
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
        Self {
            world: World::new(rng, options, vec![Match::ANY]),
            crashes: 0,
            compacted: 0,
            filled: 0,
            restored: 0,
        }
    }

    /// How many segments were sealed.
    pub(super) fn sealed(&self) -> usize {
        self.world.sealed
    }

    /// Does something at random.
    pub(super) fn step(&mut self) {
        let world = &mut self.world;
        world.now += world.rng.i64(0..400);
        // Files go away while the end is cut off: who walks over all of it is told so.
        let is_cutting = world.is_cutting();
        match world.rng.u32(0..100) {
            95 if is_cutting => {
                world.advance();
            }
            0..=24 => self.append(),
            25..=44 => world.start_flush(),
            45..=59 => {
                let is_idle = world.rng.bool();
                match world.is_snapshotting() && is_idle {
                    true => world.snapshot(),
                    false => world.start_chore(is_idle),
                }
            }
            60..=77 => (0..world.rng.u32(1..8)).for_each(|_| _ = world.advance()),
            78..=83 => self.read(),
            84..=85 => self.find_time(),
            86..=87 => drop(world.log.roll_if_due(at(world.now))),
            88 => world.log.tail.shrink(0),
            89..=92 => self.change_start(),
            93 => self.cut_suffix(),
            94 => self.close(),
            95 => match world.rng.bool() {
                true => world.walk(),
                false => world.snapshot(),
            },
            96 => self.run_into_a_full_disk(),
            97 => match world.rng.bool() {
                true => self.fail(),
                false => self.restore(),
            },
            98 => self.kill(),
            _ => self.cut_power(),
        }
        if self.world.log.is_fenced() {
            // Whatever fenced it, only opening anew lifts that.
            match self.world.rng.bool() {
                true => self.kill(),
                false => self.cut_power(),
            }
        }
        self.world.model.check(&self.world.log);
    }

    /// Lets everything under way come to its end, then looks at all of it.
    pub(super) fn finish(&mut self) {
        self.world.disk.faults().clear();
        self.world.settle();
        if self.world.rng.u32(0..4) == 0 {
            for _ in 0..2 {
                self.world.snapshot();
                self.world.settle();
            }
        }
        if !self.world.log.is_fenced() {
            self.world.walk();
        }
        self.cut_power();
        self.world.walk();
        self.restore();
    }

    /// Restores the snapshots that were taken since the last time, and finds all of them whole.
    fn restore(&mut self) {
        self.world.disk.faults().clear();
        while self.world.restore() {
            self.restored += 1;
        }
        let World {
            disk,
            model,
            options,
            ..
        } = &mut self.world;
        let (root, options) = (disk.clone(), options.clone());
        for taken in model.taken.clone() {
            self.world.drive(taken.check(&root, &options));
        }
    }

    fn append(&mut self) {
        let World { rng, now, .. } = &mut self.world;
        let mut batches = Vec::new();
        for _ in 0..rng.usize(1..4) {
            let time = at(*now + rng.i64(-3000..3000));
            let value_bytes_max = *pick(rng, &[9, 900, 9000]);
            let value = vec![rng.u8(..); rng.usize(0..value_bytes_max)];
            let values = vec![value.as_slice(); rng.usize(1..4)];
            batches.push(testing::batch(&values, time));
        }
        self.world.append(batches);
    }

    fn change_start(&mut self) {
        let world = &mut self.world;
        match world.rng.u32(0..3) {
            0 => {
                let age = world.rng.i64(0..2000);
                let hold = any_hold(world);
                world.expire(at(world.now).saturating_sub_millis(age), hold);
            }
            1 => {
                let left = world.rng.u32(0..60);
                let hold = any_hold(world);
                world.expire_to(ByteSize::from_kib(left), hold);
            }
            _ => {
                let lowest = any_offset(world, world.model.durable);
                world.truncate(lowest);
            }
        }
    }

    fn cut_suffix(&mut self) {
        let world = &mut self.world;
        let from = any_offset(world, world.model.durable).max(world.model.log_start);
        world.truncate_suffix(from);
    }

    fn close(&mut self) {
        if self.world.is_busy() || self.world.log.is_fenced() {
            return;
        }
        let left = self.world.rng.bool().then(|| self.world.rng.usize(0..600));
        self.compacted += usize::from(left.is_some());
        self.world.close(|root| {
            if let Some(left) = left {
                fill_manifest(root, left);
            }
        });
    }

    /// The disk is full until the next of these steps, or the next crash.
    fn run_into_a_full_disk(&mut self) {
        self.filled += 1;
        let is_full = self.world.rng.bool();
        self.world.disk.faults().set_full(is_full);
    }

    /// One of the next operations fails.
    fn fail(&mut self) {
        let operations = [Operation::Write, Operation::Sync, Operation::SyncDir];
        let operation = *pick(&mut self.world.rng, &operations);
        let nth = self.world.rng.u64(1..4);
        let fault = Fault::Fail(std::io::ErrorKind::Other);
        self.world.disk.faults().fail(operation, nth, fault);
    }

    fn kill(&mut self) {
        self.crashes += 1;
        let is_full = self.world.log.is_full();
        self.world.disk.faults().clear();
        self.world.disk.faults().set_full(is_full);
        let is_lost = self.world.rng.bool();
        self.world.kill(is_lost);
    }

    fn cut_power(&mut self) {
        self.crashes += 1;
        self.world.cut_power();
    }

    fn read(&mut self) {
        let world = &mut self.world;
        let end = world.model.end();
        let (from, upto) = (
            any_offset(world, end.plus(1)),
            any_offset(world, end.plus(5)),
        );
        let bytes_max = *pick(&mut world.rng, &[0, 100, 5_000, 1 << 20]);
        let plan = match world.log.plan_read(from, upto, bytes_max) {
            Ok(plan) => plan,
            Err(ReadError::OutOfRange { valid, .. }) => {
                assert!(from < valid.start || end < from);
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let fetched = if plan.ready().is_some() {
            let Poll::Ready(fetched) = poll_once(pin!(plan.run())) else {
                panic!("it was ready")
            };
            fetched.unwrap()
        } else {
            world.drive(plan.run()).unwrap()
        };
        let model = &self.world.model;
        let limit = upto.min(model.durable);
        let mut wanted = model.all().filter(|s| from < s.end && s.end <= limit);
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
        let is_nothing_there = limit <= from || wanted.next().is_none();
        assert!(bytes > 0 || is_nothing_there, "a read gives what there is");
        let first = model.all().find(|s| from < s.end);
        let first = first.map_or(0, |s| s.bytes.len());
        let most = bytes_max.max(first);
        assert!(bytes <= most, "{bytes} bytes of {bytes_max}");
    }

    fn find_time(&mut self) {
        let world = &mut self.world;
        let time = at(world.now + world.rng.i64(-9_000..3000));
        let upto = any_offset(world, world.model.end());
        let plan = world.log.plan_find_time(time, upto);
        // What is durable when the lookup is planned: a flush may end while it runs.
        let limit = upto.min(world.model.durable);
        let start = world.model.log_start;
        let found = world.drive(plan.run()).unwrap();
        let mut all = world.model.all();
        let expected = all.find(|s| time <= s.time && start < s.end && s.end <= limit);
        assert_eq!(found, expected.map(|stored| (stored.base, stored.time)));
    }
}

/// Nothing is held back, or what lies above some offset, with or without a bound.
fn any_hold(world: &mut World) -> Hold {
    if world.rng.bool() {
        return Hold::NONE;
    }
    let upto = any_offset(world, world.model.end());
    let bytes_max = world.rng.bool().then(|| world.rng.u32(0..60));
    Hold {
        upto,
        bytes_max: bytes_max.map(ByteSize::from_kib),
    }
}

fn any_offset(world: &mut World, end: Offset) -> Offset {
    Offset::new(world.rng.u64(0..=end.get())).unwrap()
}

fn pick<'a, T>(rng: &mut Rng, choices: &'a [T]) -> &'a T {
    &choices[rng.usize(0..choices.len())]
}

/// Runs one seeded life; the seed stands in the message of a failure.
pub(super) fn run(seed: u64) -> Sim {
    let caught = std::panic::catch_unwind(|| {
        let mut sim = Sim::new(seed);
        for _ in 0..STEPS {
            sim.step();
        }
        sim.finish();
        sim
    });
    match caught {
        Ok(sim) => sim,
        Err(panic) => {
            eprintln!("seed {seed} failed: run it alone with {SEED}={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Steps of one life.
const STEPS: usize = 100;

/// Names one seed to run, instead of all.
const SEED: &str = "CORELOG_SIM_SEED";

/// How many lives to run, instead of ten thousand.
const CASES: &str = "CORELOG_SIM_CASES";

/// The number in an environment variable, if it is set.
pub(super) fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().expect("a number"))
}

#[test]
fn a_log_is_its_model_whatever_interleaves_and_whenever_it_crashes() {
    if let Some(seed) = number(SEED) {
        run(seed);
        return;
    }
    let cases = number(CASES).unwrap_or(10_000);
    let (mut crashes, mut sealed, mut filled) = (0, 0, 0);
    let (mut compacted, mut restored) = (0, 0);
    for seed in 0..cases {
        let sim = run(seed);
        crashes += sim.crashes;
        sealed += sim.sealed();
        filled += sim.filled;
        compacted += sim.compacted;
        restored += sim.restored;
    }
    println!(
        "{cases} lives, {crashes} crashes, {sealed} segments sealed, {restored} snapshots restored"
    );
    let cases = usize::try_from(cases).unwrap();
    assert!(crashes > 2 * cases, "{crashes} crashes");
    assert!(sealed > cases / 2, "{sealed} segments sealed");
    assert!(filled > cases / 2, "{filled} times full or not any more");
    assert!(restored > cases / 10, "{restored} snapshots restored");
    assert!(compacted > cases / 10, "{compacted} manifests filled");
}

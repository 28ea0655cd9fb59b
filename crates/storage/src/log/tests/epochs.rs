//! No checksum covers the epoch of a batch, and beside other damage no chain tells it: it is asked for wherever batches
//! are served, kept or counted as sound. What is sound is never taken for a batch of another epoch.

use corelog_record::batch::{Batches, View};
use corelog_record::{LeaderEpoch, Offset};
use fastrand::Rng;

use super::behind::{
    EPOCH_BIT, INDEX, LENGTH_BITS, VALUE_BIT, around, options, read, rows, scrub, sealed,
};
use super::following::{Memory, fetch, follower, reopen, run};
use super::recovery::change;
use super::{at, offset, small};
use crate::Error;
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::intake::{Intake, Of};
use crate::log::lineage::Began;
use crate::log::{Begin, Log, Options, ReadError};
use crate::segment::name;
use crate::testing::{self, batch, open, read_all, settle};

/// Whether this batch is known to be damaged.
fn is_told<D: Dir>(log: &Log<D>, number: usize) -> bool {
    let at = offset(number as u64);
    log.damage().iter().any(|it| it.from <= at && at < it.to)
}

/// Behind the last row of an index, and by rows that were made from a damaged store, it was served, and a scrub that had
/// stepped over something before the next row found it sound.
#[test]
fn a_changed_epoch_is_not_served_beside_other_damage_and_a_scrub_tells_of_it() {
    let (whole, batches) = sealed();
    let rows = rows(&whole, &batches);
    let end = batches.all.len();
    let pairs = (0..end).flat_map(|bad| (0..end).map(move |changed| (bad, changed)));
    for (bad, changed) in pairs.filter(|(bad, changed)| bad != changed) {
        let (before, behind) = around(&rows, usize::MAX, changed, end);
        for way in 0..16 {
            let [is_indexed, is_known, leads, is_read] = [1, 2, 4, 8].map(|bit| way & bit != 0);
            let what = format!("batch {bad}, epoch {changed}, way {way}");
            let root = whole.fork();
            batches.flip(&root, bad, if leads { VALUE_BIT } else { LENGTH_BITS[1] });
            if is_known {
                let (mut log, _) = open(&root, options(1), 2, at(2)).unwrap();
                scrub(&mut log);
                assert!(is_told(&log, bad), "{what}");
            }
            batches.flip(&root, changed, EPOCH_BIT);
            if !is_indexed {
                block_on(root.child("p0").remove(INDEX)).unwrap();
            }
            let (mut log, _) = open(&root, options(1), 3, at(3)).unwrap();
            // Damage that a read met is known to a scrub.
            if is_read {
                batches.assert_none_changed(&log, &what);
                assert!(read(&log, changed).is_err(), "{what}");
            }
            scrub(&mut log);
            assert!(is_told(&log, bad) && is_told(&log, changed), "{what}");
            batches.assert_none_changed(&log, &what);
            // Where the chain tells as well, what lies between two rows goes with it, or behind the last one.
            let is_between = |number| before <= number && number < behind;
            let is_near =
                |number| (is_indexed && is_between(number)) || rows.last() <= Some(&number);
            for number in (0..end).filter(|at| leads && ![bad, changed].contains(at)) {
                let is_served = read(&log, number).is_ok();
                assert!(is_served || is_near(number), "{what}: {number}");
            }
        }
    }
}

/// Rows that were made over it agreed with it, since something behind the cut was bad as well: it was kept, and sealed.
#[test]
fn a_cut_does_not_keep_a_changed_epoch() {
    let (root, batches) = sealed();
    let (changed, last) = (3, batches.all.len() - 1);
    batches.flip(&root, changed, EPOCH_BIT);
    batches.flip(&root, last, VALUE_BIT);
    block_on(root.child("p0").remove(INDEX)).unwrap();
    for from in 1..=last {
        let (mut log, _) = open(&root.fork(), options(1), 2, at(2)).unwrap();
        let plan = log.plan_truncate_suffix(offset(from as u64), at(2));
        match testing::run(&mut log, plan.unwrap().unwrap(), at(2)) {
            Ok(_) => assert!(from <= changed, "{from}"),
            Err(Error::Damaged { from: bad, .. }) => {
                assert_eq!(bad, offset(changed as u64));
                assert!(changed < from, "{from}");
            }
            Err(error) => panic!("{from}: {error}"),
        }
        for number in 0..changed.min(from) {
            assert_eq!(read(&log, number).unwrap(), batches.all[number], "{from}");
        }
    }
}

/// A log with some past: epochs that own much, little or nothing, ends that were cut, a start that has moved.
fn lived(root: &MemoryDir, rng: &mut Rng) -> Memory {
    let (mut log, _) = open(root, small(), 1, at(0)).unwrap();
    for _ in 0..rng.usize(30..80) {
        let (start, end) = (log.log_start(), log.log_end());
        let any = offset(rng.u64(start.get()..=end.get()));
        match rng.u32(0..30) {
            0..4 => {
                let plan = log.plan_epoch(Begin::Own);
                run(&mut log, plan).unwrap();
            }
            4 => log = reopen(log, root, small()).0,
            5 if !log.active().is_empty() => log.roll(),
            6 => {
                let plan = log.plan_truncate_suffix(any, at(1)).unwrap();
                plan.map(|plan| run(&mut log, Ok(plan)).unwrap());
            }
            7 => {
                let plan = log.plan_truncate(any.min(start.plus(20))).unwrap();
                plan.map(|plan| run(&mut log, Ok(plan)).unwrap());
            }
            _ => {
                let value = vec![rng.u8(..); rng.usize(..1_500)];
                let values = vec![&value[..]; rng.usize(1..3)];
                log.append(&batch(&values, at(0)), at(0)).unwrap();
            }
        }
        assert_all_read(&mut log);
    }
    log
}

/// A copy of `source`: some of its segments, and how many, came in whole, others batch by batch.
fn copied(
    (source, from): (&Memory, &MemoryDir),
    root: &MemoryDir,
    rng: &mut Rng,
) -> (Memory, usize) {
    let (mut copy, _) = open(root, follower(), 2, at(0)).unwrap();
    let history = source.identity().history;
    let plan = copy.plan_adopt(history, source.floor_place());
    run(&mut copy, plan).unwrap();
    let epochs: Vec<_> = source.epochs().iter().map(Began::from).collect();
    let mut installed = 0;
    while copy.log_end() < source.durable() {
        if rng.u32(0..8) == 0 {
            copy = reopen(copy, root, follower()).0;
        }
        let end = copy.log_end();
        let next = source.sealed().find(|(_, seal)| seal.digest.base == end);
        if let Some((generation, seal)) = next.filter(|_| rng.bool()) {
            let name = name::store(end, generation);
            let bytes = block_on(from.child("p0").read(&name, 1 << 20)).unwrap();
            let of = Of {
                history,
                seal,
                generation: copy.generation_next(end),
                epochs: epochs.clone(),
                interval_bytes: 512,
            };
            let mut intake = block_on(Intake::open(&root.child("p0"), of, at(1))).unwrap();
            let rest = usize::try_from(intake.position()).unwrap();
            block_on(intake.push(&bytes[rest..])).unwrap();
            let ready = block_on(intake.finish()).unwrap();
            match copy.plan_install(vec![ready], at(9)) {
                Err(Error::Busy) => {}
                plan => {
                    run(&mut copy, plan).unwrap();
                    installed += 1;
                }
            }
        } else {
            let is_empty = copy.floor_place().offset == end;
            for began in &epochs {
                let is_here = began.offset == end || (is_empty && began.offset < end);
                if is_here && copy.epochs().last().map(|last| last.epoch) < Some(began.epoch) {
                    let plan = copy.plan_epoch(Begin::Copied(*began));
                    run(&mut copy, plan).unwrap();
                }
            }
            fetch(source, &mut copy).unwrap();
        }
        assert_all_read(&mut copy);
    }
    (copy, installed)
}

/// All of it is read from the disk.
fn assert_all_read(log: &mut Memory) {
    settle(log, at(1)).unwrap();
    log.tail.shrink(0);
    read_all(log, log.log_start()).unwrap();
}

/// All is served and found sound, whether there are indexes or not, and where one batch of each sealed segment rots all
/// but these.
fn assert_sound(log: Memory, root: &MemoryDir, options: &Options, rng: &mut Rng) {
    let whole = read_all(&log, log.log_start()).unwrap();
    let stores: Vec<_> = log
        .sealed()
        .map(|(generation, seal)| (seal.digest.base, generation))
        .collect();
    drop(log);
    for is_indexed in [true, false] {
        let root = root.fork();
        let dir = root.child("p0");
        for (base, generation) in stores.iter().filter(|_| !is_indexed) {
            block_on(dir.remove(&name::index(*base, *generation))).unwrap();
        }
        let (mut log, _) = open(&root, options.clone(), 9, at(9)).unwrap();
        scrub(&mut log);
        assert_eq!(log.damage(), []);
        assert_eq!(read_all(&log, log.log_start()).unwrap(), whole);
        drop(log);
        let mut bad = Vec::new();
        for (base, generation) in &stores {
            change(&root, &name::store(*base, *generation), |bytes| {
                let all: Vec<_> = Batches::over(bytes).map(|it| it.unwrap().len()).collect();
                let number = rng.usize(..all.len());
                let end: usize = all[..=number].iter().sum();
                let view = View::verify(&bytes[end - all[number]..end]).unwrap();
                bad.push(view.base_offset()..view.next_offset());
                bytes[end - 1] ^= 0x10;
            });
        }
        let (mut log, _) = open(&root, options.clone(), 10, at(10)).unwrap();
        scrub(&mut log);
        for told in log.damage() {
            assert!(bad.contains(&(told.from..told.to)), "{told:?}: {bad:?}");
        }
        for bytes in &whole {
            let base = View::verify(bytes).unwrap().base_offset();
            let met = log.plan_read(base.max(log.log_start()), Offset::MAX, 1);
            let met = met.and_then(|plan| block_on(plan.run()));
            match bad.iter().any(|bad| bad.start == base) {
                true => assert!(matches!(met, Err(ReadError::Damaged { .. })), "{base}"),
                false => assert_eq!(*met.unwrap().pieces[0], bytes[..], "{base}"),
            }
        }
    }
}

/// Its epochs may have begun where nothing stands, be forgotten below the first segment, or have come with segments.
#[test]
fn no_sound_batch_is_of_another_epoch_whatever_became_of_the_log_and_however_it_was_copied() {
    let (mut forgotten, mut installed) = (0, 0);
    for seed in 0..100 {
        let lives = std::panic::catch_unwind(|| {
            let mut rng = Rng::with_seed(seed);
            let roots = (MemoryDir::new(), MemoryDir::new());
            let log = lived(&roots.0, &mut rng);
            let (copy, installed) = copied((&log, &roots.0), &roots.1, &mut rng);
            let is_forgotten = log.epochs()[0].epoch > LeaderEpoch::ZERO;
            assert_sound(log, &roots.0, &small(), &mut rng);
            assert_sound(copy, &roots.1, &follower(), &mut rng);
            (usize::from(is_forgotten), installed)
        });
        let counts = lives.unwrap_or_else(|panic| {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic)
        });
        (forgotten, installed) = (forgotten + counts.0, installed + counts.1);
    }
    assert!(
        30 < forgotten && 50 < installed,
        "{forgotten} forgot epochs, {installed} segments came in whole"
    );
}

//! An embedded log beside a model of it, with crashes in between.

use fastrand::Rng;

use super::{offset, small, values};
use crate::disk::faulty::{FaultyDir, Match, Operation, When};
use crate::disk::memory::MemoryDir;
use crate::wal::Wal;

/// A disk that holds operations back, so that appends go on beside them.
type Disk = FaultyDir<MemoryDir>;

/// What the log should hold.
struct Model {
    /// All records ever appended and not cut; the first one has offset 0.
    records: Vec<Vec<u8>>,
    log_start: u64,
    durable: u64,
}

impl Model {
    fn end(&self) -> u64 {
        self.records.len() as u64
    }

    fn readable(&self) -> &[Vec<u8>] {
        &self.records[index(self.log_start)..index(self.durable)]
    }
}

#[test]
fn whatever_happens_the_log_holds_what_its_model_does() {
    let mut besides = 0;
    for seed in 0..400 {
        let mut rng = Rng::with_seed(seed);
        let mut memory = MemoryDir::new();
        let mut dir = FaultyDir::new(memory.clone());
        let mut beside = 0;
        let mut wal = Wal::open_in(dir.clone(), small(), seed).unwrap().0;
        let mut model = Model {
            records: Vec::new(),
            log_start: 0,
            durable: 0,
        };
        for step in 0..80 {
            let what = rng.u32(0..100);
            // All but appends and reads wait for what is under way, and what waits here waits for ever.
            if (45..=69).contains(&what) || (76..=90).contains(&what) {
                dir.faults().release_all();
            }
            match what {
                0..=44 => append(&mut wal, &mut model, &mut rng, &dir),
                45..=54 => append_batch(&mut wal, &mut model, &mut rng),
                55..=69 => {
                    wal.sync().unwrap();
                    model.durable = model.end();
                }
                70..=75 => read(&wal, &model, &mut rng),
                76..=80 => {
                    let lowest = rng.u64(model.log_start..=model.end());
                    wal.truncate(offset(lowest)).unwrap();
                    model.log_start = lowest;
                    model.durable = model.durable.max(wal.durable().get());
                }
                81..=87 => {
                    let from = rng.u64(model.log_start..=model.end());
                    wal.truncate_suffix(offset(from)).unwrap();
                    model.records.truncate(index(from));
                    model.durable = from;
                }
                88..=90 => {
                    wal.close().unwrap();
                    model.durable = model.end();
                    let (opened, report) = Wal::open_in(dir.clone(), small(), rng.u64(..)).unwrap();
                    assert!(report.is_clean, "seed {seed}, step {step}");
                    wal = opened;
                }
                91..=95 => {
                    drop(wal);
                    dir = FaultyDir::new(memory.clone());
                    wal = reopen(&dir, &mut model, &mut rng);
                }
                _ => {
                    memory = memory.power_cut(rng.u64(..));
                    dir = FaultyDir::new(memory.clone());
                    wal = reopen(&dir, &mut model, &mut rng);
                }
            }
            beside += usize::from(wal.log.in_flight_bytes() > 0);
            // Appends sync by themselves when too much waits.
            model.durable = model.durable.max(wal.durable().get());
            let (start, end) = (offset(model.log_start), offset(model.end()));
            assert_eq!(wal.log_start(), start, "seed {seed}, step {step}");
            assert_eq!(wal.log_end(), end, "seed {seed}, step {step}");
            assert_eq!(
                wal.durable().get(),
                model.durable,
                "seed {seed}, step {step}"
            );
        }
        assert_eq!(values(&wal), model.readable(), "seed {seed}");
        besides += beside;
    }
    assert!(100 < besides, "{besides} steps were beside a group");
}

fn append(wal: &mut Wal<Disk>, model: &mut Model, rng: &mut Rng, dir: &Disk) {
    if rng.bool() {
        let operations = [Operation::Write, Operation::Sync, Operation::Allocate];
        let operation = operations[rng.usize(..3)];
        let when = [When::Before, When::After][rng.usize(..2)];
        dir.faults().hold(Match::on(operation, ".log"), when);
    }
    for _ in 0..rng.u32(1..20) {
        let record = record(rng);
        let unsynced = wal.log.pending_bytes() + wal.log.in_flight_bytes() + wal.open.len_bytes();
        if small().unsynced_bytes_max < unsynced + record.len() + 500 {
            dir.faults().release_all();
        }
        let at = wal.append(&record).unwrap();
        assert_eq!(at, offset(model.end()));
        model.records.push(record);
    }
}

fn append_batch(wal: &mut Wal<Disk>, model: &mut Model, rng: &mut Rng) {
    let records: Vec<_> = (0..rng.u32(0..20)).map(|_| record(rng)).collect();
    let range = wal.append_batch(&records).unwrap();
    assert_eq!(range.start, offset(model.end()));
    model.records.extend(records);
    assert_eq!(range.end, offset(model.end()));
}

fn record(rng: &mut Rng) -> Vec<u8> {
    let most = if rng.u32(0..50) == 0 { 100_000 } else { 60 };
    let byte = rng.u8(..);
    vec![byte; rng.usize(0..most)]
}

fn read(wal: &Wal<Disk>, model: &Model, rng: &mut Rng) {
    let from = rng.u64(model.log_start..=model.end());
    let entry = wal.read(offset(from)).unwrap();
    let expected = model.records.get(index(from));
    let expected = expected.filter(|_| from < model.durable);
    assert_eq!(entry.as_ref().map(|entry| &entry.value), expected);
    let read: Vec<_> = wal.reader(offset(from)).map(|e| e.unwrap().value).collect();
    let upto = index(model.durable.max(from));
    assert_eq!(read, model.records[index(from)..upto]);
}

/// Opens the log anew: all that was durable is there, and nothing that never was.
fn reopen(dir: &Disk, model: &mut Model, rng: &mut Rng) -> Wal<Disk> {
    let (wal, report) = Wal::open_in(dir.clone(), small(), rng.u64(..)).unwrap();
    let end = wal.log_end();
    assert_eq!(report.log_end, end);
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    assert!(offset(model.durable) <= end, "nothing durable is lost");
    assert!(end <= offset(model.end()), "nothing comes from nowhere");
    model.records.truncate(index(end.get()));
    model.durable = end.get();
    assert_eq!(wal.log_start(), offset(model.log_start));
    assert_eq!(values(&wal), model.readable());
    wal
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

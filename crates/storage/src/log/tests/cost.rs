//! What a durable append costs on the disk, in counts: bytes for each byte, and metadata.

use corelog_record::ByteSize;

use super::at;
use crate::disk::block_on;
use crate::disk::counting::{CountingDir, Counts};
use crate::disk::memory::MemoryDir;
use crate::log::{Log, Options};
use crate::testing::{batch, chore, flush, open};

type Disk = CountingDir<MemoryDir>;

/// What a log was made to write.
struct Spent {
    /// Bytes of batches.
    payload_bytes: u64,
    /// What its flushes asked for, but those that began a segment.
    flushes: Counts,
    /// What each flush that began a segment asked for.
    rolls: Vec<Counts>,
    /// What all asked for, chores included.
    all: Counts,
}

/// Writes `groups` groups of one batch of about `group_bytes`, with the chores that are due done
/// between them, as a node does. What the first group makes is not counted.
fn spend(group_bytes: usize, groups: usize, segment_bytes: u32) -> Spent {
    let disk = CountingDir::new(MemoryDir::new());
    let options = Options {
        segment_bytes_max: ByteSize::from_mib(segment_bytes),
        ..Options::default()
    };
    let (mut log, _) = open(&disk, options, 1, at(0)).unwrap();
    let value = vec![7; group_bytes.min(1 << 20)];
    let group = batch(
        &vec![value.as_slice(); group_bytes.div_ceil(1 << 20)],
        at(0),
    );
    let mut spent = Spent {
        payload_bytes: 0,
        flushes: Counts::default(),
        rolls: Vec::new(),
        all: Counts::default(),
    };
    write(&mut log, &disk, &group, 0);
    let mut count = log.segments().count();
    let begun = disk.counts();
    for number in 1..=groups {
        let flush = write(&mut log, &disk, &group, number);
        spent.payload_bytes += group.len() as u64;
        let is_roll = log.segments().count() > count;
        count = log.segments().count();
        match is_roll {
            true => spent.rolls.push(flush),
            false => {
                spent.flushes = add(spent.flushes, flush);
            }
        }
    }
    spent.all = disk.counts() - begun;
    spent
}

/// One group and what is due behind it. Returns what the flush asked for.
fn write(log: &mut Log<Disk>, disk: &Disk, group: &[u8], number: usize) -> Counts {
    let now = at(i64::try_from(number).unwrap() * 20);
    log.append(group, now).unwrap();
    let plan = log.plan_flush().unwrap();
    let before = disk.counts();
    let done = block_on(plan.run());
    let spent = disk.counts() - before;
    log.complete_flush(done, now).unwrap();
    while chore(log, now, false).unwrap().is_some() {}
    spent
}

fn add(one: Counts, other: Counts) -> Counts {
    Counts {
        written_bytes: one.written_bytes + other.written_bytes,
        zeroed_bytes: one.zeroed_bytes + other.zeroed_bytes,
        syncs: one.syncs + other.syncs,
        dir_syncs: one.dir_syncs + other.dir_syncs,
        set_lens: one.set_lens + other.set_lens,
        allocates: one.allocates + other.allocates,
        renames: one.renames + other.renames,
        entries: one.entries + other.entries,
    }
}

/// Asserts that no flush waits for metadata, but for one round at each roll, and for one sync each.
fn assert_no_metadata(spent: &Spent, groups: usize) {
    let flushes = spent.flushes;
    let others = groups as u64 - spent.rolls.len() as u64;
    let metadata = Counts {
        written_bytes: 0,
        syncs: 0,
        ..flushes
    };
    assert_eq!(metadata, Counts::default(), "outside rolls");
    assert_eq!(flushes.syncs, others, "one sync for each group");
    for roll in &spent.rolls {
        let round = Counts {
            written_bytes: 0,
            renames: 1,
            dir_syncs: 1,
            // The manifest's, and the group's.
            syncs: 2,
            ..Counts::default()
        };
        let found = Counts {
            written_bytes: 0,
            ..*roll
        };
        assert_eq!(found, round, "one round at each roll");
    }
}

#[test]
fn a_hot_log_waits_for_metadata_only_when_it_rolls() {
    // So many rolls that the manifest is written anew on the way.
    let groups = 700;
    let spent = spend(1 << 20, groups, 8);
    assert!(80 <= spent.rolls.len());
    assert_no_metadata(&spent, groups);
}

#[test]
fn a_slow_log_waits_for_metadata_only_when_it_rolls() {
    let groups = 9_000;
    let spent = spend(512, groups, 1);
    assert!(4 <= spent.rolls.len());
    assert_no_metadata(&spent, groups);
}

#[test]
fn a_hot_log_writes_little_more_than_it_was_given() {
    for group_bytes in [132 << 10, 256 << 10, 512 << 10, 1 << 20, 4 << 20] {
        let spent = spend(group_bytes, (128 << 20) / group_bytes, 32);
        let ratio = ratio(&spent);
        assert!(ratio <= 1.2, "{ratio:.3} for groups of {group_bytes} bytes");
    }
}

#[test]
fn zeroed_space_costs_each_byte_once_more() {
    for group_bytes in [32 << 10, 64 << 10, 124 << 10] {
        let spent = spend(group_bytes, (64 << 20) / group_bytes, 32);
        let ratio = ratio(&spent);
        assert!(ratio <= 2.3, "{ratio:.3} for groups of {group_bytes} bytes");
        assert!(1.9 <= ratio, "space of small groups is zeroed: {ratio:.3}");
    }
}

/// What is written at once, others' syncs wait for.
#[test]
fn space_is_prepared_a_step_at_a_time() {
    let disk = CountingDir::new(MemoryDir::new());
    let (mut log, _) = open(&disk, Options::default(), 1, at(0)).unwrap();
    let group = batch(&[&[7; 64 << 10]], at(0));
    let mut largest = 0;
    for _ in 0..700 {
        log.append(&group, at(0)).unwrap();
        flush(&mut log, at(0)).unwrap();
        loop {
            let before = disk.counts();
            let is_done = chore(&mut log, at(0), false).unwrap().is_none();
            largest = largest.max((disk.counts() - before).zeroed_bytes);
            if is_done {
                break;
            }
        }
    }
    let (step, group) = (8 << 20, 68 << 10);
    assert!((step..=step + group).contains(&largest), "{largest}");
}

/// Bytes written for each byte given.
#[expect(clippy::cast_precision_loss, reason = "megabytes fit")]
fn ratio(spent: &Spent) -> f64 {
    spent.all.bytes() as f64 / spent.payload_bytes as f64
}

/// A device may write a durable write past its cache, and forget zeros that are still in there: recovery
/// would find behind the end whatever the blocks held before.
#[test]
fn a_small_group_is_one_call_only_where_a_sync_has_covered_the_space_since_it_was_prepared() {
    let root = MemoryDir::new();
    let options = Options::default();
    let (mut log, _) = open(&root, options, 1, at(0)).unwrap();
    let group = batch(&[&[b'g'; 3_000]], at(0));
    root.record();
    let mut synced_ahead = 0;
    for number in 0..40 {
        // Of sizes that vary, as when clients come and go.
        for _ in 0..[1, 12, 5][usize::try_from(number % 3).unwrap()] {
            log.append(&group, at(number)).unwrap();
        }
        flush(&mut log, at(number)).unwrap();
        // Sometimes there is no time for it.
        let before = root.recorded();
        while number % 4 < 2 && chore(&mut log, at(number), false).unwrap().is_some() {}
        let trace = root.trace();
        let stores = trace.steps()[before..].iter();
        let stores = stores.filter(|step| step.name().ends_with(".log"));
        let steps = stores.map(ToString::to_string);
        synced_ahead += steps.filter(|step| step.starts_with("fdatasync ")).count();
    }
    let (mut space, mut settled, mut whole, mut alone) = (0, 0, 0, 0);
    let trace = root.trace();
    let steps = trace
        .steps()
        .iter()
        .filter(|step| step.name().ends_with(".log"));
    for step in steps.map(ToString::to_string) {
        let end = step
            .rsplit_once(", ")
            .map(|(_, end)| end.trim_end_matches(')'));
        match step.split_once(' ').unwrap().0 {
            "allocate" => space = end.unwrap().parse().unwrap(),
            "fdatasync" => (settled, whole) = (space, whole + 1),
            "sync" => {
                let end: u64 = end.unwrap().parse().unwrap();
                assert!(end <= settled, "{step}: {settled} are settled");
                alone += 1;
            }
            _ => {}
        }
    }
    assert!(2 < synced_ahead, "space was prepared");
    whole -= synced_ahead;
    assert_eq!(whole + alone, 40, "one sync for each group");
    assert!(2 < whole, "some groups had to make their own space");
    assert!(
        whole < alone,
        "{whole} syncs of the whole, {alone} of a group"
    );
    let before = trace.len();
    log.append(&batch(&[&[b'l'; 200 << 10]], at(40)), at(40))
        .unwrap();
    flush(&mut log, at(40)).unwrap();
    let steps = root.trace();
    let large = steps.steps()[before..].iter().map(ToString::to_string);
    let syncs: Vec<_> = large.filter(|step| step.contains("sync")).collect();
    assert!(
        matches!(&syncs[..], [sync] if sync.starts_with("fdatasync ")),
        "{syncs:?}"
    );
}

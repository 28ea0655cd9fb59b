//! A log whose files are gone, and what tells of them.

use std::io::ErrorKind;

use corelog_record::Offset;

use super::following::{follower, source};
use super::{at, offset, small};
use crate::Error;
use crate::disk::counting::{CountingDir, Counts};
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation, When};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, Entry, block_on};
use crate::log::chore::Kind;
use crate::log::{Begin, Begun, Chore, ChorePlan, Event, Log, OpenReport, Options};
use crate::manifest;
use crate::testing::own::SEEDS;
use crate::testing::{self, batch, flush, identity, read_all, run_up_to, settle};

type Disk = FaultyDir<MemoryDir>;

/// A disk with the directory of the log's topic, which its log makes none of.
fn empty() -> MemoryDir {
    let root = MemoryDir::new();
    block_on(root.child("t").create()).unwrap();
    root
}

/// Opens the log in `root`/t/0 as a node does.
async fn open_as<D: Dir>(root: &D, options: Options) -> Result<(Log<D>, OpenReport), Error> {
    let (topic, quarantine) = (root.child("t"), root.child("quarantine"));
    let begun = Begun::beside(topic.clone(), "0");
    let (dir, identity) = (topic.child("0"), identity());
    Log::open_beside(dir, quarantine, begun, identity, options, 1, at(1)).await
}

fn open<D: Dir>(root: &D) -> Result<Log<D>, Error> {
    block_on(open_as(root, small())).map(|(log, _)| log)
}

/// Appends a record, and flushes it.
async fn append<D: Dir>(log: &mut Log<D>) -> Result<(), Error> {
    log.append(&batch(&[b"kept"], at(1)), at(1)).unwrap();
    let plan = log.plan_flush().unwrap();
    let done = plan.run().await;
    log.complete_flush(done, at(1)).map(drop)
}

/// A disk with a log of one record, closed in order.
fn kept() -> MemoryDir {
    let root = empty();
    let mut log = open(&root).unwrap();
    block_on(append(&mut log)).unwrap();
    block_on(log.close(at(2))).unwrap();
    root
}

/// The same of two records, of a server that was killed.
fn killed() -> MemoryDir {
    let root = kept();
    let mut log = open(&root).unwrap();
    block_on(append(&mut log)).unwrap();
    root
}

/// The same as an earlier version left it: nothing tells of it.
fn of_an_earlier_version(is_closed: bool) -> MemoryDir {
    let root = if is_closed { kept() } else { killed() };
    let topic = root.child("t");
    block_on(topic.remove("0.begun")).unwrap();
    block_on(topic.sync()).unwrap();
    root
}

/// It is found gone once its files are.
fn assert_gone_without_files(root: &MemoryDir) {
    block_on(root.child("t").child("0").remove_tree()).unwrap();
    assert!(matches!(open(root), Err(Error::Gone { .. })));
}

/// Does not let what is to tell of a log be made, so many times.
fn refuse(root: &Disk, times: u64, fault: Fault) {
    for nth in 1..=times {
        let is_it = Match::on(Operation::CreateFile, "0.begun");
        root.faults().fail(is_it, nth, fault);
    }
}

fn run(log: &mut Log<Disk>, plan: Result<ChorePlan<Disk>, Error>) -> Result<Chore, Error> {
    testing::run(log, plan?, at(2))
}

fn files(dir: &MemoryDir) -> Vec<Entry> {
    block_on(dir.list()).unwrap_or_default()
}

fn is_told(root: &MemoryDir) -> bool {
    let topic = files(&root.child("t"));
    topic.iter().any(|entry| entry.name == "0.begun")
}

/// It was opened as a new one: what had been acknowledged was gone without a word, and its offsets were given out again.
#[test]
fn a_log_whose_files_are_gone_is_not_opened_until_they_are_back_and_nothing_is_touched() {
    for left in [&[][..], &["mark"], &["next"], &["mark", "next"]] {
        let root = kept();
        let (topic, away) = (root.child("t"), root.child("away"));
        block_on(async {
            away.create().await.unwrap();
            topic.rename("0", &away, "0").await.unwrap();
        });
        let dir = topic.child("0");
        let is_gone = || {
            let before = files(&dir);
            let Err(Error::Gone { told, .. }) = open(&root) else {
                panic!("{left:?}: it is gone");
            };
            let named = |name: &str| told.contains(&format!("t/{name}"));
            assert!(named("0.begun"), "{told}");
            assert_eq!(named("0/mark"), before.iter().any(|it| it.name == "mark"));
            assert_eq!(files(&dir), before, "{left:?}");
        };
        is_gone();
        block_on(dir.create()).unwrap();
        is_gone();
        for name in left {
            block_on(dir.write_aside(name, &[0; 4096])).unwrap();
        }
        // As whoever copies it back may begin.
        block_on(dir.write_aside("00000000000000000000.log", b"")).unwrap();
        is_gone();
        block_on(async {
            dir.remove_tree().await.unwrap();
            away.rename("0", &topic, "0").await.unwrap();
        });
        let log = open(&root).unwrap();
        assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 1);
    }
}

#[test]
fn without_what_tells_of_it_a_log_whose_files_are_gone_begins_anew() {
    let root = kept();
    let topic = root.child("t");
    block_on(topic.child("0").remove_tree()).unwrap();
    assert!(open(&root).is_err());
    block_on(topic.remove("0.begun")).unwrap();
    let mut log = open(&root).unwrap();
    assert_eq!(log.log_end(), Offset::ZERO);
    block_on(append(&mut log)).unwrap();
    assert!(is_told(&root));
}

/// It made the directories anew that were on a volume which was not mounted any more, and acknowledged records in them.
#[test]
fn a_log_makes_no_first_files_where_the_directory_above_it_is_gone() {
    let root = empty();
    let topic = root.child("t");
    let mut log = open(&root).unwrap();
    block_on(root.rename("t", &root, "away")).unwrap();
    let refused = block_on(append(&mut log)).unwrap_err();
    assert!(refused.is_missing(), "{refused}");
    assert!(log.is_fenced());
    assert!(!block_on(topic.exists()).unwrap());
    let (mut copy, _) = block_on(open_as(&root, follower())).unwrap();
    let plan = copy.plan_epoch(Begin::Promoted).unwrap();
    let refused = testing::run(&mut copy, plan, at(2)).unwrap_err();
    assert!(refused.is_missing(), "{refused}");
    assert!(!block_on(topic.exists()).unwrap());
    block_on(root.rename("away", &root, "t")).unwrap();
    let mut log = open(&root).unwrap();
    block_on(append(&mut log)).unwrap();
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 1);
}

#[test]
fn nothing_tells_of_a_log_before_its_first_files() {
    let root = empty();
    let mut log = open(&root).unwrap();
    block_on(log.close(at(2))).unwrap();
    assert!(files(&root.child("t")).is_empty());
    assert!(open(&root).is_ok());
}

/// A copy has files before it has a record, and an owner that took over as well; and what is taken of others counts as theirs.
#[test]
fn whenever_the_power_goes_a_log_whose_end_was_changed_is_told_of() {
    let end = source(&MemoryDir::new(), 5).end_place();
    for (made, is_copy) in [
        (empty(), true),
        (empty(), false),
        (of_an_earlier_version(true), true),
        (of_an_earlier_version(true), false),
    ] {
        let state_of = |root: &MemoryDir| {
            let read = block_on(manifest::read(&root.child("t").child("0")));
            read.ok().map(|(_, state)| state)
        };
        let before = state_of(&made);
        let operations = (0..).find(|operations| {
            let root = Disk::new(made.power_cut(0));
            let (mut log, _) = block_on(open_as(&root, follower())).unwrap();
            root.faults().hold(Match::ANY, When::Before);
            let plan = match is_copy {
                true => log.plan_adopt(identity().history, end),
                false => log.plan_epoch(Begin::Promoted),
            };
            let done = run_up_to(&root, plan.unwrap().run(), *operations);
            for seed in 0..SEEDS {
                let cut = root.inner().power_cut(seed);
                let is_changed = before.is_some() && state_of(&cut) != before;
                let is_there = is_changed || done.is_some();
                assert!(!is_there || is_told(&cut), "{is_copy} {operations}");
                block_on(open_as(&cut, follower())).unwrap();
            }
            let is_done = done.is_some();
            let taken = done.map(|done| log.complete_chore(done, at(1)));
            assert!(taken.is_none_or(|taken| taken.is_ok() && log.has_files()));
            is_done
        });
        assert!(operations.unwrap() > 3, "{operations:?}");
    }
}

#[test]
fn a_log_of_an_earlier_version_is_told_of_from_its_next_opening_on() {
    let root = kept();
    let topic = root.child("t");
    block_on(topic.remove("0.begun")).unwrap();
    let (dir, aside) = (topic.child("0"), root.child("quarantine"));
    let earlier = Log::open(dir.clone(), aside, identity(), small(), 1, at(1));
    drop(block_on(earlier).unwrap());
    assert!(!is_told(&root));
    drop(open(&root).unwrap());
    assert!(is_told(&root));
    block_on(dir.remove_tree()).unwrap();
    assert!(matches!(open(&root), Err(Error::Gone { .. })));
}

/// A mark is made behind the manifest: where that is gone and no store holds anything, it was taken for a directory that
/// was begun, and the mark was replaced.
#[test]
fn a_mark_without_a_manifest_tells_of_a_log_by_itself() {
    let root = kept();
    let (dir, aside) = (root.child("t").child("0"), root.child("quarantine"));
    for entry in files(&dir) {
        if entry.name != "mark" {
            block_on(dir.remove(&entry.name)).unwrap();
        }
    }
    let opened = Log::open(dir.clone(), aside, identity(), small(), 1, at(1));
    let Err(Error::Gone { told, .. }) = block_on(opened) else {
        panic!("it had a manifest");
    };
    assert!(told.ends_with("/mark"), "{told}");
    assert_eq!(files(&dir).len(), 1);
}

/// A disk on which so many operations happened of a log that begins and appends a record; what came of that, if all did.
fn begun_up_to(operations: usize) -> (Disk, Option<Result<(), Error>>) {
    let root = Disk::new(empty());
    root.faults().hold(Match::ANY, When::Before);
    let beginning = async {
        let (mut log, _) = open_as(&root, small()).await?;
        append(&mut log).await
    };
    let done = run_up_to(&root, beginning, operations);
    (root, done)
}

/// What is known of a partition whose first files were cut off in the middle: it is new, or all that was acknowledged is
/// there, and never is it taken for one that is gone.
#[test]
fn whenever_the_power_goes_a_log_that_begins_is_new_or_there_and_told_of_once_it_acknowledged() {
    let operations = (0..).find(|operations| {
        let (root, done) = begun_up_to(*operations);
        let is_done = done.is_some_and(|done| done.is_ok());
        for seed in 0..SEEDS {
            let left = root.inner().power_cut(seed);
            // Before an opening makes up for it.
            assert!(!is_done || is_told(&left), "it is told of");
            let mut log = open(&left).unwrap();
            assert!(
                !is_done || log.durable() == offset(1),
                "it was acknowledged"
            );
            block_on(append(&mut log)).unwrap();
            settle(&mut log, at(3)).unwrap();
            drop(log);
            // It is found gone from then on, whatever was cut off before, and is again.
            for again in 0..SEEDS {
                assert_gone_without_files(&left.power_cut(again));
            }
        }
        is_done
    });
    assert!(operations.unwrap() > 15, "{operations:?}");
}

/// What a kill leaves undone of the first files, the next opening does. It made the mark durable, and of what tells of the log
/// it made nothing sure.
#[test]
fn whenever_a_log_that_begins_is_killed_it_is_told_of_once_the_next_one_acknowledges() {
    let operations = (0..).find(|operations| {
        let (root, done) = begun_up_to(*operations);
        let left = root.inner();
        for is_appended in [false, true] {
            let mut log = open(left).unwrap();
            if is_appended {
                block_on(append(&mut log)).unwrap();
            }
            let is_acknowledged = Offset::ZERO < log.durable();
            for seed in 0..SEEDS {
                let cut = left.power_cut(seed);
                assert!(!is_acknowledged || is_told(&cut), "{operations}");
                open(&cut).unwrap();
            }
        }
        done.is_some()
    });
    assert!(operations.unwrap() > 15, "{operations:?}");
}

/// The same of an opening that makes it for a log of an earlier version: that it is there proves nothing where an opening was
/// killed while it made it.
#[test]
fn whenever_an_opening_that_makes_up_for_it_is_killed_the_log_is_told_of_once_it_acknowledges() {
    for is_closed in [true, false] {
        let operations = (0..).find(|operations| {
            let root = Disk::new(of_an_earlier_version(is_closed));
            root.faults().hold(Match::ANY, When::Before);
            let done = run_up_to(&root, open_as(&root, small()), *operations);
            let mut log = open(root.inner()).unwrap();
            block_on(append(&mut log)).unwrap();
            for seed in 0..SEEDS {
                let cut = root.inner().power_cut(seed);
                assert!(is_told(&cut), "{is_closed} {operations}");
                assert_gone_without_files(&cut);
            }
            done.is_some()
        });
        assert!(operations.unwrap() > 5, "{operations:?}");
    }
}

/// A node has ten thousand of them, of which most are idle.
#[test]
fn an_opening_makes_what_tells_of_a_log_at_most_and_nothing_of_it_durable() {
    for (made, is_made) in [
        (kept(), false),
        (killed(), false),
        (of_an_earlier_version(true), true),
        (of_an_earlier_version(false), true),
    ] {
        let asked = |is_told: bool| {
            let root = Disk::new(made.power_cut(0));
            let (dir, aside) = (root.child("t").child("0"), root.child("quarantine"));
            match is_told {
                true => drop(open(&root).unwrap()),
                false => {
                    let opened = Log::open(dir, aside, identity(), small(), 1, at(1));
                    drop(block_on(opened).unwrap());
                }
            }
            root.faults().counts()
        };
        let mut without = asked(false);
        *without.entry(Operation::CreateFile).or_default() += 1;
        *without.entry(Operation::Close).or_default() += u64::from(is_made);
        assert_eq!(asked(true), without);
    }
}

#[test]
fn a_clean_stop_stays_one_where_an_opening_makes_what_tells_of_the_log() {
    let root = of_an_earlier_version(true);
    for _ in 0..2 {
        let (_, report) = block_on(open_as(&root, small())).unwrap();
        assert!(report.is_clean && is_told(&root));
    }
}

/// Every operation is failed once, in order; then the power goes. Nothing tells of files that may not be there.
#[test]
fn whatever_fails_while_a_log_begins_it_is_new_or_there_and_told_of_once_it_acknowledged() {
    let operations = (1..).find(|nth| {
        let root = Disk::new(empty());
        let fault = Fault::Fail(ErrorKind::Other);
        root.faults().fail(Match::ANY, *nth, fault);
        let done = block_on(async {
            let (mut log, _) = open_as(&root, small()).await?;
            append(&mut log).await
        });
        let is_over = root.faults().is_pending();
        for seed in 0..SEEDS {
            let left = root.inner().power_cut(seed);
            assert!(done.is_err() || is_told(&left), "{nth}");
            let mut log = open(&left).unwrap();
            assert!(done.is_err() || log.durable() == offset(1), "{nth}");
            block_on(append(&mut log)).unwrap();
            assert_gone_without_files(&left.power_cut(seed));
        }
        let log = open(root.inner()).unwrap();
        assert!(done.is_err() || log.durable() == offset(1), "{nth}");
        is_over
    });
    assert!(operations.unwrap() > 15, "{operations:?}");
}

/// It is opened all the same: it is there.
#[test]
fn a_log_of_which_nothing_can_be_made_to_tell_is_opened_and_told_of_later() {
    for kind in [
        ErrorKind::StorageFull,
        ErrorKind::ReadOnlyFilesystem,
        ErrorKind::Other,
    ] {
        let root = Disk::new(of_an_earlier_version(true));
        refuse(&root, 1, Fault::Fail(kind));
        let mut log = open(&root).unwrap();
        assert!(!root.faults().is_pending() && !is_told(root.inner()));
        assert_eq!(log.durable(), offset(1));
        let events = log.take_events();
        let is_untold = |event: &&Event| matches!(event, Event::Untold { .. });
        assert_eq!(events.iter().filter(is_untold).count(), 1, "{events:?}");
        drop(log);
        drop(open(&root).unwrap());
        assert!(is_told(root.inner()));
    }
}

/// The node acknowledged for months what nothing told of, once the disk had been full at its start.
#[test]
fn a_log_of_which_nothing_could_be_made_to_tell_takes_nothing_before_it_is_made() {
    for fault in [Fault::Fail(ErrorKind::StorageFull), Fault::OutOfFiles] {
        let root = Disk::new(of_an_earlier_version(true));
        refuse(&root, 2, fault);
        let mut log = open(&root).unwrap();
        log.append(&batch(&[b"more"], at(1)), at(1)).unwrap();
        flush(&mut log, at(1)).unwrap_err();
        assert!(!root.faults().is_pending() && !log.is_fenced());
        assert_eq!(log.durable(), offset(1));
        settle(&mut log, at(2_000)).unwrap();
        assert_eq!(log.durable(), offset(2));
        let syncs = |root: &Disk| root.faults().count(Operation::SyncDir);
        for seed in 0..SEEDS {
            assert_gone_without_files(&root.inner().power_cut(seed));
        }
        let before = syncs(&root);
        block_on(append(&mut log)).unwrap();
        assert_eq!(syncs(&root), before, "once");
    }
}

#[test]
fn a_copy_of_which_nothing_could_be_made_to_tell_begins_no_epoch_before_it_is_made() {
    for fault in [Fault::Fail(ErrorKind::StorageFull), Fault::OutOfFiles] {
        let root = Disk::new(of_an_earlier_version(true));
        refuse(&root, 2, fault);
        let (mut log, _) = block_on(open_as(&root, follower())).unwrap();
        let before = log.epochs().to_vec();
        let plan = log.plan_epoch(Begin::Promoted);
        run(&mut log, plan).unwrap_err();
        assert!(!root.faults().is_pending() && !log.is_fenced());
        assert_eq!(log.epochs(), before);
        assert!(!is_told(root.inner()));
        let plan = log.plan_epoch(Begin::Promoted);
        run(&mut log, plan).unwrap();
        assert_eq!(log.epochs().len(), before.len() + 1);
        for seed in 0..SEEDS {
            assert_gone_without_files(&root.inner().power_cut(seed));
        }
    }
}

/// Its edits were made, and the log went on without them: what its mark said then was of files that the manifest did not name.
#[test]
fn a_log_with_records_of_which_nothing_can_be_made_to_tell_is_not_adopted_by_half() {
    let end = source(&MemoryDir::new(), 5).end_place();
    for fault in [Fault::Fail(ErrorKind::StorageFull), Fault::OutOfFiles] {
        let root = Disk::new(of_an_earlier_version(true));
        refuse(&root, 2, fault);
        let (mut log, _) = block_on(open_as(&root, follower())).unwrap();
        let plan = log.plan_adopt(identity().history, end);
        run(&mut log, plan).unwrap_err();
        assert!(!root.faults().is_pending() && !log.is_fenced());
        assert_eq!(log.durable(), offset(1));
        settle(&mut log, at(2_000)).unwrap();
        block_on(log.close(at(2_000))).unwrap();
        let (mut log, _) = block_on(open_as(&root, follower())).unwrap();
        assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 1);
        let plan = log.plan_adopt(identity().history, end);
        run(&mut log, plan).unwrap();
        assert_eq!((log.log_start(), log.durable()), (end.offset, end.offset));
    }
}

/// One that fails takes away what it made, and the other one may have found it there.
#[test]
fn one_plan_at_a_time_makes_what_tells_of_a_log() {
    let root = Disk::new(of_an_earlier_version(false));
    refuse(&root, 2, Fault::Fail(ErrorKind::StorageFull));
    let mut log = open(&root).unwrap();
    log.append(&batch(&[b"more"], at(1)), at(1)).unwrap();
    flush(&mut log, at(1)).unwrap_err();
    let chore = log.plan_chore(at(2_000), false).unwrap();
    assert_eq!(log.chore, Some(Kind::Prepare));
    block_on(log.flush_pending(at(2_000))).unwrap_err();
    assert!(!is_told(root.inner()));
    testing::run(&mut log, chore, at(2_000)).unwrap();
    settle(&mut log, at(2_000)).unwrap();
    assert_eq!(log.durable(), offset(3));

    let mut log = open(&killed()).unwrap();
    log.append(&batch(&[b"more"], at(1)), at(1)).unwrap();
    let plan = log.plan_flush().unwrap();
    // The next group is of another segment, whose store is made ahead.
    log.append(&batch(&[&[7; 16_300]], at(1)), at(1)).unwrap();
    assert_eq!(log.segments().count(), 2);
    let ahead = log.plan_chore(at(1), false);
    assert!(ahead.is_none(), "{ahead:?}");
    let done = block_on(plan.run());
    log.complete_flush(done, at(1)).unwrap();
    settle(&mut log, at(1)).unwrap();
    assert_eq!(log.durable(), offset(4));
}

#[test]
fn what_tells_of_a_log_costs_a_file_once_and_a_sync_of_a_directory_in_each_life() {
    let spent = |is_told: bool| {
        let root = CountingDir::new(empty());
        let (topic, aside) = (root.child("t"), root.child("quarantine"));
        let dir = topic.child("0");
        let open = || {
            let (dir, aside) = (dir.clone(), aside.clone());
            match is_told {
                true => block_on(open_as(&root, small())),
                false => block_on(Log::open(dir, aside, identity(), small(), 1, at(1))),
            }
        };
        let (mut log, _) = open().unwrap();
        let mut spent = vec![root.counts()];
        for _ in 0..20 {
            block_on(append(&mut log)).unwrap();
            spent.push(root.counts());
        }
        settle(&mut log, at(2)).unwrap();
        block_on(log.close(at(2))).unwrap();
        spent.push(root.counts());
        let (mut log, _) = open().unwrap();
        spent.push(root.counts());
        for _ in 0..20 {
            block_on(append(&mut log)).unwrap();
            spent.push(root.counts());
        }
        spent
    };
    let more = spent(true).into_iter().zip(spent(false));
    let more: Vec<Counts> = more.map(|(told, untold)| told - untold).collect();
    let so_many = |entries, dir_syncs| Counts {
        entries,
        dir_syncs,
        ..Counts::default()
    };
    let mut expected = vec![so_many(0, 0)];
    expected.extend([so_many(1, 1); 21]);
    // Asked for, and found there.
    expected.push(so_many(2, 1));
    expected.extend([so_many(3, 2); 20]);
    assert_eq!(more, expected);
}

#[test]
fn a_group_that_finds_no_room_for_what_tells_of_it_waits_and_any_other_failure_fences() {
    for fault in [
        Fault::Fail(ErrorKind::StorageFull),
        Fault::OutOfFiles,
        Fault::Fail(ErrorKind::Other),
    ] {
        let root = Disk::new(empty());
        let mut log = open(&root).unwrap();
        let is_it = Match::on(Operation::CreateFile, "0.begun");
        root.faults().fail(is_it, 1, fault);
        log.append(&batch(&[b"kept"], at(1)), at(1)).unwrap();
        flush(&mut log, at(1)).unwrap_err();
        assert!(!root.faults().is_pending());
        assert_eq!(log.is_fenced(), fault == Fault::Fail(ErrorKind::Other));
        assert_eq!(log.durable(), Offset::ZERO);
        assert!(!is_told(root.inner()));
        if log.is_fenced() {
            continue;
        }
        settle(&mut log, at(2_000)).unwrap();
        assert_eq!(log.durable(), offset(1));
        assert!(is_told(root.inner()));
    }
}

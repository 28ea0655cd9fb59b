//! What may be, is.

use super::*;

#[test]
fn a_closed_log_is_sound_and_every_byte_of_it_is_read() {
    let partition = Partition::filled(150);
    let checked = verify(partition.path());
    assert_eq!(faults(&checked), Vec::<&Finding>::new());
    let stores = files(partition.path(), "log");
    let bytes: u64 = stores
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .sum();
    assert_eq!(
        (checked.bytes, checked.batches, checked.records),
        (bytes, 150, 300)
    );
    assert_eq!(verify(&stores[1]).batches, batches_in(&stores[1]));
}

fn batches_in(store: &Path) -> u64 {
    let bytes = std::fs::read(store).unwrap();
    corelog_record::batch::Batches::over(&bytes).count() as u64
}

#[test]
fn a_store_without_its_log_is_checked_by_itself_and_by_its_index() {
    let partition = Partition::filled(150);
    let alone = tempfile::tempdir().unwrap();
    let store = &files(partition.path(), "log")[1];
    let copy = alone.path().join(store.file_name().unwrap());
    std::fs::copy(store, &copy).unwrap();
    assert_eq!(kinds(&verify(&copy)), []);
    std::fs::copy(store.with_extension("index"), copy.with_extension("index")).unwrap();
    assert_eq!(kinds(&verify(&copy)), []);
    // The epoch lies outside the batch's checksum: only the chain in the index knows.
    alter(&copy, |bytes| bytes[15] ^= 1);
    assert_eq!(kinds(&verify(&copy)), [What::Index]);
}

#[test]
fn a_log_in_use_is_sound_at_every_moment() {
    let partition = Partition::new();
    let mut log = partition.open();
    for number in 0..120_u64 {
        let value = vec![1; 300 + (number % 7) as usize * 90];
        log.append(&batch(&[&value], at(0)), at(0)).unwrap();
        flush(&mut log, at(0)).unwrap();
        assert_eq!(kinds(&verify(partition.path())), [], "batch {number}");
        if number % 5 == 0 {
            while crate::testing::chore(&mut log, at(0), number % 2 == 0)
                .unwrap()
                .is_some()
            {
                assert_eq!(kinds(&verify(partition.path())), [], "batch {number}");
            }
        }
        if number % 40 == 39 {
            let plan = log.plan_truncate(offset(number / 2)).unwrap();
            run(&mut log, plan.unwrap(), at(0)).unwrap();
            assert_eq!(kinds(&verify(partition.path())), [], "batch {number}");
        }
    }
}

#[test]
fn a_segment_that_expires_while_it_is_read_is_no_damage() {
    let partition = Partition::new();
    let mut log = partition.open();
    fill(&mut log, 150);
    let survey = survey(partition.path()).unwrap().unwrap();
    let plan = log.plan_truncate(offset(200)).unwrap().unwrap();
    run(&mut log, plan, at(0)).unwrap();
    settle(&mut log, at(0)).unwrap();
    let hooks = Hooks {
        progress: &|_bytes| {},
        records: None,
    };
    let found: Vec<_> = survey
        .stores
        .iter()
        .flat_map(|store| store.run(&hooks).findings)
        .collect();
    assert!(!found.is_empty());
    assert!(
        found.iter().all(|finding| finding.what == What::Changed),
        "{found:?}"
    );
}

/// The end was judged by a piece that had been read before, what lay behind it as it was now: more than
/// a server may have in flight, so damage.
#[test]
fn an_active_store_that_grows_while_it_is_read_is_no_damage() {
    use std::os::unix::fs::FileExt;
    let mut partition = Partition::new();
    partition.options.segment_bytes_max = ByteSize::from_mib(64);
    let mut log = partition.open();
    let mut marks = Vec::new();
    for number in 0..80 {
        log.append(&batch(&[&vec![1; 300 << 10]], at(0)), at(0))
            .unwrap();
        flush(&mut log, at(0)).unwrap();
        if number == 0 {
            settle(&mut log, at(0)).unwrap();
            marks = std::fs::read(partition.path().join("mark")).unwrap();
        }
    }
    drop(log);
    std::fs::write(partition.path().join("mark"), marks).unwrap();
    let store = files(partition.path(), "log").pop().unwrap();
    let whole = std::fs::read(&store).unwrap();
    let four: usize = corelog_record::batch::Batches::over(&whole)
        .take(4)
        .map(|batch| batch.unwrap().len())
        .sum();
    alter(&store, |bytes| bytes[four..].fill(0));
    let survey = survey(&store).unwrap().unwrap();
    // The server goes on once a piece was read in which the four end.
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&store)
        .unwrap();
    let hooks = Hooks {
        progress: &|_bytes| file.write_all_at(&whole, 0).unwrap(),
        records: None,
    };
    let checked = survey.stores[0].run(&hooks);
    assert_eq!(faults(&checked), Vec::<&Finding>::new());
    assert_eq!(checked.batches, 80, "what came meanwhile is read, too");
    alter(&store, |bytes| bytes[four] ^= 1);
    assert_eq!(kinds(&verify(&store)), [What::Batch]);
}

/// A cut under way, of a follower that rejoins, was a difference, with 3.
#[test]
fn a_store_without_a_name_is_a_note_beside_a_server() {
    let partition = Partition::filled(60);
    let store = &files(partition.path(), "log")[0];
    let made = partition.path().join("00000000000000000000.1.log");
    std::fs::copy(store, &made).unwrap();
    assert_eq!(kinds(&verify(partition.path())), [What::Unnamed]);
    let looked = super::super::survey(partition.path(), true);
    let checked = check(looked.unwrap().unwrap());
    assert_eq!(kinds(&checked), []);
    let told = checked
        .findings
        .iter()
        .map(|found| (found.what, &found.file));
    assert_eq!(told.collect::<Vec<_>>(), [(What::Leftover, &made)]);
}

#[test]
fn what_an_interrupted_write_left_is_told_and_is_no_damage() {
    let partition = Partition::new();
    let mut log = partition.open();
    fill(&mut log, 10);
    let store = files(partition.path(), "log").pop().unwrap();
    let end = log.segments().next_back().unwrap().bytes;
    drop(log);
    alter(&store, |bytes| {
        bytes.resize(bytes.len().max(usize::try_from(end).unwrap() + 4096), 0);
        bytes[usize::try_from(end).unwrap() + 700] = 7;
    });
    let checked = verify(partition.path());
    assert_eq!(kinds(&checked), []);
    let torn = checked
        .findings
        .iter()
        .find(|finding| finding.what == What::Torn);
    assert_eq!(torn.unwrap().position, Some(end));
}

#[test]
fn topics_that_come_and_go_are_no_strangers() {
    let folder = tempfile::tempdir().unwrap();
    for dir in ["topics", "deleted/a-1", "restoring/b", "elsewhere"] {
        std::fs::create_dir_all(folder.path().join(dir)).unwrap();
    }
    std::fs::write(folder.path().join("node"), b"").unwrap();
    // A server died amid making them, or lives: they were told as damage.
    std::fs::create_dir(folder.path().join("topics/c")).unwrap();
    std::fs::create_dir(folder.path().join("topics/d")).unwrap();
    std::fs::write(folder.path().join("topics/d/topic.new"), b"").unwrap();
    let checked = verify(folder.path());
    let named = |what: What| {
        let findings = checked.findings.iter();
        let named = findings.filter(move |finding| finding.what == what);
        named
            .map(|f| f.file.file_name().unwrap().to_str().unwrap())
            .collect::<Vec<_>>()
    };
    let mut leftovers = named(What::Leftover);
    leftovers.sort_unstable();
    assert_eq!(leftovers, ["a-1", "b", "c", "d", "topic.new"]);
    assert_eq!(named(What::Stranger), ["elsewhere"]);
    assert_eq!(named(What::Topic), Vec::<&str>::new());
}

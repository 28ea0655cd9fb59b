//! What is changed, is found.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use corelog_record::{Offset, Ordinal};
use fastrand::Rng;
use nix::unistd::{Uid, setfsuid};

use super::snapshot::topic_file;
use super::*;
use crate::format::edit::{Edit, Point};
use crate::format::index;
use crate::format::manifest::Manifest;
use crate::format::mark::{self, SLOT_BYTES};
use crate::fuzz::repair;
use crate::segment::name;
use crate::testing::own::{self, last_but_one};
use crate::verify::survey;

#[test]
fn every_changed_byte_of_every_file_is_found() {
    let partition = Partition::filled(100);
    let mut rng = Rng::with_seed(1);
    let mut all: Vec<_> = std::fs::read_dir(partition.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    all.sort();
    for path in all {
        let right = std::fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let used = match name.as_str() {
            // Of these, room for more is empty.
            "manifest" => right.iter().rposition(|byte| *byte != 0).unwrap(),
            "mark" => 512,
            _ => right.len(),
        };
        for _ in 0..40 {
            let position = rng.usize(..used);
            let is_reserved = name == "manifest" && (512..4096).contains(&position);
            if is_reserved || (name == "mark" && right[..512].iter().all(|byte| *byte == 0)) {
                continue;
            }
            let mut bytes = right.clone();
            bytes[position] ^= 1 << rng.u8(0..8);
            std::fs::write(&path, bytes).unwrap();
            let checked = verify(partition.path());
            let is_second_slot = name == "mark" && checked.findings.is_empty();
            assert!(
                is_second_slot || !faults(&checked).is_empty(),
                "{name} at {position}"
            );
            for finding in faults(&checked) {
                let is_mine = finding.file == path || name == "manifest";
                assert!(is_mine, "{name} at {position}: {finding:?}");
            }
        }
        std::fs::write(&path, right).unwrap();
    }
    assert_eq!(kinds(&verify(partition.path())), []);
}

#[test]
fn a_bad_batch_is_told_with_its_place_and_its_offsets() {
    let partition = Partition::filled(100);
    let store = &files(partition.path(), "log")[1];
    let bytes = std::fs::read(store).unwrap();
    let base: u64 = store
        .file_stem()
        .unwrap()
        .to_string_lossy()
        .parse()
        .unwrap();
    let first = corelog_record::batch::Batches::over(&bytes)
        .next()
        .unwrap()
        .unwrap()
        .len();
    alter(store, |bytes| bytes[first + 100] ^= 1);
    let checked = verify(partition.path());
    let expected = Finding {
        what: What::Batch,
        file: store.clone(),
        position: Some(first as u64),
        offsets: Some(offset(base + 2)..offset(base + 4)),
        expected: format!("a sound batch of offset {}", base + 2),
        found: faults(&checked)[0].found.clone(),
    };
    assert_eq!(faults(&checked), [&expected]);
    assert!(expected.found.contains("checksum"), "{}", expected.found);
    assert_eq!(checked.batches, 99, "all others are checked");
}

#[test]
fn missing_short_long_and_swapped_files_are_told() {
    let partition = Partition::filled(100);
    let stores = files(partition.path(), "log");
    let check = |change: &dyn Fn(), expected: &[What]| {
        let saved = tempfile::tempdir().unwrap();
        for path in files(partition.path(), "log")
            .iter()
            .chain(&files(partition.path(), "index"))
        {
            std::fs::copy(path, saved.path().join(path.file_name().unwrap())).unwrap();
        }
        change();
        assert_eq!(kinds(&verify(partition.path())), expected);
        for entry in std::fs::read_dir(saved.path()).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, partition.path().join(path.file_name().unwrap())).unwrap();
        }
    };
    check(
        &|| std::fs::remove_file(&stores[0]).unwrap(),
        &[What::MissingStore],
    );
    check(
        &|| alter(&stores[0], |bytes| bytes.truncate(5000)),
        &[What::Batch],
    );
    check(
        &|| alter(&stores[0], |bytes| bytes.push(0)),
        &[What::Surplus],
    );
    check(
        &|| copy(&stores[1], &stores[0]),
        &[What::Surplus, What::Batch],
    );
    let index = stores[0].with_extension("index");
    check(&|| std::fs::remove_file(&index).unwrap(), &[What::Index]);
    check(
        &|| copy(&stores[1].with_extension("index"), &index),
        &[What::Index],
    );
    assert_eq!(kinds(&verify(partition.path())), []);
}

fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
}

#[test]
fn without_its_manifest_a_partition_says_so_and_its_stores_are_still_read() {
    let partition = Partition::filled(100);
    std::fs::remove_file(partition.path().join("manifest")).unwrap();
    let checked = verify(partition.path());
    assert_eq!(kinds(&checked), [What::NoManifest]);
    assert_eq!(checked.batches, 100);
}

#[test]
fn an_open_store_that_ends_before_its_mark_is_damage() {
    let partition = Partition::new();
    let mut log = partition.open();
    fill(&mut log, 10);
    drop(log);
    let store = files(partition.path(), "log").pop().unwrap();
    alter(&store, |bytes| bytes[3000..].fill(0));
    let checked = verify(partition.path());
    assert_eq!(faults(&checked)[0].what, What::Batch);
    assert_eq!(
        faults(&checked)[0].offsets.as_ref().unwrap().end,
        offset(20)
    );
}

/// Two stores that hold batches and are not sealed, and the offset at which the second begins.
fn two_open_stores() -> (Partition, Offset) {
    let partition = Partition::new();
    let mut log = partition.open();
    while log.segments().count() < 2 {
        log.append(&batch(&[&[1; 700], b"second"], at(0)), at(0))
            .unwrap();
        flush(&mut log, at(0)).unwrap();
    }
    log.append(&batch(&[b"behind"], at(0)), at(0)).unwrap();
    flush(&mut log, at(0)).unwrap();
    let next = log.segments().last().unwrap().base;
    drop(log);
    (partition, next)
}

/// Only the offset was compared: what opening calls damage was sound.
#[test]
fn an_open_store_with_another_chain_than_the_next_one_begins_with_is_damage() {
    let (partition, next) = two_open_stores();
    assert_eq!(kinds(&verify(partition.path())), []);
    let stores = files(partition.path(), "log");
    // As sound as the one that was appended, offset and epoch included.
    let other = batch(&[&[2; 700], b"second"], at(0));
    alter(&stores[0], |bytes| {
        bytes[16..other.len()].copy_from_slice(&other[16..]);
    });
    let checked = verify(partition.path());
    assert_eq!(kinds(&checked), [What::Chain]);
    let found = faults(&checked)[0];
    assert_eq!(found.file, stores[0]);
    assert_eq!(found.offsets, Some(Offset::ZERO..next));
}

/// No offset was named, though opening believes none of it.
#[test]
fn an_open_store_that_goes_on_behind_the_begin_of_the_next_one_is_damage() {
    let (partition, next) = two_open_stores();
    let stores = files(partition.path(), "log");
    let mut longer = std::fs::read(&stores[0]).unwrap();
    let end: usize = corelog_record::batch::Batches::over(&longer)
        .map_while(Result::ok)
        .map(<[u8]>::len)
        .sum();
    longer.truncate(end);
    longer.extend(std::fs::read(&stores[1]).unwrap());
    std::fs::write(&stores[0], longer).unwrap();
    let checked = verify(partition.path());
    assert_eq!(kinds(&checked), [What::Chain]);
    assert_eq!(faults(&checked)[0].offsets, Some(Offset::ZERO..next));
}

#[test]
fn damage_that_the_manifest_remembers_is_told_where_the_store_was_mended_meanwhile() {
    let partition = Partition::new();
    let mut log = partition.open();
    fill(&mut log, 100);
    log.note_damage(crate::log::Damage {
        from: offset(4),
        to: offset(6),
        segment: offset(0),
    });
    block_on(log.close(at(1))).unwrap();
    let checked = verify(partition.path());
    assert_eq!(kinds(&checked), [What::Remembered]);
    assert_eq!(faults(&checked)[0].offsets, Some(offset(4)..offset(6)));
}

/// The server refused to open a partition that was found sound, and verify listened to bytes behind the slots that no server looks at.
#[test]
fn a_mark_is_found_to_say_what_the_server_takes_it_to_say() {
    let partition = Partition::filled(4);
    let path = partition.path().join("mark");
    let held = mark::last_of(&std::fs::read(&path).unwrap()).unwrap();
    let held = held.unwrap().encode();
    for newer in [8, 12] {
        let mut other = held;
        other[newer] |= 2;
        repair::last_4(&mut other[..512]);
        std::fs::write(&path, [other, held].concat()).unwrap();
        assert_eq!(kinds(&verify(partition.path())), [What::Foreign]);
    }
    let mut behind = held;
    // Another copy's, and the last one written.
    behind[32] ^= 1;
    behind[48] += 1;
    repair::last_4(&mut behind[..512]);
    let longer = [held, [0; SLOT_BYTES], behind];
    std::fs::write(&path, longer.concat()).unwrap();
    assert_eq!(kinds(&verify(partition.path())), []);
}

/// A want of permission or of descriptors once raised the alarm of damage. A link to itself is opened
/// by nobody, not even by root.
#[test]
fn what_the_system_does_not_give_is_unread_and_no_damage() {
    let locked = |path: &Path| {
        std::fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink(path.file_name().unwrap(), path).unwrap();
    };
    let places = [
        |dir: &Path| files(dir, "log")[0].clone(),
        |dir: &Path| files(dir, "index")[0].clone(),
        |dir: &Path| dir.join("manifest"),
        |dir: &Path| dir.join("mark"),
    ];
    for place in places {
        let partition = Partition::filled(60);
        let path = place(partition.path());
        locked(&path);
        let checked = verify(partition.path());
        assert_eq!(kinds(&checked), [What::Unreadable], "{}", path.display());
        assert_eq!(What::Unreadable.grade(), Grade::Unread);
    }
}

/// One directory that its user may not list ended the check, so nothing was told of all the others; a link to a partition, which
/// a server follows, was passed over, damaged or not.
#[test]
fn each_directory_is_looked_at_whatever_another_one_is() {
    let topic = tempfile::tempdir().unwrap();
    let file = topic_file(7).encode().unwrap();
    std::fs::write(topic.path().join("topic"), file).unwrap();
    let (locked, linked) = (topic.path().join("0"), Partition::filled(60));
    std::fs::create_dir(&locked).unwrap();
    std::os::unix::fs::symlink(linked.path(), topic.path().join("1")).unwrap();
    alter(&files(linked.path(), "log")[0], |bytes| bytes[100] ^= 1);
    for (dir, mode) in [(topic.path(), 0o755), (linked.path(), 0o755), (&locked, 0)] {
        std::fs::set_permissions(dir, Permissions::from_mode(mode)).unwrap();
    }
    // What root may not list is nothing.
    let root = setfsuid(Uid::from_raw(65_534));
    let found = kinds(&verify(topic.path()));
    setfsuid(root);
    assert!(found.contains(&What::Unreadable), "{found:?}");
    assert!(found.contains(&What::Batch), "{found:?}");
}

/// An epoch lies outside a batch's checksum, and no chain tells of the end of a store that is written to: such a directory
/// was found sound, and the next start cut what lay there.
#[test]
fn a_batch_of_another_epoch_is_found_in_a_store_that_is_not_sealed() {
    let partition = Partition::new();
    let mut log = partition.open();
    fill(&mut log, 4);
    drop(log);
    // What a power cut leaves: a mark that does not tell of them.
    std::fs::remove_file(partition.path().join("mark")).unwrap();
    let whats =
        |checked: &Checked| -> Vec<_> { checked.findings.iter().map(|found| found.what).collect() };
    assert_eq!(whats(&verify(partition.path())), [What::Mark]);
    let store = &files(partition.path(), "log")[0];
    alter(store, |bytes| bytes[15] ^= 4);
    let found = verify(partition.path());
    assert_eq!(whats(&found), [What::Mark, What::Torn]);
    assert_eq!(found.batches, 0);

    let (partition, _) = two_open_stores();
    let store = &files(partition.path(), "log")[0];
    alter(store, |bytes| bytes[15] ^= 1);
    assert_eq!(kinds(&verify(partition.path())), [What::Batch]);
}

/// A verify of them ended at the second batch, and said nothing.
#[test]
fn files_of_more_batches_than_records_are_found() {
    let partition = Partition::filled(4);
    let path = partition.path().join("manifest");
    let manifest = Manifest::decode(&std::fs::read(&path).unwrap()).unwrap();
    for ordinal in [Ordinal::MAX, last_but_one()] {
        let start = Point {
            ordinal,
            ..manifest.state.segments()[0].start()
        };
        let edits = [Edit::Restart(start), Edit::Add(start.into())];
        std::fs::write(&path, own::manifest(&manifest.header, &edits)).unwrap();
        assert_eq!(kinds(&verify(partition.path())), [What::Manifest]);
    }
}

/// The same of a store alone, of which its index tells.
#[test]
fn an_index_of_more_batches_than_records_is_found() {
    let partition = Partition::filled(100);
    let store = files(partition.path(), "log").remove(0);
    let elsewhere = tempfile::tempdir().unwrap();
    let copied = elsewhere.path().join(store.file_name().unwrap());
    std::fs::copy(&store, &copied).unwrap();
    let index = std::fs::read(store.with_extension("index")).unwrap();
    let header = index::Header {
        ordinal: Ordinal::MAX,
        ..index::Header::decode(&index).unwrap()
    };
    std::fs::write(copied.with_extension("index"), header.encode()).unwrap();
    assert_eq!(kinds(&verify(&copied)), [What::Index]);
}

/// What the disk does not give behind the last offset was to end one further.
#[test]
fn a_store_that_begins_with_the_last_offset_and_cannot_be_read_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join(name::store(Offset::MAX, 0));
    std::fs::create_dir(&store).unwrap();
    let check = survey::alone(folder.path().to_owned(), name::store(Offset::MAX, 0), 0);
    let hooks = Hooks {
        progress: &|_bytes| {},
        records: None,
    };
    let checked = check.unwrap().run(&hooks);
    let nothing = Some(Offset::MAX..Offset::MAX);
    assert!(checked.findings.iter().any(|it| it.offsets == nothing));
}

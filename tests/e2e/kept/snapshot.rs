//! `corelog snapshot`.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::limits;
use corelog_protocol::message::create_snapshot;
use corelog_record::Offset;
use serde_json::Value;

use super::records::produce;
use crate::support::corelog::Corelog;
use crate::support::folder::Folder;
use crate::support::http::metric;
use crate::support::over::Over;
use crate::support::server::Start;
use crate::support::stores;
use crate::support::wire::Wire;

/// What is acknowledged before is in it, appends go on, and a topic restored from it has the very
/// bytes of its source.
#[test]
fn a_snapshot_taken_under_load_holds_all_that_was_acknowledged_before() {
    let folder = Folder::new();
    let server = Start::on(&folder.path().join("data")).cores(2).start();
    let corelog = Corelog::to(&server);
    let address = server.ready.listen;
    let mut wire = Wire::open(address).unwrap();
    let topic = wire.topic("busy", 3, 1 << 20);
    for partition in 0..3 {
        produce(&mut wire, &topic, partition, 0, 100);
    }
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = Over(&is_over);
        for partition in 0..3 {
            let (is_over, topic) = (&is_over, &topic);
            scope.spawn(move || {
                let mut wire = Wire::open(address).unwrap();
                let mut next = 100;
                while !is_over.load(Ordering::Relaxed) {
                    produce(&mut wire, topic, partition, next, next + 1);
                    next += 1;
                }
            });
        }
        let taken = corelog
            .run(["snapshot", "create", "now", "--output", "json"])
            .json();
        assert_eq!(taken["name"], "now");
        let partitions = taken["topics"][0]["partitions"].as_array().unwrap();
        assert_eq!(partitions.len(), 3);
        for partition in partitions {
            assert!(partition["end"].as_u64().unwrap() >= 100, "{partition}");
            assert_eq!(partition["log_start"], 0);
        }
        let restored = corelog.run(["restore", "now", "--topic", "again", "--output", "json"]);
        let restored = restored.json();
        let restored = restored["partitions"].as_array().unwrap().iter();
        let ends = partitions.iter().map(|partition| &partition["end"]);
        assert!(restored.map(|one| &one["log_end"]).eq(ends), "{taken}");
    });
    let again = wire.topic("again", 3, 1 << 20);
    for partition in 0..3 {
        let restored = wire.read_all(&again, partition, Offset::ZERO);
        let source = wire.read_all(&topic, partition, Offset::ZERO);
        assert!(restored.len() >= 100 * 20_000);
        assert!(source.starts_with(&restored), "partition {partition}");
    }
    assert!(server.stop().status.success());
}

/// The files of the first are the files of the second, and of the topic itself.
#[test]
fn a_second_snapshot_shares_the_files_of_the_first() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Start::on(&data).start();
    let corelog = Corelog::to(&server);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("grown", 1, 1 << 20);
    produce(&mut wire, &topic, 0, 0, 120);
    corelog.run(["snapshot", "create", "one"]).done();
    produce(&mut wire, &topic, 0, 120, 240);
    corelog.run(["snapshot", "create", "two"]).done();
    let inodes = |home: &str| -> Vec<u64> {
        let stores = stores::of(&data.join(home), 0);
        stores
            .iter()
            .map(|store| store.metadata().unwrap().ino())
            .collect()
    };
    let (one, two) = (
        inodes("snapshots/one/topics/grown"),
        inodes("snapshots/two/topics/grown"),
    );
    assert!(one.len() >= 2 && one.len() < two.len(), "{one:?} {two:?}");
    assert_eq!(one, two[..one.len()]);
    assert_eq!(two, inodes("topics/grown")[..two.len()]);
    assert!(metric(server.ready.admin, "corelog_snapshots_total") >= 2.0);

    // What the topic gives up, the snapshot still has.
    let truncate = [
        "truncate",
        "grown",
        "--partition",
        "0",
        "--before",
        "latest",
        "--yes",
    ];
    corelog.run(truncate).done();
    let restore = ["restore", "one", "--topic", "back", "--output", "json"];
    let restored = corelog.run(restore).json();
    assert_eq!(restored["partitions"][0]["log_end"], 120);
}

#[test]
fn snapshots_are_listed_described_and_deleted() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Start::on(&data).cores(2).start();
    let corelog = Corelog::to(&server);
    for topic in ["a", "b"] {
        corelog
            .run(["topic", "create", topic, "--partitions", "2"])
            .done();
        corelog.feed(["produce", topic], b"one\ntwo\n").done();
    }
    corelog.run(["snapshot", "create", "all"]).done();
    corelog
        .run(["snapshot", "create", "some", "--topic", "b"])
        .done();
    let list = || {
        let list = ["snapshot", "list", "--output", "json"];
        corelog.run(list).json_lines()
    };
    let names = |list: Vec<Value>| -> Vec<(String, usize)> {
        let all = list.iter();
        all.map(|one| {
            let topics = one["topics"].as_array().unwrap().len();
            (one["name"].as_str().unwrap().to_owned(), topics)
        })
        .collect()
    };
    assert_eq!(
        names(list()),
        [("all".to_owned(), 2), ("some".to_owned(), 1)]
    );
    let one = corelog
        .run(["snapshot", "list", "some", "--output", "json"])
        .json();
    let partitions = one["topics"][0]["partitions"].as_array().unwrap();
    let ends: u64 = partitions.iter().map(|p| p["end"].as_u64().unwrap()).sum();
    assert_eq!((partitions.len(), ends), (2, 2));
    let described = corelog
        .run(["topic", "describe", "a", "--output", "json"])
        .json();
    assert_eq!(described["partitions"][0]["snapshot"]["name"], "all");

    let delete = ["snapshot", "delete", "all"];
    corelog.run(delete).failed(6);
    let dry = [&delete[..], &["--dry-run", "--output", "json"]].concat();
    assert_eq!(corelog.run(dry).json()["dry_run"], true);
    assert_eq!(names(list()).len(), 2);
    corelog.run([&delete[..], &["--yes"]].concat()).done();
    assert_eq!(names(list()), [("some".to_owned(), 1)]);
    assert!(!data.join("snapshots/all").exists());
    let described = corelog
        .run(["topic", "describe", "a", "--output", "json"])
        .json();
    assert_eq!(described["partitions"][0]["snapshot"], Value::Null);
    let said = corelog.run([&delete[..], &["--yes"]].concat()).failed(1);
    assert!(said.contains("UnknownSnapshot"), "{said}");

    // They outlive a restart, and so does what is known of them.
    server.kill();
    let server = Start::on(&data).start();
    let corelog = Corelog::to(&server);
    let described = corelog
        .run(["topic", "describe", "b", "--output", "json"])
        .json();
    assert_eq!(described["partitions"][0]["snapshot"]["name"], "some");
}

/// `delete` asked the server for the time of what it was to delete, and ended where the summary
/// that tells it was damaged: nothing but removing the files by hand helped.
#[test]
fn a_snapshot_that_cannot_be_read_can_be_deleted() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Start::on(&data).start();
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    for name in ["bent", "sound"] {
        corelog.run(["snapshot", "create", name]).done();
    }
    stores::flip(&data.join("snapshots/bent/snapshot"), 30);
    let (_, said, code) = corelog.run(["snapshot", "list"]).parts();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("snapshot bent cannot be read"), "{said}");

    let delete = ["snapshot", "delete", "bent"];
    let said = corelog.run(delete).failed(6);
    assert!(
        said.contains("snapshot bent at ") && said.contains(", which cannot be read"),
        "{said}"
    );
    assert!(data.join("snapshots/bent").exists());
    corelog.run([&delete[..], &["--yes"]].concat()).done();
    assert!(!data.join("snapshots/bent").exists());
    corelog.run(["snapshot", "list"]).done();
    assert!(data.join("snapshots/sound/snapshot").exists());
}

/// A script that saw 1 took it for none, and asked again: it is there, and nobody was told what is not in it.
#[test]
fn a_snapshot_that_was_taken_is_said_to_be_also_where_it_cannot_be_printed() {
    let folder = Folder::new();
    let server = Start::on(&folder.path().join("data")).start();
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut create = corelog.command(["snapshot", "create", "s"]);
    let ended = create.stdout(full).output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("snapshot s was taken at"), "{said}");
}

#[test]
fn what_cannot_be_a_snapshot_is_refused_and_leaves_nothing() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Start::on(&data).start();
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    corelog.run(["snapshot", "create", "s"]).done();
    for (args, word) in [
        (
            ["snapshot", "create", "s", "--topic", "t"],
            "SnapshotExists",
        ),
        (
            ["snapshot", "create", "n", "--topic", "none"],
            "UnknownTopic",
        ),
    ] {
        let said = corelog.run(args).failed(1);
        assert!(said.contains(word), "{said}");
    }
    corelog.run(["snapshot", "create"]).failed(2);
    // The command line asks for no such name; others might.
    let request = create_snapshot::Request {
        snapshot: "../n".to_owned(),
        topics: Vec::new(),
    };
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let refused = wire.call(&request, &[]).unwrap().unwrap_err();
    assert!(refused.is(ErrorCode::InvalidRequest), "{refused}");
    let said = corelog.run(["snapshot", "list", "n"]).failed(1);
    assert!(said.contains("UnknownSnapshot"), "{said}");
    let kept = std::fs::read_dir(data.join("snapshots")).unwrap().count();
    assert_eq!(kept, 1);

    // An unfinished one, as a kill leaves it, is gone after a start, and its name is free.
    server.kill();
    std::fs::create_dir_all(data.join("snapshots/half/topics/t/0")).unwrap();
    std::fs::write(data.join("snapshots/half/snapshot.new"), b"").unwrap();
    let server = Start::on(&data).start();
    let corelog = Corelog::to(&server);
    assert!(!data.join("snapshots/half").exists());
    corelog.run(["snapshot", "create", "half"]).done();
    assert!(server.stop().log.contains("unfinished snapshot"));
}

/// A start removed all of it, as if it had never been finished.
#[test]
fn a_snapshot_that_has_lost_its_summary_is_kept_until_it_is_deleted() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Start::on(&data).start();
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    corelog.feed(["produce", "t"], b"kept\n").done();
    corelog.run(["snapshot", "create", "s"]).done();
    server.stop();
    let (summary, aside) = (data.join("snapshots/s/snapshot"), folder.path().join("s"));
    std::fs::rename(&summary, &aside).unwrap();
    let verify = ["verify", data.to_str().unwrap()];
    let (found, said, code) = Corelog::offline().run(verify).parts();
    assert_eq!(code, Some(3), "{said}");
    let found = String::from_utf8(found).unwrap();
    assert!(found.contains("snapshots/s/snapshot"), "{found}");
    let server = Start::on(&data).start();
    let corelog = Corelog::to(&server);
    let (_, said, code) = corelog.run(["snapshot", "list"]).parts();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("snapshot s cannot be read"), "{said}");
    let said = corelog.run(["snapshot", "create", "s"]).failed(1);
    assert!(said.contains("SnapshotExists"), "{said}");
    let restore = ["restore", "s", "--topic", "back"];
    let said = corelog.run(restore).failed(3);
    assert!(said.contains("put it back"), "{said}");
    std::fs::copy(&aside, &summary).unwrap();
    corelog.run(restore).done();
    std::fs::remove_file(&summary).unwrap();
    let delete = ["snapshot", "delete", "s", "--yes"];
    corelog.run(delete).done();
    assert!(!data.join("snapshots/s").exists());
    assert!(server.stop().log.contains("a snapshot cannot be read"));
}

#[test]
fn an_export_is_verified_and_can_be_restored_elsewhere() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Start::on(&data).start();
    let corelog = Corelog::to(&server);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("moved", 2, 1 << 20);
    produce(&mut wire, &topic, 1, 0, 120);
    corelog.run(["snapshot", "create", "s"]).done();
    let copy = folder.path().join("copy");
    let (copy, data_text) = (copy.to_str().unwrap(), data.to_str().unwrap());
    let export = ["snapshot", "export", "s", copy, "--data-dir", data_text];
    let exported = Corelog::offline()
        .run([&export[..], &["--output", "json"]].concat())
        .json();
    assert!(exported["bytes"].as_u64().unwrap() > 120 * 20_000);
    let said = Corelog::offline().run(export).failed(1);
    assert!(said.contains("not empty"), "{said}");
    let missing = ["snapshot", "export", "none", copy, "--data-dir", data_text];
    let said = Corelog::offline().run(missing).failed(1);
    assert!(said.contains("snapshot list"), "{said}");

    // It would let go of what is old, and take what no restore takes.
    for snapshot in [Path::new(copy), &data.join("snapshots/s")] {
        let (ended, said) = Start::on(snapshot).refused();
        assert!(said.contains("`corelog restore`"), "{said}");
        assert_eq!(ended, Some(2));
        assert!(!snapshot.join("node").exists());
    }

    // What it holds was told by the server that had it alone, which is gone when one wants to know.
    let held = Corelog::offline()
        .run(["inspect", copy, "--output", "json"])
        .json();
    assert_eq!(held["snapshot"], "s");
    let second = &held["partition_list"][1];
    assert_eq!(
        (&second["topic"], &second["end"]),
        (&"moved".into(), &120.into())
    );

    let other = Start::on(&folder.path().join("other")).start();
    let there = Corelog::to(&other);
    there.run(["restore", copy, "--topic", "moved"]).done();
    let mut wire_there = Wire::open(other.ready.listen).unwrap();
    let moved = wire_there.topic("moved", 2, 1 << 20);
    let read = wire_there.read_all(&moved, 1, Offset::ZERO);
    assert!(read == wire.read_all(&topic, 1, Offset::ZERO));

    // It was to be removed, though a repair mends it.
    std::fs::remove_file(Path::new(copy).join("topics/moved/1/manifest")).unwrap();
    let (out, _, code) = Corelog::offline().run(["verify", copy]).parts();
    let found = String::from_utf8_lossy(&out).into_owned();
    assert_eq!(code, Some(3), "{found}");
    assert!(
        found.contains("repair --dir` on the partition's directory, also on one"),
        "{found}"
    );
    let partition = format!("{copy}/topics/moved/1");
    let repair = ["repair", "--dir", &partition, "--yes"];
    Corelog::offline().run(repair).done();
    Corelog::offline().run(["verify", copy]).done();
    there.run(["restore", copy, "--topic", "mended"]).done();

    // A byte that is not what it was is found on the way, and there is no copy.
    let store = &stores::of(&data.join("snapshots/s/topics/moved"), 1)[0];
    stores::flip(store, 500_000);
    let bad = folder.path().join("bad");
    let export = [
        "snapshot",
        "export",
        "s",
        bad.to_str().unwrap(),
        "--data-dir",
        data_text,
    ];
    let said = Corelog::offline().run(export).failed(3);
    assert!(said.contains("damaged"), "{said}");
    assert!(!bad.join("snapshot").exists());
}

/// It was part of what it was to save, and what one left that was interrupted kept the next one from its place.
#[test]
fn an_export_goes_into_no_data_directory_and_what_an_interrupted_one_left_is_told_as_that() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Start::on(&data).start();
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    corelog.run(["snapshot", "create", "s"]).done();
    let export = |target: &Path| {
        let args = ["snapshot", "export", "s", target.to_str().unwrap()];
        Corelog::offline().run([&args[..], &["--data-dir", data.to_str().unwrap()]].concat())
    };
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&data, &link).unwrap();
    let other = folder.path().join("other");
    drop(Start::on(&other).start());
    for inside in [
        &data,
        &data.join("backup"),
        &link.join("topics/backup"),
        &other.join("b/c"),
    ] {
        let said = export(inside).failed(2);
        assert!(said.contains("data directory"), "{said}");
        assert!(!inside.ends_with("backup") || !inside.exists());
    }
    // What is to be removed is named so that a shell removes that, and nothing else.
    let copy = folder.path().join("it's a copy");
    std::fs::create_dir_all(copy.join("topics/t/0")).unwrap();
    let said = export(&copy).failed(1);
    let remove = format!("`rm -r -- \"{}\"`", copy.display());
    assert!(
        said.contains("did not come to its end") && said.contains(&remove),
        "{said}"
    );
    std::fs::remove_dir_all(&copy).unwrap();
    // Two that found the directory empty had one clear away what the other one had written.
    std::fs::create_dir(&copy).unwrap();
    let other_export = File::open(&copy).unwrap();
    other_export.lock().unwrap();
    let said = export(&copy).failed(1);
    assert!(said.contains("another export writes to"), "{said}");
    drop(other_export);
    export(&copy).done();
    std::fs::remove_file(copy.join("snapshot")).unwrap();
    std::fs::write(copy.join("notes"), "of somebody else").unwrap();
    let said = export(&copy).failed(1);
    assert!(!said.contains("rm -r"), "{said}");
}

/// Whoever met it was sent to the topic, which is sound, and to a repair that there is not; of one without its files nobody knew
/// if it had been restored.
#[test]
fn a_snapshot_that_cannot_be_read_is_told_with_what_helps() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Start::on(&data).start();
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    corelog.feed(["produce", "t"], b"a\n").done();
    for name in ["rotten", "bare"] {
        corelog.run(["snapshot", "create", name]).done();
    }
    let snapshots = data.join("snapshots");
    std::fs::write(snapshots.join("rotten/snapshot"), b"rotten").unwrap();
    std::fs::remove_dir_all(snapshots.join("bare/topics")).unwrap();
    let (copy, data) = (folder.path().join("copy"), data.to_str().unwrap());
    let copy = copy.to_str().unwrap();
    for args in [
        &["snapshot", "list", "rotten"][..],
        &["restore", "rotten", "--topic", "r"],
        &["snapshot", "export", "rotten", copy, "--data-dir", data],
    ] {
        let said = corelog.run(args).failed(3);
        assert!(said.contains("`corelog snapshot list`"), "{said}");
        assert!(!said.contains("corelog repair"), "{said}");
    }
    let said = corelog.run(["restore", "bare", "--topic", "r"]).failed(3);
    assert!(said.contains("nothing was restored"), "{said}");
    let (out, _, code) = corelog
        .run(["snapshot", "delete", "rotten", "--yes"])
        .parts();
    let out = String::from_utf8(out).unwrap();
    let place = format!("rotten at {}, which cannot be read", server.address());
    assert!(code == Some(0) && out.contains(&place), "{out}");
}

#[test]
fn a_node_keeps_no_more_snapshots_than_it_may() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Start::on(&data).start();
    let corelog = Corelog::to(&server);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("t", 1, 1 << 20);
    produce(&mut wire, &topic, 0, 0, 3);
    corelog.run(["snapshot", "create", "first"]).done();
    // As many as there may be, by their directories.
    for number in 1..limits::SNAPSHOT_COUNT_MAX {
        std::fs::create_dir(data.join(format!("snapshots/{number}"))).unwrap();
    }
    let said = corelog.run(["snapshot", "create", "second"]).failed(1);
    assert!(said.contains("delete one before"), "{said}");
    // Whoever takes one each night was not told that there were none any more.
    let failed = || metric(server.ready.admin, "corelog_snapshots_failed_total");
    assert_eq!(failed(), 1.0);
    let said = corelog.run(["snapshot", "create", "first"]).failed(1);
    assert!(said.contains("already"), "{said}");
    assert_eq!(failed(), 1.0, "it is there");
    corelog.run(["snapshot", "delete", "first", "--yes"]).done();
    corelog.run(["snapshot", "create", "second"]).done();
    // What is no directory is not looked into, and stays.
    std::fs::write(data.join("snapshots/third"), "mine").unwrap();
    corelog.run(["snapshot", "create", "third"]).failed(5);
    assert_eq!(failed(), 2.0);
    assert!(data.join("snapshots/third").exists());
    let log = server.stop().log;
    let told = log.lines().filter(|line| line.contains("took no snapshot"));
    assert_eq!(told.count(), 2, "{log}");
}

//! `corelog restore`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use corelog_protocol::message::restore_topic;
use corelog_record::TopicName;

use super::records::produce;
use crate::support::brake::Brake;
use crate::support::corelog::Corelog;
use crate::support::folder::Folder;
use crate::support::mount::{Mount, leave};
use crate::support::privilege;
use crate::support::server::{Server, Start};
use crate::support::stores;
use crate::support::wire::Wire;

#[test]
fn a_restored_topic_has_its_source_s_settings_and_a_life_of_its_own() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Start::on(&data).cores(2).start();
    let corelog = Corelog::to(&server);
    let create = [
        "topic",
        "create",
        "t",
        "--partitions",
        "2",
        "--retention-bytes",
        "1MiB",
        "--segment-bytes",
        "2MiB",
    ];
    corelog.run(create).done();
    corelog
        .feed(["produce", "t", "--partition", "0"], b"a\nb\n")
        .done();
    corelog.run(["snapshot", "create", "s"]).done();
    corelog.run(["restore", "s", "--topic", "r"]).done();
    let consume = ["consume", "r", "--partition", "0"];
    assert_eq!(corelog.run(consume).done(), b"a\nb\n");
    let described = corelog
        .run(["topic", "describe", "r", "--output", "json"])
        .json();
    assert_eq!(described["policy"]["segment_bytes"], 2 << 20);
    // But nothing expires that was just restored.
    assert!(described["policy"]["retention_bytes"].is_null());
    assert_eq!(described["partitions"].as_array().unwrap().len(), 2);
    corelog
        .feed(["produce", "r", "--partition", "0"], b"c\n")
        .done();
    assert_eq!(corelog.run(["consume", "t"]).done(), b"a\nb\n");

    // Killed and started again it is the same, and the source may go.
    corelog.run(["topic", "delete", "t", "--yes"]).done();
    corelog.run(["snapshot", "delete", "s", "--yes"]).done();
    server.kill();
    let server = Start::on(&data).start();
    let corelog = Corelog::to(&server);
    assert_eq!(corelog.run(consume).done(), b"a\nb\nc\n");
    assert!(server.stop().status.success());
}

#[test]
fn what_cannot_be_restored_is_said_and_leaves_nothing() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Start::on(&data).start();
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "a"]).done();
    corelog.run(["topic", "create", "b"]).done();
    corelog.run(["snapshot", "create", "s"]).done();
    let path = folder.path().join("nothing");
    for (args, word) in [
        (["restore", "none", "--topic", "r"], "UnknownSnapshot"),
        (
            ["restore", path.to_str().unwrap(), "--topic", "r"],
            "UnknownSnapshot",
        ),
        (["restore", "s", "--topic", "r"], "name the one"),
        (["restore", "s", "--topic", "a"], "TopicExists"),
    ] {
        let args = match word {
            "TopicExists" => [&args[..], &["--from-topic", "b"]].concat(),
            _ => args.to_vec(),
        };
        let said = corelog.run(&args).failed(1);
        assert!(said.contains(word), "{said}");
    }
    corelog.run(["restore", "s"]).failed(2);

    // A byte that is not what it was: nothing is served of it, and the name stays free.
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("rotten", 1, 1 << 20);
    produce(&mut wire, &topic, 0, 0, 120);
    corelog
        .run(["snapshot", "create", "bad", "--topic", "rotten"])
        .done();
    let store = &stores::of(&data.join("snapshots/bad/topics/rotten"), 0)[1];
    stores::flip(store, 100_000);
    let said = corelog.run(["restore", "bad", "--topic", "r"]).failed(3);
    assert!(said.contains("nothing was restored"), "{said}");
    assert!(said.contains("--with-damage"), "{said}");
    let said = corelog.run(["topic", "describe", "r"]).failed(1);
    assert!(said.contains("UnknownTopic"), "{said}");
    corelog.run(["topic", "create", "r"]).done();
    assert!(!data.join("restoring/r").exists());
}

/// Exports the snapshot `s` of a data directory; gives where to.
fn export(folder: &Folder, data: &Path) -> PathBuf {
    let copy = folder.path().join("copy");
    let export = ["snapshot", "export", "s", copy.to_str().unwrap()];
    let export = [&export[..], &["--data-dir", data.to_str().unwrap()]].concat();
    Corelog::offline().run(export).done();
    copy
}

/// A backup of a topic `t`, and a server on a small disk of its own.
fn backup(folder: &Folder) -> (PathBuf, Mount, Server) {
    let data = folder.path().join("data");
    let server = Start::on(&data).start();
    let corelog = Corelog::to(&server);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("t", 1, 1 << 20);
    produce(&mut wire, &topic, 0, 0, 120);
    corelog.run(["snapshot", "create", "s"]).done();
    let copy = export(folder, &data);
    let mount = Mount::small(folder, 24 << 20);
    println!("on {}", mount.kind);
    let small = Start::on(&mount.inside("data")).through(mount.wrapper());
    (copy, mount, small.start())
}

fn restore_as(topic: &str, copy: &Path) -> restore_topic::Request {
    restore_topic::Request {
        source: copy.display().to_string(),
        source_topic: None,
        topic: TopicName::new(topic).unwrap(),
        with_damage: false,
    }
}

fn restoring(copy: &Path) -> [&str; 4] {
    ["restore", copy.to_str().unwrap(), "--topic", "t"]
}

/// One that was larger than what was left took the last of it from the partitions that were written to.
#[test]
fn a_backup_for_which_there_is_no_room_is_refused_before_any_of_it_is_copied() {
    let folder = Folder::new();
    let (copy, mount, small) = backup(&folder);
    mount.fill();
    let mut wire = Wire::open(small.ready.listen).unwrap();
    let refused = wire.call(&restore_as("t", &copy), &[]).unwrap();
    // Whoever asks for half a minute was told behind that alone.
    let retry_ms = refused.unwrap_err().detail.retry_ms;
    assert!(retry_ms >= Some(30_000), "{retry_ms:?}");
    let said = Corelog::to(&small).run(restoring(&copy)).failed(1);
    assert!(said.contains("bytes are to be copied"), "{said}");
    assert!(said.contains("`corelog topic alter`"), "{said}");
    assert!(!mount.outside("data/restoring").exists());
}

/// It took what was left, of which others on that disk had nothing meanwhile, and was given up then.
#[test]
fn an_export_for_which_there_is_no_room_is_refused_before_any_of_it_is_copied() {
    let folder = Folder::new();
    let (_, mount, _) = backup(&folder);
    let data = folder.path().join("data");
    let target = mount.inside("copy");
    let export = ["snapshot", "export", "s", target.to_str().unwrap()];
    let export = [&export[..], &["--data-dir", data.to_str().unwrap()]].concat();
    let there = Corelog::offline().through(mount.wrapper());
    there.run(&export).done();
    mount.fill();
    let said = there.run(&export).failed(1);
    assert!(said.contains("is there already"), "{said}");
    std::fs::remove_dir_all(mount.outside("copy")).unwrap();
    mount.fill();
    let said = there.run(&export).failed(1);
    assert!(said.contains("bytes are to be copied"), "{said}");
    assert!(!mount.outside("copy").exists());
}

#[test]
fn what_the_node_has_of_a_snapshot_already_needs_no_room_to_be_restored() {
    let folder = Folder::new();
    let mount = Mount::small(&folder, 24 << 20);
    let small = Start::on(&mount.inside("data")).through(mount.wrapper());
    let small = small.start();
    let corelog = Corelog::to(&small);
    let mut wire = Wire::open(small.ready.listen).unwrap();
    let topic = wire.topic("t", 1, 1 << 20);
    produce(&mut wire, &topic, 0, 0, 120);
    corelog.run(["snapshot", "create", "s"]).done();
    leave(&mount.fill(), 256 << 10);
    corelog.run(["restore", "s", "--topic", "r"]).done();
}

/// It was told that the disk was full, of what the other one had taken of it so far.
#[test]
fn a_restore_beside_another_one_is_told_of_that_and_not_of_the_room_that_is_left() {
    let folder = Folder::new();
    let (copy, mount, small) = backup(&folder);
    let brake = Brake::on(&stores::of(&copy.join("topics/t"), 0)[0]);
    let mut wire = Wire::open(small.ready.listen).unwrap();
    wire.call(&restore_as("first", &copy), &[])
        .unwrap()
        .unwrap();
    brake.await_one();
    mount.fill();
    let said = Corelog::to(&small).refused(&restoring(&copy), 4);
    assert!(said.contains("topic first is being restored"), "{said}");
}

/// It was told that nobody knows if the topic was restored.
#[test]
fn a_backup_of_which_the_server_may_not_read_a_file_is_told_as_that() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Start::on(&data).through(privilege::without()).start();
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    corelog.feed(["produce", "t"], b"a\n").done();
    corelog.run(["snapshot", "create", "s"]).done();
    let copy = export(&folder, &data);
    let store = &stores::of(&copy.join("topics/t"), 0)[0];
    let hidden = std::fs::Permissions::from_mode(0o000);
    std::fs::set_permissions(store, hidden).unwrap();
    let restore = ["restore", copy.to_str().unwrap(), "--topic", "r"];
    let said = corelog.run(restore).failed(1);
    assert!(said.contains("nothing was restored"), "{said}");
    assert!(said.contains("may read"), "{said}");
}

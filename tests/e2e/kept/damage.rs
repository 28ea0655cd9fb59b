//! A byte that changes under a server that serves: what it is part of is not served, and nothing
//! else is the worse for it.

use corelog_protocol::error::ErrorCode;
use corelog_record::Offset;

use super::records::{describe, produce, until_sealed};
use crate::support::corelog::Corelog;
use crate::support::folder::Folder;
use crate::support::http::metric;
use crate::support::server::Start;
use crate::support::stores;
use crate::support::wire::Wire;

#[test]
fn a_byte_that_rots_under_a_server_is_found_and_harms_nothing_else() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Start::on(&data).cores(2).start();
    let corelog = Corelog::to(&server);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("t", 2, 1 << 20);
    for partition in 0..2 {
        // More than is kept in memory of a partition's end.
        produce(&mut wire, &topic, partition, 0, 500);
    }
    until_sealed(&mut wire, &topic, 0, 9);
    let store = &stores::of(&data.join("topics/t"), 0)[1];
    let base: u64 = store
        .file_stem()
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    stores::flip(store, 300_000);

    let said = corelog.run(["consume", "t", "--partition", "0"]).parts();
    assert_eq!(said.2, Some(3), "{}", said.1);
    let at = |offset: u64| Offset::new(offset).unwrap();
    // Batches in front of it are served; the one it is in is named.
    let mut next = at(base);
    let error = loop {
        match wire.call(&topic.fetch(0, next), &[]).unwrap() {
            Ok((answer, _)) => {
                assert!(next < answer.next, "the damage is met before the end");
                next = answer.next;
            }
            Err(error) => break error,
        }
    };
    assert!(error.is(ErrorCode::Damaged), "{error:?}");
    assert_eq!(error.detail.segment, Some(at(base)));
    let (from, to) = (error.detail.offset.unwrap(), error.detail.next.unwrap());
    assert!(at(base) <= from && from < to, "{from} {to}");
    // Behind it, before it, beside it, all goes on.
    let behind = wire.read_all(&topic, 0, at(base + 60));
    assert!(behind.len() > 300 * 20_000);
    assert!(wire.read_all(&topic, 1, Offset::ZERO).len() > 500 * 20_000);
    produce(&mut wire, &topic, 0, 500, 501);

    let said = corelog.run([
        "scrub",
        "t",
        "--partition",
        "0",
        "--wait",
        "--output",
        "json",
    ]);
    let (out, said, code) = said.parts();
    assert_eq!(code, Some(3), "{said}");
    let scrub: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let found = &scrub["partitions"][0]["damage"][0];
    assert_eq!(
        (&found["segment"], &found["from"]),
        (&base.into(), &from.get().into())
    );
    let topic_now = describe(&corelog, "t");
    let partition = &topic_now["partitions"][0];
    assert_eq!(partition["damage"][0]["from"], from.get());
    assert_eq!(
        (&partition["state"], &partition["read_only"]),
        (&"damaged".into(), &false.into())
    );
    assert_eq!(topic_now["partitions"][1]["state"], "ok");
    let ranges = "corelog_partition_damaged_ranges{topic=\"t\",partition=\"0\"";
    for name in [ranges, "corelog_damaged_partitions"] {
        assert_eq!(metric(server.ready.admin, name).to_string(), "1", "{name}");
    }
    // One count and one line in the log: a scrub once told its damage twice.
    assert!((metric(server.ready.admin, "corelog_damage_total") - 1.0).abs() < 0.5);
    let (out, _, code) = corelog.run(["topic", "describe", "t"]).parts();
    let told = String::from_utf8(out).unwrap();
    assert!(told.contains("damage: offsets"), "{told}");
    assert_eq!(code, Some(3));

    // It is remembered, and what lies around it is served, after a kill as well.
    let log = server.kill().log;
    assert_eq!(log.matches("bytes that were promised").count(), 1, "{log}");
    let server = Start::on(&data).cores(2).start();
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let error = wire.call(&topic.fetch(0, from), &[]).unwrap().unwrap_err();
    assert!(error.is(ErrorCode::Damaged), "{error:?}");
    assert!(wire.read_all(&topic, 0, at(base + 60)).len() > 300 * 20_000);
    produce(&mut wire, &topic, 0, 501, 502);
}

#[test]
fn a_scrub_of_sound_segments_finds_nothing_and_is_remembered() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Start::on(&data).arg("--scrub-rate").arg("64MiB").start();
    let corelog = Corelog::to(&server);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("t", 1, 1 << 20);
    produce(&mut wire, &topic, 0, 0, 200);
    until_sealed(&mut wire, &topic, 0, 3);
    assert_eq!(
        describe(&corelog, "t")["partitions"][0]["scrubbed_at"],
        serde_json::Value::Null
    );
    let scrub = ["scrub", "t", "--wait", "--output", "json"];
    let scrubbed = corelog.run(scrub).json();
    let partition = &scrubbed["partitions"][0];
    assert!(
        partition["bytes_done"].as_u64().unwrap() > 140 * 20_000,
        "{partition}"
    );
    assert!(metric(server.ready.admin, "corelog_scrub_passes_total") >= 1.0);
    crate::support::deadline::until("the end of the pass is remembered", || {
        describe(&corelog, "t")["partitions"][0]["scrubbed_at"].is_string()
    });
    let ended = server.stop();
    assert!(ended.status.success(), "{}", ended.log);
    let server = Start::on(&data).arg("--scrub-rate").arg("0").start();
    let corelog = Corelog::to(&server);
    assert!(describe(&corelog, "t")["partitions"][0]["scrubbed_at"].is_string());
    // Off in the background, it still does what it is asked for.
    corelog.run(scrub).done();
    corelog.run(["scrub", "none"]).failed(1);
    corelog.run(["scrub", "t", "--partition", "9"]).failed(1);
}

/// It ended with 0: nobody who waited for it heard that a segment had not been read.
#[test]
fn a_scrub_that_could_not_read_all_fails_and_says_so() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Start::on(&data).arg("--scrub-rate").arg("64MiB").start();
    let corelog = Corelog::to(&server);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("t", 2, 1 << 20);
    produce(&mut wire, &topic, 0, 0, 200);
    until_sealed(&mut wire, &topic, 0, 3);
    // A link to itself is opened by nobody, not even by root.
    let store = &stores::of(&data.join("topics/t"), 0)[1];
    let aside = folder.path().join("aside");
    std::fs::rename(store, &aside).unwrap();
    std::os::unix::fs::symlink(store, store).unwrap();
    let scrub = ["scrub", "t", "--wait", "--output", "json"];
    let (out, said, code) = corelog.run(scrub).parts();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("t/0: not all could be read"), "{said}");
    assert!(!said.contains("t/1:"), "{said}");
    let scrubbed: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(scrubbed["partitions"][0]["outcome"], "unread");
    assert_eq!(scrubbed["partitions"][0]["damage"], serde_json::json!([]));
    assert_eq!(scrubbed["partitions"][1]["outcome"], "whole");
    std::fs::rename(&aside, store).unwrap();
    let scrubbed = corelog.run(scrub).json();
    assert_eq!(scrubbed["partitions"][0]["outcome"], "whole");
}

/// Whose only copy has a bad byte could have nothing of it.
#[test]
fn what_is_sound_of_a_damaged_snapshot_is_restored_when_that_is_asked_for() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Start::on(&data).start();
    let corelog = Corelog::to(&server);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("t", 1, 1 << 20);
    produce(&mut wire, &topic, 0, 0, 200);
    until_sealed(&mut wire, &topic, 0, 3);
    stores::flip(&stores::of(&data.join("topics/t"), 0)[1], 300_000);
    corelog.run(["snapshot", "create", "bent"]).done();
    let restore = ["restore", "bent", "--topic", "r"];
    let said = corelog.run(restore).failed(3);
    assert!(said.contains("nothing was restored"), "{said}");
    let json = ["--with-damage", "--output", "json"];
    let (out, said, code) = corelog.run(restore.iter().chain(&json)).parts();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("damage"), "{said}");
    // Of a segment that is taken over as it is nothing was counted.
    let restored: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let bytes = restored["bytes"].as_u64().unwrap();
    assert!(200 * 20_000 < bytes, "{bytes}");
    let told = describe(&corelog, "r");
    let damage = &told["partitions"][0]["damage"][0];
    let (from, to) = (
        damage["from"].as_u64().unwrap(),
        damage["to"].as_u64().unwrap(),
    );
    assert!(0 < from && from < to && to < 200, "{damage}");
    assert_eq!(told["partitions"][0]["log_end"], 200);
    let before = ["consume", "r", "--from", "0", "--count", &from.to_string()];
    corelog.run(before).done();
    let behind = [
        "consume",
        "r",
        "--from",
        &to.to_string(),
        "--count",
        &(200 - to).to_string(),
    ];
    corelog.run(behind).done();
}

//! Retention that waits until a snapshot, or a follower, holds what it would remove.

use super::records::{describe, produce};
use crate::support::corelog::Corelog;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::server::Start;
use crate::support::wire::Wire;

#[test]
fn retention_waits_for_a_snapshot_within_its_bound_also_after_a_kill() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Start::on(&data).start();
    let corelog = Corelog::to(&server);
    let create = [
        "topic",
        "create",
        "t",
        "--segment-bytes",
        "1MiB",
        "--retention-bytes",
        "1MiB",
        "--retention-hold",
        "snapshotted",
    ];
    let said = corelog.run(create).text();
    assert!(said.contains("snapshotted"), "{said}");
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("t", 1, 1 << 20);
    produce(&mut wire, &topic, 0, 0, 300);
    let segments = |corelog: &Corelog| describe(corelog, "t")["partitions"][0]["segments"].clone();
    let log_start = |corelog: &Corelog| {
        let topic = describe(corelog, "t");
        topic["partitions"][0]["log_start"].as_u64().unwrap()
    };
    until("all is sealed", || {
        segments(&corelog).as_u64().unwrap() >= 6
    });
    assert_eq!(log_start(&corelog), 0);
    server.kill();

    let server = Start::on(&data).start();
    let corelog = Corelog::to(&server);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    // Ticks pass, and nothing goes: each of these waits for a flush and what follows it.
    produce(&mut wire, &topic, 0, 300, 400);
    assert_eq!(log_start(&corelog), 0);
    corelog.run(["snapshot", "create", "s"]).done();
    until("what the snapshot holds expires", || {
        log_start(&corelog) > 300
    });

    // What came behind the snapshot waits for the next one, up to the bound.
    let before = log_start(&corelog);
    produce(&mut wire, &topic, 0, 400, 700);
    let held = log_start(&corelog);
    assert!(held <= 400 && before <= held, "{before} {held}");
    let alter = [
        "topic",
        "alter",
        "t",
        "--retention-hold-bytes",
        "2MiB",
        "--yes",
    ];
    corelog.run(alter).done();
    until("what exceeds the bound expires", || {
        log_start(&corelog) > 500
    });
    assert!(server.stop().status.success());
}

#[test]
fn retention_waits_for_a_follower_and_goes_on_when_that_has_it() {
    let folder = Folder::new();
    let server = Start::on(&folder.path().join("source")).start();
    let corelog = Corelog::to(&server);
    let hold = [
        "--retention-bytes",
        "1MiB",
        "--retention-hold",
        "replicated",
    ];
    let create = ["topic", "create", "t", "--segment-bytes", "1MiB"];
    corelog.run([create.as_slice(), &hold].concat()).done();
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("t", 1, 1 << 20);
    produce(&mut wire, &topic, 0, 0, 300);
    let partition = || describe(&corelog, "t")["partitions"][0].clone();
    until("all is sealed", || {
        partition()["segments"].as_u64().unwrap() >= 6
    });
    // Ticks pass, and nothing goes: nobody else has it.
    produce(&mut wire, &topic, 0, 300, 400);
    assert_eq!(partition()["log_start"], 0);

    let replica = Start::on(&folder.path().join("replica")).start();
    let from = server.ready.listen.to_string();
    let clone = ["clone", "t", "--from", &from, "--follow"];
    Corelog::to(&replica).run(clone).done();
    until("what the follower has expires", || {
        partition()["log_start"].as_u64().unwrap() > 300
    });
    corelog
        .run(["topic", "create", "u", "--retention-hold", "sometimes"])
        .failed(2);
}

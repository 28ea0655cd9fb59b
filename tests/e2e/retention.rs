//! Segments that roll and expire, as a client sees them.

use serde_json::Value;

use crate::support::corelog::Corelog;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::server::Server;

fn partition(corelog: &Corelog) -> Value {
    let topic = corelog
        .run(["topic", "describe", "t", "--output", "json"])
        .json();
    topic["partitions"][0].clone()
}

/// Asks until the partition is as it should be; each question is a round trip to the server.
fn wait_for(corelog: &Corelog, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut now = Value::Null;
    until(what, || {
        now = partition(corelog);
        is_so(&now)
    });
    now
}

/// About 3 MiB in records of 1,000 bytes, 300 to a call.
fn fill(corelog: &Corelog) {
    let lines = format!("{}\n", "x".repeat(999)).repeat(300);
    (0..10).for_each(|_| drop(corelog.feed(["produce", "t"], lines.as_bytes()).done()));
}

#[test]
fn retention_by_bytes_keeps_the_newest_segments() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog
        .run(["topic", "create", "t", "--segment-bytes", "1MiB"])
        .done();
    fill(&corelog);
    assert!(partition(&corelog)["segments"].as_u64().unwrap() >= 3);
    corelog
        .run(["topic", "alter", "t", "--retention-bytes", "1MiB", "--yes"])
        .done();
    let now = wait_for(&corelog, "old segments go", |p| {
        p["log_start"].as_u64() > Some(0)
    });
    assert_eq!(now["high_watermark"], 3_000);
    let start = now["log_start"].as_u64().unwrap();
    let left = corelog
        .run(["consume", "t", "--from", &start.to_string()])
        .done();
    assert!(left.len() >= 1_000, "the active segment stays");
}

#[test]
fn retention_by_age_removes_sealed_segments_never_the_active_one() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog
        .run(["topic", "create", "t", "--segment-bytes", "1MiB"])
        .done();
    fill(&corelog);
    corelog
        .run(["topic", "alter", "t", "--retention-age", "1ms", "--yes"])
        .done();
    let now = wait_for(&corelog, "sealed segments go", |p| p["segments"] == 1);
    assert!(now["log_start"].as_u64() > Some(0));
    assert_eq!(now["high_watermark"], 3_000);
}

#[test]
fn a_segment_rolls_by_age() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog
        .run(["topic", "create", "t", "--segment-age", "50ms"])
        .done();
    corelog.feed(["produce", "t"], b"one\n").done();
    let rolled = |p: &Value| {
        // An append is what a new segment is made for.
        corelog.feed(["produce", "t"], b"more\n").done();
        p["segments"].as_u64() >= Some(2)
    };
    wait_for(&corelog, "a second segment", rolled);
    let first = corelog.run(["consume", "t", "--count", "1"]).done();
    assert_eq!(first, b"one\n");
}

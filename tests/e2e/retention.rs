//! Segments that roll and expire, as a client sees them.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

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

/// The stores of partition 0, by the number and the time of birth of the file: a number alone is given again.
fn stores(folder: &Folder) -> HashMap<(u64, SystemTime), String> {
    let entries = fs::read_dir(folder.path().join("topics/t/0")).unwrap();
    let stores = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let is_store = path.extension().is_some_and(|it| it == "log");
        // One that has gone meanwhile is none.
        let file = fs::metadata(&path).ok().filter(|_| is_store)?;
        Some(((file.ino(), file.created().unwrap()), name_of(&path)))
    });
    stores.collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn the_store_of_an_expired_segment_is_used_again_and_what_is_kept_is_whole_after_a_kill() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog
        .run(["topic", "create", "t", "--segment-bytes", "1MiB"])
        .done();
    corelog
        .run(["topic", "alter", "t", "--retention-bytes", "2MiB", "--yes"])
        .done();
    let lines = format!("{}\n", "x".repeat(999)).repeat(300);
    let (mut before, mut again) = (HashMap::new(), 0);
    until("some stores are used again", || {
        corelog.feed(["produce", "t"], lines.as_bytes()).done();
        for (file, name) in stores(&folder) {
            let earlier = before.insert(file, name.clone());
            again += usize::from(earlier.is_some_and(|earlier| earlier != name));
        }
        again >= 3
    });
    server.kill();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    // Nothing expires between two questions any more.
    let now = wait_for(&corelog, "it keeps no more than it is to", |p| {
        p["bytes"].as_u64().is_some_and(|bytes| bytes <= 2 << 20)
    });
    let (start, end) = (
        now["log_start"].as_u64().unwrap(),
        now["high_watermark"].as_u64().unwrap(),
    );
    let count = usize::try_from(end - start).unwrap();
    let from = start.to_string();
    let kept = corelog
        .run([
            "consume",
            "t",
            "--from",
            &from,
            "--count",
            &count.to_string(),
        ])
        .done();
    assert!(kept.len() == count * 1_000 && kept.starts_with(&lines.as_bytes()[..1_000]));
    server.stop();
    let path = folder.path().to_str().unwrap();
    corelog
        .run(["verify", path, "--deep", "--output", "json"])
        .done();
}

//! A partition that could not be opened: what it holds is not known, and nowhere told as nothing.

use std::path::Path;

use corelog_protocol::message::{describe_topic, scrub_topic};
use corelog_record::{PartitionId, TopicName};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::corelog::Corelog;
use crate::support::deadline::{output_of, until};
use crate::support::folder::Folder;
use crate::support::http;
use crate::support::schema;
use crate::support::server::{Server, Start};
use crate::support::wire::Wire;

/// What a log holds, by its names in JSON.
const HOLDS: [&str; 7] = [
    "log_start",
    "high_watermark",
    "durable",
    "log_end",
    "epoch",
    "segments",
    "bytes",
];

/// A server whose copy of a topic `t` of two partitions cannot be opened at 0, and the owner of the topic.
fn served(folders: [&Path; 2]) -> [Server; 2] {
    let [broken, owner] = folders;
    let owner = Start::on(owner).start();
    let corelog = Corelog::to(&owner);
    corelog
        .run(["topic", "create", "t", "--partitions", "2"])
        .done();
    for partition in ["0", "1"] {
        corelog
            .feed(["produce", "t", "--partition", partition], b"a\nb\n")
            .done();
    }
    let copy = Server::start(broken);
    let clone = ["clone", "t", "--from", &owner.address()];
    Corelog::to(&copy).run(clone).done();
    assert!(copy.stop().status.success());
    std::fs::write(broken.join("topics/t/0/manifest"), b"rotten").unwrap();
    [Server::start(broken), owner]
}

fn is_told_of_none(partition: &Value) -> bool {
    HOLDS.iter().all(|name| partition[name].is_null())
}

#[test]
fn http_tells_no_offset_of_what_could_not_be_opened() {
    let folders = [Folder::new(), Folder::new()];
    let [server, _owner] = served(folders.each_ref().map(|folder| folder.path()));
    let admin = server.ready.admin;
    let told = http::json(admin, "/v1/partitions?topic=t");
    let [broken, sound] = &told["partitions"].as_array().unwrap()[..] else {
        panic!("two partitions: {told}");
    };
    assert_eq!(broken["state"], "failed");
    assert!(is_told_of_none(broken), "{broken}");
    assert_eq!(sound["log_end"], 2);
    let topics = http::json(admin, "/v1/topics");
    assert_eq!(
        topics["topics"][0]["bytes"],
        sound["bytes"].as_u64().unwrap()
    );
    let (_, page) = http::get(admin, "/metrics");
    let series = |name: &str, partition: u8| {
        let begin = format!("corelog_partition_{name}{{topic=\"t\",partition=\"{partition}\"");
        page.lines().filter(|line| line.starts_with(&begin)).count()
    };
    for (name, of_both) in [
        ("log_end", [0, 1]),
        ("store_bytes", [0, 1]),
        ("state", [1, 1]),
        ("damaged_ranges", [0, 1]),
    ] {
        assert_eq!([series(name, 0), series(name, 1)], of_both, "{name}");
    }
}

#[test]
fn commands_tell_no_offset_of_what_could_not_be_opened_and_end_with_damage() {
    let folders = [Folder::new(), Folder::new()];
    let [server, owner] = served(folders.each_ref().map(|folder| folder.path()));
    let (corelog, theirs) = (Corelog::to(&server), Corelog::to(&owner));
    let (here, there) = (server.address(), owner.address());
    let told = |corelog: &Corelog, args: &[&str], code: i32| {
        let (out, said, ended) = corelog.run(args).parts();
        assert_eq!(ended, Some(code), "{args:?}: {said}");
        (String::from_utf8(out).unwrap(), said)
    };
    let json = |args: &[&str], code: i32| {
        let (out, said) = told(&corelog, &[args, &["--output", "json"]].concat(), code);
        let first = out.lines().next().unwrap();
        (serde_json::from_str::<Value>(first).unwrap(), said)
    };
    let (row, said) = json(&["offsets", "t"], 3);
    assert!(
        is_told_of_none(&row) && row["holds"] == serde_json::json!([]),
        "{row}"
    );
    assert!(
        said.contains("t/0 could not be opened: what it holds is not known"),
        "{said}"
    );
    fits("offsets", &row);
    let (topic, _) = json(&["topic", "describe", "t"], 3);
    assert!(is_told_of_none(&topic["partitions"][0]), "{topic}");
    assert_eq!(topic["partitions"][0]["state"], "failed");
    assert_eq!(topic["partitions"][1]["log_end"], 2);
    fits("topic-describe", &topic);
    let (table, _) = told(&corelog, &["topic", "describe", "t"], 3);
    assert!(table.contains("'s, and not open"), "{table}");
    let row = table.lines().find(|line| line.starts_with("0  "));
    let cells: Vec<_> = row.unwrap().split_whitespace().collect();
    assert_eq!(cells, [&["0", "failed", "0"][..], &["-"; 9]].concat());
    // It was one of 0 bytes, as if there were none to read.
    let (scrub, _) = json(&["scrub", "t"], 3);
    let known = ["bytes_done", "bytes_total"].map(|name| &scrub["partitions"][0][name]);
    assert!(known.iter().all(|bytes| bytes.is_null()), "{scrub}");
    assert!(scrub["partitions"][1]["bytes_total"].is_u64(), "{scrub}");
    fits("scrub", &scrub);
    let admin = server.ready.admin.to_string();
    let (top, _) = json(
        &["top", "--admin", &admin, "--once", "--interval", "100ms"],
        0,
    );
    let rows = top["partitions"].as_array().unwrap();
    let row = rows.iter().find(|row| row["partition"] == 0).unwrap();
    assert!(is_told_of_none(row), "{row}");
    assert_eq!(row["state"], "failed");
    fits("top", &top);
    let said = corelog.run(["topic", "delete", "t", "--dry-run"]).text();
    assert!(said.contains(" and at least "), "{said}");
    assert!(said.contains("(1 partitions are not open)"), "{said}");

    // It was empty, so that a copy of anything was nothing to refuse, and equal to nothing.
    let (_, said) = told(&corelog, &["clone", "t", "--from", &there, "--dry-run"], 3);
    assert!(
        said.contains("t/0 could not be opened: what it holds is not known"),
        "{said}"
    );
    assert!(!said.contains("t/1"), "{said}");
    for args in [
        &["clone", "t", "--from", &here, "--dry-run"][..],
        &["compare", "t", "--with", &here],
    ] {
        let (_, said) = told(&theirs, args, 3);
        assert!(
            said.contains(&format!("{here}: t/0 could not be opened")),
            "{said}"
        );
    }
}

/// Reopening it was told as an outcome that nobody knows, and nobody named what mends it.
#[test]
fn whoever_needs_what_could_not_be_opened_is_told_what_mends_it_and_that_nothing_was_done() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    corelog.feed(["produce", "t"], b"a\n").done();
    assert!(server.stop().status.success());
    std::fs::write(folder.path().join("topics/t/0/manifest"), b"rotten").unwrap();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    for args in [
        &["partition", "reopen", "t", "0"][..],
        &["consume", "t"],
        &["scrub", "t", "--wait"],
    ] {
        let (_, said, code) = corelog.run(args).parts();
        assert_eq!(code, Some(3), "{args:?}: {said}");
        assert!(said.contains("`corelog repair --dir`"), "{args:?}: {said}");
        assert!(!said.contains("unknown"), "{args:?}: {said}");
    }
}

/// It went by what had been told before the wait.
#[test]
fn a_scrub_that_waits_is_judged_by_how_the_partitions_are_at_its_end() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    // At this rate it would take longer than any test may.
    let file = folder.file("corelog.toml", b"scrub-rate = '64KiB'\n");
    let start = || Start::on(&data).arg("--config").arg(&file).start();
    let server = start();
    let corelog = Corelog::to(&server);
    let create = ["topic", "create", "t", "--partitions", "2"];
    corelog
        .run([&create[..], &["--segment-bytes", "1MiB"]].concat())
        .done();
    let line = [[b'x'; 1023].as_slice(), b"\n"].concat();
    for _ in 0..4 {
        let produce = ["produce", "t", "--partition", "1"];
        corelog.feed(produce, &line.repeat(2 * 1024)).done();
    }
    corelog
        .feed(["produce", "t", "--partition", "0"], b"a\n")
        .done();
    assert!(server.stop().status.success());
    let manifest = data.join("topics/t/0/manifest");
    let sound = std::fs::read(&manifest).unwrap();
    std::fs::write(&manifest, b"rotten").unwrap();
    let server = start();
    let corelog = Corelog::to(&server);
    let waiting = corelog.command(["scrub", "t", "--wait"]).spawn().unwrap();
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = TopicName::new("t").unwrap();
    let name = topic.clone();
    let told = wire.call(&describe_topic::Request { name }, &[]);
    let id = told.unwrap().unwrap().0.id;
    until("the scrub has begun", || {
        let request = scrub_topic::Request {
            topic: topic.clone(),
            id,
            partition: Some(PartitionId::new(1)),
            start: false,
        };
        let (told, _) = wire.call(&request, &[]).unwrap().unwrap();
        told.partitions[0].state != scrub_topic::State::Idle
    });
    std::fs::write(&manifest, sound).unwrap();
    corelog.run(["partition", "reopen", "t", "0"]).done();
    std::fs::write(&file, "scrub-rate = '1GiB'\n").unwrap();
    server.signal(Signal::SIGHUP);
    let output = output_of(waiting, "a scrub");
    let said = String::from_utf8_lossy(&output.stderr);
    // It is open, and was not when its turn came.
    assert!(!said.contains("could not be opened"), "{said}");
    assert!(said.contains("t/0: the pass ended early"), "{said}");
    assert_eq!(output.status.code(), Some(1), "{said}");
}

/// It ended with the refusal: nothing of the topic was read, in no run.
#[test]
fn a_partition_that_could_not_be_opened_holds_up_no_other_one() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    let create = ["topic", "create", "t", "--partitions", "2"];
    corelog.run(create).done();
    for partition in ["0", "1"] {
        let produce = ["produce", "t", "--partition", partition];
        corelog.feed(produce, b"a\nb\n").done();
    }
    assert!(server.stop().status.success());
    std::fs::write(folder.path().join("topics/t/0/manifest"), b"rotten").unwrap();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    for args in [
        &["consume", "t"][..],
        &["consume", "t", "--follow"],
        &["consume", "t", "--until", "-0"],
        &["consume", "t", "--until", "@2100-01-01T00:00:00Z"],
    ] {
        let (out, said, code) = corelog.run(args).parts();
        assert_eq!(
            (&out[..], code),
            (&b"a\nb\n"[..], Some(3)),
            "{args:?}: {said}"
        );
        assert!(said.contains("t/0 "), "{args:?}: {said}");
        assert!(said.contains("`corelog repair --dir`"), "{args:?}: {said}");
    }
}

/// What is printed is as the schema of its command says.
fn fits(command: &str, value: &Value) {
    let path = format!(
        "{}/tests/schemas/{command}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let faults = schema::faults(&schema, &schema, value);
    assert!(faults.is_empty(), "{command}: {value}\n{faults:#?}");
}

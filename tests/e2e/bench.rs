//! `corelog bench`.

use std::fs::File;
use std::process::{Output, Stdio};

use crate::support::corelog::Corelog;
use crate::support::deadline::{output_of, until};
use crate::support::folder::Folder;
use crate::support::http;
use crate::support::server::Server;

#[test]
fn what_is_produced_is_measured_and_can_be_consumed() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    let args = [
        "bench",
        "produce",
        "--total",
        "4MiB",
        "--batch-bytes",
        "64KiB",
        "--partitions",
        "2",
        "--output",
        "json",
    ];
    let produced = corelog.run(args).json();
    for number in ["mib_per_s", "records_per_s"] {
        assert!(produced[number].as_f64().unwrap() > 0.0, "{produced}");
    }
    let latency = |name: &str| produced["ack_us"][name].as_u64().unwrap();
    assert!(0 < latency("p50") && latency("p50") <= latency("p99"));
    assert!(latency("p99") <= latency("p99.9") && latency("p99.9") <= latency("max"));

    let consumed = corelog.run(["bench", "consume", "--output", "json"]).json();
    assert!(consumed["bytes"].as_u64().unwrap() >= 4 << 20, "{consumed}");
    assert!(
        corelog
            .run(["bench", "consume", "--count", "10"])
            .text()
            .contains("records/s")
    );
}

/// It waited for its reader, and told of that as of a server that answers late.
#[test]
fn acknowledgements_are_timed_while_nobody_reads_what_is_told() {
    // More than a pipe holds, and what is handed over at once.
    const COUNT: usize = 10_000;
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    let latency = ["bench", "latency", "--rate", "5000", "--duration", "2s"];
    let args = latency.into_iter().chain(["--output", "json"]);
    let child = corelog.command(args).spawn().unwrap();
    let appended = || http::metric(server.ready.admin, "corelog_appended_records_total");
    until("all are sent", || appended() > COUNT as f64);
    let output = output_of(child, "a load whose lines are read behind it");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        output.stdout.split(|byte| *byte == b'\n').count(),
        COUNT + 1
    );
}

#[test]
fn places_are_sought_and_acknowledgements_timed() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    let latency = ["bench", "latency", "--rate", "200", "--duration", "500ms"];
    let acks = corelog
        .run(latency.into_iter().chain(["--output", "json"]))
        .json_lines();
    assert_eq!(acks.len(), 100);
    // The first record of the partition waited for a connection and new files: it is not counted.
    for (ack, offset) in acks.iter().zip(1u64..) {
        assert_eq!(ack["offset"].as_u64(), Some(offset));
        assert!(ack["us"].as_u64().unwrap() > 0 && ack["due_us"].as_u64().unwrap() > 0);
    }
    assert!(corelog.run(latency).text().contains("ack p99.9"));
    for by in ["offset", "time"] {
        let args = [
            "bench", "seek", "--by", by, "--count", "20", "--output", "json",
        ];
        let sought = corelog.run(args).json();
        let latency = |name: &str| sought["seek_us"][name].as_u64().unwrap();
        assert!(
            0 < latency("p50") && latency("p50") <= latency("max"),
            "{sought}"
        );
    }
    assert!(corelog.run(["bench", "seek"]).text().contains("p99"));
}

/// A load over a thousand partitions came from one producer, over one connection.
#[test]
fn producers_that_are_timed_take_turns_over_connections_of_their_own() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    let latency = ["bench", "latency", "--rate", "300", "--duration", "500ms"];
    let sizes = ["--partitions", "3", "--producers", "5", "--output", "json"];
    let acks = corelog.run(latency.into_iter().chain(sizes)).json_lines();
    let of = |partition: u64| {
        let its = acks.iter().filter(|ack| ack["partition"] == partition);
        its.count()
    };
    assert_eq!([of(0), of(1), of(2)], [60, 60, 30]);
    let accepted = http::metric(server.ready.admin, "corelog_connections_accepted_total");
    assert!(accepted >= 5.0, "{accepted}");
}

/// The last record was read before: the one place of `--count 1` was not the first read of a server that was just started.
#[test]
fn no_record_is_read_but_at_the_places_that_are_sought_by_offset() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    // Each is as much as is fetched at once.
    let sizes = ["--record-bytes", "70KiB", "--batch-bytes", "70KiB"];
    let produce = ["bench", "produce", "--total", "3500KiB"];
    corelog.run(produce.into_iter().chain(sizes)).done();
    let fetched = || http::metric(server.ready.admin, "corelog_fetched_bytes_total");
    let seek = |count: &str| {
        let before = fetched();
        corelog.run(["bench", "seek", "--count", count]).done();
        fetched() - before
    };
    let one = seek("1");
    assert!(one > 0.0);
    assert_eq!(seek("20"), 20.0 * one);
}

#[test]
fn one_record_at_a_time_is_acknowledged_and_delivered() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    let args = ["bench", "delivery", "--count", "50"];
    // The second run begins behind the records of the first.
    for _ in 0..2 {
        let told = corelog.run(args.into_iter().chain(["--output", "json"]));
        let told = told.json();
        for kind in ["ack_us", "delivery_us"] {
            assert_eq!(told[kind]["count"], 45, "{told}");
            assert!(told[kind]["p50"].as_u64().unwrap() > 0, "{told}");
        }
    }
    assert!(corelog.run(args).text().contains("delivery p99"));
    let nothing = ["bench", "delivery", "--count", "0"];
    assert!(corelog.run(nothing).failed(2).contains("--count"));
    corelog.run(["topic", "create", "events"]).done();
    corelog.feed(["produce", "events"], b"one\n").done();
    let mut behind = args.to_vec();
    behind.extend(["--topic", "events"]);
    // What is measured with went into a topic of somebody else, without a word.
    let said = corelog.run(&behind).failed(6);
    assert!(
        said.contains("has records") && said.contains("--yes"),
        "{said}"
    );
    behind.push("--yes");
    corelog.run(behind).done();
}

#[test]
fn several_producers_and_consumers_share_the_partitions() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    for (producers, partitions, consumers) in [("4", "4", "2"), ("8", "1", "2"), ("2", "5", "1")] {
        let topic = format!("t{producers}-{partitions}");
        let produce = [
            "bench",
            "produce",
            "--topic",
            &topic,
            "--producers",
            producers,
            "--partitions",
            partitions,
        ];
        let sizes = [
            "--record-bytes",
            "64B",
            "--batch-bytes",
            "16KiB",
            "--total",
            "1MiB",
        ];
        let produced = corelog
            .run(produce.into_iter().chain(sizes).chain(["--output", "json"]))
            .json();
        assert_eq!(produced["batch_records"], 256);
        let consume = [
            "bench",
            "consume",
            "--topic",
            &topic,
            "--consumers",
            consumers,
        ];
        let consumed = corelog
            .run(consume.into_iter().chain(["--output", "json"]))
            .json();
        // Consumers beyond the partitions read the same ones.
        let times = if partitions == "1" { 2 } else { 1 };
        let records = consumed["records"].as_u64().unwrap();
        assert!(records >= times * (1 << 20) / 64, "{consumed}");
    }
}

#[test]
fn values_that_others_wrote_are_told_from_those_of_a_benchmark() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "events"]).done();
    corelog.feed(["produce", "events"], b"one\ntwo\n").done();
    let refused = corelog
        .run(["bench", "consume", "--topic", "events"])
        .failed(1);
    assert!(refused.contains("offset 0") && refused.contains("--unchecked"));
    let args = ["bench", "consume", "--topic", "events", "--unchecked"];
    let read = corelog
        .run(args.into_iter().chain(["--output", "json"]))
        .json();
    assert_eq!(read["records"], 2);
}

#[test]
fn a_mixed_load_is_acknowledged_and_delivered_whole() {
    // Where the disk stalls in the first second, the server's slowest are some that the load does not count.
    assert!((0..5).any(|_| mixed_load_told_by_the_server() > 0));
}

/// Runs one, and tells of how many of its slowest the server has something to say.
fn mixed_load_told_by_the_server() -> usize {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    let args = [
        "bench",
        "mixed",
        "--partitions",
        "3",
        "--rate",
        "3000",
        "--batch-records",
        "10",
        "--duration",
        "2s",
        "--ack",
        "durable",
    ];
    let address = format!("localhost:{}", server.ready.admin.port());
    let acks = folder.path().join("acks");
    let told = [
        "--admin",
        address.as_str(),
        "--acks",
        acks.to_str().unwrap(),
    ];
    let mixed = corelog
        .run(args.into_iter().chain(told).chain(["--output", "json"]))
        .json();
    let acks = std::fs::read_to_string(acks).unwrap();
    let acks = acks.lines().map(|ack| serde_json::from_str(ack).unwrap());
    let us = acks.map(|ack: serde_json::Value| {
        assert!(ack["partition"].as_u64().unwrap() < 3 && ack["due_us"].as_u64() > Some(0));
        ack["us"].as_u64().unwrap()
    });
    let us: Vec<_> = us.collect();
    assert_eq!(us.len(), 300, "a line for each batch that is counted");
    assert_eq!(us.iter().max(), mixed["slowest"][0]["us"].as_u64().as_ref());
    // What is due in the first second is not counted.
    assert_eq!(mixed["records"], 3000);
    for kind in ["ack_us", "delivery_us"] {
        let latency = |name: &str| mixed[kind][name].as_u64().unwrap();
        assert!(latency("count") > 0 && 0 < latency("p50") && latency("p50") <= latency("max"));
    }
    let slowest = mixed["slowest"].as_array().unwrap();
    assert_eq!(slowest.len(), 20);
    let us = slowest.iter().map(|slow| slow["us"].as_u64().unwrap());
    let us: Vec<_> = us.collect();
    assert!(us.is_sorted_by(|a, b| a >= b), "the slowest first: {us:?}");
    assert!(us[0] >= mixed["ack_us"]["p99"].as_u64().unwrap() * 99 / 100);
    for slow in slowest {
        let outside_us = slow["outside_us_min"].as_u64();
        assert!(
            outside_us.is_some_and(|us| us < slow["us"].as_u64().unwrap()),
            "{slow}"
        );
    }
    // The server remembers 64, of which those are some that also it took long for.
    let told = slowest.iter().filter(|slow| !slow["server"].is_null());
    let mut count = 0;
    for slow in told {
        let parts = ["queue_us", "group_us", "sync_us", "reply_us"];
        let parts = parts.map(|part| slow["server"][part].as_u64().unwrap());
        assert!(0 < parts[2], "no group is synced in no time: {slow}");
        assert!(
            parts.iter().sum::<u64>() <= slow["us"].as_u64().unwrap(),
            "{slow}"
        );
        count += 1;
    }
    count
}

/// How a load ended whose topic went behind its first second, what it said, and what it kept of each acknowledgement.
fn mixed_load_that_fails_midway(stdout: Stdio) -> (Output, String, String) {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    let acks = folder.path().join("acks");
    let file = acks.to_str().unwrap();
    let mixed = ["bench", "mixed", "--duration", "10m", "--output", "json"];
    // Of what waits for a sync nobody would know, as a rule.
    let options = ["--ack", "accepted", "--acks", file];
    let mut load = corelog.command(mixed.into_iter().chain(options));
    let load = load.stdout(stdout).spawn().unwrap();
    until("the first second is over", || {
        std::fs::metadata(&acks).is_ok_and(|acks| acks.len() > 0)
    });
    corelog.run(["topic", "delete", "bench", "--yes"]).done();
    let ended = output_of(load, "a mixed load");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    // What was in memory, and not acknowledged yet, when the topic went: nobody knows of it.
    let is_known = said.contains("UnknownTopic");
    let code = if is_known { 1 } else { 5 };
    assert_eq!(ended.status.code(), Some(code), "{said}");
    (ended, said, std::fs::read_to_string(acks).unwrap())
}

/// That stdout took nothing was all that was told, with the exit code of a mere failure.
#[test]
fn why_a_mixed_load_failed_is_told_also_where_stdout_takes_nothing() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (_, said, _) = mixed_load_that_fails_midway(full.into());
    assert!(said.contains("No space left"), "{said}");
}

/// It was nothing, after an hour.
#[test]
fn a_mixed_load_that_fails_midway_tells_what_it_measured_until_then() {
    let (ended, _, acks) = mixed_load_that_fails_midway(Stdio::piped());
    let told: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(told["ack_us"]["count"], acks.lines().count());
    assert!(told["records"].as_u64() > Some(0), "{told}");
    assert!(told["seconds"].as_f64().unwrap() < 120.0, "{told}");
}

#[test]
fn what_cannot_be_measured_is_said() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog
        .run(["bench", "produce", "--record-bytes", "0"])
        .failed(2);
    corelog
        .run(["bench", "produce", "--compression", "best"])
        .failed(2);
    assert!(
        corelog
            .run(["bench", "consume", "--topic", "none"])
            .failed(1)
            .contains("UnknownTopic")
    );
    corelog
        .run(["bench", "consume", "--count", "many"])
        .failed(2);
    corelog.run(["bench", "seek", "--count", "0"]).failed(2);
    corelog.run(["bench", "seek", "--topic", "none"]).failed(1);
    corelog.run(["bench", "latency", "--rate", "0"]).failed(2);
    for sizes in [
        ["--record-bytes", "15"],
        ["--record-bytes", "1TiB"],
        ["--duration", "1s"],
    ] {
        let args = ["bench", "mixed"].into_iter().chain(sizes);
        corelog.run(args).failed(2);
    }
    let nowhere = ["bench", "mixed", "--duration", "2s", "--acks", "/none/acks"];
    let said = corelog.run(nowhere).failed(1);
    assert!(said.contains("cannot create /none/acks"), "{said}");
    let wrong = server.address();
    let args = [
        "bench",
        "mixed",
        "--duration",
        "2s",
        "--admin",
        wrong.as_str(),
    ];
    let said = corelog.run(args).failed(4);
    assert!(said.contains("is it the server's --admin, and"), "{said}");
    corelog
        .run(["bench", "produce", "--window", "18446744073709551615"])
        .failed(2);
    corelog
        .run(["bench", "consume", "--consumers", "0"])
        .failed(2);
    corelog
        .run(["bench", "latency", "--duration", "long"])
        .failed(2);
}

//! `corelog clone`.

use std::io::{BufRead as _, BufReader};

use serde_json::Value;

use super::{Pair, consume, described, ends, lines, produce};
use crate::support::corelog::Corelog;
use crate::support::server::Server;
use crate::support::{deadline, http};

#[test]
fn a_clone_has_the_same_bytes_and_is_no_owner() {
    let pair = Pair::start();
    let here = pair.at_source();
    here.run([
        "topic",
        "create",
        "t",
        "--partitions",
        "2",
        "--segment-bytes",
        "1MiB",
    ])
    .done();
    let first = lines("first", 3 << 20);
    produce(&here, "0", &first);
    produce(&here, "1", b"a\nb\nc\n");

    let source = pair.source.address();
    let dry = [
        "clone",
        "t",
        "--from",
        &source,
        "--dry-run",
        "--output",
        "json",
    ];
    let plan = pair.at_other().run(dry).json();
    assert!(
        !plan["partitions"][0]["segments"]
            .as_array()
            .unwrap()
            .is_empty(),
        "{plan}"
    );
    assert_eq!(plan["partitions"][1]["tail_records"], 3);
    let topics = pair
        .at_other()
        .run(["topic", "list", "--output", "json"])
        .text();
    assert!(
        !topics.contains("\"t\""),
        "a dry run makes nothing: {topics}"
    );

    let cloned = pair.clone(&[]);
    assert_eq!(cloned["created"], true);
    assert_eq!(states(&cloned), ["done", "done"]);
    let (rows, code) = pair.compare();
    assert_eq!(code, Some(0), "{rows:?}");
    let there = pair.at_other();
    assert_eq!(consume(&there, "0"), first);
    assert_eq!(consume(&there, "1"), b"a\nb\nc\n");
    let described = described(&there);
    assert_eq!(described["partitions"][0]["role"], "follower");
    assert_eq!(described["partitions"][0]["source"], source.as_str());
    let plan = pair.at_other().run(dry).json();
    assert_eq!(plan["bytes"], 0, "nothing is left to move");
    assert_eq!(plan["partitions"][0]["tail_records"], 0);
}

/// A clone of a segment that was here in part was done at once, without the rest of it.
#[test]
fn of_segments_that_are_named_comes_what_is_missing_and_others_are_refused() {
    let pair = Pair::start();
    let here = pair.at_source();
    here.run(["topic", "create", "t", "--segment-bytes", "1MiB"])
        .done();
    produce(&here, "0", &lines("first", 100 << 10));
    assert_eq!(states(&pair.clone(&[])), ["done"]);
    let there = pair.at_other();
    let before = ends(&described(&there))[0];
    produce(&here, "0", &lines("rest", 3 << 20));

    let source = pair.source.address();
    let args = ["clone", "t", "--from", &source, "--partition", "0"];
    let dry = ["--segments", "0", "--dry-run", "--output", "json"];
    let mut missing = 0;
    deadline::until("the segment is sealed", || {
        let (out, _, code) = there.run([&args[..], &dry].concat()).parts();
        let plan: Value = serde_json::from_slice(&out).unwrap_or_default();
        missing = plan["partitions"][0]["tail_records"].as_u64().unwrap_or(0);
        code == Some(0)
    });
    let named = ["--partition", "0", "--segments", "0"];
    assert_eq!(states(&pair.clone(&named)), ["done"]);
    let [all, some] = [&here, &there].map(|corelog| ends(&described(corelog))[0]);
    assert!(0 < missing && before + missing <= some, "{some}");
    assert!(some <= all, "{some}");

    let said = there
        .run([&args[..], &["--segments", "0,1"]].concat())
        .failed(1);
    assert!(
        said.contains("no sealed segment that begins at 1"),
        "{said}"
    );
}

/// The source was asked how far it was, has all, and so it was done.
#[test]
fn a_clone_whose_server_is_gone_is_not_done_because_another_one_has_the_topic() {
    let pair = Pair::start();
    let here = pair.at_source();
    here.run(["topic", "create", "t", "--segment-bytes", "1MiB"])
        .done();
    produce(&here, "0", &lines("line", 3 << 20));
    let [source, other] = [&pair.source, &pair.other].map(Server::address);
    let either = format!("{other},{source}");
    let args = ["clone", "t", "--from", &source, "--limit-rate", "64KiB"];
    let args = [&args[..], &["--server", &either, "--timeout", "10s"]].concat();
    let mut cloning = here.command(args).spawn().unwrap();
    let mut said = BufReader::new(cloning.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("bytes_done"), "{line}");
    pair.other.kill();
    let output = deadline::output_of(cloning, "a clone whose server is gone");
    assert_eq!(output.status.code(), Some(5), "{output:?}");
}

#[test]
fn progress_is_lines_of_json_where_there_is_no_terminal() {
    let pair = Pair::start();
    let here = pair.at_source();
    here.run(["topic", "create", "t", "--segment-bytes", "1MiB"])
        .done();
    produce(&here, "0", &lines("line", 3 << 20));
    let source = pair.source.address();
    let args = ["clone", "t", "--from", &source, "--limit-rate", "64MiB"];
    let (out, said, code) = pair.at_other().run(args).parts();
    assert_eq!(code, Some(0), "{said}");
    assert!(String::from_utf8_lossy(&out).contains("done"));
    let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(last["partitions"][0]["state"], "done", "{said}");
    assert_eq!(last["bytes_done"], last["bytes_total"].as_u64().unwrap());
}

#[test]
fn a_clone_that_follows_ends_when_it_has_come_so_far_and_goes_on() {
    let pair = Pair::start();
    let here = pair.at_source();
    here.run(["topic", "create", "t"]).done();
    produce(&here, "0", b"a\nb\n");
    assert_eq!(states(&pair.clone(&["--follow"])), ["following"]);
    produce(&here, "0", b"c\n");
    pair.level();
    assert_eq!(consume(&pair.at_other(), "0"), b"a\nb\nc\n");
    // Asked to append, it names its source, and the producer goes there.
    produce(&pair.at_other(), "0", b"d\n");
    assert_eq!(consume(&here, "0"), b"a\nb\nc\nd\n");
    pair.level();
}

/// A word that was left out ended the following, with 0 and without a word.
#[test]
fn a_clone_without_follow_of_what_is_followed_already_needs_consent() {
    let pair = Pair::following();
    let (source, there) = (pair.source.address(), pair.at_other());
    let clone = ["clone", "t", "--from", &source];
    let said = there.run(clone).failed(6);
    assert!(
        said.contains("--follow") && said.contains("--yes"),
        "{said}"
    );
    let planned = [&clone[..], &["--dry-run"]].concat();
    let (_, said, code) = there.run(&planned).parts();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("follows 1 partitions of t"), "{said}");
    produce(&pair.at_source(), "0", b"c\n");
    pair.level();
    assert_eq!(states(&pair.clone(&["--follow"])), ["following"]);
    assert_eq!(states(&pair.clone(&["--yes"])), ["done"]);
    // It follows nobody now: there is nothing to ask for.
    assert_eq!(states(&pair.clone(&[])), ["done"]);
}

#[test]
fn a_follower_and_its_source_tell_of_each_other_over_http() {
    let pair = Pair::start();
    let here = pair.at_source();
    here.run(["topic", "create", "t"]).done();
    produce(&here, "0", b"a\nb\n");
    pair.clone(&["--follow"]);
    pair.level();
    let (source, follower) = (pair.source.ready.admin, pair.other.ready.admin);
    let silent = "corelog_partition_source_silent_seconds";
    assert_eq!(
        http::metric_if_any(source, silent),
        None,
        "it follows nobody"
    );
    let silence = http::metric(follower, silent);
    assert!((0.0..60.0).contains(&silence), "{silence} s");
    let role = "corelog_partitions_by_role{core=\"0\",role=\"follower\"";
    assert_eq!(http::metric(follower, role).to_string(), "1");

    let told = http::json(follower, "/v1/clones");
    let clone = &told["clones"][0];
    assert_eq!(clone["state"], "following");
    assert_eq!(clone["sources"][0], pair.source.address());
    assert_eq!(
        (&clone["end"], &clone["source_end"]),
        (&2.into(), &2.into())
    );
    assert!(told["followers"].as_array().unwrap().is_empty(), "{told}");
    deadline::until("the source has heard how far its follower is", || {
        let told = http::json(source, "/v1/clones");
        told["followers"][0]["end"] == 2 && told["followers"][0]["is_silent"] == false
    });
}

#[test]
fn what_cannot_be_cloned_is_refused_and_nothing_is_overwritten() {
    let pair = Pair::start();
    for (corelog, line) in [(pair.at_source(), b"a\n"), (pair.at_other(), b"b\n")] {
        corelog.run(["topic", "create", "t"]).done();
        produce(&corelog, "0", line);
    }
    let source = pair.source.address();
    let there = pair.at_other();
    let said = there.run(["clone", "t", "--from", &source]).failed(1);
    assert!(said.contains("TopicChanged"), "{said}");
    let (_, said, code) = there
        .run(["clone", "t", "--from", &source, "--dry-run"])
        .parts();
    // As the clone itself.
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("another topic has this name"), "{said}");
    assert_eq!(consume(&there, "0"), b"b\n");

    let said = there.run(["clone", "none", "--from", &source]).failed(1);
    let whose = format!("UnknownTopic: {source}: there is no topic none");
    assert!(said.contains(&whose), "{said}");
    there.run(["clone", "t", "--from", "127.0.0.1:1"]).failed(4);
    there.run(["clone", "t"]).failed(2);
    there
        .run(["clone", "t", "--from", &source, "--segments", "0"])
        .failed(2);
    let nobody = ["clone", "t", "--from", &source, "--timeout", "2s"];
    Corelog::at("127.0.0.1:1").run(nobody).failed(4);
}

fn states(cloned: &Value) -> Vec<&str> {
    let partitions = cloned["partitions"].as_array().unwrap();
    partitions
        .iter()
        .map(|partition| partition["state"].as_str().unwrap())
        .collect()
}

/// Partitions that the server lacks which is named first were left out, with exit code 0.
#[test]
fn who_names_a_copy_first_reads_and_writes_all_partitions_of_the_topic() {
    let pair = Pair::start();
    let here = pair.at_source();
    here.run(["topic", "create", "t"]).done();
    produce(&here, "0", b"a\n");
    pair.clone(&[]);
    let add = ["topic", "add-partitions", "t", "--partitions", "2"];
    here.run(add).done();
    let servers = [&pair.other, &pair.source].map(Server::address);
    let both = Corelog::at(&servers.join(","));
    produce(&both, "1", b"b\n");
    assert_eq!(consume(&both, "1"), b"b\n");
    let all = both.run(["consume", "t", "--format", "%p %v\n"]).text();
    let mut all: Vec<_> = all.lines().collect();
    all.sort_unstable();
    assert_eq!(all, ["0 a", "1 b"]);
}

//! `corelog topic`.

use std::fs::File;
use std::process::Stdio;

use serde_json::Value;

use crate::support::corelog::Corelog;
use crate::support::folder::Folder;
use crate::support::server::Server;

fn described(corelog: &Corelog, topic: &str) -> Value {
    corelog
        .run(["topic", "describe", topic, "--output", "json"])
        .json()
}

#[test]
fn create_prints_the_policy_in_force() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    let said = corelog
        .run(["topic", "create", "t", "--retention-bytes", "2GiB"])
        .text();
    for word in ["durable", "2GiB", "never", "128MiB"] {
        assert!(said.contains(word), "{word} in\n{said}");
    }
    let args = [
        "topic",
        "create",
        "u",
        "--partitions",
        "3",
        "--ack",
        "accepted",
        "--output",
        "json",
    ];
    let created = corelog.run(args).json();
    assert_eq!(created["partitions"], 3);
    assert_eq!(created["created"], true);
    assert_eq!(created["policy"]["ack"], "accepted");
    assert_eq!(created["policy"]["retention_age_ms"], Value::Null);
}

/// A script that saw 1 cannot tell it from a refusal: what stderr says is all there is, as of other tools.
#[test]
fn what_was_changed_stays_so_where_it_cannot_be_printed() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (left, gone) = std::io::pipe().unwrap();
    drop(left);
    for (topic, stdout, code) in [
        ("full", Stdio::from(full), 1),
        ("gone", Stdio::from(gone), 0),
    ] {
        let mut create = corelog.command(["topic", "create", topic]);
        let ended = create.stdout(stdout).output().unwrap();
        assert_eq!(ended.status.code(), Some(code), "{ended:?}");
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(said.contains("cannot write to stdout"), code == 1, "{said}");
        described(&corelog, topic);
    }
}

#[test]
fn create_refuses_what_cannot_be() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    assert!(
        corelog
            .run(["topic", "create", "t"])
            .failed(1)
            .contains("TopicExists")
    );
    let again = [
        "topic",
        "create",
        "t",
        "--if-not-exists",
        "--output",
        "json",
    ];
    assert_eq!(corelog.run(again).json()["created"], false);
    for name in ["..", ".", "a/b", "", "a b", &"n".repeat(250)] {
        corelog.run(["topic", "create", name]).failed(2);
    }
    corelog
        .run(["topic", "create", "u", "--partitions", "0"])
        .failed(1);
    corelog
        .run(["topic", "create", "u", "--partitions", "4097"])
        .failed(1);
    corelog
        .run(["topic", "create", "u", "--segment-bytes", "1KiB"])
        .failed(1);
    corelog
        .run(["topic", "create", "u", "--retention-age", "soon"])
        .failed(2);
}

#[test]
fn list_shows_every_topic() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    assert_eq!(
        corelog.run(["topic", "list", "--output", "json"]).done(),
        b""
    );
    corelog
        .run(["topic", "create", "b", "--partitions", "2"])
        .done();
    corelog.run(["topic", "create", "a"]).done();
    let topics = corelog
        .run(["topic", "list", "--output", "json"])
        .json_lines();
    let names: Vec<&str> = topics
        .iter()
        .map(|topic| topic["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(topics[1]["partitions"], 2);
    assert!(corelog.run(["topic", "list"]).text().contains("PARTITIONS"));
}

#[test]
fn describe_shows_each_partition() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog
        .run(["topic", "create", "t", "--partitions", "2"])
        .done();
    corelog
        .feed(["produce", "t", "--partition", "1"], b"a\nb\n")
        .done();
    let topic = described(&corelog, "t");
    assert_eq!(topic["partitions"][0]["log_end"], 0);
    for offset in ["high_watermark", "durable", "log_end"] {
        assert_eq!(topic["partitions"][1][offset], 2, "{offset}");
    }
    assert_eq!(topic["partitions"][1]["state"], "ok");
    assert!(
        corelog
            .run(["topic", "describe", "t"])
            .text()
            .contains("HIGH WATERMARK")
    );
    assert!(
        corelog
            .run(["topic", "describe", "none"])
            .failed(1)
            .contains("UnknownTopic")
    );
    corelog.run(["topic", "describe", "a/b"]).failed(2);
}

#[test]
fn alter_changes_what_is_named_and_asks_before_it_loses_records() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog
        .run(["topic", "create", "t", "--segment-bytes", "1MiB"])
        .done();
    corelog
        .run(["topic", "alter", "t", "--ack", "accepted"])
        .done();
    assert!(
        corelog
            .run(["topic", "alter", "t", "--retention-age", "1d"])
            .failed(6)
            .contains("--yes")
    );
    let said = corelog
        .run(["topic", "alter", "t", "--retention-age", "1d", "--dry-run"])
        .text();
    assert!(
        said.contains("would remove sealed segments older than 1d"),
        "{said}"
    );
    assert_eq!(
        described(&corelog, "t")["policy"]["retention_age_ms"],
        Value::Null
    );

    corelog
        .run(["topic", "alter", "t", "--retention-age", "1d", "--yes"])
        .done();
    let policy = described(&corelog, "t")["policy"].clone();
    assert_eq!(policy["retention_age_ms"], 86_400_000);
    assert_eq!(policy["ack"], "accepted");
    assert_eq!(policy["segment_bytes"], 1 << 20);
    // Raising it loses nothing.
    corelog
        .run(["topic", "alter", "t", "--retention-age", "never"])
        .done();
    assert_eq!(
        described(&corelog, "t")["policy"]["retention_age_ms"],
        Value::Null
    );

    corelog.run(["topic", "alter", "t"]).failed(2);
    corelog
        .run(["topic", "alter", "none", "--ack", "durable"])
        .failed(1);
    corelog
        .run(["topic", "alter", "t", "--segment-bytes", "2GiB"])
        .failed(1);
}

/// It said that nothing would be removed, or what, of a change that the server then refused.
#[test]
fn a_dry_run_approves_nothing_that_is_refused() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    for (option, value, rule) in [
        ("--segment-bytes", "1KiB", "between 1048576 and 1073741824"),
        ("--retention-age", "0s", "or never"),
        ("--segment-age", "0s", "or never"),
    ] {
        for consent in ["--dry-run", "--yes"] {
            let args = ["topic", "alter", "t", option, value, consent];
            let said = corelog.run(args).failed(1);
            assert!(said.contains("InvalidSettings"), "{said}");
            assert!(said.contains(rule), "{said}");
            assert!(said.contains("topic alter --help"), "{said}");
        }
        // The server's own words are the same.
        let said = corelog.run(["topic", "create", "u", option, value]);
        assert!(said.failed(1).contains(rule));
    }
}

#[test]
fn partitions_only_grow() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog
        .run(["topic", "create", "t", "--partitions", "2"])
        .done();
    corelog
        .feed(["produce", "t", "--partition", "2"], b"x\n")
        .failed(1);
    let grown = [
        "topic",
        "add-partitions",
        "t",
        "--partitions",
        "4",
        "--output",
        "json",
    ];
    assert_eq!(corelog.run(grown).json()["partitions"], 4);
    corelog
        .feed(["produce", "t", "--partition", "3"], b"x\n")
        .done();
    assert!(
        corelog
            .run(["topic", "add-partitions", "t", "--partitions", "3"])
            .failed(1)
            .contains("InvalidPartitions")
    );
    corelog.run(["topic", "add-partitions", "t"]).failed(2);
}

#[test]
fn delete_asks_first_and_a_recreated_topic_is_empty() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    corelog.feed(["produce", "t"], b"old\n").done();
    corelog.run(["topic", "delete", "t"]).failed(6);
    let said = corelog.run(["topic", "delete", "t", "--dry-run"]).text();
    assert!(said.contains("would remove topic t"), "{said}");
    assert_eq!(corelog.run(["consume", "t"]).done(), b"old\n");

    corelog.run(["topic", "delete", "t", "--yes"]).done();
    assert!(
        corelog
            .run(["topic", "delete", "t", "--yes"])
            .failed(1)
            .contains("UnknownTopic")
    );
    corelog.run(["topic", "create", "t"]).done();
    assert_eq!(corelog.run(["consume", "t"]).done(), b"");
}

/// A dry run of what the server refuses ended well.
#[test]
fn a_follower_that_nobody_remembers_is_not_forgotten() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    for how in ["--dry-run", "--yes"] {
        let said = corelog
            .run(["topic", "forget-follower", "t", "log9:7400", how])
            .failed(1);
        assert!(said.contains("`corelog topic describe"), "{said}");
    }
}

#[test]
fn a_server_that_is_not_there_is_unreachable() {
    let address = "127.0.0.1:1";
    let corelog = Corelog::at(address);
    for args in [
        &["topic", "list"][..],
        &["topic", "create", "t"],
        &["topic", "describe", "t"],
    ] {
        let said = corelog.run([args, &["--timeout", "2s"]].concat()).failed(4);
        assert!(said.contains(address), "{said}");
        assert!(said.contains("corelog serve"), "{said}");
    }
    let args = ["topic", "list", "--server", "nowhere"];
    assert!(corelog.run(args).failed(2).contains("HOST:PORT"));
    let args = ["topic", "list", "--timeout", "18446744073709551615s"];
    assert!(corelog.run(args).failed(2).contains("365d"));
}

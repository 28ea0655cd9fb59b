//! Commands that are given several servers: what is asked of all of them, and what of one alone.

use corelog_protocol::error::ErrorCode;
use corelog_protocol::kind::Kind;
use corelog_protocol::message::describe_topic;
use corelog_protocol::message::replica_status::Role;
use corelog_protocol::message::settings::SettingsChange;
use corelog_record::TopicName;
use serde_json::{Value, json};

use super::copies::{level_pair, status};
use super::node::Node;
use super::promote::promote;
use crate::support::corelog::Corelog;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::schema;

fn of(nodes: [&Node; 2]) -> Corelog {
    Corelog::at(&nodes.map(Node::address).join(","))
}

pub(super) fn has(node: &Node, name: &str) -> bool {
    let name = TopicName::new(name).unwrap();
    match node.ask(&describe_topic::Request { name }) {
        Ok(_) => true,
        Err(error) => {
            assert!(error.is(ErrorCode::UnknownTopic), "{error:?}");
            false
        }
    }
}

/// What is printed is as the schema of its command says.
fn fits(command: &str, value: &Value) {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemas");
    let schema = std::fs::read(format!("{dir}/{command}.json")).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let faults = schema::faults(&schema, &schema, value);
    assert!(faults.is_empty(), "{command}: {value}\n{faults:#?}");
}

/// The copy went while its owner was away, or with the second of two deletions.
#[test]
fn of_several_servers_the_owners_topic_is_deleted_and_never_a_copy() {
    let folder = Folder::new();
    let (mut a, b, _) = level_pair(&folder, 3);
    let both = of([&a, &b]);
    let delete = ["topic", "delete", "t", "--yes", "--output", "json"];
    a.kill();
    let said = both.run(delete).failed(6);
    assert!(
        said.contains(&format!("--server {}", b.address())),
        "{said}"
    );
    a.up();
    let deleted = both.run(delete).json();
    assert_eq!(deleted["server"], a.address());
    assert_eq!(deleted["held_as"], "owner");
    both.run(delete).failed(6);
    let (_, said, code) = both.run(["topic", "delete", "t", "--dry-run"]).parts();
    assert_eq!(code, Some(6), "{said}");
    assert!(!has(&a, "t") && has(&b, "t"));
    let alone = Corelog::at(&b.address());
    let said = alone.run(["topic", "delete", "t", "--dry-run"]).text();
    assert!(
        said.contains(&format!("{} (a copy)", b.address())),
        "{said}"
    );
    let deleted = alone.run(delete).json();
    assert_eq!(deleted["held_as"], "copy");
    fits("topic-delete", &deleted);
    assert!(!has(&b, "t"));
}

/// While the one that had it was away, another got a second topic of that name.
#[test]
fn a_topic_is_created_only_once_every_server_says_that_it_has_none() {
    let folder = Folder::new();
    let (b, mut c) = (Node::start(&folder, "b"), Node::start(&folder, "c"));
    let topic = c.topic("t", 1);
    let both = of([&c, &b]);
    let create = |name| {
        let words = [
            "topic",
            "create",
            name,
            "--if-not-exists",
            "--output",
            "json",
        ];
        both.run(words)
    };
    c.kill();
    for name in ["t", "u"] {
        let said = create(name).failed(4);
        assert!(
            said.contains(&c.address()) && said.contains("--server"),
            "{said}"
        );
        assert!(!has(&b, name));
    }
    c.up();
    let told = create("t").json();
    assert_eq!(told["id"], topic.id.to_string());
    assert_eq!(
        (&told["created"], &told["server"]),
        (&json!(false), &json!(c.address()))
    );
    let told = create("u").json();
    assert_eq!(
        (&told["created"], &told["server"]),
        (&json!(true), &json!(c.address()))
    );
    both.run(["topic", "create", "t"]).failed(1);
}

/// What two topics hold was told as of one: the shorter one seemed to lack records.
#[test]
fn offsets_of_two_topics_of_one_name_are_told_apart() {
    let folder = Folder::new();
    let (a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    for (node, batches) in [(&a, 1), (&b, 3)] {
        let topic = node.topic("t", 1);
        node.fill(&topic, 0, batches);
    }
    let (out, said, code) = of([&a, &b])
        .run(["offsets", "t", "--output", "json"])
        .parts();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("has another topic of that name"), "{said}");
    let out = String::from_utf8(out).unwrap();
    let rows: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 2);
    assert_ne!(rows[0]["topic_id"], rows[1]["topic_id"]);
    for row in &rows {
        assert_eq!(row["holds"], json!(["oldest", "newest"]), "{row}");
        fits("offsets", row);
    }
}

/// It was created at the first, and the records' topic was another one.
#[test]
fn a_measurement_makes_no_second_topic_of_a_name_that_another_server_has() {
    let folder = Folder::new();
    let (a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = b.topic("t", 1);
    b.fill(&topic, 0, 1);
    let said = of([&a, &b])
        .run(["bench", "produce", "--topic", "t", "--total", "1MiB"])
        .failed(6);
    assert!(said.contains("--yes"), "{said}");
    assert!(!has(&a, "t"));
}

/// A copy that had none of the records yet was asked, and others were written behind them.
#[test]
fn a_measurement_asks_the_owner_whether_a_topic_has_records() {
    let folder = Folder::new();
    let (a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 2);
    let clone = ["clone", "t", "--from", &a.address()];
    b.corelog().run(clone).done();
    let write = ["bench", "produce", "--topic", "t", "--total", "64KiB"];
    let write = [&write[..], &["--partitions", "2"]].concat();
    let both = of([&b, &a]);
    let end = a.fill(&topic, 1, 1);
    let said = both.run(&write).failed(6);
    assert!(said.contains("--yes"), "{said}");
    let said = b.corelog().run(&write).failed(6);
    assert!(said.contains("--yes"), "{said}");
    assert_eq!(
        a.fill(&topic, 1, 1).get(),
        end.get() + 2,
        "none came between"
    );
}

/// It had no record of theirs, without a word.
#[test]
fn a_snapshot_says_where_it_was_taken_and_what_it_lacks_of_partitions_that_are_followed() {
    let folder = Folder::new();
    let (a, b, topic) = level_pair(&folder, 3);
    let take = |corelog: &Corelog, name: &str| {
        let words = ["snapshot", "create", name, "--output", "json"];
        let (out, said, code) = corelog.run(words).parts();
        assert_eq!(code, Some(0), "{said}");
        let taken: Value = serde_json::from_slice(&out).unwrap();
        fits("snapshot-create", &taken);
        (taken, said)
    };
    let (taken, said) = take(&of([&b, &a]), "one");
    assert_eq!(taken["server"], b.address());
    assert_eq!(taken["topics"][0]["partitions"][0]["end"], 0);
    assert_eq!(
        taken["followed"],
        json!([{ "topic": "t", "partition": 0, "left_out": 6 }])
    );
    assert!(
        said.contains(&format!("was taken at {}", b.address())),
        "{said}"
    );
    assert!(
        said.contains(&format!(
            "follows {} in partition 0: at least 6 records",
            a.address()
        )),
        "{said}"
    );
    let (taken, said) = take(&of([&a, &b]), "one");
    assert_eq!(taken["server"], a.address());
    assert_eq!(taken["topics"][0]["partitions"][0]["end"], 6);
    assert_eq!(
        (&taken["followed"], said.lines().count()),
        (&json!([]), 1),
        "{said}"
    );
    // The snapshot before ended a segment.
    a.fill(&topic, 0, 1);
    promote(&b, &topic);
    until("the old owner is fenced", || {
        status(&a, &topic, 0).role == Role::Fenced
    });
    let (taken, said) = take(&of([&a, &b]), "two");
    assert_eq!(taken["followed"][0]["left_out"], 2);
    assert!(said.contains("another node owns partition 0"), "{said}");
}

/// As one that answers "no such topic", so that the next got another log of that name, or a restore made one.
#[test]
fn a_topic_that_cannot_be_read_is_there_and_no_second_one_of_its_name_is_made() {
    let folder = Folder::new();
    let (mut a, b, topic) = level_pair(&folder, 3);
    let mut c = Node::start(&folder, "c");
    c.topic("u", 1);
    c.corelog().run(["snapshot", "create", "s"]).done();
    a.stop();
    std::fs::write(a.topic_dir(&topic).join("topic"), b"rotten").unwrap();
    a.up();
    let name = topic.name.clone();
    let told = a.ask(&describe_topic::Request { name }).unwrap_err();
    assert!(told.is(ErrorCode::Damaged), "{told:?}");
    let (out, said, code) = Corelog::at(&a.address()).run(["topic", "list"]).parts();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("topic t is there") && !String::from_utf8(out).unwrap().contains("t "));
    let both = of([&c, &a]);
    for (corelog, words) in [
        (&a.corelog(), &["topic", "create", "t"][..]),
        (&a.corelog(), &["topic", "create", "t", "--if-not-exists"]),
        (&a.corelog(), &["produce", "t"]),
        (&both, &["topic", "create", "t", "--if-not-exists"]),
        (&both, &["restore", "s", "--topic", "t"]),
        (&both, &["topic", "delete", "t", "--yes"]),
    ] {
        let said = corelog.run(words).failed(3);
        assert!(said.contains("could not be read"), "{words:?}: {said}");
        assert!(!said.contains("topic create"), "{words:?}: {said}");
    }
    assert!(!has(&c, "t"));
    // A copy is read all the same.
    let read = ["consume", "t", "--count", "1", "--format", "%o"];
    assert_eq!(of([&a, &b]).run(read).text().trim(), "0");
    // What it alone may have is not, and not because it, or another one, would not answer.
    c.stop();
    let three = Corelog::at(&[&b, &c, &a].map(Node::address).join(","));
    let unread = format!("{} cannot read its topic t: ", a.address());
    let keyed = ["produce", "t", "--key-separator", ":", "--timeout", "5s"];
    for (words, lines) in [
        (&["consume", "t"][..], &b""[..]),
        (&["consume", "t", "--partition", "7"], b""),
        (&["bench", "consume", "--topic", "t", "--unchecked"], b""),
        (&keyed, b"key:value\n"),
    ] {
        let (_, said, code) = three.feed(words, lines).parts();
        assert_eq!(code, Some(3), "{words:?}: {said}");
        assert!(said.contains(&unread), "{words:?}: {said}");
        assert!(said.contains("could not be read"), "{words:?}: {said}");
    }
}

/// That of the server went that was the first to answer.
#[test]
fn of_two_servers_that_own_a_topic_of_one_name_neither_loses_it_until_one_is_named() {
    let folder = Folder::new();
    let (a, mut b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topics = [a.topic("t", 1), b.topic("t", 1)];
    let both = of([&a, &b]);
    let delete = ["topic", "delete", "t", "--yes", "--output", "json"];
    let said = both.run(delete).failed(6);
    for (node, topic) in [&a, &b].into_iter().zip(&topics) {
        let owner = format!("{} (its owner, id {})", node.address(), topic.id);
        assert!(said.contains(&owner), "{said}");
        assert!(has(node, "t"));
    }
    // One node by two of its addresses is one.
    let twice = format!("{},{}", a.address(), a.server().address());
    let (_, said, code) = Corelog::at(&twice)
        .run(["topic", "delete", "t", "--dry-run"])
        .parts();
    assert_eq!(code, Some(0), "{said}");
    b.kill();
    let said = both.run(delete).failed(4);
    assert!(
        said.contains(&format!("--server {}", a.address())),
        "{said}"
    );
    assert!(has(&a, "t"));
    b.up();
    Corelog::at(&a.address()).run(delete).done();
    let deleted = both.run(delete).json();
    assert_eq!(deleted["server"], b.address());
    fits("topic-delete", &deleted);
    let said = both.run(delete).failed(1);
    assert!(said.contains("`corelog topic list`"), "{said}");
}

/// The first that answered made a second topic of that name.
#[test]
fn a_topic_is_restored_only_once_every_server_says_that_it_has_none_of_that_name() {
    let folder = Folder::new();
    let (a, mut b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    a.topic("u", 1);
    b.topic("t", 1);
    a.corelog().run(["snapshot", "create", "s"]).done();
    let both = of([&a, &b]);
    let restore = |name| both.run(["restore", "s", "--topic", name, "--output", "json"]);
    let said = restore("t").failed(1);
    assert!(
        said.contains(&b.address()) && said.contains("--topic"),
        "{said}"
    );
    let restored = restore("v").json();
    assert_eq!(restored["server"], a.address());
    fits("restore", &restored);
    b.kill();
    for name in ["t", "w"] {
        let said = restore(name).failed(4);
        assert!(said.contains(&b.address()), "{said}");
        assert!(!has(&a, name));
    }
}

/// Which of several had done it, or refused it, was nowhere said.
#[test]
fn what_one_of_several_servers_did_says_which_of_them() {
    let folder = Folder::new();
    let (mut a, b, topic) = level_pair(&folder, 3);
    let (mine, both) = (a.address(), of([&a, &b]));
    let json = |corelog: &Corelog, words: &[&str]| {
        let (out, said, code) = corelog.run([words, &["--output", "json"]].concat()).parts();
        assert_eq!(code, Some(0), "{words:?}: {said}");
        serde_json::from_slice::<Value>(&out).unwrap()
    };
    both.run(["snapshot", "create", "s"]).done();
    let delete = ["snapshot", "delete", "s"];
    let said = both.run(delete).failed(6);
    assert!(said.contains(&format!(" at {mine} ")), "{said}");
    let told = json(&both, &["snapshot", "delete", "s", "--yes"]);
    assert_eq!(told["server"], mine);
    fits("snapshot-delete", &told);
    let said = both.run(["snapshot", "delete", "s", "--yes"]).failed(1);
    assert!(said.contains(&mine), "{said}");
    let said = both.run(["promote", "t", "--partition", "0"]).failed(1);
    assert!(said.contains(&mine), "{said}");
    let told = json(&both, &["scrub", "t"]);
    assert_eq!(told["server"], mine);
    a.kill();
    let told = json(&both, &["promote", "t", "--accept-loss"]);
    assert_eq!(told["server"], b.address());
    fits("promote", &told);
    a.up();
    until("the old owner is fenced", || {
        status(&a, &topic, 0).role == Role::Fenced
    });
    let said = Corelog::at(&mine)
        .run(["topic", "delete", "t", "--dry-run"])
        .text();
    assert!(said.contains("until another took its place"), "{said}");
    let told = json(&both, &["rejoin", "t", "--to", &b.address()]);
    assert_eq!(told["server"], mine);
    fits("rejoin", &told);
}

/// It waited for each topic as long as for the first, and its JSON said that nothing was left out.
#[test]
fn a_snapshot_of_which_nobody_tells_what_it_lacks_says_that() {
    let folder = Folder::new();
    let (_a, b, _) = level_pair(&folder, 3);
    b.proxy.hold(0, Kind::DescribeTopic);
    let words = ["snapshot", "create", "s", "--timeout", "5s"];
    let taken = of([&b, &b]).run([&words[..], &["--output", "json"]].concat());
    let (out, said, code) = taken.parts();
    assert_eq!(code, Some(0), "{said}");
    let taken: Value = serde_json::from_slice(&out).unwrap();
    fits("snapshot-create", &taken);
    assert_eq!(
        (&taken["followed"], &taken["unknown"]),
        (&json!([]), &json!(["t"]))
    );
    assert!(said.contains("is not known"), "{said}");
    b.proxy.release(0, Kind::DescribeTopic);
    let taken = b
        .corelog()
        .run(["snapshot", "create", "u", "--output", "json"])
        .json();
    assert_eq!(taken["unknown"], json!([]));
}

/// It read those that the first server has a copy of.
#[test]
fn a_measurement_reads_all_partitions_that_any_server_has() {
    let folder = Folder::new();
    let (a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 1);
    let clone = ["clone", "t", "--from", &a.address()];
    b.corelog().run(clone).done();
    a.alter(&topic, Some(2), SettingsChange::default());
    for partition in 0..2 {
        a.fill(&topic, partition, 1);
    }
    let both = of([&b, &a]);
    let read = [
        "bench",
        "consume",
        "--topic",
        "t",
        "--unchecked",
        "--output",
        "json",
    ];
    let read = both.run(read).json();
    assert_eq!(
        (&read["partitions"], &read["records"]),
        (&json!(2), &json!(4))
    );
    let write = [
        "bench", "produce", "--topic", "t", "--yes", "--total", "1MiB",
    ];
    let (_, said, code) = both
        .run([&write[..], &["--partitions", "2"]].concat())
        .parts();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("is there already"), "{said}");
}

/// A copy that answered first decided where keys went, by the partitions that it had.
#[test]
fn keys_wait_for_a_silent_owner_until_a_copy_is_promoted_and_others_do_not() {
    let folder = Folder::new();
    let (mut a, b, topic) = level_pair(&folder, 3);
    let both = of([&b, &a]);
    let keyed = |timeout| {
        let words = ["produce", "t", "--key-separator", ":", "--timeout", timeout];
        both.feed(words, b"key:value\n")
    };
    a.kill();
    let said = keyed("5s").failed(4);
    assert!(
        said.contains(&a.address()) && said.contains("--partition"),
        "{said}"
    );
    promote(&b, &topic);
    keyed("1m").done();
}

/// That there is no such partition was said, where one that does not answer had it; and a part was measured, and written to,
/// for the whole.
#[test]
fn a_server_that_may_have_more_of_a_topic_and_does_not_answer_is_named() {
    let folder = Folder::new();
    let (mut a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 1);
    let clone = ["clone", "t", "--from", &a.address()];
    b.corelog().run(clone).done();
    a.alter(&topic, Some(2), SettingsChange::default());
    let both = of([&b, &a]);
    let read = ["consume", "t", "--partition"];
    let none = |number| both.run([&read[..], &[number]].concat()).failed(1);
    assert!(none("2").contains("2 is none of them"));
    a.kill();
    let untold = format!("{} does not say what it has of t", a.address());
    for line in [
        "consume t --partition 1",
        "produce t --partition 1",
        "bench seek --topic t --partition 1",
        "bench consume --topic t --unchecked",
        "bench produce --topic t --yes",
    ] {
        let said = both.feed(line.split(' '), b"value\n").failed(4);
        assert!(said.contains(&untold), "{line}: {said}");
    }
    let produce = ["produce", "t", "--timeout", "5s"];
    let (_, said, _) = both.feed(produce, b"value\n").parts();
    assert!(said.starts_with(&untold), "before all else: {said}");
}

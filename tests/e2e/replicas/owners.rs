//! `corelog handover`, and what the wrong server is asked for.

use std::io::{BufRead as _, BufReader};

use super::{Pair, consume, lines, produce};
use crate::support::corelog::Corelog;

#[test]
fn a_handover_changes_the_owner_and_loses_nothing() {
    let pair = Pair::start();
    let (here, there) = (pair.at_source(), pair.at_other());
    here.run(["topic", "create", "t"]).done();
    produce(&here, "0", b"a\nb\n");
    pair.clone(&["--follow"]);
    let follower = pair.other.address();
    let handover = ["handover", "t", "--to", &follower, "--output", "json"];
    let handed = here.run(handover).json();
    assert_eq!(handed["partitions"][0]["owner"], follower.as_str());
    assert_eq!(handed["partitions"][0]["end"], 2);
    // Producers that know the old owner find the new one.
    produce(&here, "0", b"c\n");
    assert_eq!(consume(&there, "0"), b"a\nb\nc\n");
    pair.level();
    let (rows, code) = pair.compare();
    assert_eq!(code, Some(0), "{rows:?}");
    let described = super::described(&here);
    assert_eq!(described["partitions"][0]["role"], "follower");
}

/// What is handed over is told, also where the next partition is not; once it was told by nobody.
#[test]
fn what_was_done_to_partitions_before_the_one_that_is_refused_is_told() {
    let pair = Pair::start();
    let here = pair.at_source();
    here.run(["topic", "create", "t", "--partitions", "2"])
        .done();
    pair.clone(&["--follow", "--partition", "0"]);
    let follower = pair.other.address();
    let handover = ["handover", "t", "--to", &follower, "--output", "json"];
    let (told, said, code) = here.run(handover).parts();
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("t/1") && said.contains("NotFollower"),
        "{said}"
    );
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    let handed = told["partitions"].as_array().unwrap();
    assert_eq!(handed.len(), 1, "{told}");
    assert_eq!(handed[0]["owner"], follower.as_str());
}

/// It was done for none of the partitions, with 0.
#[test]
fn the_wrong_server_refuses_what_it_can_do_for_no_partition() {
    let pair = Pair::following();
    let (here, there) = (pair.at_source(), pair.at_other());
    let owner = pair.source.address();
    for args in [&["handover", "t"][..], &["handover", "t", "--abort"]] {
        let said = there.run(args).failed(1);
        assert!(said.contains("NotOwner"), "{said}");
        assert!(said.contains(&format!("--server {owner}")), "{said}");
    }
    let alter = ["topic", "alter", "t", "--retention-age", "1h"];
    // Without a word of consent as well: none is asked for what is refused.
    for more in [&[][..], &["--dry-run"], &["--yes"]] {
        let said = there.run([&alter[..], more].concat()).failed(1);
        assert!(said.contains(&format!("--server {owner}")), "{said}");
    }
    let said = here.run(["promote", "t"]).failed(1);
    assert!(said.contains("NotFollower"), "{said}");
    let from = pair.other.address();
    let clone = ["clone", "t", "--from", &from];
    here.run(clone).failed(1);
    let (_, said, code) = here.run([&clone[..], &["--dry-run"]].concat()).parts();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("does not follow it (owner)"), "{said}");
}

/// Addressed to a replica it took the records from the owner, and from the replica with them.
#[test]
fn a_replica_s_server_truncates_nobody_s_log() {
    let pair = Pair::following();
    let (here, there) = (pair.at_source(), pair.at_other());
    let owner = pair.source.address();
    let truncate = ["truncate", "t", "--partition", "0", "--before", "latest"];
    for consent in ["--yes", "--dry-run"] {
        let args = [&truncate[..], &[consent]].concat();
        let said = there.run(args).failed(1);
        assert!(said.contains("NotOwner"), "{said}");
        assert!(said.contains(&format!("--server {owner}")), "{said}");
    }
    assert_eq!(consume(&here, "0"), b"a\nb\n");
    here.run([&truncate[..], &["--yes"]].concat()).done();
    assert_eq!(consume(&here, "0"), b"");
}

#[test]
fn who_owns_what_cannot_be_changed_where_it_makes_no_sense() {
    let pair = Pair::start();
    let here = pair.at_source();
    here.run(["topic", "create", "t"]).done();
    produce(&here, "0", b"a\n");
    let said = here.run(["promote", "t", "--partition", "0"]).failed(1);
    assert!(said.contains("NotFollower"), "{said}");
    for args in [
        &["promote", "none"][..],
        &["handover", "none"],
        &["handover", "t"],
        &["rejoin", "none", "--to", "127.0.0.1:1"],
    ] {
        here.run(args).failed(1);
    }
    here.run(["rejoin", "t", "--to", "127.0.0.1:1"]).failed(4);
    here.run(["rejoin", "t"]).failed(2);
    here.run(["handover", "t", "--to", "nowhere"]).failed(2);
    here.run(["handover", "t", "--to", "127.0.0.1:1", "--abort"])
        .failed(2);
    // There is none to call off: the owner is who it was.
    let owner = pair.source.address();
    let abort = ["handover", "t", "--abort", "--output", "json"];
    assert_eq!(
        here.run(abort).json()["partitions"][0]["owner"],
        owner.as_str()
    );
    // Nothing of it took the partition from its owner.
    produce(&here, "0", b"b\n");
    assert_eq!(consume(&here, "0"), b"a\nb\n");
}

/// What a full disk asks for was refused while the copy was under way, or waited for a source that is gone.
#[test]
fn the_retention_of_a_copy_with_an_end_is_lowered_while_it_is_under_way() {
    let pair = Pair::start();
    let (here, there) = (pair.at_source(), pair.at_other());
    here.run(["topic", "create", "t", "--segment-bytes", "1MiB"])
        .done();
    produce(&here, "0", &lines("line", 3 << 20));
    let source = pair.source.address();
    let slow = ["clone", "t", "--from", &source, "--limit-rate", "64KiB"];
    let mut cloning = there.command(slow).spawn().unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(cloning.stderr.take().unwrap());
    said.read_line(&mut line).unwrap();
    assert!(line.contains("bytes_done"), "{line}");
    cloning.kill().unwrap();
    cloning.wait().unwrap();
    pair.source.kill();
    let alter = ["topic", "alter", "t", "--retention-bytes", "64MiB"];
    let (out, said, code) = there.run([&alter[..], &["--dry-run"]].concat()).parts();
    assert_eq!(code, Some(0), "{said}");
    assert!(String::from_utf8_lossy(&out).contains("would remove"));
    assert!(said.contains("t/0 is being copied"), "{said}");
    there.run([&alter[..], &["--yes"]].concat()).done();
}

/// Whoever did as was advised, which was to ask another server or once more, met the same refusal.
#[test]
fn what_is_refused_for_want_of_a_copy_is_done_after_what_is_advised() {
    let pair = Pair::start();
    let (here, there) = (pair.at_source(), pair.at_other());
    let (source, other) = (pair.source.address(), pair.other.address());
    let advised = |said: &str, corelog: &Corelog, more: &[&str]| {
        let advice = said.split("`corelog ").nth(1).expect("it names a command");
        let advice = advice.split('`').next().unwrap();
        let words: Vec<_> = advice.split(' ').chain(more.iter().copied()).collect();
        corelog.run(words).done();
    };
    for corelog in [&here, &there] {
        corelog.run(["topic", "create", "old"]).done();
    }
    let clone = ["clone", "old", "--from", &source];
    let said = there.run(clone).failed(1);
    assert!(said.contains("TopicChanged"), "{said}");
    advised(&said, &there, &["--yes"]);
    there.run(clone).done();

    here.run(["topic", "create", "t"]).done();
    produce(&here, "0", b"a\nb\n");
    let handover = ["handover", "t", "--to", &other];
    let said = here.run(handover).failed(1);
    assert!(said.contains("NotFollower"), "{said}");
    advised(&said, &Corelog::offline(), &[]);
    pair.level();
    here.run(handover).done();
}

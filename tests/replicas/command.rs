//! `corelog promote` and `corelog rejoin`, of logs that part.

use std::fs::File;

use corelog_protocol::kind::Kind;
use serde_json::{Value, json};

use super::copies::wait_until_level;
use super::handover::pair;
use super::node::Node;
use super::promote::cut_off;
use crate::support::corelog::Corelog;
use crate::support::folder::Folder;
use crate::support::wire::Target;

/// An owner, and a follower that has its two records and is promoted while neither reaches the other.
fn parting(folder: &Folder) -> ([Node; 2], Target) {
    let (a, b, topic, common) = cut_off(folder, 1);
    assert_eq!(common.get(), 2);
    b.disconnect();
    ([a, b], topic)
}

fn produce(corelog: &Corelog, lines: &[u8]) {
    corelog.feed(["produce", "t"], lines).done();
}

/// The first row of a comparison, and its exit code.
fn compare(here: &Corelog, there: &Node) -> (Value, Option<i32>) {
    let there = there.address();
    let args = ["compare", "t", "--with", &there, "--output", "json"];
    let (out, _, code) = here.run(args).parts();
    (serde_json::from_slice(&out).unwrap(), code)
}

#[test]
fn a_promoted_follower_takes_writes_and_the_old_owner_s_own_records_are_kept_apart() {
    let folder = Folder::new();
    let ([a, b], topic) = parting(&folder);
    let (here, there) = (a.corelog(), b.corelog());
    let said = there.run(["promote", "t"]).failed(6);
    assert!(
        said.contains("ends at 2") && said.contains("--accept-loss"),
        "{said}"
    );
    let promoted = there
        .run(["promote", "t", "--accept-loss", "--output", "json"])
        .json();
    assert_eq!(promoted["partitions"][0]["end"], 2);
    assert_eq!(promoted["partitions"][0]["is_lossless"], false);
    produce(&there, b"new\n");
    produce(&here, b"old\nold\nold\n");
    a.connect();
    b.connect();
    let (row, code) = compare(&here, &b);
    assert_eq!(code, Some(3), "{row:?}");
    assert_eq!(row["first_difference"]["offset"], 2);
    let servers = format!("{},{}", a.address(), b.address());
    let offsets = ["offsets", "t", "--server", &servers, "--output", "json"];
    let rows = Corelog::offline().run(offsets).json_lines();
    assert_eq!([&rows[0]["log_end"], &rows[1]["log_end"]], [5, 3]);
    let holds = [&rows[0]["holds"], &rows[1]["holds"]];
    assert_eq!(
        holds,
        [&json!(["oldest"]), &json!(["oldest", "newest"])],
        "{rows:?}"
    );

    let owner = b.address();
    let rejoin = ["rejoin", "t", "--to", &owner, "--output", "json"];
    let rejoined = here.run(rejoin).json();
    assert_eq!(rejoined["partitions"][0]["common"], 2);
    assert_eq!(rejoined["partitions"][0]["records"], 3);
    assert!(
        rejoined["partitions"][0]["file"].as_str().is_some(),
        "{rejoined}"
    );
    wait_until_level(&b, &a, &topic, 0);
    let read = here.run(["consume", "t", "--from", "2"]).done();
    assert_eq!(read, b"new\n");
    let (row, code) = compare(&here, &b);
    assert_eq!(code, Some(0), "{row:?}");
    let described = here.run(["topic", "describe", "t"]).text();
    let line = format!("replica: t/0 follows {owner}, level with it");
    assert!(described.contains(&line), "{described}");
}

/// The new owner's log grew past where its reader stood: the records in between were never read.
#[test]
fn who_has_read_what_was_lost_is_told_and_leaves_nothing_out() {
    let folder = Folder::new();
    let ([a, b], _) = parting(&folder);
    let (here, there) = (a.corelog(), b.corelog());
    there.run(["promote", "t", "--accept-loss"]).done();
    produce(&here, b"old\nold\nold\n");

    let state = folder.path().join("state");
    let state = state.to_str().unwrap();
    let consume = ["consume", "t", "--state", state];
    let read = here.run(consume).done();
    assert!(read.ends_with(b"old\nold\nold\n"));
    // Whether the new log is shorter than what was read, as long, or longer.
    for more in [&b"c\nd\n"[..], b"e\n", b"f\ng\n"] {
        produce(&there, more);
        let said = there.run(consume).failed(3);
        assert!(said.contains("from offset 2 on"), "{said}");
        assert!(said.contains(state), "{said}");
        assert!(said.contains("--partition 0 --from 2"), "{said}");
    }
    let rest = there.run(["consume", "t", "--from", "2"]).done();
    assert_eq!(rest, b"c\nd\ne\nf\ng\n");
}

/// The owner takes no writes meanwhile, and neither how to go on nor how to call it off was told.
#[test]
fn who_does_not_wait_for_a_handover_is_told_how_to_go_on_and_how_to_call_it_off() {
    let folder = Folder::new();
    let ([a, b], topic) = pair(&folder, 1);
    a.disconnect();
    a.fill(&topic, 0, 1);
    let to = b.address();
    let said = a.corelog().give_up(&["handover", "t", "--to", &to]);
    assert!(said.contains("the same command again"), "{said}");
    assert!(said.contains("--abort"), "{said}");
}

/// It was told how to go on with the handover that it wanted called off.
#[test]
fn who_does_not_wait_for_the_end_of_an_abort_is_told_how_to_go_on_with_that() {
    let folder = Folder::new();
    let ([a, b], topic) = pair(&folder, 1);
    a.disconnect();
    a.fill(&topic, 0, 1);
    let to = b.address();
    a.corelog().give_up(&["handover", "t", "--to", &to]);
    b.proxy.hold(0, Kind::TakeOver);
    let said = a.corelog().give_up(&["handover", "t", "--abort"]);
    assert!(said.contains("again calls it off"), "{said}");
    assert!(!said.contains("goes on with it"), "{said}");
}

/// How a clone of `t` at a node ends, planned and done, and what the plan says.
fn clone(at: &Node, from: &Node, more: &[&str]) -> ([Option<i32>; 2], String) {
    let from = from.server().address();
    let clone = [&["clone", "t", "--from", &from][..], more].concat();
    let planning = [&clone[..], &["--dry-run"]].concat();
    let (_, planned, dry) = at.corelog().run(&planning).parts();
    // Some of them end a following.
    let clone = [&clone[..], &["--yes"]].concat();
    let (_, said, code) = at.corelog().run(&clone).parts();
    println!("{dry:?} {planned}\n{code:?} {said}");
    if code == Some(3) {
        // What was found counts also where it cannot be printed.
        for args in [planning, clone] {
            let full = File::options().write(true).open("/dev/full").unwrap();
            let ended = at.corelog().command(args).stdout(full).output().unwrap();
            assert_eq!(ended.status.code(), code, "{ended:?}");
        }
    }
    ([dry, code], planned)
}

/// It ended with 1 where the clone ended with 3, and refused what the clone does, also where that gives up all that is here.
#[test]
fn the_dry_run_of_a_clone_ends_as_the_clone_where_the_source_is_not_further() {
    let folder = Folder::new();
    let ([a, b], topic) = parting(&folder);
    produce(&a.corelog(), b"old\nold\nold\n");
    let c = Node::start(&folder, "c");
    assert_eq!(clone(&c, &a, &[]).0, [Some(0); 2]);
    // The source only lags.
    let (codes, planned) = clone(&c, &b, &[]);
    assert_eq!(codes, [Some(0); 2]);
    assert!(planned.contains("ends before what is here"), "{planned}");
    assert!(!planned.contains("refused"), "{planned}");
    // It has let go of what comes next.
    let end = a.fill(&topic, 0, 60);
    a.truncate(&topic, end);
    let (codes, planned) = clone(&c, &a, &[]);
    assert_eq!(codes, [Some(0); 2]);
    assert!(planned.contains("all that is here goes"), "{planned}");
    assert!(!planned.contains("refused"), "{planned}");

    let folder = Folder::new();
    let ([a, b], topic) = parting(&folder);
    produce(&a.corelog(), b"old\nold\nold\n");
    let c = Node::start(&folder, "c");
    assert_eq!(clone(&c, &a, &[]).0, [Some(0); 2]);
    // What may be missing is said also where the rest cannot be printed.
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut promote = b.corelog().command(["promote", "t", "--accept-loss"]);
    let ended = promote.stdout(full).output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("`corelog rejoin`"), "{said}");
    produce(&b.corelog(), b"new\n");
    // With all that it would have, it ended with 0, and followed nobody from then on.
    let follow = [Some(0); 2];
    assert_eq!(clone(&c, &a, &["--follow"]).0, follow);
    let before = c.topic_file(&topic).replicas;
    for more in [&[][..], &["--partition", "0"]] {
        let (codes, planned) = clone(&c, &b, more);
        assert_eq!(codes, [Some(3); 2]);
        assert!(planned.contains("differs"), "{planned}");
    }
    assert_eq!(c.topic_file(&topic).replicas, before);
    let (codes, planned) = clone(&c, &b, &["--follow"]);
    assert_eq!(codes, [Some(3); 2]);
    assert!(planned.contains("differs"), "{planned}");
}

/// It could not be read just then, and was taken for nothing: the clone ended with 0, and the copy followed nobody any more.
#[test]
fn a_clone_of_what_is_here_and_cannot_be_read_is_refused() {
    let folder = Folder::new();
    let ([a, b], topic) = parting(&folder);
    produce(&a.corelog(), b"old\nold\nold\n");
    let mut c = Node::start(&folder, "c");
    assert_eq!(clone(&c, &a, &[]).0, [Some(0); 2]);
    b.corelog().run(["promote", "t", "--accept-loss"]).done();
    produce(&b.corelog(), b"new\n");
    let before = c.topic_file(&topic).replicas;
    c.stop();
    let manifest = c.topic_dir(&topic).join("0/manifest");
    let aside = folder.path().join("manifest");
    std::fs::rename(&manifest, &aside).unwrap();
    std::fs::create_dir(&manifest).unwrap();
    c.up();
    let from = b.server().address();
    let cloning = ["clone", "t", "--from", &from];
    let (_, said, code) = c.corelog().run(cloning).parts();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("what is here of t/0"), "{said}");
    assert_eq!(c.topic_file(&topic).replicas, before);

    c.stop();
    std::fs::remove_dir(&manifest).unwrap();
    std::fs::rename(&aside, &manifest).unwrap();
    c.up();
    c.corelog().run(cloning).failed(3);
    assert_eq!(c.topic_file(&topic).replicas, before);
}

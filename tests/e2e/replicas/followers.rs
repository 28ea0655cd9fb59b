//! `corelog topic forget-follower`, and followers in `corelog topic describe`.

use serde_json::json;

use crate::support::corelog::Corelog;
use crate::support::deadline;
use crate::support::server::Server;

use super::{Pair, described, produce};

#[test]
fn a_follower_is_listed_and_forgotten_with_consent() {
    let pair = Pair::start();
    let here = pair.at_source();
    here.run(["topic", "create", "t", "--partitions", "2"])
        .done();
    produce(&here, "0", b"a\nb\n");
    pair.clone(&["--follow"]);
    pair.level();
    let follower = pair.other.address();
    let listed = format!("follower: {follower} follows 2 partitions of t, ");
    deadline::until("it is listed", || {
        let described = here.run(["topic", "describe", "t"]).text();
        described.contains(&format!("{listed}level, heard "))
    });
    let described = described(&here);
    let told = &described["partitions"][0]["followers"][0];
    assert_eq!(told["address"], follower.as_str());
    assert_eq!(told["end"], 2);

    let name = ["topic", "forget-follower", "t"];
    let forget = |more: &[&str]| here.run([&name[..], more].concat());
    let said = forget(&["127.0.0.1:1", "--yes"]).failed(1);
    assert!(said.contains("UnknownFollower"), "{said}");
    let said = forget(&[&follower]).failed(6);
    assert!(said.contains("--yes") && said.contains(&follower), "{said}");
    forget(&["nowhere", "--yes"]).failed(2);
    let planned = forget(&[&follower, "--dry-run", "--output", "json"]).json();
    let would = planned["would_remove"].as_str().expect("a sentence");
    assert!(would.contains("of 2 partitions of t"), "{would}");
    let said = forget(&["127.0.0.1:1", "--dry-run", "--output", "json"]).failed(1);
    assert!(said.contains("nobody is remembered"), "{said}");

    let Pair {
        source: _source,
        other,
        folders: _folders,
    } = pair;
    other.kill();
    let args = [follower.as_str(), "--partition", "1", "--yes"];
    let text = forget(&args).text();
    assert!(
        text.contains(&format!("forgot follower {follower} of 1")),
        "{text}"
    );
    let args = [follower.as_str(), "--yes", "--output", "json"];
    let forgotten = forget(&args).json();
    assert_eq!(forgotten["partitions"], json!([0]));
    let described = here.run(["topic", "describe", "t"]).text();
    assert!(!described.contains("follower:"), "{described}");
    forget(&args).failed(1);
}

/// It stood in no list, and a dry run said that nobody is remembered there: what forgetting it means was told to nobody.
#[test]
fn whom_a_promoted_copy_has_yet_to_tell_is_listed_and_forgotten_with_consent() {
    let pair = Pair::start();
    let here = pair.at_source();
    here.run(["topic", "create", "t", "--partitions", "2"])
        .done();
    pair.clone(&["--follow"]);
    pair.level();
    let Pair {
        source,
        other,
        folders: _folders,
    } = pair;
    let (gone, there) = (source.address(), Corelog::to(&other));
    source.kill();
    there.run(["promote", "t", "--accept-loss"]).done();
    let listed = there.run(["topic", "describe", "t"]).text();
    let untold = format!("untold: {gone} has yet to hear that 2 partitions of t");
    assert!(listed.contains(&untold), "{listed}");
    let told = &described(&there)["partitions"][1]["outranked"];
    assert_eq!(*told, json!([gone]));

    let forget = |more: &[&str]| {
        let name = ["topic", "forget-follower", "t", &gone];
        there.run([&name[..], more].concat())
    };
    let planned = forget(&["--dry-run", "--output", "json"]).json();
    let would = planned["would_remove"].as_str().expect("a sentence");
    assert!(would.contains("that 2 partitions of t"), "{would}");
    let means = format!(
        "{} does not tell it that it owns them no more",
        other.address()
    );
    assert!(would.contains(&means), "{would}");
    let owned_on = "if it runs still, both own them on, and the alert on that ends here: have one rejoin the other instead";
    assert!(would.contains(owned_on), "{would}");
    assert!(!would.contains("follower"), "{would}");
    let said = forget(&[]).failed(6);
    assert!(said.contains("--yes") && said.contains(&means), "{said}");

    let text = forget(&["--partition", "1", "--yes"]).text();
    assert!(text.contains("that 1 partitions of t"), "{text}");
    assert!(text.contains(&means), "{text}");
    assert!(!text.contains("follower"), "{text}");
    let forgotten = forget(&["--yes", "--output", "json"]).json();
    assert_eq!(forgotten["partitions"], json!([0]));
    assert_eq!(forgotten["untold"], json!([0]));
    let listed = there.run(["topic", "describe", "t"]).text();
    assert!(!listed.contains("untold:"), "{listed}");
    forget(&["--yes"]).failed(1);
}

/// It was told for ever to follow what was gone, level with it.
#[test]
fn a_copy_that_does_not_hear_its_source_is_not_told_to_follow_it() {
    let goes = |goes: fn(Server) -> Option<Server>| {
        let Pair {
            source,
            other,
            folders: _folders,
        } = Pair::following();
        let there = Corelog::to(&other);
        let address = source.address();
        let follows = format!("replica: t/0 follows {address}, level with it");
        let unheard =
            format!("replica: t/0 takes nothing from {address} now: level with it when last heard");
        let says = |line: &str| {
            let described = there.run(["topic", "describe", "t"]).text();
            described.contains(line)
        };
        assert!(says(&follows));
        let _source = goes(source);
        deadline::until("it is told not to hear it", || says(&unheard));
    };
    goes(|source| {
        source.kill();
        None
    });
    goes(|source| {
        let delete = ["topic", "delete", "t", "--yes"];
        Corelog::to(&source).run(delete).done();
        Some(source)
    });
}

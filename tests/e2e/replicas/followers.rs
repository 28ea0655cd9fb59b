//! `corelog topic forget-follower`, and followers in `corelog topic describe`.

use crate::support::deadline;

use super::{Pair, produce};

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
    let described = super::described(&here);
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
    assert_eq!(forgotten["partitions"], serde_json::json!([0]));
    let described = here.run(["topic", "describe", "t"]).text();
    assert!(!described.contains("follower:"), "{described}");
    forget(&args).failed(1);
}

//! `corelog repair TOPIC`: damage mended by another server's bytes.

use super::{Pair, consume};
use crate::kept::records::{produce, until_sealed};
use crate::support::corelog::Corelog;
use crate::support::server::Server;
use crate::support::stores;
use crate::support::wire::Wire;

#[test]
fn a_damaged_segment_is_replaced_by_another_server_s() {
    let pair = Pair::start();
    let here = pair.at_source();
    // Batches of 20 kB, so that no segment is much shorter than 1 MiB.
    let mut wire = Wire::open(pair.source.ready.listen).unwrap();
    let topic = wire.topic("t", 1, 1 << 20);
    produce(&mut wire, &topic, 0, 0, 200);
    let all = consume(&here, "0");
    pair.clone(&[]);
    let Pair {
        source,
        other,
        folders,
    } = pair;
    assert_eq!(source.stop().status.code(), Some(0));
    // Only what is sealed is scrubbed.
    let mut wire = Wire::open(other.ready.listen).unwrap();
    until_sealed(&mut wire, &topic, 0, 2);
    stores::flip(
        &stores::of(&other.ready.data.join("topics/t"), 0)[1],
        300_000,
    );

    // Alone it finds the damage, says so, and cannot mend it.
    let there = Corelog::to(&other);
    there.run(["scrub", "t", "--wait"]).parts();
    let (out, _, code) = there.run(["repair", "t", "--dry-run"]).parts();
    assert_eq!(code, Some(3));
    assert!(String::from_utf8_lossy(&out).contains("cannot be read"));
    let unknown = ["repair", "t"];
    let one = ["repair", "t", "--partition", "0"];
    for args in [
        &unknown[..],
        &one,
        &["repair", "t", "--from", "127.0.0.1:1"],
    ] {
        let (_, said, code) = there.run(args).parts();
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("t/0 has 1 damaged ranges still"), "{said}");
    }

    let source = Server::start(folders[0].path());
    let from = source.address();
    let repair = ["repair", "t", "--from", &from, "--output", "json"];
    let repaired = there.run(repair).json();
    let partition = &repaired["partitions"][0];
    assert_eq!(
        partition["segments"][0]["from"],
        from.as_str(),
        "{repaired}"
    );
    assert_eq!(partition["damage_left"], 0);
    assert_eq!(consume(&there, "0"), all);
    let said = there.run(repair).json();
    assert_eq!(
        said["partitions"][0]["segments"].as_array().map(Vec::len),
        Some(0)
    );
}

#[test]
fn a_repair_by_nobody_and_of_nothing_is_refused() {
    let pair = Pair::start();
    let here = pair.at_source();
    let from = pair.other.address();
    here.run(["repair", "none", "--from", &from]).failed(1);
    here.run(["repair"]).failed(2);
    here.run(["repair", "t", "--dir", "x"]).failed(2);
    here.run(["repair", "t", "--from", "nowhere"]).failed(2);
}

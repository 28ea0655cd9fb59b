//! `corelog repair TOPIC`: damage mended by another server's bytes.

use std::io::{BufRead as _, BufReader, Read as _};

use super::{Pair, consume};
use crate::kept::records::{produce, until_sealed};
use crate::support::corelog::Corelog;
use crate::support::deadline;
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

/// Its records were left out of the list, with 0: what a server had let go of was forgiven, and so was that.
#[test]
fn a_segment_that_is_replaced_before_a_list_comes_to_it_is_listed() {
    let pair = Pair::start();
    let mut wire = Wire::open(pair.source.ready.listen).unwrap();
    let topic = wire.topic("t", 1, 1 << 20);
    produce(&mut wire, &topic, 0, 0, 200);
    let all = consume(&pair.at_source(), "0");
    pair.clone(&[]);
    let mut wire = Wire::open(pair.other.ready.listen).unwrap();
    until_sealed(&mut wire, &topic, 0, 2);
    let partition = pair.other.ready.data.join("topics/t/0");
    let store = stores::of(partition.parent().unwrap(), 0).remove(1);
    let list = ["inspect", partition.to_str().unwrap(), "--records"];
    let whole = Corelog::offline().run(list).text();
    let mut listing = Corelog::offline().command(list).spawn().unwrap();
    let mut listed = BufReader::new(listing.stdout.take().unwrap());
    let mut text = String::new();
    // The first segment is more than a pipe holds: the list waits in it.
    listed.read_line(&mut text).unwrap();
    stores::flip(&store, 300_000);
    let there = pair.at_other();
    there.run(["scrub", "t", "--wait"]).parts();
    let from = pair.source.address();
    there.run(["repair", "t", "--from", &from]).parts();
    deadline::until("the damaged store is gone", || !store.exists());
    let reader = std::thread::spawn(move || {
        listed.read_to_string(&mut text).unwrap();
        text
    });
    let ended = deadline::output_of(listing, "the list");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{said}");
    assert!(reader.join().unwrap() == whole, "all is listed");
    assert_eq!(consume(&there, "0"), all);
}

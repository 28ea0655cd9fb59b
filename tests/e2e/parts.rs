//! Partitions that `corelog consume` hears of behind its start, or not at all.

use std::io::{BufRead as _, BufReader};
use std::time::{Duration, Instant};

use corelog_protocol::kind::Kind;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::consume::{of_two_cores, with_ten};
use crate::support::corelog::Corelog;
use crate::support::deadline::{Watch, until};
use crate::support::folder::Folder;
use crate::support::http;
use crate::support::proxy::{Odds, Proxy};
use crate::support::server::{Server, Start};

/// They were begun one each second.
#[test]
fn partitions_that_are_added_at_once_are_read_at_once() {
    let (_folder, _server, corelog) = with_ten();
    let follow = ["consume", "t", "--follow", "--from", "9"];
    let mut follower = corelog.command(follow).spawn().unwrap();
    let _watch = Watch::over(follower.id(), "a consumer that follows");
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "9");
    let add = ["topic", "add-partitions", "t", "--partitions", "64"];
    corelog.run(add).done();
    let added = Instant::now();
    let produce = ["produce", "t", "--partition", "63"];
    corelog.feed(produce, b"added\n").done();
    assert_eq!(lines.next().unwrap().unwrap(), "added");
    let waited = added.elapsed();
    assert!(waited < Duration::from_secs(40), "{waited:?}");
    follower.kill().unwrap();
    follower.wait().unwrap();
}

/// It was told once the others were read: to whoever stays behind what comes, never.
#[test]
fn what_ended_a_partition_is_told_while_the_others_are_read() {
    let folder = Folder::new();
    let (proxy, _server, corelog) = of_two_cores(&folder);
    let state = folder.path().join("state");
    let consume = ["consume", "t", "--state", state.to_str().unwrap()];
    corelog.run(consume).done();
    let partition = ["t", "--partition", "0"];
    let produce = [&["produce"][..], &partition].concat();
    corelog.feed(produce, b"d\n").done();
    let truncate = [&["truncate"][..], &partition, &["--before", "4", "--yes"]].concat();
    corelog.run(truncate).done();
    // Of the other one no answer comes: that it is read to its end is not known, for as long as is waited for it.
    (1..=2).for_each(|port| proxy.hold(port, Kind::Fetch));
    let follow = [&consume[..], &["--follow", "--timeout", "1h"]].concat();
    let mut follower = corelog.command(follow).spawn().unwrap();
    let _watch = Watch::over(follower.id(), "a consumer of which a partition has ended");
    let mut said = BufReader::new(follower.stderr.take().unwrap()).lines();
    let told = said.next().unwrap().unwrap();
    assert!(told.contains("--partition 0 --from 4"), "{told}");
    kill(Pid::from_raw(follower.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(follower.wait().unwrap().code(), Some(1));
    assert_eq!(said.count(), 0, "it is told once");
}

/// A topic `t` of four partitions with a record each, `0` to `3`; the server that has it, behind a proxy that leads nowhere;
/// one that has a copy of when there was but the first of them; and what asks both.
fn of_whole_and_part(folder: &Folder) -> (Proxy, [Server; 2], Corelog) {
    let proxy = Proxy::listen(2, Odds::default(), fastrand::Rng::new());
    let start = Start::on(&folder.path().join("whole")).arg("--advertise");
    let whole = start.arg(proxy.address.to_string()).start();
    let part = Server::start(&folder.path().join("part"));
    lead_to(&proxy, &whole);
    let corelog = Corelog::to(&whole);
    let produce = |partition: &str| {
        let produce = ["produce", "t", "--partition", partition];
        let line = format!("{partition}\n");
        corelog.feed(produce, line.as_bytes()).done();
    };
    corelog.run(["topic", "create", "t"]).done();
    produce("0");
    let address = proxy.address.to_string();
    let clone = ["clone", "t", "--from", &address];
    Corelog::to(&part).run(clone).done();
    proxy.lead_nowhere();
    let add = ["topic", "add-partitions", "t", "--partitions", "4"];
    corelog.run(add).done();
    ["1", "2", "3"].into_iter().for_each(produce);
    let both = Corelog::at(&format!("{address},{}", part.address()));
    (proxy, [whole, part], both)
}

fn lead_to(proxy: &Proxy, server: &Server) {
    proxy.lead_to(server.ready.doors());
}

/// It printed the one partition of four that the copy has, and ended with 0.
#[test]
fn a_copy_s_part_is_not_taken_for_the_whole_where_its_owner_does_not_answer() {
    let folder = Folder::new();
    let (proxy, [whole, part], both) = of_whole_and_part(&folder);
    let all = || {
        let printed = both.run(["consume", "t"]).text();
        let mut lines: Vec<_> = printed.lines().map(str::to_owned).collect();
        lines.sort();
        lines.concat()
    };
    let (printed, said, code) = both.run(["consume", "t"]).parts();
    assert_eq!((&printed[..], code), (&b"0\n"[..], Some(4)), "{said}");
    let owner = format!("{} does not say", proxy.address);
    assert!(said.contains(&owner), "{said}");
    // Of what is named, or counted, it is no part.
    for enough in [["--partition", "0"], ["--count", "1"]] {
        let consume = [&["consume", "t"][..], &enough].concat();
        assert_eq!(both.run(consume).done(), b"0\n");
    }

    lead_to(&proxy, &whole);
    assert_eq!(all(), "0123");
    // Who owns all of it has all there is.
    part.kill();
    assert_eq!(all(), "0123");
}

/// All that they had was printed, as if the topic had got them meanwhile; and the state took the copy's one partition for all
/// that there had been.
#[test]
fn partitions_whose_server_answers_later_are_none_that_were_added() {
    let folder = Folder::new();
    let (proxy, [whole, part], both) = of_whole_and_part(&folder);
    let corelog = Corelog::to(&whole);
    let state = folder.path().join("state");
    let kept = || -> serde_json::Value {
        let kept = std::fs::read_to_string(&state).unwrap_or_else(|_| "{}".to_owned());
        serde_json::from_str(&kept).unwrap()
    };
    let parked = |server: &Server| {
        let node = http::json(server.ready.admin, "/v1/node");
        node["cores"][0]["parked_fetches"].as_u64().unwrap()
    };
    // A copy that has all that it was to have has nothing for who would wait.
    let refused = || {
        let name = "corelog_errors_total{core=\"0\",code=\"NotOwner\"";
        http::metric(part.ready.admin, name)
    };
    let follow = ["consume", "t", "--follow", "--from", "latest"];
    for more in [&["--state", state.to_str().unwrap()][..], &[]] {
        proxy.lead_nowhere();
        let before = refused();
        let follow = [&follow[..], more].concat();
        let mut follower = both.command(follow).spawn().unwrap();
        let _watch = Watch::over(follower.id(), "a consumer that follows");
        until("what the copy has is followed, and nothing else", || {
            before < refused() && parked(&whole) == 0
        });
        lead_to(&proxy, &whole);
        // The first of them as well, at its owner then.
        until("what else there is is followed, too", || {
            parked(&whole) == 4
        });
        let produce = ["produce", "t", "--partition", "3"];
        corelog.feed(produce, b"late\n").done();
        let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "late");
        if !more.is_empty() {
            until("the state names all", || {
                kept()["partitions"]["3"] == 2 && kept()["known"] == 4
            });
        }
        kill(Pid::from_raw(follower.id().cast_signed()), Signal::SIGINT).unwrap();
        assert_eq!(follower.wait().unwrap().code(), Some(0));
    }
}

//! `corelog consume`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Stdio;

use corelog_protocol::kind::Kind;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::corelog::Corelog;
use crate::support::deadline::{Watch, output_of, until};
use crate::support::folder::Folder;
use crate::support::proxy::{Odds, Proxy};
use crate::support::server::{Server, Start};

/// A server with a topic `t` of one partition that holds `0` to `9`.
pub(crate) fn with_ten() -> (Folder, Server, Corelog) {
    let folder = Folder::new();
    let server = Server::start(&folder.path().join("data"));
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    corelog
        .feed(["produce", "t"], b"0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n")
        .done();
    (folder, server, corelog)
}

#[test]
fn from_and_until_name_places() {
    let (_folder, _server, corelog) = with_ten();
    let consume = |args: &[&str]| {
        let printed = corelog.run([&["consume", "t"], args].concat()).text();
        printed.replace('\n', "")
    };
    assert_eq!(consume(&[]), "0123456789");
    assert_eq!(consume(&["--from", "earliest"]), "0123456789");
    assert_eq!(consume(&["--from", "latest"]), "");
    assert_eq!(consume(&["--from", "7"]), "789");
    assert_eq!(consume(&["--from", "-2"]), "89");
    assert_eq!(consume(&["--from=-2"]), "89");
    assert_eq!(consume(&["--from", "@-1h"]), "0123456789");
    assert_eq!(consume(&["--from", "@2100-01-01T00:00:00Z"]), "");
    assert_eq!(consume(&["--until", "3"]), "012");
    assert_eq!(consume(&["--until", "-3"]), "0123456");
    assert_eq!(consume(&["--until", "@-1h"]), "");
    assert_eq!(consume(&["--until", "@2100-01-01T00:00:00Z"]), "0123456789");
    assert_eq!(consume(&["--from", "2", "--until", "5"]), "234");
    assert_eq!(consume(&["--from", "2", "--count", "3"]), "234");
    assert_eq!(consume(&["--count", "0"]), "");
    assert_eq!(consume(&["--partition", "0", "--from", "9"]), "9");
}

#[test]
fn formats_show_what_a_record_holds() {
    let (_folder, _server, corelog) = with_ten();
    let printed = corelog.run([
        "consume", "t", "--from", "3", "--count", "1", "--format", "json",
    ]);
    let record = printed.json();
    assert_eq!(record["partition"], 0);
    assert_eq!(record["offset"], 3);
    assert_eq!(record["value"], "Mw==");
    assert_eq!(record["key"], serde_json::Value::Null);
    assert!(record["time"].as_str().unwrap().ends_with('Z'));
    let args = ["consume", "t", "--count", "1", "--output", "json"];
    assert_eq!(corelog.run(args).json()["value"], "MA==");
    let said = [&args[..], &["--format", "%v"]].concat();
    assert_eq!(corelog.run(said).done(), b"0");
    let args = [
        "consume",
        "t",
        "--count",
        "1",
        "--format",
        r"%T/%p@%o=%v%%\x21\n",
    ];
    assert_eq!(corelog.run(args).done(), b"t/0@0=0%!\n");
}

#[test]
fn a_state_file_goes_on_where_it_stopped() {
    let (folder, _server, corelog) = with_ten();
    let state = folder.path().join("state");
    let consume = |count: &str| {
        let state = state.to_str().unwrap();
        corelog
            .run(["consume", "t", "--state", state, "--count", count])
            .text()
            .replace('\n', "")
    };
    assert_eq!(consume("4"), "0123");
    assert_eq!(consume("100"), "456789");
    assert_eq!(consume("100"), "");
    corelog.run(["topic", "create", "other"]).done();
    let args = ["consume", "other", "--state", state.to_str().unwrap()];
    assert!(corelog.run(args).failed(1).contains("topic t"));
}

/// A partition came into the state with its first record: until then, what arrived between two runs from the latest was
/// never printed.
#[test]
fn a_state_file_knows_where_a_partition_without_records_goes_on() {
    let (folder, _server, corelog) = with_ten();
    let state = folder.path().join("state");
    let args = ["consume", "t", "--from", "latest", "--state"];
    let args = [&args[..], &[state.to_str().unwrap()]].concat();
    assert_eq!(corelog.run(&args).done(), b"");
    // That another log took the place of this one is noticed by the epoch of the record before.
    let kept: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&state).unwrap()).unwrap();
    assert!(kept["epochs"]["0"].is_u64(), "{kept}");
    corelog.feed(["produce", "t"], b"10\n11\n").done();
    assert_eq!(corelog.run(&args).done(), b"10\n11\n");

    // One that follows and is killed remembers it as well.
    let state = folder.path().join("followed");
    let args = ["consume", "t", "--from", "latest", "--state"];
    let args = [&args[..], &[state.to_str().unwrap()]].concat();
    let mut follower = corelog
        .command([&args[..], &["--follow"]].concat())
        .spawn()
        .unwrap();
    until("the state is there", || state.exists());
    follower.kill().unwrap();
    follower.wait().unwrap();
    corelog.feed(["produce", "t"], b"12\n").done();
    assert_eq!(corelog.run(&args).done(), b"12\n");
}

/// What came into it first was printed, whenever it was of: the state knew where reading had begun, and not from which time on.
#[test]
fn a_state_file_knows_from_which_time_on_nothing_was_printed_yet() {
    let (folder, _server, corelog) = with_ten();
    let state = folder.path().join("state");
    let args = ["consume", "t", "--state", state.to_str().unwrap()];
    let timed = [&args[..], &["--from", "@2100-01-01T00:00:00Z"]].concat();
    assert_eq!(corelog.run(timed).done(), b"");
    corelog.feed(["produce", "t"], b"10\n").done();
    assert_eq!(corelog.run(args).done(), b"");
    let kept: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&state).unwrap()).unwrap();
    assert_eq!(kept["begun"]["0"], 4_102_444_800_000_u64, "{kept}");
}

/// It was told that the place of the state is gone, though nothing had ever been printed from there.
#[test]
fn a_state_file_of_which_nothing_was_printed_begins_again_behind_what_retention_removed() {
    let folder = Folder::new();
    let server = Server::start(&folder.path().join("data"));
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    let state = folder.path().join("state");
    let args = ["consume", "t", "--state", state.to_str().unwrap()];
    assert_eq!(corelog.run(args).done(), b"");
    corelog.feed(["produce", "t"], b"0\n1\n2\n3\n").done();
    let truncate = ["truncate", "t", "--partition", "0", "--before"];
    let truncate = |before| corelog.run([&truncate[..], &[before, "--yes"]].concat());
    truncate("3").done();
    assert_eq!(corelog.run(args).done(), b"3\n");
    // What was printed is no beginning any more.
    corelog.feed(["produce", "t"], b"4\n5\n").done();
    truncate("5").done();
    assert!(corelog.run(args).failed(1).contains("says to go on at"));
}

/// A copy that lags was taken for a log that has lost what was printed, and the state to be thrown away.
#[test]
fn a_state_that_is_ahead_of_the_server_is_said_to_be_perhaps_another_ones() {
    let (folder, _server, corelog) = with_ten();
    let state = folder.path().join("state");
    let args = ["consume", "t", "--state", state.to_str().unwrap()];
    corelog.run(args).done();
    let kept = std::fs::read_to_string(&state).unwrap();
    let mut kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    kept["partitions"]["0"] = 20.into();
    std::fs::write(&state, kept.to_string()).unwrap();
    let bounded = [&args[..], &["--timeout", "5s"]].concat();
    let said = corelog.run(bounded).failed(1);
    assert!(said.contains("may be behind another one"), "{said}");
    assert!(said.contains("--partition 0 --from 10"), "{said}");
}

/// Each saved over what the other one had, and a partition that one of them alone read was forgotten.
#[test]
fn a_state_file_is_one_runs_at_a_time() {
    let (folder, _server, corelog) = with_ten();
    let state = folder.path().join("state");
    let consume = ["consume", "t", "--state", state.to_str().unwrap()];
    let follow = [&consume[..], &["--follow"]].concat();
    let mut follower = corelog.command(follow).spawn().unwrap();
    let _watch = Watch::over(follower.id(), "a consumer that follows");
    until("the state is there", || state.exists());
    let said = corelog.run(consume).failed(1);
    assert!(said.contains("in use"), "{said}");
    follower.kill().unwrap();
    follower.wait().unwrap();
    // Who was killed holds it no more.
    corelog.run(consume).done();
}

/// What was printed for a reader who had left was remembered as if he had it.
#[test]
fn a_state_file_is_not_ahead_of_a_reader_who_leaves() {
    let (folder, _server, corelog) = with_ten();
    let line = format!("{}\n", "x".repeat(999));
    corelog
        .feed(["produce", "t"], line.repeat(4_000).as_bytes())
        .done();
    let state = folder.path().join("state");
    let args = ["consume", "t", "--state", state.to_str().unwrap()];
    let mut left = corelog.command(args).spawn().unwrap();
    let mut reader = BufReader::with_capacity(1, left.stdout.take().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    assert_eq!(first, "0\n");
    drop(reader);
    output_of(left, "consume without a reader");
    // A pipe holds 64 KiB: so much may have gone to him, and no more.
    let rest = corelog.run(args).done();
    let lines = rest.split(|byte| *byte == b'\n').count() - 1;
    assert!(4_010 - 64 - 10 <= lines, "{lines}");
}

/// Whoever took the last record and left at once got it again: larger than what is buffered, it was written already, and then
/// nobody was there.
#[test]
fn a_state_file_knows_of_the_last_record_of_a_reader_who_leaves_behind_it() {
    let folder = Folder::new();
    let server = Server::start(&folder.path().join("data"));
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    let large = "x".repeat(300 << 10);
    corelog.feed(["produce", "t"], large.as_bytes()).done();
    for round in 0..20 {
        let state = folder.path().join(format!("state {round}"));
        let args = ["consume", "t", "--state", state.to_str().unwrap()];
        let mut left = corelog.command(args).spawn().unwrap();
        let mut reader = left.stdout.take().unwrap();
        reader.read_exact(&mut vec![0; large.len() + 1]).unwrap();
        drop(reader);
        output_of(left, "consume without a reader");
        let again = corelog.run(args).done();
        assert!(again.is_empty(), "{round}: {} bytes", again.len());
    }
}

#[test]
fn follow_prints_what_comes_until_it_is_interrupted() {
    let (_folder, _server, corelog) = with_ten();
    let mut child = corelog
        .command(["consume", "t", "--from", "8", "--follow"])
        .spawn()
        .unwrap();
    let _watch = Watch::over(child.id(), "a consumer that follows");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert_eq!((next(), next()), ("8".to_owned(), "9".to_owned()));
    for round in 0..3 {
        corelog
            .feed(["produce", "t"], format!("new {round}\n").as_bytes())
            .done();
        assert_eq!(next(), format!("new {round}"));
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// It went on for ever where nothing came: nothing was written, and so nothing told it.
#[test]
fn who_follows_ends_when_its_reader_has_left() {
    let (_folder, _server, corelog) = with_ten();
    let follow = ["consume", "t", "--from", "8", "--follow"];
    let mut child = corelog.command(follow).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in ["8", "9"] {
        assert_eq!(lines.next().unwrap().unwrap(), line);
    }
    drop(lines);
    let ended = output_of(child, "a consumer that follows without a reader");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!((ended.status.code(), &*said), (Some(0), ""));
}

/// What came into partitions that were added was never printed.
#[test]
fn follow_reads_partitions_that_are_added_unless_one_is_named() {
    let (folder, _server, corelog) = with_ten();
    let state = folder.path().join("state");
    let follow = |args: &[&str]| {
        let all = ["consume", "t", "--follow", "--from", "9"];
        let mut child = corelog.command([&all, args].concat()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let watch = Watch::over(child.id(), "a consumer that follows");
        (child, watch, lines.map(Result::unwrap))
    };
    let (mut all, _all, mut of_all) = follow(&["--state", state.to_str().unwrap()]);
    let (mut one, _one, mut of_one) = follow(&["--partition", "0"]);
    assert_eq!(of_all.next().unwrap(), "9");
    assert_eq!(of_one.next().unwrap(), "9");
    let args = ["topic", "add-partitions", "t", "--partitions", "2"];
    corelog.run(args).done();
    let produce = |partition: &str, line: &[u8]| {
        let args = ["produce", "t", "--partition", partition];
        corelog.feed(args, line).done();
    };
    produce("1", b"added\n");
    assert_eq!(of_all.next().unwrap(), "added");
    produce("0", b"known\n");
    assert_eq!(of_all.next().unwrap(), "known");
    assert_eq!(of_one.next().unwrap(), "known");
    for child in [&mut all, &mut one] {
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    let kept = std::fs::read_to_string(&state).unwrap();
    let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(kept["partitions"]["1"], 1);
}

/// They were begun where --from says: what came into them before that was never printed.
#[test]
fn a_state_file_knows_which_partitions_are_added_between_two_runs() {
    let (folder, _server, corelog) = with_ten();
    let state = folder.path().join("state");
    let add = |total: &str| {
        let args = ["topic", "add-partitions", "t", "--partitions", total];
        corelog.run(args).done();
    };
    let produce = |partition: &str, line: &[u8]| {
        let args = ["produce", "t", "--partition", partition];
        corelog.feed(args, line).done();
    };
    add("2");
    produce("1", b"old\n");
    let all = ["consume", "t", "--from", "latest", "--state"];
    let all = [&all[..], &[state.to_str().unwrap()]].concat();
    let follow = [&all[..], &["--follow"]].concat();
    let kept = || -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(&state).unwrap()).unwrap()
    };
    let follower = corelog.command(&follow).spawn().unwrap();
    until("the state names both partitions", || {
        state.exists() && kept()["partitions"]["1"] == 1
    });
    kill(Pid::from_raw(follower.id().cast_signed()), Signal::SIGINT).unwrap();
    let ended = output_of(follower, "a consumer that follows");
    assert_eq!(ended.status.code(), Some(0));
    add("3");
    produce("2", b"added\n");
    let count = [&follow[..], &["--count", "1"]].concat();
    let follower = corelog.command(count).spawn().unwrap();
    until("it follows all three", || {
        kept()["partitions"]["2"].is_u64()
    });
    // Where it had begun at the end, this would come first.
    produce("2", b"late\n");
    let ended = output_of(follower, "a consumer that follows");
    assert_eq!(ended.stdout, b"added\n");

    // As if a kill had come before the second partition: it is no added one.
    let mut cut = kept();
    cut["partitions"].as_object_mut().unwrap().remove("1");
    std::fs::write(&state, cut.to_string()).unwrap();
    assert_eq!(corelog.run(&all).done(), b"late\n");
}

/// What a partition had that a server lacked at the start was printed again with each run, all of it.
#[test]
fn a_partition_that_turns_up_later_goes_on_where_the_state_says() {
    let (folder, _server, corelog) = with_ten();
    let state = folder.path().join("state");
    let args = ["consume", "t", "--follow", "--state"];
    let args = [&args[..], &[state.to_str().unwrap()]].concat();
    let ten = [&args[..], &["--count", "10"]].concat();
    corelog.run(ten).done();
    let kept = std::fs::read_to_string(&state).unwrap();
    let mut kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    kept["partitions"]["1"] = 2.into();
    std::fs::write(&state, kept.to_string()).unwrap();
    corelog.feed(["produce", "t"], b"10\n").done();
    let two = [&args[..], &["--count", "2"]].concat();
    let mut follower = corelog.command(two).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let _watch = Watch::over(follower.id(), "a consumer that follows");
    assert_eq!(lines.next().unwrap().unwrap(), "10");
    let add = ["topic", "add-partitions", "t", "--partitions", "2"];
    corelog.run(add).done();
    let produce = ["produce", "t", "--partition", "1"];
    corelog.feed(produce, b"a\nb\nc\n").done();
    assert_eq!(lines.next().unwrap().unwrap(), "c");
    assert_eq!(follower.wait().unwrap().code(), Some(0));
}

/// It ended with the first error: the others were not read, in no run.
#[test]
fn a_partition_that_cannot_be_read_on_holds_up_no_other_one() {
    let (folder, _server, corelog) = with_ten();
    let add = ["topic", "add-partitions", "t", "--partitions", "2"];
    corelog.run(add).done();
    let state = folder.path().join("state");
    let args = ["consume", "t", "--state", state.to_str().unwrap()];
    corelog.run(args).done();
    let kept = std::fs::read_to_string(&state).unwrap();
    let mut kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    kept["partitions"]["0"] = 20.into();
    kept["epochs"] = serde_json::json!({});
    std::fs::write(&state, kept.to_string()).unwrap();
    for (follow, line) in [(&[][..], "a"), (&["--follow"], "b")] {
        let line = format!("{line}\n").into_bytes();
        let produce = ["produce", "t", "--partition", "1"];
        corelog.feed(produce, &line).done();
        let run = corelog.run([&args[..], follow].concat());
        let (printed, said, code) = run.parts();
        assert_eq!((printed, code), (line, Some(1)), "{said}");
        assert!(said.contains("--partition 0 --from 10"), "{said}");
    }
}

/// What ended the partition was not told where the run then ended with something else; nor was, whoever came last, what the
/// other one met at its end.
#[test]
fn what_ended_a_partition_is_told_however_the_run_ends() {
    let folder = Folder::new();
    let (proxy, _server, corelog) = of_two_cores(&folder);
    let state = folder.path().join("state");
    let consume = ["consume", "t", "--state", state.to_str().unwrap()];
    corelog.run(consume).done();
    let partition = ["t", "--partition", "0"];
    corelog
        .feed([&["produce"][..], &partition].concat(), b"d\n")
        .done();
    let truncate = [&["truncate"][..], &partition, &["--before", "4", "--yes"]].concat();
    corelog.run(truncate).done();
    // Of the one the place is gone, of the other one, of which there is no more, comes no answer.
    (1..=2).for_each(|port| proxy.hold(port, Kind::Fetch));
    for follow in [&[][..], &["--follow"]] {
        // After a second a connection that is silent may be given up first.
        let run = corelog.run([&consume[..], &["--timeout", "900ms"], follow].concat());
        let (_, said, code) = run.parts();
        assert_eq!(code, Some(1), "{follow:?}: {said}");
        assert!(said.contains("--partition 0 --from 4"), "{said}");
        assert!(said.contains("did not answer Fetch"), "{said}");
    }
}

#[test]
fn follow_until_a_count_ends_by_itself() {
    let (_folder, _server, corelog) = with_ten();
    let child = corelog
        .command(["consume", "t", "--follow", "--count", "12"])
        .spawn()
        .unwrap();
    corelog.feed(["produce", "t"], b"10\n11\n12\n").done();
    let output = output_of(child, "a consumer with a count");
    assert_eq!(output.stdout, b"0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n");
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let (_folder, _server, corelog) = with_ten();
    corelog
        .feed(["produce", "t"], "x".repeat(99).repeat(10_000).as_bytes())
        .done();
    let mut input = Vec::new();
    (0..20_000).for_each(|line| writeln!(input, "line {line} of many").unwrap());
    corelog.feed(["produce", "t"], &input).done();
    let mut child = corelog
        .command(["consume", "t"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 4];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let output = output_of(child, "a consumer without a reader");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// A server of two cores behind a proxy, and a topic `t` of two partitions that hold `a`, `b` and `c`.
pub(crate) fn of_two_cores(folder: &Folder) -> (Proxy, Server, Corelog) {
    let proxy = Proxy::listen(3, Odds::default(), fastrand::Rng::new());
    let start = Start::on(&folder.path().join("data")).cores(2);
    let server = start.arg("--advertise").arg(proxy.address.to_string());
    let server = server.start();
    proxy.lead_to(server.ready.doors());
    let corelog = Corelog::at(&proxy.address.to_string());
    let create = ["topic", "create", "t", "--partitions", "2"];
    corelog.run(create).done();
    for partition in ["0", "1"] {
        let produce = ["produce", "t", "--partition", partition];
        corelog.feed(produce, b"a\nb\nc\n").done();
    }
    (proxy, server, corelog)
}

/// It ended with 0, and a script took the part that it had printed for the topic.
#[test]
fn whoever_is_asked_to_stop_before_the_end_has_not_done_it() {
    let folder = Folder::new();
    let (proxy, _server, corelog) = of_two_cores(&folder);
    // Each core has a partition: of one comes all, of the other nothing.
    proxy.hold(1, Kind::Fetch);
    let state = folder.path().join("state");
    let consume = ["consume", "t", "--state", state.to_str().unwrap()];
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut child = corelog.command(consume).spawn().unwrap();
        let _watch = Watch::over(child.id(), "a consumer of which half is held");
        let printed = if signal == Signal::SIGINT { 3 } else { 0 };
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (0..printed).for_each(|_| drop(lines.next().unwrap().unwrap()));
        until("it hears who asks it to stop", || {
            hears(child.id(), signal) && state.exists()
        });
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        let output = output_of(child, "a consumer that is asked to stop");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{signal}: {said}");
        let told = format!("stopped before the end; {printed} printed; the next run goes on");
        assert!(said.contains(&told), "{said}");
    }
    proxy.release(1, Kind::Fetch);
    assert_eq!(corelog.run(consume).done(), b"a\nb\nc\n");
}

/// If a process has a handler for this signal.
fn hears(pid: u32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
    caught & 1 << (signal as u32 - 1) != 0
}

/// It waited for its reader, and heard nobody: only SIGKILL ended it.
#[test]
fn whoever_asks_it_to_stop_is_heard_while_nobody_reads() {
    let (_folder, _server, corelog) = with_ten();
    let lines = "a line of many that nobody reads\n".repeat(20_000);
    corelog.feed(["produce", "t"], lines.as_bytes()).done();
    let mut child = corelog
        .command(["consume", "t"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 4]).unwrap();
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    let output = output_of(child, "a consumer whose reader does not read");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_server_that_goes_away_is_unreachable() {
    let (_folder, server, corelog) = with_ten();
    let args = ["consume", "t", "--from", "9", "--follow", "--timeout", "5s"];
    let mut child = corelog.command(args).spawn().unwrap();
    let _watch = Watch::over(child.id(), "a consumer without a server");
    let mut first = [0; 2];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    assert_eq!(&first, b"9\n");
    server.kill();
    assert_eq!(child.wait().unwrap().code(), Some(4));
}

#[test]
fn what_cannot_be_consumed_is_said() {
    let (_folder, _server, corelog) = with_ten();
    assert!(
        corelog
            .run(["consume", "none"])
            .failed(1)
            .contains("UnknownTopic")
    );
    corelog.run(["consume", "t", "--partition", "1"]).failed(1);
    let said = corelog.run(["consume", "t", "--from", "11"]).failed(1);
    assert!(said.contains("10"), "names the valid range: {said}");
    corelog.run(["consume", "t", "--from", "newest"]).failed(2);
    corelog
        .run(["consume", "t", "--follow", "--until", "20"])
        .failed(2);
    corelog
        .run(["consume", "t", "--format", "values"])
        .failed(2);
    let state = "/no/such/dir/state";
    let args = ["consume", "t", "--state", state, "--count", "1"];
    let (_, said, code) = corelog.run(args).parts();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("/no/such/dir"), "{said}");
}

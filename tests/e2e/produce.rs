//! `corelog produce`.

use std::io::{BufRead as _, BufReader, Write as _};

use nix::sys::signal::Signal;

use crate::support::corelog::Corelog;
use crate::support::deadline::Watch;
use crate::support::folder::Folder;
use crate::support::server::Server;

#[test]
fn files_and_stdin_are_read_in_order() {
    let folder = Folder::new();
    let server = Server::start(&folder.path().join("data"));
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    let one = folder.file("one", b"1\n2");
    let two = folder.file("two", b"3\n");
    let args = [
        "produce",
        "t",
        one.to_str().unwrap(),
        "-",
        two.to_str().unwrap(),
    ];
    corelog.feed(args, b"in\n").done();
    assert_eq!(corelog.run(["consume", "t"]).done(), b"1\n2\nin\n3\n");
}

#[test]
fn each_acknowledged_batch_is_a_line_of_json() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog
        .run(["topic", "create", "t", "--partitions", "3"])
        .done();
    let args = ["produce", "t", "--partition", "2", "--output", "json"];
    let input = "line\n".repeat(10_000);
    let acks = corelog.feed(args, input.as_bytes()).json_lines();
    let mut next = 0;
    for ack in &acks {
        assert_eq!(ack["partition"], 2);
        assert_eq!(ack["level"], "durable");
        assert_eq!(ack["first"], next);
        next = ack["last"].as_u64().unwrap() + 1;
    }
    assert_eq!(next, 10_000);
}

#[test]
fn a_level_that_is_asked_for_is_the_one_reached_or_a_better_one() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog
        .run(["topic", "create", "t", "--ack", "accepted"])
        .done();
    let level = |ack: &str| {
        let args = ["produce", "t", "--ack", ack, "--output", "json"];
        corelog.feed(args, b"x\n").json()["level"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(level("accepted"), "accepted");
    assert_eq!(level("durable"), "durable");
}

#[test]
fn keys_headers_and_delimiters_are_what_was_said() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    let args = [
        "produce",
        "t",
        "--key-separator",
        "::",
        "--delimiter",
        r"\0",
        "-H",
        "a=1",
        "-H",
        "b=x=y",
    ];
    corelog.feed(args, b"k::v::w\0\n\0::e").done();
    let printed = corelog
        .run(["consume", "t", "--format", "%k|%v|%h;"])
        .done();
    assert_eq!(printed, b"k|v::w|a=1,b=x=y;|\n|a=1,b=x=y;|e|a=1,b=x=y;");
}

#[test]
fn a_whole_file_is_one_record() {
    let folder = Folder::new();
    let server = Server::start(&folder.path().join("data"));
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let file = folder.file("blob", &bytes);
    corelog
        .run(["produce", "t", file.to_str().unwrap(), "--whole-file"])
        .done();
    assert_eq!(
        corelog.run(["consume", "t", "--format", "%v"]).done(),
        bytes
    );

    let large = folder.file("large", &vec![0; (1 << 20) + 1]);
    let args = ["produce", "t", large.to_str().unwrap(), "--whole-file"];
    assert!(corelog.run(args).failed(1).contains("larger than a record"));
}

#[test]
fn counts_and_rates_are_told_on_stderr() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    let (out, said, code) = corelog.feed(["produce", "t"], b"a\nb\n").parts();
    assert_eq!((out.as_slice(), code), (&b""[..], Some(0)));
    assert!(said.contains("2 records"), "{said}");
    assert!(said.contains("records/s"), "{said}");
}

#[test]
fn a_rate_is_kept() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    let began = std::time::Instant::now();
    corelog
        .feed(
            ["produce", "t", "--rate", "50"],
            "x\n".repeat(26).as_bytes(),
        )
        .done();
    assert!(began.elapsed() >= std::time::Duration::from_millis(500));
}

#[test]
fn an_unknown_outcome_is_listed_and_not_sent_again() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    let args = ["produce", "t", "--timeout", "10s", "--output", "json"];
    let mut child = corelog.command(args).spawn().unwrap();
    let _watch = Watch::over(child.id(), "a producer without an answer");
    let mut stdin = child.stdin.take().unwrap();
    let mut acks = BufReader::new(child.stdout.take().unwrap()).lines();
    stdin.write_all(b"known\n").unwrap();
    assert!(acks.next().unwrap().unwrap().contains("\"last\":0"));
    // The server takes the bytes and does not answer, as one that is stuck or cut off.
    server.signal(Signal::SIGSTOP);
    stdin.write_all(b"unknown\n").unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    server.signal(Signal::SIGCONT);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(
        said.contains("outcome unknown, not sent again: 1 records"),
        "{said}"
    );
    assert!(said.contains("stdin: 2-2"), "{said}");
    assert!(
        acks.next().is_none(),
        "what is unknown is no acknowledgement"
    );
}

#[test]
fn a_record_for_a_server_that_has_stopped_ends_with_4() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    let args = ["produce", "t", "--timeout", "10s", "--output", "json"];
    let mut child = corelog.command(args).spawn().unwrap();
    let _watch = Watch::over(child.id(), "a producer without a server");
    let mut stdin = child.stdin.take().unwrap();
    let mut acks = BufReader::new(child.stdout.take().unwrap()).lines();
    stdin.write_all(b"known\n").unwrap();
    assert!(acks.next().unwrap().unwrap().contains("\"last\":0"));
    // An ordered stop closes its connections before it ends: the next record is not sent.
    server.stop();
    stdin.write_all(b"late\n").unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("not applied: 1 records"), "{said}");
}

#[test]
fn what_cannot_be_produced_is_said() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    assert!(
        corelog
            .feed(["produce", "none"], b"x\n")
            .failed(1)
            .contains("UnknownTopic")
    );
    corelog
        .feed(["produce", "t", "--partition", "1"], b"x\n")
        .failed(1);
    assert!(
        corelog
            .run(["produce", "t", "/no/such/file"])
            .failed(1)
            .contains("/no/such/file")
    );
    let long = vec![b'x'; (1 << 20) + 1];
    let said = corelog.feed(["produce", "t"], &long).failed(1);
    assert!(said.contains("stdin, record 1"), "{said}");
    let almost = &long[..1 << 20];
    let said = corelog
        .feed(["produce", "t", "-H", "a=1"], almost)
        .failed(1);
    assert!(said.contains("stdin, record 1"), "{said}");
    corelog
        .feed(["produce", "t", "--compression", "best"], b"x\n")
        .failed(2);
    corelog
        .feed(["produce", "t", "--delimiter", ""], b"x\n")
        .failed(2);
    corelog
        .feed(["produce", "t", "-H", "novalue"], b"x\n")
        .failed(2);
    assert_eq!(corelog.run(["consume", "t"]).done(), b"");
}

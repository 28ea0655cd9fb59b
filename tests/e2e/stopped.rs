//! `corelog produce` that is asked to stop, or stopped.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, PipeWriter, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, ChildStdout, Output};
use std::time::{Duration, Instant};

use corelog_protocol::kind::Kind;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::corelog::Corelog;
use crate::support::deadline::{Watch, output_of, until};
use crate::support::folder::Folder;
use crate::support::proxy::{Odds, Proxy};
use crate::support::server::{Server, Start};

/// A server with a topic `t` of one partition, without a record.
fn with_topic() -> (Folder, Server, Corelog) {
    let folder = Folder::new();
    let server = Server::start(&folder.path().join("data"));
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    (folder, server, corelog)
}

/// So many lines, no two alike.
fn lines(count: usize) -> String {
    (0..count).map(|line| format!("{line}\n")).collect()
}

fn ask(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

/// The acknowledgements of a producer that prints them, once there is one: of this offset.
fn acks(child: &mut Child, offset: u64) -> (BufReader<ChildStdout>, String) {
    let _watch = Watch::over(child.id(), "a producer's first acknowledgement");
    let mut acks = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    acks.read_line(&mut first).unwrap();
    let is_its = first.contains(&format!("\"first\":{offset},"));
    assert!(is_its, "{first}");
    (acks, first)
}

/// What it came to, with what it said.
fn end(child: Child) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = output_of(child, "a producer that is asked to stop");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

/// The signal ended it by itself: what it had read ahead was gone, and nobody was told what was in the log.
#[test]
fn what_was_taken_from_a_pipe_is_sent_and_told_before_it_stops() {
    let (int, term) = (Signal::SIGINT, Signal::SIGTERM);
    // timeout(1) tells it twice: it ended at once, and what it had taken was gone.
    for signals in [&[int][..], &[term], &[int, term]] {
        let (_folder, _server, corelog) = with_topic();
        let (reader, mut writer) = io::pipe().unwrap();
        let mut rest = reader.try_clone().unwrap();
        let args = ["produce", "t", "--rate", "500", "--output", "json"];
        let mut command = corelog.command(args);
        let mut child = command.stdin(reader).spawn().unwrap();
        drop(command);
        let written = lines(1_000);
        writer.write_all(written.as_bytes()).unwrap();
        let (mut acks, mut told) = acks(&mut child, 0);
        // Most of it waits for its turn, and whoever reads for more: the pipe stays open.
        signals.iter().for_each(|signal| ask(&child, *signal));
        let (code, said) = end(child);
        assert_eq!(code, Some(0), "{said}");
        acks.read_to_string(&mut told).unwrap();
        let last: serde_json::Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
        let mut sent = corelog.run(["consume", "t"]).text();
        let count = sent.lines().count();
        assert_eq!(last["last"], count - 1);
        assert!(said.contains(&format!("{count} records, ")), "{said}");
        drop(writer);
        rest.read_to_string(&mut sent).unwrap();
        assert!(sent == written, "{count} of it were sent");
    }
}

#[test]
fn a_file_that_is_not_sent_to_its_end_is_not_taken_for_the_whole() {
    let (folder, _server, corelog) = with_topic();
    let file = folder.file("lines", lines(30_000).as_bytes());
    let args = ["produce", "t", "--rate", "100", "--output", "json"];
    for name in [file.to_str().unwrap(), "-"] {
        let mut command = corelog.command(args.iter().chain(&[name]));
        let mut child = command.stdin(File::open(&file).unwrap()).spawn().unwrap();
        let mut acks = BufReader::new(child.stdout.take().unwrap());
        acks.read_line(&mut String::new()).unwrap();
        ask(&child, Signal::SIGTERM);
        let (code, said) = end(child);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("stopped behind "), "{said}");
        assert!(said.contains(" records/s"), "{said}");
    }
    // What was read ahead would have taken minutes: it is still in the file.
    let sent = corelog.run(["consume", "t"]).text();
    assert!(sent.lines().count() < 30_000);
}

#[test]
fn a_line_whose_end_had_not_come_is_told_and_not_sent() {
    let (_folder, _server, corelog) = with_topic();
    let mut child = corelog
        .command(["produce", "t", "--output", "json"])
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"whole\nhalf").unwrap();
    let _acks = acks(&mut child, 0);
    ask(&child, Signal::SIGINT);
    let (code, said) = end(child);
    assert_eq!(code, Some(1), "{said}");
    let told = "stopped within record 2 of stdin: 4 bytes of it were read, and not sent";
    assert!(said.contains(told), "{said}");
    assert_eq!(corelog.run(["consume", "t"]).done(), b"whole\n");
}

/// A producer whose record `unknown` is with a server that does not answer, and its input.
fn unanswered(corelog: &Corelog, server: &Server, timeout: &str) -> (Child, PipeWriter) {
    make_files(corelog);
    let args = ["produce", "t", "--output", "json", "--timeout", timeout];
    let (reader, mut writer) = io::pipe().unwrap();
    let rest = reader.try_clone().unwrap();
    let mut child = corelog.command(args).stdin(reader).spawn().unwrap();
    writer.write_all(b"known\n").unwrap();
    let _acks = acks(&mut child, 1);
    server.signal(Signal::SIGSTOP);
    writer.write_all(b"unknown\n").unwrap();
    until("it has taken the record", || {
        let mut asked = [PollFd::new(rest.as_fd(), PollFlags::POLLIN)];
        poll(&mut asked, PollTimeout::ZERO).unwrap() == 0
    });
    (child, writer)
}

/// Of the partition of `t`, by a first record: on a slow disk they take longer than an answer does.
pub(super) fn make_files(corelog: &Corelog) {
    corelog.feed(["produce", "t"], b"first\n").done();
}

#[test]
fn what_is_in_flight_when_it_is_asked_to_stop_is_waited_for_and_told() {
    let (_folder, server, corelog) = with_topic();
    let (child, _stdin) = unanswered(&corelog, &server, "15s");
    ask(&child, Signal::SIGTERM);
    let (code, said) = end(child);
    server.signal(Signal::SIGCONT);
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("1 records, "), "{said}");
    let told = "outcome unknown, not sent again: 1 records";
    assert!(said.contains(told), "{said}");
}

#[test]
fn a_second_signal_ends_it_at_once_with_the_outcome_unknown() {
    let (_folder, server, corelog) = with_topic();
    let (child, _stdin) = unanswered(&corelog, &server, "1h");
    ask(&child, Signal::SIGTERM);
    // What comes together is one asking.
    let asked = Instant::now();
    until("a moment is over", || {
        asked.elapsed() > Duration::from_millis(500)
    });
    ask(&child, Signal::SIGINT);
    let (code, said) = end(child);
    server.signal(Signal::SIGCONT);
    assert_eq!(code, Some(5), "{said}");
}

/// Its timers were over before it looked at a socket: what had long been acknowledged was told as unknown.
#[test]
fn what_is_answered_while_the_producer_itself_is_stopped_is_acknowledged() {
    let folder = Folder::new();
    let proxy = Proxy::listen(2, Odds::default(), fastrand::Rng::new());
    let address = proxy.address.to_string();
    let start = Start::on(folder.path()).arg("--advertise");
    let server = start.arg(&address).start();
    proxy.lead_to(server.ready.doors());
    let corelog = Corelog::at(&address);
    corelog.run(["topic", "create", "t"]).done();
    make_files(&corelog);
    let before = proxy.asked(Kind::Produce);
    let ports = 0..2;
    ports
        .clone()
        .for_each(|port| proxy.hold(port, Kind::Produce));
    let timeout = Duration::from_secs(10);
    let mut command = corelog.command(["produce", "t", "--timeout", "10s"]);
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"record\n").unwrap();
    until("it is sent", || proxy.asked(Kind::Produce) == before + 1);
    ask(&child, Signal::SIGSTOP);
    ports.for_each(|port| proxy.release(port, Kind::Produce));
    let stopped = Instant::now();
    until("its time is over", || stopped.elapsed() > timeout * 3 / 2);
    ask(&child, Signal::SIGCONT);
    drop(stdin);
    let (code, said) = end(child);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("unknown"), "{said}");
}

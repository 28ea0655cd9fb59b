//! `corelog produce`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use corelog_client::{ProducerConfig, partition_of_key};
use corelog_protocol::kind::Kind;
use corelog_protocol::message::list_offsets::At;
use nix::sys::signal::Signal;

use super::stopped::make_files;
use crate::support::chance;
use crate::support::corelog::Corelog;
use crate::support::deadline::{Watch, until};
use crate::support::folder::Folder;
use crate::support::proxy::{Odds, Proxy};
use crate::support::server::{Server, Start, start_anywhere};
use crate::support::wire::{Target, Wire};

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
    assert!(began.elapsed() >= Duration::from_millis(500));
}

#[test]
fn an_unknown_outcome_is_listed_and_not_sent_again() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    make_files(&corelog);
    let args = ["produce", "t", "--timeout", "10s", "--output", "json"];
    let mut child = corelog.command(args).spawn().unwrap();
    let _watch = Watch::over(child.id(), "a producer without an answer");
    let mut stdin = child.stdin.take().unwrap();
    let mut acks = BufReader::new(child.stdout.take().unwrap()).lines();
    stdin.write_all(b"known\n").unwrap();
    assert!(acks.next().unwrap().unwrap().contains("\"last\":1"));
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

/// A server of two cores that clients reach through a proxy, and a topic of one partition on each.
struct Behind {
    proxy: Proxy,
    wire: Wire,
    topic: Target,
    /// The proxy's port for each partition.
    ports: Vec<usize>,
    _server: Server,
}

impl Behind {
    fn start(folder: &Folder) -> Self {
        let proxy = Proxy::listen(3, Odds::default(), fastrand::Rng::new());
        let start = Start::on(folder.path()).cores(2).arg("--advertise");
        let server = start.arg(proxy.address.to_string()).start();
        let ready = &server.ready;
        proxy.lead_to(ready.doors());
        let mut wire = Wire::open(ready.listen).unwrap();
        let topic = wire.topic("t", 2, 1 << 20);
        let ports: Vec<_> = wire.owners(&topic).iter().map(|core| 1 + core).collect();
        assert_ne!(ports[0], ports[1], "each core has a partition");
        Self {
            proxy,
            wire,
            topic,
            ports,
            _server: server,
        }
    }

    fn corelog(&self) -> Corelog {
        Corelog::at(&self.proxy.address.to_string())
    }

    /// Where a partition ends.
    fn end(&mut self, partition: u32) -> u64 {
        let latest = self.topic.list_offsets(partition, At::Latest);
        let (answer, _) = self.wire.call(&latest, &[]).unwrap().unwrap();
        answer.high_watermark.get()
    }

    /// Waits until it ends there.
    fn wait_for_end(&mut self, partition: u32, end: u64) {
        until("a partition has grown", || self.end(partition) == end);
    }
}

/// A key whose records go to this one of two partitions.
fn key(partition: u32) -> String {
    let mut keys = (0..).map(|number| format!("k{number}"));
    keys.find(|key| partition_of_key(key.as_bytes(), 2) == partition)
        .unwrap()
}

/// The help said that they go to one partition after another, a batch at a time: three lines lay in one, and a reader who
/// had expected them in three looked for the others.
#[test]
fn records_without_keys_go_to_the_next_partition_after_as_many_bytes_as_the_help_says() {
    let folder = Folder::new();
    let server = Server::start(&folder.path().join("data"));
    let corelog = Corelog::to(&server);
    let help = corelog.run(["help", "produce"]).text();
    let help: Vec<_> = help.split_whitespace().collect();
    let help = help.join(" ");
    assert!(help.contains("until 1MiB of them went there"), "{help}");
    let most = ProducerConfig::default().batch_bytes_max;
    assert_eq!(most, 1 << 20);
    let partitions = |topic: &str, line: &[u8], count: usize| {
        let create = ["topic", "create", topic, "--partitions", "8"];
        corelog.run(create).done();
        corelog.feed(["produce", topic], &line.repeat(count)).done();
        let consume = ["consume", topic, "--format", "%p\\n"];
        let text = corelog.run(consume).text();
        let each: BTreeSet<_> = text.lines().map(str::to_owned).collect();
        each.len()
    };
    assert_eq!(partitions("few", b"a line\n", 100), 1);
    let line = [[b'a'; 1023].as_slice(), b"\n"].concat();
    assert_eq!(partitions("many", &line, 7 * most / 2 / line.len()), 4);
}

/// Deliveries were looked at one after the other: while the first of them was late, records went on to
/// another partition, behind an outcome that nobody knows.
#[test]
fn nothing_follows_an_unknown_outcome_while_another_partition_waits() {
    let folder = Folder::new();
    let mut behind = Behind::start(&folder);
    let produce = ["produce", "t", "--key-separator", ":", "--output", "json"];
    let args = produce.into_iter().chain(["--timeout", "100s"]);
    let mut child = behind.corelog().command(args).spawn().unwrap();
    let _watch = Watch::over(child.id(), "a producer to two partitions");
    let mut stdin = child.stdin.take().unwrap();
    let mut acks = BufReader::new(child.stdout.take().unwrap()).lines();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let (lines, said) = mpsc::channel();
    thread::spawn(move || {
        let mut each = stderr.lines();
        each.try_for_each(|line| lines.send(line.unwrap()).ok())
    });
    for partition in [0, 1] {
        writeln!(stdin, "{}:known", key(partition)).unwrap();
        assert!(acks.next().unwrap().unwrap().contains("\"last\":0"));
    }
    // Both have the next record and have not said so; of one nobody will.
    for partition in [0, 1] {
        behind
            .proxy
            .hold(behind.ports[partition as usize], Kind::Produce);
        writeln!(stdin, "{}:unanswered", key(partition)).unwrap();
        behind.wait_for_end(partition, 2);
    }
    behind.proxy.cut(behind.ports[1]);
    behind.proxy.release(behind.ports[1], Kind::Produce);
    until("it has stopped", || {
        // Once it has stopped nobody reads this.
        let _ = writeln!(stdin, "{}:later", key(1));
        assert_eq!(behind.end(1), 2, "behind what nobody knows");
        said.try_iter()
            .any(|line| line.starts_with("stopped behind stdin, record"))
    });
    behind.proxy.release(behind.ports[0], Kind::Produce);
    assert!(acks.next().unwrap().unwrap().contains("\"last\":1"));
    let said: Vec<String> = said.iter().collect();
    let said = said.join("\n");
    assert_eq!(child.wait().unwrap().code(), Some(5), "{said}");
    assert!(
        said.contains("outcome unknown, not sent again: 1 records"),
        "{said}"
    );
    assert!(said.contains("stdin: 4-4"), "{said}");
    assert_eq!((behind.end(0), behind.end(1)), (2, 2));
}

/// That stdout took nothing was all that was told, with the exit code of a mere failure.
#[test]
fn an_unknown_outcome_is_told_also_where_stdout_takes_nothing() {
    let folder = Folder::new();
    let mut behind = Behind::start(&folder);
    let args = ["produce", "t", "--partition", "0", "--output", "json"];
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = behind.corelog().command(args);
    let mut child = command.stdout(full).spawn().unwrap();
    let _watch = Watch::over(child.id(), "a producer whose stdout is full");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"known\n").unwrap();
    behind.wait_for_end(0, 1);
    // Its acknowledgement could not be printed.
    until("nothing is printed any more", || {
        !has_thread(child.id(), "acks")
    });
    behind.proxy.hold(behind.ports[0], Kind::Produce);
    stdin.write_all(b"unknown\n").unwrap();
    behind.wait_for_end(0, 2);
    behind.proxy.cut(behind.ports[0]);
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("stdin: 2-2"), "{said}");
    assert!(said.contains("cannot write to stdout"), "{said}");
}

/// It was told with the next record, which may never come.
#[test]
fn a_record_that_is_refused_ends_it_while_it_waits_for_input() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    let args = ["produce", "t", "--output", "json"];
    let mut child = corelog.command(args).spawn().unwrap();
    let _watch = Watch::over(child.id(), "a producer that waits for input");
    let mut stdin = child.stdin.take().unwrap();
    let mut acks = BufReader::new(child.stdout.take().unwrap()).lines();
    stdin.write_all(b"known\n").unwrap();
    assert!(acks.next().unwrap().unwrap().contains("\"last\":0"));
    corelog.run(["topic", "delete", "t", "--yes"]).done();
    stdin.write_all(b"refused\n").unwrap();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let stopped = "stopped behind stdin, record 2: nothing that follows was sent";
    assert!(said.contains(stopped), "{said}");
}

/// If a process has a thread of this name.
fn has_thread(pid: u32, name: &str) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    // One that ends meanwhile has no name.
    let names =
        threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.into_iter().any(|found| found.trim_end() == name)
}

#[test]
fn a_record_for_a_server_that_has_stopped_ends_with_4() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    make_files(&corelog);
    let args = ["produce", "t", "--timeout", "10s", "--output", "json"];
    let mut child = corelog.command(args).spawn().unwrap();
    let _watch = Watch::over(child.id(), "a producer without a server");
    let mut stdin = child.stdin.take().unwrap();
    let mut acks = BufReader::new(child.stdout.take().unwrap()).lines();
    stdin.write_all(b"known\n").unwrap();
    assert!(acks.next().unwrap().unwrap().contains("\"last\":1"));
    // An ordered stop closes its connections before it ends: the next record is not sent.
    server.stop();
    stdin.write_all(b"late\n").unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("not applied: 1 records"), "{said}");
}

/// Two restarts of three left records of unknown outcome, at which it ended.
#[test]
fn a_producer_outlives_restarts_of_its_server_and_nothing_is_there_twice() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let mut random = chance::random("produce");
    // However long the disk takes for what is under way: whoever is cut does not know what became of it.
    let start = || Start::on(&data).arg("--stop-timeout=60s");
    let (mut server, listen) = start_anywhere(start, &mut random);
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    let mut child = corelog
        .command(["produce", "t", "--output", "json"])
        .spawn()
        .unwrap();
    let pid = child.id();
    let watch = || Watch::over(pid, "a producer over restarts");
    let mut stdin = child.stdin.take().unwrap();
    let mut acks = BufReader::new(child.stdout.take().unwrap()).lines();
    let (is_enough, stopped) = mpsc::channel::<()>();
    // Not more than there is time for, however long the restarts take.
    let writing = thread::spawn(move || {
        let mut written = String::new();
        for number in 0.. {
            let line = format!("{number}\n");
            // Who reads no more has an exit code and words for it.
            let is_read = stdin.write_all(line.as_bytes()).is_ok();
            written.push_str(&line);
            let pause = stopped.recv_timeout(Duration::from_micros(500));
            if !is_read || pause != Err(RecvTimeoutError::Timeout) {
                break;
            }
        }
        written
    });
    for round in 0..24 {
        let _watch = watch();
        let acknowledged = acks.by_ref().take(20).count();
        if acknowledged < 20 {
            break;
        }
        // Wherever the next batch is by then.
        thread::park_timeout(Duration::from_micros(round * 170));
        assert_eq!(server.stop().status.code(), Some(0));
        server = start().at(listen).start();
    }
    let _watch = watch();
    drop(is_enough);
    acks.for_each(drop);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(corelog.run(["consume", "t"]).done() == writing.join().unwrap().as_bytes());
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

//! A server that has no descriptor left for those who connect.

use std::process::Command;
use std::time::{Duration, Instant};

use corelog_protocol::message::hello;
use corelog_record::batch::Codec;

use crate::support::corelog::Corelog;
use crate::support::deadline::output_of;
use crate::support::folder::Folder;
use crate::support::http::metric;
use crate::support::server::{Server, Start};
use crate::support::wire::{Target, Wire, batch};

/// Lets the running server have so many descriptors from now on.
fn limit(server: &Server, files: usize) {
    let pid = format!("--pid={}", server.pid());
    let files = format!("--nofile={files}:");
    let limited = Command::new("prlimit").args([pid, files]).status();
    assert!(limited.unwrap().success());
}

fn produce(wire: &mut Wire, topic: &Target, value: &str) {
    let body = batch(Codec::None, [value]);
    wire.call(&topic.produce(0), &body).unwrap().unwrap();
}

/// Processor time of the process, in ticks of a hundredth of a second (proc(5)).
fn ticks(server: &Server) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let fields = rest.split(' ').skip(11).take(2);
    fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

/// With 20 a core ended by a panic; with 64 the server was ready and took no producer, who needs two connections.
#[test]
fn fewer_descriptors_than_cores_and_a_few_clients_need_are_refused_with_how_many_that_is() {
    let folder = Folder::new();
    let start = |files: u64| {
        let script = format!("ulimit -n {files} && exec \"$@\"");
        let limited = ["sh", "-c", &script, "sh"];
        let data = folder.path().join("data");
        Start::on(&data).cores(2).through(limited)
    };
    let refused = |files| {
        let child = start(files).command().spawn().unwrap();
        let output = output_of(child, "a start with few descriptors");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(6), "{files}: {said}");
        let needed = said.split("LimitNOFILE=").nth(1).expect("it names it");
        let needed = needed.split(' ').next().unwrap();
        needed.parse::<u64>().unwrap()
    };
    let needed = refused(20);
    assert_eq!((refused(8), refused(64)), (needed, needed));
    assert_eq!(refused(needed - 1), needed);
    let server = start(needed).start();
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    let follow = ["consume", "t", "--follow", "--count", "2"];
    let reader = corelog.command(follow).spawn().unwrap();
    for line in [b"one\n", b"two\n"] {
        corelog.feed(["produce", "t"], line).done();
    }
    let read = output_of(reader, "a reader beside a producer");
    assert_eq!(read.stdout, b"one\ntwo\n");
}

#[test]
fn without_a_descriptor_those_who_connect_wait_and_are_served_once_there_is_one() {
    let folder = Folder::new();
    let server = Start::on(&folder.path().join("data")).cores(2).start();
    let mut before = Wire::open(server.ready.listen).unwrap();
    let topic = before.topic("t", 2, 1 << 20);
    produce(&mut before, &topic, "one");
    limit(&server, 4);
    let (begun, limited) = (ticks(&server), Instant::now());
    let waiting: Vec<_> = (0..20)
        .map(|_| Wire::silent(server.ready.listen).unwrap())
        .collect();
    // Who is connected is served meanwhile; a second of it shows whether a core spins.
    let pause = Instant::now();
    while pause.elapsed() < Duration::from_secs(1) {
        before.ping().unwrap();
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let spent = ticks(&server) - begun;
    limit(&server, 4096);
    let limited = limited.elapsed();
    for mut wire in waiting {
        let hello = hello::Request {
            versions: vec![1],
            client: "test".to_owned(),
        };
        wire.call(&hello, &[]).unwrap().unwrap();
    }
    println!("{spent} ticks of processor time without a descriptor");
    let failed = metric(server.ready.admin, "corelog_accepts_failed_total");
    // Each of the four listeners asks again every 10 ms.
    let most = 4.0 * limited.as_millis() as f64 / 10.0 + 50.0;
    assert!((1.0..most).contains(&failed), "{failed} in {limited:?}");
    produce(&mut before, &topic, "two");
    let ended = server.stop();
    assert!(ended.status.success(), "{}", ended.log);
    let lines = ended.log.matches("cannot accept a connection").count();
    // One in ten seconds of each of the two that somebody connects to.
    let most = 2 * (1 + usize::try_from(limited.as_secs() / 10).unwrap());
    assert!((1..=most).contains(&lines), "{lines} lines:\n{}", ended.log);
}

//! Far more partitions than the process may have files open.

use std::net::TcpStream;

use crate::support::corelog::Corelog;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::server::{Server, Start};

/// Partitions of the topic; open, they would take three files each.
const PARTITIONS: &str = "300";
const FILES: usize = 320;

fn start(folder: &Folder) -> Server {
    let script = format!("ulimit -n {FILES} && exec \"$@\"");
    let limited = ["sh", "-c", &script, "sh"];
    Start::on(folder.path()).cores(2).through(limited).start()
}

fn write(corelog: &Corelog) {
    let args = [
        "bench",
        "produce",
        "--partitions",
        PARTITIONS,
        "--record-bytes",
        "100B",
        "--batch-bytes",
        "100B",
        "--window",
        "1",
        "--total",
        "30000B",
    ];
    corelog.run(args).done();
}

fn read(corelog: &Corelog) -> u64 {
    let args = ["bench", "consume", "--output", "json"];
    corelog.run(args).json()["records"].as_u64().unwrap()
}

#[test]
fn every_partition_is_written_and_read_with_few_open_files() {
    let folder = Folder::new();
    let server = start(&folder);
    let corelog = Corelog::to(&server);
    for round in 1..=2 {
        write(&corelog);
        assert_eq!(read(&corelog), 300 * round);
        assert!(server.descriptors() < FILES, "{}", server.descriptors());
    }
    assert!(server.stop().status.success());
    let server = start(&folder);
    assert_eq!(read(&Corelog::to(&server)), 600);
    write(&Corelog::to(&server));
    server.kill();
    let server = start(&folder);
    assert_eq!(read(&Corelog::to(&server)), 900);
    assert!(server.descriptors() < FILES, "{}", server.descriptors());
}

#[test]
fn connections_leave_files_enough_for_every_partition() {
    let folder = Folder::new();
    let server = start(&folder);
    // More than there are descriptors for: those beyond the node's bound are told so and closed.
    let idle: Vec<_> = (0..FILES)
        .filter_map(|_| TcpStream::connect(server.ready.listen).ok())
        .collect();
    drop(idle);
    let corelog = Corelog::to(&server);
    // The node takes a moment to see that they are gone.
    until("connections are taken again", || {
        corelog.run(["topic", "list"]).parts().2 == Some(0)
    });
    let held: Vec<_> = (0..8)
        .map(|_| TcpStream::connect(server.ready.listen).unwrap())
        .collect();
    write(&corelog);
    assert_eq!(read(&corelog), 300);
    drop(held);
    let ended = server.stop();
    assert!(ended.status.success(), "{}", ended.log);
    assert!(!ended.log.contains("fenced"), "{}", ended.log);
}

//! `corelog truncate`.

use crate::support::corelog::Corelog;
use crate::support::folder::Folder;
use crate::support::server::Server;

#[test]
fn the_oldest_records_go_and_stay_gone() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    corelog.feed(["produce", "t"], b"0\n1\n2\n3\n4\n").done();
    let truncate = ["truncate", "t", "--partition", "0", "--before", "3"];
    corelog.run(truncate).failed(6);
    // It stood on stderr.
    let dry = [&truncate[..], &["--dry-run"]].concat();
    let said = corelog.run(dry).text();
    assert!(said.contains("from 0 to before 3"), "{said}");
    assert_eq!(corelog.run(["consume", "t"]).done(), b"0\n1\n2\n3\n4\n");

    let done = corelog
        .run([&truncate[..], &["--yes", "--output", "json"]].concat())
        .json();
    assert_eq!(done["log_start"], 3);
    assert_eq!(corelog.run(["consume", "t"]).done(), b"3\n4\n");
    let said = corelog.run(["consume", "t", "--from", "2"]).failed(1);
    assert!(said.contains('3'), "names the valid range: {said}");
    // A log start never moves back.
    let back = [
        "truncate",
        "t",
        "--partition",
        "0",
        "--before",
        "1",
        "--yes",
        "--output",
        "json",
    ];
    assert_eq!(corelog.run(back).json()["log_start"], 3);
    server.kill();

    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    assert_eq!(corelog.run(["consume", "t"]).done(), b"3\n4\n");
    corelog
        .run([
            "truncate",
            "t",
            "--partition",
            "0",
            "--before",
            "latest",
            "--yes",
        ])
        .done();
    assert_eq!(corelog.run(["consume", "t"]).done(), b"");
    corelog.feed(["produce", "t"], b"5\n").done();
    assert_eq!(
        corelog.run(["consume", "t", "--format", "%o %v"]).done(),
        b"5 5"
    );
}

#[test]
fn what_cannot_be_truncated_is_said() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    let truncate = |partition: &str, before: &str| {
        corelog.run([
            "truncate",
            "t",
            "--partition",
            partition,
            "--before",
            before,
            "--yes",
        ])
    };
    truncate("0", "1").failed(1);
    truncate("1", "0").failed(1);
    truncate("0", "soon").failed(2);
    corelog
        .run([
            "truncate",
            "none",
            "--partition",
            "0",
            "--before",
            "0",
            "--yes",
        ])
        .failed(1);
}

//! A data directory that was copied while its original may still run.

use std::path::Path;
use std::process::Command;

use crate::support::corelog::Corelog;
use crate::support::folder::Folder;
use crate::support::server::{Server, Start};

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

#[test]
fn a_copy_of_a_data_directory_is_refused_until_somebody_says_that_it_is_meant() {
    let folder = Folder::new();
    let (data, moved, other) = (
        folder.path().join("data"),
        folder.path().join("moved"),
        folder.path().join("other"),
    );
    let server = Server::start(&data);
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    corelog.feed(["produce", "t"], b"one\n").done();
    copy(&data, &other);
    let (code, said) = Start::on(&other).refused();
    assert_eq!(code, Some(6), "{said}");
    let place = other.join("place");
    assert!(said.contains("is a copy"), "{said}");
    assert!(said.contains(&*place.to_string_lossy()), "{said}");
    corelog.feed(["produce", "t"], b"two\n").done();
    assert!(server.stop().status.success());

    // Another name is no copy.
    std::fs::rename(&data, &moved).unwrap();
    assert!(Server::start(&moved).stop().status.success());

    std::fs::remove_file(&place).unwrap();
    let server = Server::start(&other);
    let read = Corelog::to(&server).run(["consume", "t"]).text();
    assert_eq!(read, "one\n");
    assert!(server.stop().status.success());
    assert!(Server::start(&other).stop().status.success());
    let verified = Corelog::offline().run([Path::new("verify"), &other]);
    verified.done();
}

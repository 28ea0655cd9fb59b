//! `corelog offsets`.

use crate::support::corelog::Corelog;
use crate::support::folder::Folder;
use crate::support::server::Server;

#[test]
fn every_server_asked_has_a_row_per_partition() {
    let (one, two) = (Folder::new(), Folder::new());
    let (one, two) = (Server::start(one.path()), Server::start(two.path()));
    let create = ["topic", "create", "t", "--partitions", "2"];
    Corelog::to(&two).run(create).done();
    let clone = ["clone", "t", "--from", &two.address()];
    Corelog::to(&one).run(clone).done();
    Corelog::to(&two)
        .feed(["produce", "t", "--partition", "1"], b"a\nb\nc\n")
        .done();
    let servers = format!("{},{}", one.address(), two.address());
    let args = ["offsets", "t", "--server", &servers, "--output", "json"];
    let rows = Corelog::offline().run(args).json_lines();
    let ends: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row["server"].as_str().unwrap(),
                row["log_end"].as_u64().unwrap(),
            )
        })
        .collect();
    let (one, two) = (one.address(), two.address());
    assert_eq!(ends, [(&*one, 0), (&*one, 0), (&*two, 0), (&*two, 3)]);
}

#[test]
fn a_server_that_does_not_answer_does_not_hide_the_others() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    Corelog::to(&server).run(["topic", "create", "t"]).done();
    let servers = format!("127.0.0.1:1,{}", server.address());
    let args = ["offsets", "t", "--server", &servers];
    let (out, said, code) = Corelog::offline().run(args).parts();
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("127.0.0.1:1"), "{said}");
    assert!(String::from_utf8_lossy(&out).contains(&server.address()));
}

#[test]
fn each_server_that_does_not_answer_is_named() {
    let servers = "127.0.0.1:1,127.0.0.1:2";
    let args = ["offsets", "t", "--server", servers, "--timeout", "2s"];
    let said = Corelog::offline().run(args).failed(4);
    assert!(said.contains("127.0.0.1:1: "), "{said}");
    assert!(said.contains("127.0.0.1:2: "), "{said}");
}

#[test]
fn a_topic_that_is_not_there_is_said() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    assert!(
        Corelog::to(&server)
            .run(["offsets", "none"])
            .failed(1)
            .contains("UnknownTopic")
    );
    Corelog::to(&server).run(["offsets"]).failed(2);
}
